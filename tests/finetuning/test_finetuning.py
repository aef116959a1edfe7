"""From prepared shards to batches and losses, against what transformers and plain torch make of the same rows."""

import json
import shutil
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from transformers import AutoTokenizer, DataCollatorWithPadding

from pipelines import finetune
from seqcls_beam.config.finetune import TrainOptions
from seqcls_beam.finetuning.batches import Batches, Loader, Rows, as_it_is, width
from seqcls_beam.finetuning.job import Job
from seqcls_beam.finetuning.shards import Split, load_split
from seqcls_beam.finetuning.trainer import BatchTrainer, Loss
from seqcls_beam.model.checkpoints import resolve_base
from seqcls_beam.preparation.prepared import check_tokenizer, open_prepared
from seqcls_beam.runs.run import Run, RunError
from tests import prepared, tiny
from tests.corpora import texts
from tests.runs.attempts import write_version

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("own_cache")]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A tiny BERT."""
    return tiny.checkpoint(tmp_path_factory.mktemp("base") / "bert")


@pytest.fixture(scope="module")
def data(tmp_path_factory, base):
    """Prepared single texts of many lengths, with their texts."""
    rows = prepared.labelled(texts(300, longest=60))
    out = tmp_path_factory.mktemp("data") / "prepared"
    return prepared.run(rows, out, f"--model={base}", "--keep_text", "--duplicates=keep", "--conflicts=keep")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory, base):
    """Prepared pairs."""
    some = texts(120, seed=1)
    rows = [
        {"a": one, "b": other, "label": i % 2} for i, (one, other) in enumerate(zip(some[:60], some[60:], strict=True))
    ]
    flags = ("--text_column=a", "--text_pair_column=b", "--keep_text", "--duplicates=keep", "--conflicts=keep")
    return prepared.run(rows, tmp_path_factory.mktemp("pairs") / "prepared", f"--model={base}", *flags)


def flat(split):
    """Every row of a split as a list."""
    return [split.ids[a:b].tolist() for a, b in zip(split.offsets[:-1], split.offsets[1:], strict=True)]


def made_up(lengths):
    """A split of rows of these lengths."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Split(np.arange(offsets[-1], dtype=np.int32), offsets, None, np.arange(len(lengths)))


def test_a_split_holds_the_rows_of_its_shards(data):
    split = load_split(open_prepared(str(data)), "train")
    expected = prepared.rows(data, "train")
    assert flat(split) == [row["input_ids"] for row in expected]
    assert split.labels.tolist() == [row["labels"] for row in expected]
    assert split.lengths.tolist() == [row["length"] for row in expected]


