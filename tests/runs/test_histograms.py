"""Each labelled row is in one cell of each histogram, whatever labelled it, and whatever it came in."""

from bisect import bisect_right
from dataclasses import replace

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqcls_beam import open_labels, storage
from seqcls_beam.runs import histograms, pieces
from seqcls_beam.runs.manifest import build_manifest
from seqcls_beam.runs.parts import UnitWriter
from seqcls_beam.runs.table import read_manifest
from seqcls_beam.schema import Mark
from tests.batches import unit_batches
from tests.messages import Message, predictions
from tests.runs.streams import FIRST, LENGTH, append, prepared, seal, several


def by_cell(edges, values):
    """One value after the other."""
    counts = [0] * (len(edges) + 1)
    for value in values:
        counts[bisect_right(edges, value)] += 1
    return counts


def record(rows, batch_rows, change=lambda batch: batch):
    """The record of a unit."""
    writer, made = None, None
    for batch in map(change, unit_batches(0, 1, rows, batch_rows)):
        writer = writer or UnitWriter(storage.absolute("memory://histograms"), batch)
        made = writer.write(batch)
    assert made is not None
    return made


def regression(batch):
    """The same rows of a model that predicts a number, from -3 to 93."""
    mark = Mark.of(batch)
    numbers = pa.array([None if each is None else 97 * each - 3 for each in batch["score"].to_pylist()], pa.float32())
    label = pa.DictionaryArray.from_arrays(pa.array([0] * len(batch), pa.int32()), pa.array(["score"]))
    for name, column in (("score", numbers), ("label", label)):
        batch = batch.set_column(batch.schema.get_field_index(name), batch.schema.field(name), column)
    return replace(mark, engine={"labels": ["score"], "problem": "regression"}).on(batch)


@pytest.mark.parametrize("edges", [histograms.SCORES, histograms.VALUES, histograms.TOKENS])
@given(data=st.data())
def test_a_value_is_in_the_cell_that_begins_at_or_below_it(edges, data):
    near = st.sampled_from(
        [*edges.tolist(), *(edges - 1).tolist(), *np.nextafter(edges, -np.inf, dtype=float).tolist()]
    )
    values = data.draw(st.lists(st.one_of(near, st.floats(-1e9, 1e9)), max_size=40))
    assert histograms.counted(edges, np.array(values, np.float64)).tolist() == by_cell(edges.tolist(), values)


def test_the_edges_are_the_same_numbers_in_every_manifest():
    tokens = histograms.TOKENS.tolist()
    assert tokens[:12] == [2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91] and tokens[-1] == 2**20
    assert {2**power for power in range(1, 21)} <= {*tokens}, "the lengths that models cut at begin a cell"
    assert histograms.SCORES.tolist() == pytest.approx([each / 20 for each in range(1, 20)])
    assert all(np.all(np.diff(edges) > 0) for edges in histograms.EDGES.values())


@pytest.mark.parametrize("batch_rows", [1, 7, 100])
def test_the_record_of_a_unit_counts_each_row(batch_rows):
    made = record(range(100), batch_rows)
    assert made["score_histogram"] == np.histogram([i % 97 / 97 for i in range(100)], 20, (0, 1))[0].tolist()
    assert made["token_histogram"] == by_cell(histograms.TOKENS.tolist(), [i % 11 for i in range(100)])
    assert "value_histogram" not in made


def test_what_a_regression_predicts_is_counted_wherever_it_lies():
    made = record(range(97), 10, regression)
    assert "score_histogram" not in made
    numbers = [float(np.float32(97 * float(np.float32(i / 97)) - 3)) for i in range(97)]
    assert made["value_histogram"] == by_cell(histograms.VALUES.tolist(), numbers)
    assert min(numbers) == -3 and max(numbers) > 90
    manifest = build_manifest("r", "", 1, [made], {})
    assert sum(manifest["value_histogram"]["counts"]) == 97 and "score_histogram" not in manifest


