"""The image: built from this tree, run read-only as its own user, and asked a question."""

import contextlib
import http.client
import importlib.metadata
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.container_image import Image, built, obstacle
from tests.support.simulator import payloads, spoken

pytestmark = [pytest.mark.ops, pytest.mark.timeout(600)]

REPOSITORY = Path(__file__).parents[2]
USER = "65532:65532"
STOP_LIMIT_S = 30


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    if reason := obstacle():
        pytest.skip(reason)
    with built(tmp_path_factory.mktemp("image")) as one:
        yield one


def test_the_dockerfile_has_no_findings() -> None:
    command = ["hadolint", "deploy/docker/Dockerfile"]
    outcome = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout


def test_it_starts_the_command_as_a_numeric_user(image: Image) -> None:
    assert image.config["User"] == USER
    assert image.config["Entrypoint"] == ["droveway"]
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.title"] == "droveway"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_it_tells_its_version(image: Image, tmp_path: Path) -> None:
    outcome = image.run(tmp_path, "droveway", "version")
    assert outcome.stdout == f"droveway {importlib.metadata.version('droveway')}\n", outcome.stderr


def test_it_has_neither_pip_nor_compiler_nor_sources(image: Image, tmp_path: Path) -> None:
    script = """
import importlib.util, shutil, sys
found = [name for name in ("cc", "gcc", "pip", "pip3", "make") if shutil.which(name)]
names = ("pip", "ensurepip", "setuptools", "hatchling")
print(found + [name for name in names if importlib.util.find_spec(name)])
"""
    assert image.run(tmp_path, "python", "-c", script).stdout == "[]\n"
    assert image.run(tmp_path, "ls", "/src", "/wheels").stdout == ""


def test_nothing_but_data_and_tmp_is_writable(image: Image, tmp_path: Path) -> None:
    owned = ("-user", "65532", "-o", "-perm", "-o+w", "-not", "-type", "l")
    found = image.run(tmp_path, "find", "/", "-xdev", *owned).stdout.split()
    assert set(found) == {"/tmp", "/data", "/run/lock", "/var/tmp"}
    outcome = image.run(tmp_path, "touch", "/opt/droveway/x", "/var/tmp/x", "/data/x", "/tmp/x")
    refused = re.findall(r"touch: cannot touch '([^']+)'", outcome.stderr)
    assert refused == ["/opt/droveway/x", "/var/tmp/x"]


def test_every_module_is_compiled_beforehand(image: Image, tmp_path: Path) -> None:
    script = """
import sys, droveway.cli.up, droveway.gateway.service
print(*(name for name, module in sys.modules.items()
        if (cached := getattr(module, "__cached__", None)) and name.startswith("droveway")
        and not __import__("os").path.exists(cached)))
"""
    outcome = image.run(tmp_path, "python", "-c", script)
    assert outcome.stdout.strip() == "", outcome.stdout
    assert outcome.returncode == 0, outcome.stderr


@contextlib.contextmanager
def up(image: Image, data: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The whole gateway in one container: its process and its port."""
    process = subprocess.Popen(
        image.command(data, "up", "--data", "/data", "--port", "0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = ""
    try:
        for line in process.stdout:
            said += line
            if address := re.match(r"http://127\.0\.0\.1:(\d+) ", line):
                yield process, int(address[1])
                break
        else:
            pytest.fail(f"not ready:\n{said}")
    finally:
        process.kill()
        process.communicate()


def ask(port: int, key: str) -> tuple[int, str]:
    """Status and body of a streamed chat completion."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = {"model": "sim-small", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_on_a_read_only_root_it_answers_a_streamed_request_and_stops(
    image: Image, tmp_path: Path
) -> None:
    with up(image, tmp_path) as (process, port):
        status, body = ask(port, (tmp_path / "key").read_text().strip())
        assert status == 200, body
        assert payloads(body)[-1] == "[DONE]"
        assert spoken(body)
        first = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        state = Path(f"/proc/{first}/status").read_text()
        assert "\nUid:\t65532\t65532\t65532\t65532\n" in state
        assert "\nCapEff:\t0000000000000000\n" in state
        assert re.search(r"\nNSpid:\t\d+\t1\n", state), "it isn't the container's first process"
        os.kill(first, signal.SIGTERM)
        assert process.wait(STOP_LIMIT_S) == 0
