"""The engine gives what plain transformers gives, and a sequence's logits depend on that sequence alone."""

import itertools
import shutil
import subprocess
import sys
import threading
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from seqcls_beam.config import ModelOptions
from seqcls_beam.model.checkpoints import Checkpoint, CheckpointError, resolve
from seqcls_beam.model.engine import Classifier, linear
from seqcls_beam.model.predictions import classify, probabilities
from seqcls_beam.model.tokens import tokenize
from tests import tiny
from tests.model.bits import same_bits

pytestmark = pytest.mark.engine

TEXTS = [*tiny.CORPUS, "", "a", "lazy " * 300, *(" ".join(tiny.CORPUS)[start:] for start in range(0, 330, 17))]
PAIRS = TEXTS[::-1]
OPTIONS = ModelOptions(device="cpu", threads=2, batch_tokens=256)
LOADED: dict[Any, tuple[Checkpoint, Classifier]] = {}
PACKED: list[tuple[str, dict[str, Any]]] = [
    *((family, {}) for family in ("bert", "roberta", "xlm-roberta", "camembert", "electra", "ernie", "distilbert")),
    *((family, {}) for family in ("albert", "xlm-roberta-xl")),
    ("modernbert", {"classifier_pooling": "cls"}),
    ("modernbert", {"classifier_pooling": "mean"}),
]
PADDED: list[tuple[str, dict[str, Any]]] = [
    (family, {}) for family in ("deberta-v2", "convbert", "mobilebert", "mpnet", "rembert")
]
every_way = pytest.mark.parametrize(
    ("family", "how"), [*PACKED, *PADDED], ids=["-".join([family, *how.values()]) for family, how in [*PACKED, *PADDED]]
)


def loaded(family, **how):
    """A checkpoint of a family and its classifier, loaded once."""
    key = (family, *sorted(how.items()))
    if key not in LOADED:
        checkpoint = tiny.resolved(family, **how)
        LOADED[key] = checkpoint, Classifier(checkpoint, OPTIONS)
    return LOADED[key]


def plain(folder, texts, pairs=None, activate=lambda logits: logits.softmax(-1)):
    """The plain loop: tokenizer and model of transformers, batches of 7 padded to their longest text."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    found = []
    for start in range(0, len(texts), 7):
        part = slice(start, start + 7)
        batch = tokenizer(
            texts[part], pairs and pairs[part], truncation=True, max_length=128 - 2, padding=True, return_tensors="pt"
        )
        with torch.inference_mode():
            found.append(activate(model(**batch).logits))
    return torch.cat(found).numpy()


def sequences(vocabulary, lengths, seed=0):
    """Random ids, special ones among them: (flat ids, offsets)."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return np.random.default_rng(seed).integers(0, vocabulary, offsets[-1], np.int32), offsets


def one_by_one(checkpoint, ids, offsets, types=None):
    """Logits of plain transformers, every sequence alone."""
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint.local(), dtype=torch.float32).eval()
    found = []
    for low, high in itertools.pairwise(offsets):
        batch = {"input_ids": torch.from_numpy(ids[None, low:high].astype(np.int64))}
        if types is not None:
            batch["token_type_ids"] = torch.from_numpy(types[None, low:high].astype(np.int64))
        with torch.inference_mode():
            found.append(model(**batch).logits)
    return torch.cat(found).numpy()


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def run(classifier, lengths):
    ids, offsets = sequences(90, lengths)
    return classifier.logits(ids, offsets, None)


def pick(ids, offsets, rows):
    """The sequences `rows`, in that order."""
    parts = [ids[offsets[row] : offsets[row + 1]] for row in rows]
    return np.concatenate(parts), np.concatenate([[0], np.cumsum([len(part) for part in parts])])


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("pairs", [None, PAIRS], ids=["single", "pair"])
def test_probabilities_are_those_of_plain_transformers(family, pairs):
    checkpoint, classifier = loaded(family)
    options = replace(OPTIONS, max_length=126)
    found = probabilities(TEXTS, pairs, checkpoint, classifier, options)
    expected = plain(checkpoint.local(), TEXTS, pairs)
    assert np.abs(found - expected).max() <= 1e-5
    assert np.ptp(expected[:, 0]) > 0.01, "the model tells these texts apart"


