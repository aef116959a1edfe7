"""What is refused before anything is planned or sent: code 2, one sentence, no question to the service, no file."""

import time

import fsspec
import pytest

from tests.dataflow.cloud import BUCKET

pytestmark = [pytest.mark.dataflow, pytest.mark.engine]

GIVEN = ("--input=gs://corpus/refused/*.jsonl", "--output=gs://corpus/refused/out")


@pytest.mark.parametrize(
    ("name", "without", "more", "said"),
    [
        ("classify", "--project", [], "--project"),
        ("classify", "--region", [], "--region"),
        ("classify", "--temp_location", [], "--temp_location"),
        ("prepare", "--sdk_container_image", [], "--sdk_container_image"),
        ("classify", "--region", ["--region=us-central1-a"], "--region=us-central1-a"),
        ("classify", "--temp_location", ["--temp_location=gs://nobody-has-this/temp"], "nobody-has-this"),
        ("prepare", "--runner", ["--runner=Dataflo"], "--runner=Dataflo"),
        ("classify", "", ["--gpu=nvidia-l4", "--resource_hint=accelerator=type:nvidia-l4;count:1"], "--resource_hint"),
        ("classify", "", ["--output=here"], "--output=here"),
        ("classify", "", ["--input=-"], "--input=-"),
        ("evaluate", "", ["--label_column=label"], "--output"),
    ],
)
def test_what_cannot_be_sent(cloud, name, without, more, said):
    flags = [each for each in cloud.flags() if not (without and each.startswith(f"{without}="))]
    given = GIVEN[:1] if name == "evaluate" else GIVEN
    began = time.monotonic()
    end = cloud.run(name, *given, *flags, *more)
    assert end.code == (1 if "nobody" in said else 2), end.said
    assert said in end.last and "Traceback" not in end.said, end.said
    assert time.monotonic() - began < 20  # the search for credentials, as Beam does it, takes 28 s
    assert cloud.double.asked == [] and fsspec.filesystem("gs").find(f"{BUCKET}/refused") == []


def test_without_credentials_it_is_said_at_once(cloud, monkeypatch, tmp_path):
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    began = time.monotonic()
    end = cloud.run("classify", *GIVEN, *cloud.flags())
    assert end.code == 2 and "no credentials for Google Cloud" in end.last, end.said
    assert len(end.said.strip().splitlines()) == 1 and time.monotonic() - began < 20
