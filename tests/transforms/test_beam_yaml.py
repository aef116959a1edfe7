"""`SeqclsClassify` in Beam YAML: as its users call it, and every row that goes in comes out once."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow.dataset as ds
import pytest
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp
from apache_beam.yaml import main
from apache_beam.yaml.yaml_provider import InlineProvider

from seqcls_beam import label
from seqcls_beam.transforms import SeqclsClassify
from tests import tiny

pytestmark = pytest.mark.engine
EXAMPLE = Path(__file__).parents[2] / "examples" / "label.yaml"
REVIEWS = ["A film to see twice.", "", "Two hours I shall never get back.", 'Grüße, "quoted", and more']


class Review(NamedTuple):
    """With a type that Arrow has not, a nested row, and the names of what the model says."""

    review: str | None
    at: Timestamp
    where: tuple[str, ...]
    label: int
    row: bytes


GIVEN = [
    Review("A film to see twice.", Timestamp(1.5), ("a", "b"), 1, b"\xff"),
    Review(None, Timestamp(2), (), 2, b""),
    Review("Two hours I shall never get back.", Timestamp(3), ("c",), 3, b"x"),
    Review("x" * (16 * 2**20 + 1), Timestamp(4), (), 4, b""),
]


def test_the_example_labels_a_file(tmp_path):
    rows = "".join(f'{number},"{text.replace(chr(34), chr(34) * 2)}"\n' for number, text in enumerate(REVIEWS))
    (tmp_path / "reviews.csv").write_text("id,review\n" + rows)
    variables = json.dumps({"reviews": str(tmp_path / "reviews.csv"), "out": str(tmp_path / "out")})
    main.run([f"--yaml_pipeline_file={EXAMPLE}", f"--jinja_variables={variables}", "--runner=FnApiRunner"])
    (parquet,) = (tmp_path / "out").glob("labels*")
    made = sorted(ds.dataset(parquet).to_table().to_pylist(), key=lambda row: row["id"])
    good = [text for text in REVIEWS if text]
    assert [(row["id"], row["review"]) for row in made] == [(REVIEWS.index(text), text) for text in good]
    assert [row["label"] for row in made] == label(good)["label"].to_pylist()
    (rejected,) = (tmp_path / "out").glob("rejected*")
    (row,) = [json.loads(line) for line in rejected.read_text().splitlines()]
    assert row["id"] == 1 and row["why"].startswith("missing_text: 'review'")


SEEN: list[tuple[str, Any, float]] = []


def see(row: Any, name: str, timestamp: Any = beam.DoFn.TimestampParam) -> None:
    SEEN.append((name, row, float(timestamp)))


def through(rows: list[Any], **config: Any) -> tuple[list[Any], list[Any]]:
    """Rows → those that came out, in the output of good ones and in `rejected`."""
    SEEN.clear()
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        source = pipeline | beam.Create(rows).with_output_types(type(rows[0]))
        timed = source | beam.Map(lambda row: TimestampedValue(row, float(row.at))).with_output_types(type(rows[0]))
        made = timed | beam.WindowInto(FixedWindows(10)) | SeqclsClassify(threads=1, **config)
        for name, part in (made if isinstance(made, dict) else {"good": made}).items():
            part | f"See {name}" >> beam.Map(see, name)
    if "max_latency" not in config:  # Beam forgets times in a group
        assert all(at == float(getattr(row, "element", row).at) for _, row, at in SEEN)
    return [row for name, row, _ in SEEN if name == "good"], [row for name, row, _ in SEEN if name == "rejected"]


def test_a_row_comes_out_as_it_went_in():
    made, _ = through(GIVEN, text_column="review")
    expected = label([each.review for each in GIVEN], threads=1)
    for row, given, number in zip(made, GIVEN, range(len(GIVEN)), strict=True):
        assert (row.review, row.at, tuple(row.where), row.input_label, row.row) == given
        assert (row.label, row.score, row.scores) == tuple(
            expected[name][number].as_py() for name in ("label", "score", "scores")
        )
    assert [row.reject and row.reject.split(":")[0] for row in made] == [None, "missing_text", None, "record_too_large"]
    assert "'review'" in made[1].reject


def test_rejected_rows_have_an_output_of_their_own():
    made, rejected = through(GIVEN, text_column="review", error_handling={"output": "rejected"})
    assert [row.review for row in made] == [GIVEN[0].review, GIVEN[2].review]
    assert not hasattr(made[0], "reject")
    assert [row.element for row in rejected] == [GIVEN[1], GIVEN[3]]
    assert [row.msg.split(":")[0] for row in rejected] == ["missing_text", "record_too_large"]


class Pair(NamedTuple):
    """Both sentences under the names that a packed row has."""

    row: str
    row_: str
    at: float


def test_pairs_and_several_labels(tmp_path):
    model = str(tiny.checkpoint(tmp_path / "model", problem="multi_label_classification"))
    given = [Pair("Is it dark?", "It is night.", 1.0), Pair("Who?", "", 2.0)]
    made, _ = through(given, text_column="row", text_pair_column="row_", model=model)
    expected = label([given[0].row], model, text_pairs=[given[0].row_], threads=1)
    assert (list(made[0].labels), list(made[0].scores)) == (
        expected["labels"][0].as_py(),
        expected["scores"][0].as_py(),
    )
    assert (made[1].row, made[1].row_, made[1].labels) == (*given[1][:2], None)


def test_of_windows_nothing_is_held_by_a_latency():
    made, _ = through(GIVEN[:1] * 3, text_column="review", max_latency=0.1)
    assert [row.review for row in made] == [GIVEN[0].review] * 3


def build(rows: list[Any], **config: Any) -> None:
    beam.Pipeline() | beam.Create(rows).with_output_types(type(rows[0])) | SeqclsClassify(**config)


@pytest.mark.parametrize(
    ("rows", "config", "said"),
    [
        (GIVEN, {}, "no field 'text'; theirs are 'review', 'at'"),
        (["a"], {}, "Beam schema"),
        (GIVEN, {"max_lenght": 8}, "no 'max_lenght': did you mean max_length?"),
        (GIVEN, {"max_length": 2}, "max_length=2: expected at least 4"),
        (GIVEN, {"max_length": "8"}, "max_length='8': expected a whole number"),
        (GIVEN, {"max_length": 8.5}, "max_length=8.5: expected a whole number"),
        (GIVEN, {"threads": True}, "threads=True: expected a whole number"),
        (GIVEN, {"threshold": "0.5"}, "threshold='0.5': expected a number"),
        (GIVEN, {"model": True}, "model=True: expected a text"),
        (GIVEN, {"text_column": 5}, "text_column=5: expected a text"),
        (GIVEN, {"compile": "no"}, "compile='no': expected true or false"),
        (
            GIVEN,
            {"overflow": "cut"},
            "overflow=cut: expected one of truncate, window",
        ),
        (
            GIVEN,
            {"error_handling": "rejected"},
            "error_handling='rejected': expected the name of an output",
        ),
        (GIVEN, {"error_handling": {"output": "good"}}, "'good' is the output"),
        (GIVEN, {"error_handling": {}}, "expected the name of an output"),
    ],
)
def test_what_cannot_be_is_said(rows, config, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        build(rows, **config)


def test_beam_yaml_knows_its_keys_and_their_types():
    schema = InlineProvider({"SeqclsClassify": SeqclsClassify}).config_schema("SeqclsClassify")
    kinds = {each.name: each.type.atomic_type for each in schema.fields}
    assert kinds["text_column"] == kinds["model"] == kinds["revision"] == 7  # STRING
    assert kinds["max_length"] == 4 and kinds["threshold"] == 6 and kinds["compile"] == 8  # INT64, DOUBLE, BOOLEAN
    assert not [name for name, each in zip(kinds, schema.fields, strict=True) if each.type.HasField("logical_type")]