@pytest.mark.parametrize(
    ("how", "activate"),
    [
        ({"labels": ("a", "b", "c"), "problem": "multi_label_classification"}, torch.sigmoid),
        ({"labels": ("score",)}, lambda logits: logits),
        ({"labels": ("score",), "problem": "regression"}, lambda logits: logits),
        ({"labels": tuple(f"{n} star{'s' * (n > 1)}" for n in range(1, 6))}, lambda logits: logits.softmax(-1)),
        ({"max_shard_size": "20KB"}, lambda logits: logits.softmax(-1)),
        ({"stored": "float16"}, lambda logits: logits.softmax(-1)),
        ({"stored": "bfloat16"}, lambda logits: logits.softmax(-1)),
    ],
    ids=["multi-label", "one-label", "regression", "stars", "sharded", "fp16", "bf16"],
)
def test_every_kind_of_checkpoint(how, activate):
    checkpoint, classifier = loaded("bert", **how)
    found = probabilities(TEXTS, None, checkpoint, classifier, replace(OPTIONS, max_length=126))
    assert np.abs(found - plain(checkpoint.local(), TEXTS, activate=activate)).max() <= 1e-5
    assert classifier.facts["dtype"] == "float32"


def test_bin_weights_give_what_safetensors_give(tmp_path):
    folder = shutil.copytree(tiny.resolved().local(), tmp_path / "bin")
    checkpoint = resolve(str(tiny.only_bin(folder)))
    assert "pytorch_model.bin" in checkpoint.files
    found = probabilities(TEXTS, None, checkpoint, Classifier(checkpoint, OPTIONS), OPTIONS)
    assert np.array_equal(found, probabilities(TEXTS, None, checkpoint, loaded("bert")[1], OPTIONS))


def test_bin_weights_that_are_code_are_not_run(tmp_path):
    folder = tiny.only_bin(tiny.checkpoint(tmp_path))

    class Payload:
        def __reduce__(self):
            return print, ("run",)

    torch.save({"bert.embeddings.word_embeddings.weight": Payload()}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="does not load"):
        Classifier(resolve(str(folder)), OPTIONS)


@every_way
def test_a_family_runs_packed_where_it_can_and_equals_plain_transformers(family, how):
    checkpoint, classifier = loaded(family, **how)
    assert classifier.facts["engine"] == ("packed" if (family, how) in PACKED else "padded")
    assert classifier.facts["dtype"] == "float32" and "refused" not in classifier.facts
    # Longer than ModernBERT's local window of 16, equal ones among them, the longest possible, and one token.
    ids, offsets = sequences(90, [checkpoint.max_length, 40, 17, 40, 9, 1, 2, 9, 40])
    types = (ids % 2).astype(np.int8) if checkpoint.sentence_ids else None
    expected = one_by_one(checkpoint, ids, offsets, types)
    found = classifier.logits(ids, offsets, types)
    assert np.abs(softmax(found) - softmax(expected)).max() <= 1e-5
    assert np.abs(found - expected).max() <= 1e-4
    assert np.ptp(expected[:, 0]) > 0.01, "the model tells these sequences apart"


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "mpnet", "albert"])
def test_a_text_that_holds_the_padding_tokens_name_equals_plain_transformers(family):
    checkpoint, classifier = loaded(family)
    words = AutoTokenizer.from_pretrained(checkpoint.local())
    pad = words.pad_token
    texts = [f"{pad} the lazy {pad}{pad} dog {pad}", f"a film {pad}", pad * 30, "the fox"]
    tokens = words(texts)["input_ids"]
    assert [words.pad_token_id in each for each in tokens] == [True, True, True, False]
    ids, offsets = np.concatenate(tokens).astype(np.int32), np.cumsum([0, *map(len, tokens)])
    delta = softmax(classifier.logits(ids, offsets, None)) - softmax(one_by_one(checkpoint, ids, offsets))
    assert np.abs(delta).max() <= 1e-5
    found = probabilities(texts, None, checkpoint, classifier, OPTIONS)
    assert np.abs(found - plain(checkpoint.local(), texts)).max() <= 1e-5


