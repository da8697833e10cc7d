"""Builds the image from this tree without an engine, and runs it as a strict cluster would.

`buildah` builds on a Debian base of `mmdebstrap`'s; a container is then a mount and process
namespace with the image's root mounted read-only, the image's user and no way to new privileges.
Only the network is the machine's: a test talks to it over loopback.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).parents[2]
BASE_PACKAGES = "python3,python3-venv,ca-certificates"
TAG = "localhost/droveway:test"

_ENTER = """
root=$1 data=$2 user=$3 folder=$4
shift 4
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o size=64m,mode=1777 tmpfs "$root/tmp"
mount --bind "$data" "$root/data"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
exec setpriv --no-new-privs chroot --userspec="$user" --groups="${user#*:}" "$root" \
    /usr/bin/env -i -C "$folder" "$@"
"""


class Image(NamedTuple):
    """A built image, its root file system mounted."""

    root: Path
    config: dict[str, Any]
    """As in the OCI image specification: `User`, `Env`, `Entrypoint`, `Labels`."""

    def command(self, data: Path, *arguments: str) -> list[str]:
        """What runs the image with these arguments and `data` as its volume."""
        return self._enter(data, *self.config["Entrypoint"], *arguments)

    def run(self, data: Path, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs another program of the image in the same way, to its end."""
        return subprocess.run(
            self._enter(data, *command), capture_output=True, text=True, timeout=60, check=False
        )

    def _enter(self, data: Path, *command: str) -> list[str]:
        user, folder = self.config["User"], self.config["WorkingDir"]
        uid, _, gid = user.partition(":")
        os.chown(data, int(uid), int(gid))
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        inside = [str(self.root), str(data), user, folder, *self.config["Env"], *command]
        return [*namespaces, "sh", "-euc", _ENTER, "sh", *inside]


def obstacle() -> str:
    """Why images can't be built here; empty when they can."""
    if os.geteuid() != 0:
        return "needs root"
    if sys.version_info[:2] != (3, 11):
        return "needs Python 3.11, as the Debian base has it: the wheels are fetched by this one"
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False
    )
    return tried.stderr.decode().strip() and "needs mount namespaces (a privileged container)"


@contextmanager
def built(folder: Path) -> Iterator[Image]:
    """Builds the image in `folder`; takes some 80 s and 1.5 GB."""
    wheels = _start_wheelhouse(folder)
    buildah = _Buildah(folder)
    try:
        _make_base(folder, buildah)
        assert wheels.wait() == 0, (folder / "wheels.log").read_text()[-3000:]
        _build(folder, buildah)
        container = buildah("from", "--pull=never", TAG)
        root = Path(buildah("mount", container))
        inspected = json.loads(buildah("inspect", "--type", "image", TAG))
        yield Image(root, inspected["OCIv1"]["config"])
    finally:
        wheels.kill()
        wheels.wait()
        buildah("rm", "--all")
        buildah("rmi", "--all", "--force")


class _Buildah:
    """`buildah` with a store of its own, so that the machine's stays as it was."""

    def __init__(self, folder: Path) -> None:
        self._store = ["--root", str(folder / "store"), "--runroot", str(folder / "run")]

    def __call__(self, *arguments: str) -> str:
        outcome = subprocess.run(
            ["buildah", *self._store, "--storage-driver", "vfs", *arguments],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert outcome.returncode == 0, f"buildah {arguments[0]}: {outcome.stderr[-3000:]}"
        return outcome.stdout.strip()


def _start_wheelhouse(folder: Path) -> subprocess.Popen[bytes]:
    """Fetches all that the build installs, so that the build itself needs no network."""
    constraints = ["constraints-build.txt", "constraints.txt"]
    pip = f"{folder}/pip/bin/python -m pip --disable-pip-version-check"
    hashed = "--quiet --no-deps --require-hashes"
    requirements = " ".join(f"--requirement {REPOSITORY / name}" for name in constraints)
    script = f"""
    {sys.executable} -m venv {folder}/pip
    {pip} install {hashed} --requirement {REPOSITORY / constraints[0]}
    {pip} download {hashed} --no-build-isolation --dest {folder}/wheels {requirements}
    """
    with (folder / "wheels.log").open("wb") as log:
        return subprocess.Popen(["sh", "-euc", script], stdout=log, stderr=log, cwd=folder)


def _make_base(folder: Path, buildah: _Buildah) -> None:
    archive = folder / "base.tar"
    made = subprocess.run(
        ["mmdebstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", "bookworm", str(archive)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr[-3000:]
    container = buildah("from", "scratch")
    buildah("add", container, str(archive), "/")
    archive.unlink()
    buildah("commit", "--rm", container, "localhost/base:bookworm")


def _build(folder: Path, buildah: _Buildah) -> None:
    arguments = {
        "BASE": "localhost/base:bookworm",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "/wheelhouse",
    }
    told = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    buildah(
        *("bud", "--isolation", "chroot", "--layers=false", "--pull-never"),
        *("--volume", f"{folder / 'wheels'}:/wheelhouse:ro", *told),
        *("--file", "deploy/docker/Dockerfile", "--tag", TAG, "."),
    )
