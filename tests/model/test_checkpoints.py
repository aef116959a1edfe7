"""What the user named is found, fetched once, verified, and refused with one sentence where it cannot be used."""

import hashlib
import http.server
import json
import multiprocessing
import os
import pickle
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
from safetensors.torch import load_file, save_file

from pipelines import classify
from seqcls_beam.model.checkpoints import CheckpointError, resolve
from seqcls_beam.model.checkpoints.checkpoint import _local
from seqcls_beam.model.checkpoints.files import needed
from seqcls_beam.version import __version__
from tests import tiny, web


@pytest.fixture
def folder(tmp_path):
    """A checkpoint to spoil."""
    return shutil.copytree(tiny.resolved().local(), tmp_path / "checkpoint")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder of its own, in a process that has verified nothing yet."""
    monkeypatch.setenv("SEQCLS_BEAM_CACHE", str(tmp_path / "cache"))
    _local.cache_clear()
    yield tmp_path / "cache"
    _local.cache_clear()


@pytest.fixture
def uri(folder):
    """The checkpoint in a store that is no local path."""
    store = fsspec.filesystem("memory")
    store.put(f"{folder}/", "/models/tiny/", recursive=True)
    yield "memory://models/tiny"
    store.rm("/models", recursive=True)


def edit(path, **changes):
    """Change keys of a JSON file; None takes one out."""
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def test_a_folder_is_used_where_it_is(folder, monkeypatch):
    (folder / "training_args.bin").write_bytes(b"not read")
    checkpoint = resolve(str(folder))
    assert checkpoint.local() == folder and checkpoint.revision is None
    assert (checkpoint.model_type, checkpoint.problem, checkpoint.max_length) == ("bert", "single_label", 128)
    assert checkpoint.labels == ("negative", "positive") and checkpoint.sentence_ids
    assert set(checkpoint.files) == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    for name, digest in checkpoint.files.items():
        assert digest == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert pickle.loads(pickle.dumps(checkpoint)) == checkpoint
    monkeypatch.chdir(folder.parent)
    relative = resolve("./checkpoint")
    monkeypatch.chdir("/")
    assert relative.digest == checkpoint.digest and relative.local() == folder
    assert relative.name == "./checkpoint"


def test_the_digest_is_of_names_and_bytes(folder):
    before = resolve(str(folder)).digest
    (folder / "README.md").write_text("not read")
    assert resolve(str(folder)).digest == before
    edit(folder / "config.json", id2label={"0": "good", "1": "bad"})
    assert resolve(str(folder)).digest != before


def indexed(_):
    return ["weights.safetensors", "model-1.safetensors"]


def test_only_one_form_of_the_weights_is_needed():
    both = ["config.json", "model.safetensors", "pytorch_model.bin", "tokenizer.json", "README.md", "model.onnx"]
    assert needed(both, indexed) == ["config.json", "model.safetensors", "tokenizer.json"]
    shards = ["model.safetensors.index.json", "weights.safetensors", "model-1.safetensors"]
    assert needed([*shards, "pytorch_model.bin", "model.fp16.safetensors"], indexed) == sorted(shards)
    assert needed(["pytorch_model.bin", "vocab.txt", "spm.model", "flax_model.msgpack"], indexed) == [
        *("pytorch_model.bin", "spm.model", "vocab.txt"),
    ]


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_family_is_described(family):
    checkpoint = tiny.resolved(family)
    assert checkpoint.model_type == family
    assert checkpoint.max_length == (126 if family in ("roberta", "xlm-roberta") else 128)


def test_kinds_of_problem_and_names_of_labels():
    stars = tuple(f"{n} star{'s' * (n > 1)}" for n in range(1, 6))
    cases: list[tuple[dict[str, Any], str]] = [
        ({"labels": stars}, "single_label"),
        ({"labels": ("a", "b"), "problem": "multi_label_classification"}, "multi_label"),
        ({"labels": ("one",)}, "regression"),
        ({"labels": ("one",), "problem": "regression"}, "regression"),
    ]
    for how, problem in cases:
        checkpoint = tiny.resolved("bert", **how)
        assert (checkpoint.labels, checkpoint.problem) == (how["labels"], problem)


SIGMOID, IDENTITY = "torch.nn.modules.activation.Sigmoid", "torch.nn.modules.linear.Identity"


def newer(name):
    """As sentence_transformers writes it from version 4 on."""
    return {"sentence_transformers": {"activation_fn": name, "version": "5.1.0"}}


def older(name):
    """As it wrote it before."""
    return {"sbert_ce_default_activation_function": name}


@pytest.mark.parametrize(
    ("labels", "config", "asked", "problem", "reading"),
    [
        (
            ("one",),
            {},
            None,
            "regression",
            r"^a number as it is .* its config does not say it; .*--problem_type=multi_",
        ),
        (("one",), newer(SIGMOID), None, "multi_label", f"^each label by itself .*function '{SIGMOID}'$"),
        (("one",), older(SIGMOID), None, "multi_label", f"^each label by itself .*function '{SIGMOID}'$"),
        (("one",), newer("torch.nn.Sigmoid"), None, "multi_label", r"^each label by itself .*function 'torch\.nn\.Sig"),
        (("one",), {"problem_type": "regression", **newer("my.Sigmoid")}, None, "regression", "names the function 'my"),
        (("one",), newer("my.own.Sigmoid"), "regression", "regression", "as --problem_type says; its config names"),
        (("one",), newer(IDENTITY), None, "regression", f"^a number as it is .*function '{IDENTITY}'$"),
        (("one",), {"problem_type": "regression"}, None, "regression", "^$"),
        (("one",), {"problem_type": "regression", **newer(SIGMOID)}, None, "regression", "also names the function"),
        (("one",), {}, "multi_label_classification", "multi_label", "as --problem_type says$"),
        (("one",), newer(SIGMOID), "regression", "regression", "as --problem_type says; its config names"),
        (("a", "b"), {}, None, "single_label", r"^one of its labels a text \(softmax\): its config does not say it"),
        (("a", "b"), newer(IDENTITY), None, "single_label", "function"),
        (("a", "b"), newer(SIGMOID), None, "multi_label", "function"),
        (("a", "b"), {"problem_type": "single_label_classification"}, None, "single_label", "^$"),
        (
            ("a", "b"),
            {"problem_type": "single_label_classification"},
            "multi_label_classification",
            "multi_label",
            "as --problem_type says; its config says single_label_classification$",
        ),
    ],
)
def test_what_outputs_are_is_said_where_it_could_be_two_things(tmp_path, labels, config, asked, problem, reading):
    folder = shutil.copytree(tiny.resolved("bert", labels=labels).local(), tmp_path / "checkpoint")
    edit(folder / "config.json", **config)
    checkpoint = resolve(str(folder), problem_type=asked)
    assert checkpoint.problem == problem and re.search(reading, checkpoint.reading)


@pytest.mark.parametrize(
    ("labels", "config", "asked", "remark"),
    [
        (
            ("a", "b"),
            {"problem_type": "single_label_classification", **newer(SIGMOID)},
            None,
            f"one of its labels a text .*, as its problem_type says; its config also names the function '{SIGMOID}'$",
        ),
        (
            ("one",),
            {**newer(SIGMOID), **older(IDENTITY)},
            None,
            f"each label by itself .*'{SIGMOID}'; its config also names the function '{IDENTITY}'$",
        ),
        (("a", "b"), {**newer(IDENTITY), **older(SIGMOID)}, None, f"one of .*; its config also .*'{SIGMOID}'$"),
        (
            ("a", "b"),
            {"problem_type": "regression"},
            "single_label_classification",
            "one of its labels a text .*, as --problem_type says; its config says regression$",
        ),
        (("a", "b"), newer(SIGMOID), "single_label_classification", f"one of .*as --problem_type says.*'{SIGMOID}'$"),
        (("a", "b"), {**newer(IDENTITY), **older("torch.nn.Identity")}, None, "^$"),
        (("a", "b"), {"label2id": {"LABEL_0": 0, "LABEL_1": 1}}, None, "^$"),
        (("A", "a"), {"label2id": {"A": 0, "a": 1}}, None, "^$"),
        (("a", "b"), {}, "single_label_classification", "^$"),
        (("a", "b"), {}, None, "^$"),
    ],
)
def test_a_config_that_contradicts_itself_or_the_user_is_told(tmp_path, labels, config, asked, remark):
    folder = shutil.copytree(tiny.resolved("bert", labels=labels).local(), tmp_path / "checkpoint")
    edit(folder / "config.json", **config)
    assert re.search(remark, resolve(str(folder), problem_type=asked).remark)


@pytest.mark.parametrize(
    ("labels", "config", "asked", "said"),
    [
        (
            ("one",),
            newer("torch.nn.modules.activation.Tanh"),
            None,
            "--problem_type=regression or --problem_type=multi_",
        ),
        (("a", "b"), newer("my.own.Function"), None, "--problem_type=single_label_classification or"),
        (("one",), newer("evil.module.Sigmoid"), None, "the function 'evil.module.Sigmoid', which is not applied"),
        (("one",), older("Sigmoid"), None, "names the function 'Sigmoid', which is not applied"),
        (("one",), newer(["torch.nn.Sigmoid"]), None, "which is not applied"),
        (("one",), newer({}), None, "which is not applied"),
        (("one",), {"sentence_transformers": [SIGMOID]}, None, "sentence_transformers in config.json is .* no object"),
        (("one",), {"problem_type": ["regression"]}, None, "problem_type .*regression"),
        (("one",), {"problem_type": {}}, None, "problem_type .*{}"),
        (("one",), newer("torch.nn.modules.activation.Softmax"), None, "it would give every text 1.0"),
        (("one",), {}, "single_label_classification", "--problem_type=single_label_classification: of one output"),
        (("a", "b"), {}, "regression", "--problem_type=regression: a regression of 2 values at once"),
        (("one",), {"num_labels": 2}, None, "has num_labels 2 and an id2label of 1"),
    ],
)
def test_outputs_that_cannot_be_read(tmp_path, labels, config, asked, said):
    folder = shutil.copytree(tiny.resolved("bert", labels=labels).local(), tmp_path / "checkpoint")
    edit(folder / "config.json", **config)
    with pytest.raises(CheckpointError, match=said):
        resolve(str(folder), problem_type=asked)


def test_sharded_and_bin_weights(folder):
    sharded = tiny.resolved("bert", max_shard_size="20KB")
    assert len([name for name in sharded.files if name.startswith("model-")]) > 1
    assert "pytorch_model.bin" in resolve(str(tiny.only_bin(folder))).files


@pytest.mark.parametrize(
    ("positions", "tokenizer_limit", "family", "expected"),
    [
        (514, 10**30, "roberta", 513),  # the tiny tokenizer pads with 0; with 1, as published ones do, it is 512
        (514, 10**30, "xlm-roberta", 512),
        (514, 256, "xlm-roberta", 256),
        (512, 10**30, "bert", 512),
        (512, None, "bert", 512),
        (64, 512, "bert", 64),
        (-1, 10**30, "deberta-v2", 512),
        (-1, 300, "deberta-v2", 300),
    ],
)
def test_the_limit_in_tokens(tmp_path, positions, tokenizer_limit, family, expected):
    folder = shutil.copytree(tiny.resolved(family).local(), tmp_path / "limited")
    edit(folder / "config.json", max_position_embeddings=positions)
    edit(folder / "tokenizer_config.json", model_max_length=tokenizer_limit)
    assert resolve(str(folder)).max_length == expected


def spoil_config(**changes):
    return lambda folder: edit(folder / "config.json", **changes)


def make_it_a_file(folder):
    shutil.rmtree(folder)
    folder.write_text("x")


def truncate(folder):
    os.truncate(folder / "model.safetensors", 5000)


def truncate_bin(folder):
    os.truncate(tiny.only_bin(folder) / "pytorch_model.bin", 5000)


def lose_a_shard(folder):
    shutil.rmtree(folder)
    shutil.copytree(tiny.resolved("bert", max_shard_size="20KB").local(), folder)
    next(folder.glob("model-00002-*")).unlink()


def lose_the_head(architecture):
    """Weights without the classifier's, whatever the config calls the model."""

    def spoil(folder):
        weights = load_file(folder / "model.safetensors")
        save_file(
            {name: each for name, each in weights.items() if "classifier" not in name}, folder / "model.safetensors"
        )
        edit(folder / "config.json", architectures=architecture and [architecture])

    return spoil