def kinds(checkpoint, ids):
    return (ids % 2).astype(np.int8) if checkpoint.sentence_ids else None


@same_bits
@every_way
@settings(max_examples=4)
@given(data=st.data())
def test_logits_depend_on_the_sequence_alone(family, how, data):
    checkpoint, classifier = loaded(family, **how)
    longest = checkpoint.max_length
    lengths = data.draw(
        st.one_of(
            st.lists(st.one_of(st.integers(1, longest), st.sampled_from([8, longest])), min_size=1, max_size=12),
            st.builds(lambda length, count: [length] * count, st.integers(1, 60), st.integers(1, 12)),
            st.lists(st.integers(1, longest), min_size=1, max_size=12, unique=True),
        )
    )
    ids, offsets = sequences(90, lengths, seed=data.draw(st.integers(0, 99)))
    whole = classifier.logits(ids, offsets, kinds(checkpoint, ids))
    assert whole.shape == (len(lengths), 2) and whole.dtype == np.float32
    order = data.draw(st.permutations(range(len(lengths))))
    cut = data.draw(st.integers(0, len(lengths)))
    for rows in (order[:cut], order[cut:], [order[0]], order + order):
        if rows:
            some, ends = pick(ids, offsets, rows)
            assert np.array_equal(classifier.logits(some, ends, kinds(checkpoint, some)), whole[rows])


@same_bits
@every_way
def test_a_short_text_alone_has_the_bits_it_has_among_others_of_its_length(family, how):
    _, classifier = loaded(family, **how)
    for length in range(1, 14):
        ids, offsets = sequences(90, [length] * 4, seed=length)
        ids[::length] = [5, 6, 7, 8]  # no two are equal
        whole = classifier.logits(ids, offsets, None)
        for row in range(4):
            alone = classifier.logits(*pick(ids, offsets, [row]), None)
            assert np.array_equal(alone, whole[[row]]), (length, row)


def other_text(ids, offsets, row, length):
    """The same sequences with another one, of another length, at one place."""
    low, high = offsets[row], offsets[row + 1]
    other = np.random.default_rng(1).integers(5, 90, length).astype(np.int32)
    lengths = np.diff(offsets)
    lengths[row] = length
    return np.concatenate([ids[:low], other, ids[high:]]), np.concatenate([[0], np.cumsum(lengths)])


def a_changed_text_changes_nothing_else(classifier):
    ids, offsets = sequences(90, [30, 5, 126, 5, 1, 64, 30, 2])
    whole = classifier.logits(ids, offsets, None)
    for row, length in itertools.product((0, 1, 2, 4, 7), (1, 30)):
        changed = classifier.logits(*other_text(ids, offsets, row, length), None)
        assert np.array_equal(np.delete(changed, row, 0), np.delete(whole, row, 0)), (row, length)
        assert not np.array_equal(changed[row], whole[row])


@same_bits
@pytest.mark.parametrize(("family", "how"), [("bert", {}), ("deberta-v2", {}), *PACKED[-2:]])
def test_a_changed_text_changes_no_other_texts_logits(family, how):
    a_changed_text_changes_nothing_else(loaded(family, **how)[1])


