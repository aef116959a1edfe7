"""A store whose package is not installed: one sentence that says which, and how to install it."""

import importlib
import sys

import pytest

from pipelines import announce, classify, clean, compare, evaluate, finetune, prepare, report, seal
from seqcls_beam import storage

WHERE = {
    "classify --input": (classify.main, ["--input={}/a.jsonl", "--output={tmp}/out"]),
    "classify --output": (classify.main, ["--input={tmp}/a.txt", "--output={}/out"]),
    "classify --model": (classify.main, ["--input={tmp}/a.txt", "--output={tmp}/out", "--model={}/m"]),
    "prepare --input": (prepare.main, ["--input={}/a.jsonl", "--output={tmp}/out"]),
    "prepare --output": (prepare.main, ["--input={tmp}/a.jsonl", "--output={}/out"]),
    "evaluate --input": (evaluate.main, ["--input={}/a.jsonl", "--output={tmp}/out"]),
    "evaluate --output": (evaluate.main, ["--input={tmp}/a.jsonl", "--output={}/out"]),
    "finetune --data": (finetune.main, ["--data={}/data", "--model={tmp}/m", "--output={tmp}/out"]),
    "finetune --output": (finetune.main, ["--data={}/data", "--model={tmp}/m", "--output={}/out"]),
    "clean": (clean.main, ["{}/out"]),
    "seal": (seal.main, ["{}/out"]),
    "compare": (compare.main, ["{}/a", "{}/b"]),
    "report": (report.main, ["{}/out"]),
    "announce": (announce.main, ["{}/out"]),
}
PACKAGES = {
    "s3://bucket": ("s3fs", "'seqcls_beam[s3]'"),
    "gs://bucket": ("gcsfs", "'seqcls_beam[gcp]'"),
    "abfs://bucket": ("adlfs", "adlfs"),
    "sftp://me:secret@host": ("paramiko", "paramiko"),
}


@pytest.fixture
def bare(monkeypatch):
    """A machine without the packages of stores."""
    loaded = importlib.import_module("fsspec.registry")._registry
    for package, _ in PACKAGES.values():
        monkeypatch.setitem(sys.modules, package, None)
    for protocol in ("s3", "gs", "abfs", "sftp"):
        monkeypatch.delitem(loaded, protocol, raising=False)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.sftp", raising=False)


@pytest.mark.parametrize("where", WHERE)
def test_every_command_says_what_to_install(bare, tmp_path, capsys, where):
    main, flags = WHERE[where]
    (tmp_path / "a.txt").write_text("a text\n")
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": "positive"}\n')
    code = main([flag.replace("{}", "s3://bucket").replace("{tmp}", str(tmp_path)) for flag in flags])
    said = capsys.readouterr().err.splitlines()
    assert code == 2 and len(said) == 1
    assert said[0].startswith("seqcls_beam: s3://bucket")
    assert said[0].endswith(": the package s3fs is not installed (pip install 'seqcls_beam[s3]')")


@pytest.mark.parametrize("uri", PACKAGES)
def test_each_store_names_its_own(bare, uri):
    package, install = PACKAGES[uri]
    with pytest.raises(ImportError) as error:
        storage.connect(f"{uri}/a")
    shown = storage.without_password(uri)
    assert str(error.value) == f"{shown}/a: the package {package} is not installed (pip install {install})"
    assert "secret" not in str(error.value)


def test_nobody_knows_such_a_protocol():
    with pytest.raises(ValueError, match="Protocol not known: nowhere"):
        storage.connect("nowhere://a")
