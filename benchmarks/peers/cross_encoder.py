"""`sentence_transformers.CrossEncoder.predict`: a classifier for texts and pairs that sorts by length."""

from typing import Any

from benchmarks.peers.base import MAX_TOKENS, Array, Job, Peer


class SentenceTransformers(Peer):
    """Sorts all texts by length and pads inside batches of a number of texts.

    `predict` takes a list of strings for one pair, unless it is told that no input is a single one.
    """

    title = "CrossEncoder.predict"
    packages = ("sentence-transformers", "torch", "transformers")

    def load(self, job: Job) -> None:
        """Load model and tokenizer."""
        import torch
        from sentence_transformers import CrossEncoder

        self.model = CrossEncoder(
            job.checkpoint,
            device=job.device,
            max_length=MAX_TOKENS,
            model_kwargs={"dtype": getattr(torch, job.dtype)},
        )
        self.model.is_singular_input = lambda inputs: False

    def run(self, texts: list[str], **setting: Any) -> Array:
        """Logits."""
        import torch

        scores: Array = self.model.predict(texts, activation_fn=torch.nn.Identity(), show_progress_bar=False, **setting)
        return scores
