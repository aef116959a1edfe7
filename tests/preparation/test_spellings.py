"""One label in several spellings: numbers are one, or refused; names that differ little are told, and let be."""

import pytest

from seqcls_beam.preparation.spellings import alike, refuse_spellings, told
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


@pytest.mark.parametrize(
    ("values", "two"),
    [
        (["1", "01", "0"], "'01' and '1'"),
        (["1", "+1", "-1"], "'+1' and '1'"),
        (["1.0", "01.0", "2.0"], "'01' and '1'"),
        (["1.5", "1.50", "2.0"], "'1.5' and '1.50'"),
        (["2,5", "2.5", "1"], "'2,5' and '2.5'"),
        (["1000", "1e3", "1"], "'1000' and '1e3'"),
        (["0", "-0", "1"], "'-0' and '0'"),
        (["01", "1", "none"], "'01' and '1', and beside them 'none', which is no whole number"),
    ],
)
def test_spellings_of_one_number_are_refused_and_an_option_decides(values, two, tmp_path, capfd):
    rows = [f'"{each}"' for each in values] * 8
    text = [each.strip('"') for each in rows]
    prepared(tmp_path, text, CLASSES, code=1)
    assert f"holds {two}: whether the two are one label or names of two cannot be told" in capfd.readouterr().err
    if not any("," in each for each in values):
        asked = list(dict.fromkeys(values))
        assert prepared(tmp_path, text, CLASSES, f"--labels={','.join(asked)}") == (asked, text)


def test_numbers_that_are_none_or_another_are_let_be():
    for found in ({"1", "10", "-1", "0"}, {"1.0", "1", "2."}, {"1e99999999999999999999", "1", "a"}, {"v1", "v01"}):
        refuse_spellings(found, "label")


def test_names_that_differ_little_are_told_and_stay_apart(tmp_path):
    values = ["yes", "Yes", "YES", "not so", "not  so", "cafe\u0301", "caf\u00e9", "no"] * 4
    names, read = prepared(tmp_path, values)
    assert len(names) == 8 and read == values
    out = tmp_path / "out"
    assert manifest(out)["labels_alike"] == [
        ["YES", "Yes", "yes"],
        ["cafe\u0301", "caf\u00e9"],
        ["not  so", "not so"],
    ]
    said = told(manifest(out)["labels_alike"])
    assert said is not None and "'YES', 'Yes', 'yes'; 'cafe\\u0301', 'caf\\xe9'; 'not  so', 'not so' differ" in said
    assert "'YES', 'Yes', 'yes';" in (out / "README.md").read_text()
    prepared_ = tmp_path / "named"
    prepared_.mkdir()
    prepared(prepared_, ["yes", "Yes"] * 8, "--labels=yes,Yes")
    assert (
        manifest(prepared_ / "out")["labels_alike"] == []
        and "differ only" not in (prepared_ / "out" / "README.md").read_text()
    )


def test_of_many_alike_some_are_told():
    said = told([[f"A{number}", f"a{number}"] for number in range(2000)])
    assert said is not None and said.startswith("'A0', 'a0'; 'A1', 'a1'; ") and " and 1,995 more such differ" in said
    assert alike(["a", "b"]) == [] and told([]) is None