@pytest.mark.skipif(not linear.multiplies_bfloat16(), reason="this processor has no products of bfloat16")
@pytest.mark.parametrize(("family", "how"), [("distilbert", {}), PACKED[-1], ("deberta-v2", {})])
def test_bfloat16_is_near_float32_and_a_text_still_depends_on_itself_alone(family, how):
    checkpoint, exact = loaded(family, **how)
    classifier = Classifier(checkpoint, replace(OPTIONS, dtype="bfloat16"))
    assert classifier.facts["dtype"] == "bfloat16"
    a_changed_text_changes_nothing_else(classifier)
    lengths = [126, 60, 33, 17, 9, 4, 1] * 2
    delta = softmax(run(classifier, lengths)) - softmax(run(exact, lengths))
    assert 0 < np.abs(delta).max() < 0.05


@pytest.fixture
def forwards(monkeypatch):
    """Makes a classifier tell the lengths of the sequences of each of its forward passes."""

    def listen(classifier):
        heard, forward = [], classifier._executor.forward

        def listening(ids, types, lengths):
            heard.append(lengths.tolist())
            return forward(ids, types, lengths)

        monkeypatch.setattr(classifier._executor, "forward", listening)
        return heard

    return listen


@pytest.mark.skipif(not linear.available(), reason="oneDNN's products are missing, which keep something of each size")
def test_batches_of_all_sizes_are_products_of_few():
    _, classifier = loaded("bert")
    sizes: set[int] = set()
    products = [each for each in classifier._executor.model.modules() if isinstance(each, linear.Linear)]
    hooks = [each.register_forward_pre_hook(lambda _, x: sizes.add(x[0][..., 0].numel())) for each in products]
    for seed in range(60):
        lengths = np.random.default_rng(seed).integers(1, 40, 1 + seed % 29).tolist()
        ids, offsets = sequences(90, lengths, seed)
        classifier.logits(ids, offsets, None)
    for each in hooks:
        each.remove()
    assert len(sizes) <= 30 and all(size % 8 == 0 for size in sizes), "of 60 numbers of tokens, and 29 of sequences"


@pytest.mark.parametrize("family", ["bert", "deberta-v2"])
def test_a_text_that_comes_again_is_computed_once(family, forwards):
    _, classifier = loaded(family)
    ids, offsets = sequences(90, [100, 9, 70, 9, 126, 1, 1])
    alone = classifier.logits(ids, offsets, None)
    rows = [4, 0, 0, 1, 2, 4, 1, 3, 5, 5, 2, 0, 6, 6]
    some, ends = pick(ids, offsets, rows)
    heard = forwards(classifier)
    told: list[int] = []
    logits = classifier.logits(some, ends, None, told.append)
    assert np.array_equal(logits, alone[rows])
    assert sorted(itertools.chain(*heard)) == [1, 1, 9, 9, 70, 100, 126], "each once"
    assert sum(told) == len(rows) and len(told) == len(heard) > 1, "progress counts every row, pass by pass"


def test_texts_that_differ_in_their_types_only_are_two_texts(forwards):
    _, classifier = loaded("bert")
    ids, offsets = np.array([2, 7, 8, 3] * 3, np.int32), np.array([0, 4, 8, 12])
    types = np.array([0, 0, 1, 1, 0, 1, 1, 1, 0, 0, 1, 1], np.int8)
    heard = forwards(classifier)
    logits = classifier.logits(ids, offsets, types)
    assert heard == [[4, 4]]
    assert np.array_equal(logits[0], logits[2]) and not np.array_equal(logits[0], logits[1])


def test_a_pass_holds_the_tokens_that_were_asked_for_and_no_padding(forwards):
    _, classifier = loaded("bert")
    lengths = np.random.default_rng(0).integers(1, 127, 80).tolist()
    heard = forwards(classifier)
    run(classifier, lengths)
    passes = [sum(each) for each in heard]
    assert sum(passes) <= sum(lengths) and max(passes) <= 256
    assert sum(passes) / len(passes) > 128