def unlink(name):
    return lambda folder: (folder / name).unlink()


SPOILT = {
    "not a folder": (make_it_a_file, "not a folder"),
    "absent": (shutil.rmtree, "no folder here"),
    "no config": (unlink("config.json"), "no config.json and no LATEST in"),
    "config is not JSON": (lambda folder: (folder / "config.json").write_text("{"), "config.json is not JSON"),
    "config is a list": (lambda folder: (folder / "config.json").write_text("[]"), "config.json is not a JSON object"),
    "no weights": (unlink("model.safetensors"), "no weights in"),
    "no tokenizer": (unlink("tokenizer.json"), "no tokenizer in"),
    "no head": (lose_the_head("BertModel"), "no classification head, it is a BertModel"),
    "other head": (lose_the_head("BertForMaskedLM"), "no classification head, it is a BertForMaskedLM"),
    # Its weights have all names of a sequence classifier's, as those have that were saved with a pooler.
    "head for tokens": (
        spoil_config(architectures=["BertForTokenClassification"]),
        "no classification head, it is a BertForTokenClassification",
    ),
    "no architecture": (lose_the_head(None), "no classification head, it is a model of no named architecture"),
    "own code": (
        spoil_config(model_type="mybert", auto_map={"AutoConfig": "mine.Config"}),
        "model_type 'mybert' needs its own Python code, which is never run",
    ),
    "unknown type": (spoil_config(model_type="mybert"), "model_type 'mybert' is unknown to transformers"),
    "no type": (spoil_config(model_type=None), "model_type None is unknown"),
    "bad problem": (
        spoil_config(problem_type="ranking"),
        "problem_type 'ranking' is none of|'problem_type' with value 'ranking'",
    ),
    "bad config": (spoil_config(num_attention_heads="four"), "config.json is not valid"),
    "bad labels": (spoil_config(id2label={"1": "a", "2": "b"}), "id2label must number the labels from 0"),
    "labels turned round": (
        spoil_config(id2label={"0": "a", "1": "b"}, label2id={"a": 1, "b": 0}),
        "output 0 'a' in id2label, and says in label2id that 'a' is output 1: make both say the same",
    ),
    "labels turned round, in other letters": (
        spoil_config(id2label={"0": "a", "1": "b"}, label2id={"A": "1", " B": "0"}),
        "output 0 'a' in id2label, .* output 1",
    ),
    "labels that differ in blanks": (spoil_config(id2label={"0": " a", "1": "a"}), "two labels are called 'a'"),
    "more labels than outputs": (
        spoil_config(id2label={"0": "a", "1": "b", "2": "c"}, label2id=None),
        "config.json names 3 labels, and the weights have 2 outputs",
    ),
    "many values": (spoil_config(problem_type="regression"), "a regression of 2 values at once"),
    "truncated": (truncate, "model.safetensors cannot be read .* it has 5000 bytes"),
    "truncated bin": (truncate_bin, "pytorch_model.bin cannot be read .* it has 5000 bytes"),
    "LFS pointer": (
        lambda folder: (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n"),
        "model.safetensors cannot be read .* Git LFS pointer",
    ),
    "lost shard": (lose_a_shard, "names weights that are not there: model-00002-of-"),
    "broken tokenizer": (
        lambda folder: (folder / "tokenizer.json").write_text('{"version": "1.0"}'),
        "its tokenizer does not load",
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_checkpoint_that_cannot_be_used_says_why(case, folder):
    spoil, message = SPOILT[case]
    spoil(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        resolve(str(folder))
    assert str(folder) in str(caught.value)


def test_a_folder_that_changes_or_is_elsewhere_is_refused(folder, cache):
    checkpoint = resolve(str(folder))
    edit(folder / "config.json", id2label={"0": "good", "1": "bad"})
    with pytest.raises(CheckpointError, match=r"not those the run was launched with: config\.json"):
        checkpoint.local()
    shutil.rmtree(folder)
    with pytest.raises(CheckpointError, match=r"is not on this machine .* or a URI"):
        checkpoint.local()


def test_a_uri_is_fetched_once_into_the_cache(uri, cache, monkeypatch):
    checkpoint = resolve(uri)
    assert checkpoint.local() == cache / checkpoint.digest
    assert {each.name for each in checkpoint.local().iterdir()} == set(checkpoint.files)
    assert resolve(uri) == checkpoint, "fetched again, and found in place"
    assert not list(cache.glob("fetching-*"))
    _local.cache_clear()
    fetched = []
    monkeypatch.setattr("seqcls_beam.model.checkpoints.checkpoint.fetched", lambda *_: fetched.append(1))
    assert checkpoint.local() and not fetched


def test_a_worker_fetches_and_verifies(uri, cache):
    checkpoint = resolve(uri)
    shutil.rmtree(cache)
    assert checkpoint.local() == cache / checkpoint.digest
    shutil.rmtree(cache)
    _local.cache_clear()
    with fsspec.open(f"{uri}/config.json", "r+b") as file:
        file.write(b" ")
    with pytest.raises(CheckpointError, match=r"launched with: config\.json; delete the folder if it is a cache"):
        checkpoint.local()
    assert not (cache / checkpoint.digest).exists() and not list(cache.glob("fetching-*"))


def test_a_uri_that_cannot_be_fetched_leaves_nothing(cache):
    for bad, message in (
        ("memory://nowhere", "memory://nowhere: "),
        ("nosuch://bucket/model", "cannot be fetched .*nosuch"),
    ):
        with pytest.raises(CheckpointError, match=message):
            resolve(bad)
    fsspec.filesystem("memory").pipe("/empty/README.md", b"")
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        resolve("memory://empty")
    assert not list(cache.iterdir())


def fetch(checkpoint, barrier, found):
    barrier.wait()
    found.put(str(checkpoint.local()))


def test_processes_that_start_together_fetch_once(folder, cache, tmp_path):
    checkpoint = resolve(f"file://{folder}")
    shutil.rmtree(cache)
    spawn = multiprocessing.get_context("spawn")
    barrier, found = spawn.Barrier(3), spawn.Queue()
    workers = [spawn.Process(target=fetch, args=(checkpoint, barrier, found)) for _ in range(3)]
    for each in workers:
        each.start()
    assert {found.get(timeout=60) for _ in workers} == {str(cache / checkpoint.digest)}
    for each in workers:
        each.join()
    assert sorted(each.name for each in cache.iterdir()) == [checkpoint.digest, f"{checkpoint.digest}.lock"]


def test_a_revision_is_for_hub_ids(folder):
    with pytest.raises(CheckpointError, match="revision 'main' is for Hub ids"):
        resolve(str(folder), "main")


COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVISIONS = ("main", "v1", COMMIT)


class Hub(http.server.BaseHTTPRequestHandler):
    """The few endpoints of the Hugging Face Hub that a download needs, for one model, `someone/tiny`."""

    folder: Path
    asked: list[str]

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.asked.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0]
        headers, body = {}, b""
        if path in (
            "/api/models/someone/tiny",
            *(f"/api/models/someone/tiny/revision/{r}" for r in ("main", "v1", COMMIT)),
        ):
            siblings = [{"rfilename": each.name} for each in sorted(self.folder.iterdir())]
            status, body = 200, json.dumps({"id": "someone/tiny", "sha": COMMIT, "siblings": siblings}).encode()
        elif path == f"/api/models/someone/tiny/tree/{COMMIT}":
            entries = [
                {"type": "file", "path": each.name, "size": each.stat().st_size, "oid": "0"}
                for each in self.folder.iterdir()
            ]
            status, body = 200, json.dumps(entries).encode()
        elif path.startswith(f"/someone/tiny/resolve/{COMMIT}/"):
            body = (self.folder / path.rpartition("/")[2]).read_bytes()
            status = 200
            headers = {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X-Repo-Commit": COMMIT}
        else:
            status = 404
            headers = {"X-Error-Code": "RevisionNotFound" if "/revision/" in path else "RepoNotFound"}
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(folder):
    """A real HTTP server on loopback with the model `someone/tiny`."""
    (folder / "README.md").write_text("not fetched")
    (folder / "pytorch_model.bin").write_bytes(b"not fetched")
    handler = type("Handler", (Hub,), {"folder": folder, "asked": []})
    with web.serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)) as url:
        yield url, handler


def ask(endpoint, tmp_path, model, revision=None, **environment):
    """Resolve in a process of its own: huggingface_hub reads its endpoint when it is imported."""
    script = (
        "import sys, pickle; from seqcls_beam.model import checkpoints\n"
        "try:\n"
        "    found = checkpoints.resolve(sys.argv[1], sys.argv[2] or None)\n"
        "    sys.stdout.buffer.write(pickle.dumps((found, found.local())))\n"
        "except checkpoints.CheckpointError as error:\n"
        "    sys.stdout.buffer.write(pickle.dumps(str(error)))\n"
    )
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1", **environment}
    done = subprocess.run(
        [sys.executable, "-c", script, model, revision or ""], env={**os.environ, **settings}, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    return pickle.loads(done.stdout)


def test_a_hub_id_is_fetched_at_its_commit_and_works_offline_afterwards(hub, tmp_path, folder):
    endpoint, handler = hub
    checkpoint, local = ask(endpoint, tmp_path, "someone/tiny", "v1")
    assert (checkpoint.name, checkpoint.revision) == ("someone/tiny", COMMIT)
    fetched = {each.rpartition("/")[2] for each in handler.asked if each.startswith("GET /someone/tiny/resolve/")}
    assert fetched == set(checkpoint.files) == {each.name for each in local.iterdir()}
    assert "pytorch_model.bin" not in fetched and "README.md" not in fetched
    assert checkpoint.digest == resolve(str(folder)).digest
    for revision in ("v1", COMMIT):
        assert ask(endpoint, tmp_path, "someone/tiny", revision, HF_HUB_OFFLINE="1") == (checkpoint, local)
    assert "no answer" in ask(endpoint, tmp_path, "someone/tiny", "v2", HF_HUB_OFFLINE="1")


def test_a_worker_fetches_the_commit_from_the_hub(hub, tmp_path):
    endpoint, _ = hub
    script = "import pickle, sys; print(pickle.load(sys.stdin.buffer).local().name)"
    checkpoint, _ = ask(endpoint, tmp_path, "someone/tiny")
    for environment, expected in (({"HF_ENDPOINT": endpoint}, COMMIT), ({"HF_HUB_OFFLINE": "1"}, COMMIT)):
        done = subprocess.run(
            [sys.executable, "-c", script],
            input=pickle.dumps(checkpoint),
            capture_output=True,
            env={**os.environ, "HF_HOME": str(tmp_path / "worker"), "NO_PROXY": "127.0.0.1", **environment},
        )
        assert done.stdout.decode().strip() == expected, done.stderr.decode()


def test_a_hub_id_that_is_not_there_says_so(hub, tmp_path):
    endpoint, _ = hub
    for model, revision in (("someone/nothing", None), ("someone/tiny", "v9")):
        message = ask(endpoint, tmp_path, model, revision)
        assert "no such folder here" in message and "no such model or revision, or no access to it" in message
        assert f"(revision {revision or 'main'};" in message
    message = ask(endpoint, tmp_path, "someone/tiny", HF_HUB_OFFLINE="1")
    assert "no such folder here" in message and "no answer" in message and "OfflineModeIsEnabled" in message


# What JSON can have where a name, a number or a list is expected.
KINDS = {"a list": ["x"], "an empty list": [], "an object": {"a": 1}, "a string": "x", "true": True, "a number": -1.5}
FIELDS = {
    "architectures": {"an object", "a string", "true", "a number"},
    "model_type": {*KINDS},
    "problem_type": {*KINDS},
    "id2label": {*KINDS} - {"an object"},
    "num_labels": {*KINDS},
    "max_position_embeddings": {*KINDS},
    "type_vocab_size": {*KINDS},
    "pad_token_id": {*KINDS},
    "sentence_transformers": {"a list", "an empty list", "a string", "true", "a number"},
    "sbert_ce_default_activation_function": {*KINDS},
}


def refused(folder, capsys):
    """What the command says of a checkpoint; whatever it does not expect would be raised here."""
    assert classify.main(["--text=a film", f"--model={folder}"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("seqcls_beam: ") and said.count("\n") == 1 and len(said) < 1000
    return said


@pytest.mark.parametrize(("field", "kind"), [(field, kind) for field in FIELDS for kind in sorted(FIELDS[field])])
def test_a_field_of_another_type_is_refused_in_a_sentence(field, kind, folder, capsys):
    edit(folder / "config.json", **{field: KINDS[kind]})
    said = refused(folder, capsys)
    assert field.removeprefix("sbert_ce_default_activation_") in said or "head" in said


@pytest.mark.parametrize(
    ("file", "field", "value", "expected"),
    [
        ("config.json", "num_labels", 10**9, "num_labels 1000000000"),
        ("config.json", "num_labels", 0, "num_labels 0"),
        ("config.json", "id2label", {"a": "b"}, "config.json is not valid"),
        ("config.json", "id2label", {"0": "a", "1": ["b"]}, "a label in id2label"),
        ("config.json", "id2label", {"0": "a", "1": None}, "a label in id2label"),
        ("config.json", "id2label", {"0": 1, "1": "1"}, "two labels are called '1'"),
        *(("tokenizer_config.json", "model_max_length", each, "model_max_length") for each in KINDS.values()),
        ("tokenizer_config.json", "model_max_length", float("nan"), "model_max_length"),
        ("tokenizer_config.json", "model_max_length", 0, "model_max_length"),
        ("tokenizer_config.json", "model_input_names", "token_type_ids", "model_input_names"),
        ("tokenizer_config.json", "model_input_names", [1], "model_input_names"),
        ("tokenizer_config.json", "split_special_tokens", "x", "tokenizer does not load"),
        ("tokenizer_config.json", "truncation_side", ["left"], "tokenizer does not load"),
    ],
)
def test_values_that_cannot_be_are_refused_in_a_sentence(file, field, value, expected, folder, capsys):
    edit(folder / file, **{field: value})
    assert expected in refused(folder, capsys)


def test_json_that_is_too_deep_is_refused_in_a_sentence(folder, capsys):
    (folder / "config.json").write_text("[" * 200_000)
    assert "config.json is not JSON" in refused(folder, capsys)


@pytest.mark.parametrize("weight_map", [None, ["a"], {"a": 1}, {"a": ["b"]}, "x"])
def test_an_index_that_names_no_files_is_refused_in_a_sentence(weight_map, folder, capsys):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert "weight_map in model.safetensors.index.json" in refused(folder, capsys)


def test_a_worker_of_another_version_than_the_launcher_is_told(folder):
    sent = replace(resolve(folder), program="99.9")
    with pytest.raises(CheckpointError, match=rf"launched by seqcls_beam 99\.9, and this worker .* has {__version__}"):
        sent.local()
