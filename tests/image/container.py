"""Images built by buildah, without a Docker engine, and processes in them, without a runtime.

What a registry would give is stood in for: the base by a Debian that debootstrap makes, with its Python; Beam's image
by `boot`, built from Beam's Go module in the Dockerfile's version; the launcher of templates by a script that starts
what Google's starts, with the flags that Google's adds, as far as is known. A process gets what a runtime would give
it: the image's files, read-only if asked for, its variables and working directory, a /tmp, a user, the machine's
network.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.image.names import ROOT, arguments

_INSIDE = """
set -eu
mount --make-rprivate /
mount --bind "$FILES" "$FILES"
mount -t tmpfs -o mode=1777 tmpfs "$FILES/tmp"
for each in $VOLUMES; do mkdir -p "$FILES$each"; done
[ -z "$READ_ONLY" ] || mount -o remount,bind,ro "$FILES"
mount -t proc proc "$FILES/proc"
mount --rbind /dev "$FILES/dev"
mount --bind /etc/hosts "$FILES/etc/hosts"
for each in $VOLUMES; do mount --bind "$each" "$FILES$each"; done
# Not exec: with this shell, which is still root's, all others end.
chroot --userspec="$USERSPEC" --groups= "$FILES" env -i "$@"
exit $?
"""


LAUNCHER = "launcher.example/python-template-launcher-base:1"
START = "/opt/google/dataflow/python_template_launcher"
LAUNCHING = r"""#!/bin/sh
# Parameters come as they are in the launch; what follows is Dataflow's.
exec python3 "$FLEX_TEMPLATE_PYTHON_PY_FILE" "$@" --runner=DataflowRunner --project=my-project --region=us-central1 \
    --job_name=launched --temp_location=gs://staging/temp --staging_location=gs://staging/staging \
    --template_location=gs://staging/job_object '--labels={"team": "data"}'
"""


def called(*words: str | Path, **how: Any) -> str:
    """What a command prints; raises with what it says where it fails."""
    done = subprocess.run([str(each) for each in words], capture_output=True, text=True, **how)
    assert done.returncode == 0, f"{words[0]}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


@dataclass(frozen=True)
class Image:
    """An image that was built, and its files."""

    name: str
    files: Path
    env: dict[str, str]
    user: str
    workdir: str
    entrypoint: list[str]

    def run(self, *words: str, **how: Any) -> subprocess.CompletedProcess[str]:
        """A command in it, to its end."""
        command, env = self._how(words, **how)
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)

    @contextmanager
    def running(self, *words: str, **how: Any) -> Iterator[subprocess.Popen[bytes]]:
        """A command in it, killed in the end with all that it started."""
        command, env = self._how(words, **how)
        with subprocess.Popen(command, env=env) as process:
            try:
                yield process
            finally:
                process.kill()

    def _how(
        self,
        words: Sequence[str],
        volumes: Sequence[Path] = (),
        read_only: bool = False,
        user: str | None = None,
        env: dict[str, str] | None = None,
    ) -> tuple[list[str], dict[str, str]]:
        variables = [f"{name}={value}" for name, value in {**self.env, **(env or {})}.items()]
        inside = [*variables, "/bin/sh", "-c", 'cd "$0" && exec "$@"', self.workdir, *words]
        space = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", _INSIDE, "inside"]
        outer = {
            "PATH": os.environ["PATH"],
            "FILES": str(self.files),
            "VOLUMES": " ".join(map(str, volumes)),
            "READ_ONLY": "yes" if read_only else "",
            "USERSPEC": user or self.user or "0:0",
        }
        return [*space, *inside], outer


class Store:
    """Images in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._where = [f"--root={folder / 'images'}", f"--runroot={folder / 'running'}"]

    def buildah(self, command: str, *words: str | Path) -> str:
        return called("buildah", *self._where, command, *words).strip()

    def stand_in(self) -> None:
        """The images that the Dockerfile is built from, as far as no registry gives them."""
        wanted = arguments()
        base, sdk = self._folder / "base", self._folder / "sdk"
        version = re.search(r":[\w.]+-slim-(\w+)$", wanted["BASE"])
        assert version is not None
        called("debootstrap", "--variant=minbase", "--include=python3,python3-venv,ca-certificates", version[1], base)
        beam = sdk / "opt" / "apache" / "beam"
        beam.mkdir(parents=True)
        module = f"github.com/apache/beam/sdks/v2@v{wanted['BEAM']}"
        source = Path(json.loads(called("go", "mod", "download", "-json", module))["Dir"])
        go = {**os.environ, "GOBIN": str(beam), "CGO_ENABLED": "0"}
        called("go", "install", module.replace("@", "/python/container@"), env=go)
        (beam / "container").rename(beam / "boot")
        shutil.copy(source / "LICENSE", beam / "LICENSE")
        (beam / "NOTICE").write_text("of the image that is stood in for\n")
        launcher = self._folder / "launcher"
        (launcher / START.lstrip("/")).parent.mkdir(parents=True)
        (launcher / START.lstrip("/")).write_text(LAUNCHING)
        (launcher / START.lstrip("/")).chmod(0o755)
        for name, folder in (
            (f"docker.io/library/{wanted['BASE']}", base),
            (f"docker.io/{wanted['SDK']}", sdk),
            (LAUNCHER, launcher),
        ):
            container = self.buildah("from", "scratch")
            self.buildah("add", "--quiet", container, folder, "/")
            self.buildah("commit", "--quiet", "--rm", container, name)
            shutil.rmtree(folder)

    def build(self, name: str, *words: str) -> Image:
        """`docker build`, as buildah does it, with this machine's settings of pip and its certificates."""
        settings = [each for each in ("/etc/pip.conf", "/etc/ssl/certs") if Path(each).exists()]
        volumes = [f"--volume={each}:{each}:ro" for each in settings]
        how = ["--isolation=chroot", "--network=host", "--pull-never", "--layers", *volumes]
        self.buildah("bud", *how, f"--tag={name}", *words, ROOT)
        config = json.loads(self.buildah("inspect", "--type=image", name))["OCIv1"]["config"]
        container = self.buildah("from", "--pull-never", f"localhost/{name}")
        return Image(
            name,
            Path(self.buildah("mount", container)),
            dict(each.split("=", 1) for each in config["Env"]),
            config.get("User", ""),
            config["WorkingDir"],
            config["Entrypoint"],
        )

    def remove(self) -> None:
        """All of it."""
        self.buildah("rm", "--all")
        self.buildah("rmi", "--all", "--force")
        shutil.rmtree(self._folder)