@same_bits
@pytest.mark.parametrize("threads", [1, 2])
def test_the_budget_and_the_place_in_a_pass_do_not_show_in_the_bits(threads):
    checkpoint, first = tiny.resolved("bert"), None
    lengths = [*range(1, 127, 5), *[17] * 40, *[1] * 5]
    for budget in (1, 100, 256, 5000):
        classifier = Classifier(checkpoint, ModelOptions(device="cpu", threads=threads, batch_tokens=budget))
        assert classifier.facts["batch_tokens"] == budget
        logits = run(classifier, lengths)
        assert first is None or np.array_equal(logits, first), budget
        first = logits


@same_bits
def test_logits_do_not_change_in_a_real_size_either():
    config = {"hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536, "num_hidden_layers": 2}
    checkpoint = tiny.resolved("bert", **config)
    classifier = Classifier(checkpoint, ModelOptions(device="cpu", threads=2))
    ids, offsets = sequences(90, np.random.default_rng(1).integers(1, 129, 30))
    whole = classifier.logits(ids, offsets, None)
    for rows in (list(range(30))[::-1], [7], [29, 3]):
        some, ends = pick(ids, offsets, rows)
        assert np.array_equal(classifier.logits(some, ends, None), whole[rows])


def test_no_sequences_give_no_logits():
    _, classifier = loaded("bert")
    nothing = classifier.logits(np.empty(0, np.int32), np.zeros(1, np.int64), None)
    assert nothing.shape == (0, 2) and nothing.dtype == np.float32


def test_sequences_the_model_cannot_take_are_named():
    checkpoint, classifier = loaded("bert")
    for lengths, message in (([3, 0], "a sequence has 0 tokens; the model reads 1 to 128"), ([129], "has 129 tokens")):
        with pytest.raises(ValueError, match=message):
            run(classifier, lengths)
    with pytest.raises(ValueError, match="token id 5000 is outside the model's embedding table"):
        classifier.logits(np.array([2, 5000, 3], np.int32), np.array([0, 3]), None)
    short = Classifier(checkpoint, replace(OPTIONS, max_length=10))
    assert np.isfinite(run(short, [10, 9, 3])).all()
    with pytest.raises(ValueError, match="the model reads 1 to 10"):
        run(short, [11])


def test_logits_that_are_not_numbers_raise(tmp_path):
    folder = tiny.checkpoint(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    model.get_input_embeddings().weight.data[20] = float("nan")
    model.save_pretrained(folder)
    classifier = Classifier(resolve(str(folder)), OPTIONS)
    assert np.isfinite(classifier.logits(np.array([2, 19, 3], np.int32), np.array([0, 3]), None)).all()
    with pytest.raises(FloatingPointError, match="1 of 2 sequences are not finite, the first those of sequence 1"):
        classifier.logits(np.array([2, 3, 2, 20, 3], np.int32), np.array([0, 2, 5]), None)


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_numbers_that_are_none_stay_in_their_sequence(family):
    """Attention on a CPU reads neighbours with a weight of 0, which makes no number of what is none."""
    classifier = Classifier(tiny.resolved(family), OPTIONS)
    executor = classifier._executor
    lengths = np.array([9, 9, 9, 5, 5, 1])
    ids = np.arange(3, 3 + lengths.sum()).astype(np.int32)
    edges = np.concatenate([[0], np.cumsum(lengths)])
    for broken in (0, 1, 4, 5):
        with torch.inference_mode():
            whole = executor.forward(ids, None, lengths)
            weights = executor.model.get_input_embeddings().weight.data
            kept = weights[ids[edges[broken]]].clone()
            weights[ids[edges[broken]]] = torch.nan
            found = executor.forward(ids, None, lengths)
            weights[ids[edges[broken]]] = kept
        sound = np.arange(len(lengths)) != broken
        assert torch.equal(found[sound], whole[sound]) and found[broken].isnan().all()


def test_a_checkpoint_without_its_head_is_refused(tmp_path):
    folder = tiny.checkpoint(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    state = {name: each for name, each in model.state_dict().items() if not name.startswith("classifier")}
    model.save_pretrained(folder, state_dict=state)
    with pytest.raises(CheckpointError, match=r"the weights lack classifier\.bias, classifier\.weight"):
        Classifier(resolve(str(folder)), OPTIONS)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_asking_for_a_gpu_where_there_is_none_raises(device):
    with pytest.raises(ValueError, match=f"--device={device}.*no CUDA device here"):
        Classifier(tiny.resolved(), replace(OPTIONS, device=device))


def test_facts_say_what_runs():
    checkpoint, classifier = loaded("bert")
    facts = Classifier(checkpoint, ModelOptions(threads=1, device="cpu")).facts
    assert facts["threads"] == torch.get_num_threads() == 1
    assert Classifier(checkpoint, OPTIONS).facts["threads"] == torch.get_num_threads() == 2
    assert facts | {"threads": 2, "batch_tokens": 256} == classifier.facts
    assert facts["engine"] == "packed" and facts["device"] == "cpu" and facts["batch_tokens"] == 2048
    assert facts["torch"] == torch.__version__ and facts["checkpoint"] == checkpoint.digest
    assert facts["labels"] == ["negative", "positive"]
    assert weakref.ref(classifier)() is classifier


def test_threads_share_one_classifier():
    _, classifier = loaded("bert")
    ids, offsets = sequences(90, [5, 60, 126, 9] * 5)
    expected = classifier.logits(ids, offsets, None)
    found = []
    workers = [threading.Thread(target=lambda: found.append(classifier.logits(ids, offsets, None))) for _ in range(4)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert len(found) == 4 and all(np.array_equal(each, expected) for each in found)


@pytest.fixture(scope="module")
def other_process():
    """Another process, which writes logits and then meets a fault in a GPU's kernel."""
    script = (
        "import sys, numpy as np, torch; from seqcls_beam import config\n"
        "from seqcls_beam.model import checkpoints, engine\n"
        "checkpoint = checkpoints.resolve(sys.argv[1])\n"
        "classifier = engine.Classifier(checkpoint, config.ModelOptions(device='cpu', threads=2, batch_tokens=256))\n"
        "ids, offsets = np.arange(300, dtype=np.int32) % 90, np.array([0, 10, 100, 200, 300])\n"
        "print(classifier.logits(ids, offsets, None).tobytes().hex(), flush=True)\n"
        "def forward(*_):\n"
        "    raise torch.AcceleratorError('CUDA error: an illegal memory access was encountered')\n"
        "classifier._executor.forward = forward\n"
        "try:\n"
        "    classifier.logits(ids, offsets, None)\n"
        "finally:\n"
        "    print('and went on')\n"
    )
    command = [sys.executable, "-c", script, str(tiny.resolved("bert").local())]
    return subprocess.run(command, capture_output=True, text=True)


def test_another_process_gets_the_same_bits(other_process):
    classifier = Classifier(tiny.resolved("bert"), OPTIONS)
    ids, offsets = np.arange(300, dtype=np.int32) % 90, np.array([0, 10, 100, 200, 300])
    assert other_process.stdout == classifier.logits(ids, offsets, None).tobytes().hex() + "\n"


def test_a_fault_in_a_gpus_kernel_ends_the_process_with_a_message(other_process):
    assert other_process.returncode == 1 and "and went on" not in other_process.stdout
    said = other_process.stderr.strip().splitlines()[-1]
    assert said.startswith("seqcls_beam: the GPU stopped at a fault in one of its kernels")
    assert "illegal memory access" in said and "this process ends" in said


class Limited:
    """A real executor's forward on a device with room for so many tokens only."""

    def __init__(self, classifier, limit, error=None):
        self.forward, self.limit, self.failures = classifier._executor.forward, limit, 0
        self.error = error or torch.OutOfMemoryError("out of memory")
        classifier._executor.forward = self

    def __call__(self, ids, types, lengths):
        if len(ids) > self.limit:
            self.failures += 1
            raise self.error
        return self.forward(ids, types, lengths)


@same_bits
@pytest.mark.parametrize(
    ("family", "error"),
    [
        ("bert", torch.OutOfMemoryError("CUDA out of memory")),
        ("bert", RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")),
        ("deberta-v2", torch.OutOfMemoryError("CUDA out of memory")),
        ("bert", torch.AcceleratorError("CUDA error: out of memory")),
        ("bert", RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")),
    ],
    ids=["packed-gpu", "packed-cpu", "padded", "pinned", "cublas"],
)
def test_out_of_memory_halves_the_budget_once_and_for_all(family, error, caplog):
    checkpoint = tiny.resolved(family)
    lengths = [50] * 41 + [64] * 7 + [9, 1, 3]
    options = replace(OPTIONS, batch_tokens=2048)
    undisturbed = run(Classifier(checkpoint, options), lengths)
    classifier = Classifier(checkpoint, options)
    limited = Limited(classifier, 300, error)
    told: list[int] = []
    ids, offsets = sequences(90, lengths)
    logits = classifier.logits(ids, offsets, None, told.append)
    assert np.array_equal(logits, undisturbed) and sum(told) == len(lengths)
    budget, failures = classifier.facts["batch_tokens"], limited.failures
    assert 100 < budget <= 300 and 1 <= failures <= 3
    assert caplog.text.count("out of memory: from now on") == failures
    assert f"from now on {budget} tokens per forward pass" in caplog.text
    assert np.array_equal(run(classifier, lengths), undisturbed)
    assert limited.failures == failures and classifier.facts["batch_tokens"] == budget


def test_other_failures_are_not_taken_for_a_lack_of_memory():
    classifier = Classifier(tiny.resolved("bert"), OPTIONS)
    Limited(classifier, 0, RuntimeError("expected scalar type Float"))
    with pytest.raises(RuntimeError, match="expected scalar type Float"):
        run(classifier, [5, 6])
    assert classifier.facts["batch_tokens"] == 256


def test_a_sequence_that_does_not_fit_alone_is_named_by_its_tokens():
    classifier = Classifier(tiny.resolved("bert"), OPTIONS)
    Limited(classifier, 99)
    with pytest.raises(MemoryError, match="one sequence of 100 tokens does not fit into the memory of this device"):
        run(classifier, [9, 100, 3])
    assert np.isfinite(run(classifier, [99, 9])).all()


@same_bits
def test_a_text_that_does_not_fit_into_memory_is_one_rejected_row():
    checkpoint = tiny.resolved("bert")
    texts = [*tiny.CORPUS, "the lazy dog " * 60, *tiny.CORPUS[::-1]]
    tokens = tokenize(tiny.records(texts), checkpoint, OPTIONS)
    longest = sorted(tokens["tokens"].to_pylist())
    classifier = Classifier(checkpoint, OPTIONS)
    undisturbed = classify([tokens], classifier, checkpoint, OPTIONS)[0].to_pylist()
    Limited(classifier, longest[-2])
    found = classify([tokens], classifier, checkpoint, OPTIONS)[0].to_pylist()
    assert [row["reject"] is not None for row in found] == [row == 5 for row in range(len(texts))]
    assert found[5]["label"] is None and found[5]["reject"]["raw"] == texts[5].encode()
    assert found[5]["reject"]["stage"] == "classify"
    assert f"one sequence of {longest[-1]} tokens does not fit" in found[5]["reject"]["detail"]
    assert found[:5] + found[6:] == undisturbed[:5] + undisturbed[6:]
