"""Whole numbers that are spelled as 1.0: all of a column are the number, or none is."""

import pytest

from tests.preparation.test_labels import FLAGS
from tests.prepared import all_rows, manifest, run, sentences

CLASSES = "--problem=single_label"


def prepared(folder, values, *flags, code=0):
    """(the names of the labels, the label or labels of each row in the order of the rows)."""
    texts = sentences(len(values))
    source = folder / "in.csv"
    source.write_text("text,label\n" + "".join(f'{t},"{v}"\n' for t, v in zip(texts, values, strict=True)))
    out = run(source, folder / "out", *flags, *FLAGS, code=code)
    if code:
        return None
    names = manifest(out)["labels"]
    found = {row["text"]: row for row in all_rows(out)["train"]}
    read = [found[text] for text in texts]
    if manifest(out)["problem"] == "multi_label":
        return names, [[name for name, one in zip(names, row["labels"], strict=True) if one] for row in read]
    return names, [row["label"] for row in read]


@pytest.mark.parametrize("first", [20, 1000])
def test_versions_keep_their_zero(tmp_path, monkeypatch, first):
    monkeypatch.setattr("seqcls_beam.preparation.sampled.ROWS", first)
    values = ["1.0", "2.0"] * 15 + ["1.1"] * 3
    assert prepared(tmp_path, values, CLASSES) == (["1.0", "1.1", "2.0"], values)


def test_whole_numbers_have_no_point(tmp_path):
    values = ["1.0", "2.", "10", "1", "2.00"] * 4
    assert prepared(tmp_path, values) == (["1", "2", "10"], ["1", "2", "10", "1", "2"] * 4)


def test_a_name_beside_whole_numbers_leaves_them_as_they_are(tmp_path):
    values = ["1.0", "2.0", "none"] * 8
    assert prepared(tmp_path, values) == (["1.0", "2.0", "none"], values)


@pytest.mark.parametrize(("asked", "names"), [("1,none", ["1", "1", "none"]), ("1,1.0,none", ["1", "1.0", "none"])])
def test_two_spellings_beside_a_name_are_refused_and_an_option_decides(asked, names, tmp_path, capfd):
    values = ["1", "1.0", "none"] * 8
    prepared(tmp_path, values, code=1)
    assert "holds '1' and '1.0', and beside them 'none', which is no whole number" in capfd.readouterr().err
    assert prepared(tmp_path, values, f"--labels={asked}") == (asked.split(","), names * 8)


def test_several_labels_are_spelled_alike(tmp_path):
    values = ["1.0|2.0", "2|3", "1"] * 6
    assert prepared(tmp_path, values, "--label_separator=|") == (["1", "2", "3"], [["1", "2"], ["2", "3"], ["1"]] * 6)


def test_several_labels_beside_a_name_are_spelled_as_they_are(tmp_path):
    values = ["1.0|2.0", "2.0|x", "1.0"] * 6
    expected = [["1.0", "2.0"], ["2.0", "x"], ["1.0"]] * 6
    assert prepared(tmp_path, values, "--label_separator=|") == (["1.0", "2.0", "x"], expected)
