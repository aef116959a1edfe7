"""Which column of rows with answers holds the gold labels."""

import pyarrow as pa
import pytest

from seqcls_beam.evaluation.sources.labeled import _gold_column
from seqcls_beam.schema import labeled

OURS = {"seqcls_beam.labels": '["a", "b"]'}


def test_what_labelled_a_row_is_no_gold_label():
    schema = labeled(pa.schema([("gold", pa.string())]), False).with_metadata(OURS)
    with pytest.raises(
        ValueError, match=r"--label_column=model is what the model said; name the column .*'gold'"
    ) as told:
        _gold_column("model", schema)
    assert "'model'" not in str(told.value)
    kept = labeled(pa.schema([("model", pa.string())]), False).with_metadata(OURS)
    assert _gold_column("model", kept) == "input_model"


def test_a_column_model_of_another_program_may_be_one():
    assert _gold_column("model", pa.schema([("model", pa.string()), ("label", pa.string())])) == "model"
