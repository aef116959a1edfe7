"""deploy/dataflow/build.sh and cloudbuild.yaml: the images of the templates, and the files in the bucket."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from google.cloud.dataflow_v1beta3 import types as google

from deploy.dataflow.container_spec import main
from tests.deploy.cloud_scripts import BUILD, FOLDER, recipes
from tests.deploy.scripted import DEPLOY

CLOUDBUILD = FOLDER / "cloudbuild.yaml"
IMAGE = ["--image=registry.example:5000/project/seqcls-beam", "--tag=2026-11-20", "--templates=gs://bucket/templates/"]


def test_templates_are_put_into_the_bucket_with_images_by_digest(scripts):
    done = scripts.run(BUILD, *IMAGE)
    assert done.returncode == 0, done.stderr
    put = {words[-1]: json.loads(sent["-"]) for _, words, sent in scripts.calls() if words[0] == "storage"}
    assert list(put) == [f"gs://bucket/templates/{name}.json" for name in ("classify", "stream", "prepare")]
    for place, spec in put.items():
        name = Path(place).stem
        found = google.ContainerSpec.from_json(json.dumps(spec), ignore_unknown_fields=False)
        tail = "prepare" if name == "prepare" else "6-11-20"
        assert found.image == found.default_environment.sdk_container_image
        assert found.image == f"registry.example@sha256:{tail}"
        assert spec["metadata"] == json.loads((FOLDER / "templates" / f"{name}.json").read_text())
    assert [words[:2] for _, words, _ in scripts.calls()[:2]] == [["artifacts", "docker"]] * 2, "nothing is built"
    labelling, preparing = (put[f"gs://bucket/templates/{name}.json"]["image"] for name in ("stream", "prepare"))
    assert done.stdout == f"classify, stream: {labelling}\nprepare: {preparing}\n"


def test_images_are_built_before(scripts):
    launcher = "launcher.example/python311:2026"
    done = scripts.run(BUILD, *IMAGE, f"--launcher={launcher}", "--torch_index=https://a,b", "--project=my-project")
    assert done.returncode == 0, done.stderr
    _, words, _ = scripts.calls()[0]
    assert words[:2] == ["builds", "submit"] and Path(words[2]).resolve() == DEPLOY.parent
    assert words[-1] == "--project=my-project" and Path(words[3].removeprefix("--config=")).samefile(CLOUDBUILD)
    # The sign between two carets is what gcloud divides by, in place of a comma.
    given = dict(each.split("=", 1) for each in words[4].removeprefix("--substitutions=^|^").split("|"))
    assert given == {
        "_IMAGE": IMAGE[0].removeprefix("--image="), "_TAG": "2026-11-20", "_LAUNCHER": launcher,
        "_TORCH_INDEX": "https://a,b",
    }  # fmt: skip
    assert set(given) == set(yaml.safe_load(CLOUDBUILD.read_text())["substitutions"])


def test_nothing_is_put_where_an_image_was_not_built(scripts):
    done = scripts.run(BUILD, *IMAGE, "--launcher=l:1", ENDS_GCLOUD="3")
    assert done.returncode == 3 and len(scripts.calls()) == 1


def test_a_dry_run_builds_nothing(scripts):
    done = scripts.run(BUILD, *IMAGE, "--launcher=l:1", "--dry_run")
    assert done.returncode == 0 and not scripts.calls()
    assert done.stdout.count("gcloud storage cp - gs://bucket/templates/") == 3
    assert done.stdout.count("gcloud builds submit") == 1


PATTERNS = ["*", "a?", "a b", "a\n", "a//b", "a#1", "[a]", "é", "a|b"]
IMAGES = ["l:1|_IMAGE=evil/a", "l 1", "l\t", "l\x07", "-l", "l$_TAG", "l\u00a0"]
URLS = ["https://a|_LAUNCHER=evil", "https://a b", "https://a\n", "https://a\x7f", "--find-links", "a", "https://$_TAG"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (IMAGE[1:], "--image is missing"),
        (["--image=r/a:tag", *IMAGE[1:]], "without a tag"),
        (["--image=r/a@sha256:1", *IMAGE[1:]], "without a tag or a digest"),
        ([IMAGE[0], IMAGE[2]], "--tag=: expected a version"),
        (IMAGE[:2], "--templates=: expected gs://"),
        ([*IMAGE[:2], "--templates=here"], "--templates=here: expected gs://"),
        ([*IMAGE, "classify"], "classify: --help says"),
        (["--image=-r/a", *IMAGE[1:]], "--image=-r/a: expected REGISTRY"),
        (["--image=r/-a", *IMAGE[1:]], "--image=r/-a: expected REGISTRY"),
        (["--image=r/a|_TAG=b", *IMAGE[1:]], "--image=r/a|_TAG=b: expected REGISTRY"),
        ([IMAGE[0], "--tag=a|_LAUNCHER=b", IMAGE[2]], "--tag=a|_LAUNCHER=b: expected a version"),
        *(([*IMAGE[:2], f"--templates=gs://bucket/{name}"], "expected gs://BUCKET/FOLDER") for name in PATTERNS),
        *(([*IMAGE, f"--launcher={name}"], f"--launcher={name}: expected an image") for name in IMAGES),
        *(
            ([*IMAGE, "--launcher=l:1", f"--torch_index={url}"], f"--torch_index={url}: expected the URL")
            for url in URLS
        ),
        ([*IMAGE, "--launcher=l:1", "--project=a b"], "--project=a b: expected the id of a project"),
        ([*IMAGE, IMAGE[1]], "--tag is given twice"),
        ([*IMAGE, "--launcher=l:1", "--torch_index=", "--torch_index=https://a"], "--torch_index is given twice"),
        ([*IMAGE, "--dry_run", "--dry_run"], "--dry_run is given twice"),
    ],
)
def test_a_build_that_is_wrong_ends_with_a_sentence(scripts, words, sentence):
    done = scripts.run(BUILD, *words)
    assert done.returncode == 2 and not scripts.calls() and sentence in done.stderr


METADATA_FILE = str(FOLDER / "templates" / "classify.json")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "0 words: expected IMAGE METADATA.json"),
        (["r/a"], "1 words: expected IMAGE METADATA.json"),
        (["r/a", METADATA_FILE, "b"], "3 words: expected IMAGE"),
        (["", METADATA_FILE], "'': expected an image"),
        (["-a", METADATA_FILE], "'-a': expected an image"),
        (["r/a b", METADATA_FILE], "'r/a b': expected an image"),
        (["r/a", "label"], "label: "),
        (["r/a", "../templates/classify"], "../templates/classify: "),
        (["r/a", str(FOLDER)], f"{FOLDER}: "),
        (["r/a", str(CLOUDBUILD)], f"{CLOUDBUILD}: "),
        (["r/a", "a\0b"], "a\0b: "),
    ],
)
def test_a_file_by_hand_that_is_wrong_ends_with_a_sentence(capsys, words, sentence):
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith(f"container_spec: {sentence}") and said.err.count("\n") == 1
    assert "expected" in said.err


def test_json_that_is_no_metadata_is_put_into_no_file(capsys, tmp_path):
    for text in ("[]", "{}", '"parameters"'):
        (tmp_path / "a.json").write_text(text)
        assert main(["r/a", str(tmp_path / "a.json")]) == 2
        assert "a.json has no parameters: expected a template's metadata" in capsys.readouterr().err


def test_the_recipe_is_a_build(scripts):
    (build,) = recipes(BUILD)
    words = [word.replace("REGISTRY/REPOSITORY", "registry.example/project") for word in build]
    assert scripts.run(BUILD, *words, "--dry_run").returncode == 0


def test_cloud_build_knows_every_field_of_its_file(tmp_path):
    here = Path(sys.executable).parent
    check = [str(here / "check-jsonschema"), "--builtin-schema", "vendor.cloudbuild"]
    wrong = tmp_path / "cloudbuild.yaml"
    wrong.write_text(CLOUDBUILD.read_text().replace("    args:", "    arg:"))
    done = [subprocess.run([*check, str(file)], capture_output=True, text=True) for file in (CLOUDBUILD, wrong)]
    assert [each.returncode for each in done] == [0, 1], done[0].stdout
    rules = "{extends: default, rules: {document-start: disable, line-length: {max: 120}}}"
    assert subprocess.run([here / "yamllint", "--strict", "-d", rules, CLOUDBUILD]).returncode == 0


def test_cloud_build_makes_both_images_of_the_template():
    told = yaml.safe_load(CLOUDBUILD.read_text())
    made = [
        next(arg.removeprefix("--tag=") for arg in step["args"] if arg.startswith("--tag=")) for step in told["steps"]
    ]
    assert made == told["images"] == ["$_IMAGE:$_TAG", "$_IMAGE:$_TAG-prepare"]
    targets = [arg for step in told["steps"] for arg in step["args"] if arg.startswith("--target=")]
    assert targets == ["--target=template", "--target=template-prepare"]
    arguments = {arg.split("=")[1] for step in told["steps"] for arg in step["args"] if arg.startswith("--build-arg=")}
    assert arguments == set(
        re.findall(r"^ARG (LAUNCHER|TORCH_INDEX)=", (DEPLOY.parent / "Dockerfile").read_text(), re.M)
    )
