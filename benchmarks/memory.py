"""Is memory flat? Peak RSS of the whole command over more rows, and over more files.

    python -m benchmarks.memory [--rows 100000 1000000] [--files 100 5000]

Runs `pipelines.classify` as its user does, in a process of its own, with a tiny random BERT so that a million rows
take minutes; tokeniser, reader, writer and commit are the real ones.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.hardware import save
from benchmarks.pipeline import write_corpus

CODE = """
import resource, sys
from pipelines.classify import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
sys.exit(code)
"""


def peak(*flags: str) -> float:
    """Peak RSS of the command in MB."""
    command = [sys.executable, "-c", CODE, *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return float(done.stdout.split()[-1])


def main() -> None:
    """Measure, print, save."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    arguments.add_argument("--files", type=int, nargs="+", default=[100, 5000])
    given = arguments.parse_args()
    result: dict[str, dict[str, float]] = {"rows": {}, "files": {}}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tiny_checkpoint(folder / "model")
        flags = [f"--model={folder / 'model'}", "--max_length=32"]
        for rows in given.rows:
            write_corpus(folder, rows)
            mb = peak(*flags, f"--input={folder}/corpus.jsonl", f"--output={folder}/rows-{rows}")
            result["rows"][str(rows)] = mb
            print(f"{rows:,} rows in one file: {mb:,.0f} MB")
        for files in given.files:
            inbox = folder / f"files-{files}"
            inbox.mkdir()
            for i in range(files):
                (inbox / f"{i:06d}.jsonl").write_text(json.dumps({"id": i, "text": "a small file of one row"}) + "\n")
            mb = peak(*flags, f"--input={inbox}/*", f"--output={folder}/out-{files}")
            result["files"][str(files)] = mb
            print(f"{files:,} files of one row: {mb:,.0f} MB")
    for name, each in result.items():
        few, *_, many = each.values()
        print(f"{name}: {many / few:.3f} ×")
    save("memory", {"peak_rss_mb": result})


def tiny_checkpoint(folder: Path) -> None:
    """A random BERT of hidden size 32 with the vocabulary of the bundled checkpoint."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    from seqcls_beam.model.checkpoints import resolve

    tokenizer = AutoTokenizer.from_pretrained(resolve("sentiment").local())
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
    )
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main()