def test_a_split_is_mapped_from_the_cache_and_decoded_once(data, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    first = load_split(open_prepared(str(copy)), "train")
    assert isinstance(first.ids, np.memmap) and isinstance(first.offsets, np.memmap)
    shutil.rmtree(copy / "data")
    again = load_split(open_prepared(str(copy)), "train")
    assert flat(again) == flat(first)


def test_a_damaged_shard_ends_with_its_name(data, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    victim = sorted((copy / "data").glob("test-*"))[1]
    body = bytearray(victim.read_bytes())
    body[len(body) // 2] ^= 1
    victim.write_bytes(body)
    with pytest.raises(RunError, match=f"{victim.name} does not have the bytes"):
        load_split(open_prepared(str(copy)), "test")
    victim.unlink()
    with pytest.raises(RunError, match=f"{victim.name} is gone"):
        load_split(open_prepared(str(copy)), "test")


@pytest.mark.parametrize("name", ["data", "pairs"])
def test_batches_are_those_of_the_stock_tokenizer_and_collator(name, request, base):
    folder = request.getfixturevalue(name)
    tokenizer = AutoTokenizer.from_pretrained(base)
    stock = DataCollatorWithPadding(tokenizer)
    known = prepared.rows(folder, "train")
    rows = Rows(load_split(open_prepared(str(folder)), "train"), tokenizer.pad_token_id)
    chance = np.random.default_rng(0)
    for size in (1, 2, 7, 32):
        chosen = chance.choice(len(rows), size).tolist()
        encoded = [
            {
                **tokenizer(known[i]["text"], known[i].get("text_pair"), truncation=True, max_length=128),
                "labels": known[i]["labels"],
            }
            for i in chosen
        ]
        expected, found = stock(encoded), rows.__getitems__(chosen)
        if name == "data":
            del expected["token_type_ids"]  # all zero, which is what a model takes where there are none
        assert set(found) == set(expected)
        for column, values in expected.items():
            assert torch.equal(found[column], values), column


def test_few_widths_are_wide_enough_and_waste_less_than_an_eighth():
    widths = [width(longest) for longest in range(1, 513)]
    assert len(set(widths)) == 40
    for longest, wide in enumerate(widths, start=1):
        assert width(wide) == wide and 0 <= wide - longest < max(4, longest / 8)


def test_batches_of_few_widths_are_the_others_with_padding_to_the_longest_row_at_most():
    lengths = np.random.default_rng(0).integers(1, 101, 500)
    split = made_up(lengths)
    rows, wider = Rows(split, 9), Rows(split, 9, None, True)
    for chosen in Batches(lengths, 16, seed=0):
        plain, found = rows.__getitems__(chosen), wider.__getitems__(chosen)
        there = plain["input_ids"].shape[1]
        assert found["input_ids"].shape[1] == min(width(there), lengths.max())
        for name, beyond in (("input_ids", 9), ("attention_mask", 0)):
            assert torch.equal(found[name][:, :there], plain[name]) and (found[name][:, there:] == beyond).all()
        assert torch.equal(found["labels"], plain["labels"])


def test_a_loader_yields_what_the_rows_give(data):
    split = load_split(open_prepared(str(data)), "train")
    batches = Batches(split.lengths, 16, seed=3)
    loader = Loader(Rows(split, 0), batch_sampler=batches, collate_fn=as_it_is)
    loader.set_epoch(2)
    seen = [batch["labels"].tolist() for batch in loader]
    assert seen == [split.labels[rows].tolist() for rows in batches]
    loader.set_epoch(0)
    assert [batch["labels"].tolist() for batch in loader] != seen


@settings(max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=400),
    batch_size=st.integers(1, 70),
    parts=st.integers(1, 3),
    ranks=st.integers(1, 3),
    epoch=st.integers(0, 3),
)
def test_any_number_of_processes_and_parts_sees_the_same_batches(lengths, batch_size, parts, ranks, epoch):
    lengths = np.array(lengths)
    whole = Batches(lengths, batch_size, seed=5)
    whole.set_epoch(epoch)
    steps = whole.batches()
    assert sorted(np.concatenate(steps).tolist()) == list(range(len(lengths)))
    sizes = {len(step) for step in steps}
    assert max(sizes) <= batch_size and max(sizes) - min(sizes) <= 1
    assert lengths[steps[0]].max() == lengths.max()
    if min(sizes) < parts * ranks:
        with pytest.raises(RunError, match="cannot be cut"):
            Batches(lengths, batch_size, 5, parts, 0, ranks)
        return
    each = [Batches(lengths, batch_size, 5, parts, rank, ranks) for rank in range(ranks)]
    for one in each:
        one.set_epoch(epoch)
        assert len(list(one)) == len(one) == len(steps) * parts
    shares = [list(one) for one in each]
    for step, rows in enumerate(steps):
        together = [row for share in shares for part in share[step * parts : (step + 1) * parts] for row in part]
        assert sorted(together) == sorted(rows.tolist())


def test_the_order_is_of_the_seed_and_the_epoch():
    lengths = np.random.default_rng(0).integers(1, 100, 500)

    def order(seed, epoch):
        batches = Batches(lengths, 32, seed)
        batches.set_epoch(epoch)
        return list(batches)

    assert order(1, 0) == order(1, 0)
    assert len({str(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4


def test_rows_of_like_length_meet():
    lengths = np.random.default_rng(0).lognormal(3, 0.8, 20_000).astype(np.int64) + 2

    def padding(groups):
        return 1 - lengths.sum() / sum(len(rows) * lengths[rows].max() for rows in groups)

    by_chance = np.array_split(np.random.default_rng(1).permutation(len(lengths)), len(lengths) // 32)
    assert padding(list(Batches(lengths, 32, seed=0))) < padding(by_chance) / 4


def test_assembling_a_batch_is_many_times_as_fast_as_the_stock_collator():
    lengths = np.random.default_rng(0).integers(5, 100, 5000)
    split = made_up(lengths)
    rows = Rows(split, 0)
    stock = DataCollatorWithPadding(AutoTokenizer.from_pretrained(tiny.resolved().local()))
    lists = [{"input_ids": ids, "attention_mask": [1] * len(ids), "labels": 0} for ids in flat(split)]
    chosen = [list(range(i, i + 32)) for i in range(0, 3200, 32)]

    def fastest(collate):
        spent = []
        for _ in range(3):
            began = time.perf_counter()
            for each in chosen:
                collate(each)
            spent.append(time.perf_counter() - began)
        return min(spent)

    ratio = fastest(lambda each: stock([lists[i] for i in each])) / fastest(rows.__getitems__)
    assert ratio > 5  # 20 and more on a quiet machine: benchmarks.finetune measures it


def loss_of(problem, weights=None, **options):
    """The loss as a job of these options has it."""
    manifest = {"problem": problem, "labels": ["a", "b", "c"], "class_weights": {"inverse_frequency": weights}}
    train = TrainOptions(class_weights="inverse_frequency" if weights else "none", **options)
    data, config = SimpleNamespace(problem=problem, manifest=manifest), SimpleNamespace(train=train)
    job: Any = SimpleNamespace(prepared=data, config=config)
    return Loss(job)


def test_losses_are_those_of_torch():
    torch.manual_seed(0)
    logits, labels = torch.randn(40, 3), torch.randint(0, 3, (40,))
    outputs = {"logits": logits}
    assert torch.allclose(loss_of("single_label")(outputs, labels), functional.cross_entropy(logits, labels))
    smooth = functional.cross_entropy(logits, labels, label_smoothing=0.1)
    assert torch.allclose(loss_of("single_label", label_smoothing=0.1)(outputs, labels), smooth)
    many = torch.randint(0, 2, (40, 3)).float()
    expected = torch.nn.BCEWithLogitsLoss()(logits, many)
    assert torch.allclose(loss_of("multi_label")(outputs, many), expected)
    numbers = torch.randn(40)
    found = loss_of("regression")({"logits": logits[:, :1]}, numbers)
    assert torch.allclose(found, torch.nn.MSELoss()(logits[:, 0], numbers))


def test_weighted_rows_count_by_their_class_and_parts_add_up():
    torch.manual_seed(0)
    logits, labels, weights = torch.randn(32, 3), torch.randint(0, 3, (32,)), [0.5, 2.0, 1.25]
    loss = loss_of("single_label", weights)
    by_hand = -(torch.tensor(weights)[labels] * logits.log_softmax(-1)[torch.arange(32), labels]).mean()
    assert torch.allclose(loss({"logits": logits}, labels), by_hand)
    parts = sum(loss({"logits": logits[i::3]}, labels[i::3], num_items_in_batch=torch.tensor(32)) for i in range(3))
    assert torch.allclose(parts, by_hand)


def test_another_tokenizer_is_refused_and_other_settings_are_not(data, base, tmp_path):
    known = open_prepared(str(data))
    check_tokenizer(known, resolve_base(str(base)))
    copy = shutil.copytree(base, tmp_path / "copy")
    settings_file = copy / "tokenizer_config.json"
    words = json.loads(settings_file.read_text())
    settings_file.write_text(json.dumps({**words, "name_or_path": "elsewhere"}))
    (copy / "vocab.txt").write_text("not read\n")
    check_tokenizer(known, resolve_base(str(copy)))
    settings_file.write_text(json.dumps({**words, "do_lower_case": False}))  # beside the same tokenizer.json
    with pytest.raises(ValueError, match="reads texts otherwise"):
        check_tokenizer(known, resolve_base(str(copy)))
    other = resolve_base(str(tiny.checkpoint(tmp_path / "roberta", "roberta")))
    with pytest.raises(ValueError, match=r"was tokenised for .* prepare the data with --model="):
        check_tokenizer(known, other)
    short = tiny.checkpoint(tmp_path / "short", max_position_embeddings=64)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(base / name, short / name)
    with pytest.raises(ValueError, match=r"rows of up to 128 tokens, and .* reads 64: prepare the data"):
        check_tokenizer(known, resolve_base(str(short)))


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(("flags", "exit_code"), [((), 0), (("--learning_rate=1e30", "--max_grad_norm=0"), 1)])
def test_cudnn_has_no_part_in_a_training_and_is_then_as_before(
    before, flags, exit_code, data, base, tmp_path, monkeypatch
):
    """In no step and no evaluation, also where the training fails: other code of the process may want it."""
    allowed = []
    compute = BatchTrainer.compute_loss

    def watched(*args, **how):
        allowed.append(torch.backends.cuda.cudnn_sdp_enabled())
        return compute(*args, **how)

    monkeypatch.setattr(BatchTrainer, "compute_loss", watched)
    asked = [f"--data={data}", f"--model={base}", f"--output={tmp_path / 'model'}", "--device=cpu", "--threads=1"]
    usual = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(before)
    try:
        assert finetune.main([*asked, "--epochs=0.5", *flags]) == exit_code
        assert torch.backends.cuda.cudnn_sdp_enabled() == before
    finally:
        torch.backends.cuda.enable_cudnn_sdp(usual)
    assert allowed and not any(allowed)


def test_what_is_no_prepared_data_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"nothing is published there; is this a folder that pipelines.prepare wrote"):
        open_prepared(str(tmp_path))
    write_version(tmp_path / "labels", {"kind": "classify"})
    with pytest.raises(ValueError, match="holds no prepared data"):
        open_prepared(str(tmp_path / "labels"))
    write_version(tmp_path / "damaged", {}).write_text("{")
    with pytest.raises(ValueError, match=r"00000001\.json is no version"):
        open_prepared(str(tmp_path / "damaged"))
    (tmp_path / "_MANIFEST.json").write_text('{"kind": "prepare"}')
    with pytest.raises(ValueError, match="is of an earlier layout"):
        open_prepared(str(tmp_path))


def test_runs_into_two_buckets_have_a_folder_each():
    nothing: Any = None  # of which the folder does not depend
    folders = {Job(nothing, nothing, nothing, Run(f"gs://{name}/model", "r1")).work for name in ("a", "b")}
    assert len(folders) == 2
