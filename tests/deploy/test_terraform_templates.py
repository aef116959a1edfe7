"""deploy/terraform/modules/templates: what it writes is what deploy/dataflow/container_spec.py does."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.dataflow.container_spec import container_spec
from tests.deploy.hcl import EXAMPLE, SHOWN, module, named, parsed, resource
from tests.deploy.scripted import DEPLOY

IMAGES = {"classify": f"i@sha256:{'a' * 64}", "stream": f"i@sha256:{'b' * 64}", "prepare": f"i@sha256:{'c' * 64}"}


def terraform(folder: Path, *words: str) -> str:
    done = subprocess.run(["terraform", *words], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("terraform") is None, reason="Terraform is not on this machine")
def test_a_template_is_as_the_script_writes_it(tmp_path):
    """The values alone, without the bucket: no provider is needed."""
    (tmp_path / "dataflow").symlink_to(DEPLOY / "dataflow")
    folder = tmp_path / "terraform" / "modules" / "templates"
    folder.mkdir(parents=True)
    for name in ("specs.tf", "variables.tf"):
        shutil.copy(DEPLOY / "terraform" / "modules" / "templates" / name, folder)
    outputs = [f'output "{name}" {{\n  value = local.{name}\n}}\n' for name in ("specs", "objects")]
    (folder / "outputs.tf").write_text("\n".join(outputs))
    (folder / "terraform.tfvars.json").write_text(json.dumps({"bucket": "models", "images": IMAGES}))
    terraform(folder, "init", "-backend=false")
    terraform(folder, "plan", "-input=false", "-out=plan")
    planned = json.loads(terraform(folder, "show", "-json", "plan"))["planned_values"]["outputs"]
    for name, image in IMAGES.items():
        metadata = json.loads((DEPLOY / "dataflow" / "templates" / f"{name}.json").read_text())
        assert planned["specs"]["value"][name] == container_spec(image, metadata)
    assert planned["objects"]["value"]["stream"] == f"templates/stream-{'b' * 64}.json"


def test_it_is_written_to_the_bucket_and_stays_there():
    written = resource("templates", "google_storage_bucket_object", "templates")
    assert written["for_each"] == "${local.specs}" and written["content"] == "${jsonencode(each.value)}"
    assert written["name"] == "${local.objects[each.key]}"
    assert written["deletion_policy"] == "ABANDON", "an execution that is at work launches it"


@pytest.mark.parametrize(
    ("tree", "jobs"),
    [
        (module(EXAMPLE), {"night": "classify", "stream": "stream"}),
        (parsed(SHOWN[0]), {"night": "classify"}),
        (parsed(SHOWN[1]), {"stream": "stream"}),
    ],
    ids=["example", "night", "stream"],
)
def test_launchers_and_workers_have_one_image(tree, jobs):
    called = named(tree, "module")
    assert called["templates"]["images"] == dict.fromkeys(jobs.values(), "${var.image}")
    for job, template in jobs.items():
        path = called[job]["container_spec_gcs_path"].replace("[0]", "")
        assert path == f'${{module.templates.paths["{template}"]}}' and called[job]["image"] == "${var.image}"