def test_the_manifest_has_the_sums_and_where_the_cells_lie():
    units = [record(range(40), 9), record(range(40, 100), 100)]
    told = build_manifest("r", "", 1, units, {})
    assert told["score_histogram"] == {"from": 0.0, "to": 1.0, "counts": record(range(100), 100)["score_histogram"]}
    assert told["token_histogram"]["edges"] == histograms.TOKENS.tolist()
    assert told["token_histogram"]["counts"] == record(range(100), 100)["token_histogram"]
    assert orjson.loads(orjson.dumps(told["token_histogram"])) == told["token_histogram"]


def test_a_unit_that_was_done_before_tokens_were_counted_leaves_no_half_histogram():
    units = [record(range(40), 9), record(range(40, 100), 100)]
    del units[0]["token_histogram"]
    told = build_manifest("r", "", 1, units, {})
    assert "token_histogram" not in told and sum(told["score_histogram"]["counts"]) == 100


@pytest.mark.parametrize("of_several", [False, True])
def test_a_window_counts_its_rows_over_all_its_versions(tmp_path, of_several):
    out = prepared(tmp_path / "out")

    def appended(*messages):
        batch = predictions(messages)
        pieces.append(out, several(batch, 0.6) if of_several else batch, LENGTH)

    appended(Message("a", 0, text="a" * 30), Message("b", 1, rejected=True), Message("c", 7, text="c" * 700))
    seal(out)
    appended(Message("a", 0, text="a" * 30), Message("d", 90, text="d" * 30), Message("e", 5))
    seal(out)
    rows = open_labels(out).to_table()
    told = read_manifest(out, FIRST)
    assert told is not None
    tops = [max(each) for each in rows["scores"].to_pylist()]
    assert told["score_histogram"]["counts"] == np.histogram(tops, 20, (0, 1))[0].tolist()
    assert told["token_histogram"]["counts"] == by_cell(histograms.TOKENS.tolist(), [0, 30, 30, 700])


def test_a_window_that_an_earlier_version_of_this_program_began_has_no_half_histogram(tmp_path):
    append(out := prepared(tmp_path / "out"), Message("a", 0, text="aaa"))
    seal(out)
    first = tmp_path / "out" / "_versions" / FIRST / "00000001.json"
    manifest = orjson.loads(first.read_bytes())
    del manifest["token_histogram"], manifest["score_histogram"]
    first.write_bytes(orjson.dumps(manifest))
    append(out, Message("b", 1, text="bb"))
    seal(out)
    told = read_manifest(out, FIRST)
    assert told is not None and told["rows"]["labeled"] == 2
    assert not {"score_histogram", "value_histogram", "token_histogram"} & told.keys()


def test_models_of_two_kinds_in_one_window_share_no_histogram_but_that_of_lengths(tmp_path):
    append(out := prepared(tmp_path / "out"), Message("a", 0, text="aaa"))
    number = predictions([Message("b", 2, text="bb")], labels=["value"])
    pieces.append(out, number, LENGTH)
    seal(out)
    told = read_manifest(out, FIRST)
    assert told is not None and sum(told["token_histogram"]["counts"]) == 2
    assert "score_histogram" not in told and "value_histogram" not in told


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        ({"from": 0.0, "to": 1.0, "counts": [1, 2]}, True),
        ({"edges": [2, 3], "counts": [1, 2, 0]}, True),
        ({"edges": [2, 3], "counts": [1, 2]}, False),
        ({"edges": [2, "3"], "counts": [1, 2, 0]}, False),
        ({"edges": 2, "counts": [1, 2, 0]}, False),
        ({"counts": [1]}, False),
        ({"edges": [2], "counts": [1, -2]}, False),
        ({"edges": [2], "counts": [1, True]}, False),
        ({"edges": [], "counts": []}, False),
        ([1, 2], False),
        (None, False),
    ],
)
def test_what_a_histogram_is(value, is_one):
    assert histograms.is_histogram(value) is is_one
    assert histograms.counts_in({"token_histogram": value}) == {}, "of other cells than today's"
