"""`droveway up` as a newcomer types it: real services, a real broker, the simulator."""

import http.client
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("droveway")
SERVICES = ("gateway", "router", "limiter", "caller", "metrics")
LIMIT_S = 20
ANY_PORT = {f"DROVEWAY_{name.upper()}_ADMIN_PORT": "0" for name in SERVICES} | {
    "DROVEWAY_GATEWAY_PORT": "0",
    "DROVEWAY_SIMULATOR_PORT": "0",
    "DROVEWAY_SIMULATOR_FIRST_TOKEN_MS": "5",
    "DROVEWAY_SIMULATOR_TOKEN_INTERVAL_MS": "1",
}


class Up:
    """A running `droveway up` and what it has printed so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.text = ""

    def until(self, pattern: str) -> re.Match[str]:
        """Reads until a line has `pattern`; pytest's time-out ends a wait in vain."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.text += line
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"no line has {pattern!r}:\n{self.text}")

    def stop(self) -> int:
        """One SIGTERM, and the exit code."""
        self.process.terminate()
        assert self.process.stdout is not None
        self.text += self.process.stdout.read()
        return self.process.wait(LIMIT_S)

    def family(self) -> dict[int, str]:
        """Names of the processes that it has started."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {int(word): Path(f"/proc/{word}/comm").read_text().strip() for word in children}


@contextmanager
def up(folder: Path, *arguments: str, **environment: str) -> Iterator[Up]:
    inherited = {name: text for name, text in os.environ.items() if "_API_KEY" not in name}
    process = subprocess.Popen(
        [COMMAND, "up", *arguments],
        cwd=folder,
        env=inherited | ANY_PORT | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield Up(process)
        finally:
            process.kill()


def ask(port: int, key: str) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    body = {"model": "sim-small", "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, response.headers["x-request-id"], response.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("mode", ["processes", "one process"])
def test_the_demo_shows_tokens_times_cost_key_and_command(tmp_path: Path, mode: str) -> None:
    arguments = ["--one-process"] if mode == "one process" else []
    with up(tmp_path, "--demo", *arguments) as run:
        run.until("Ctrl-C stops all")
        assert len(run.family()) == (2 if mode == "one process" else 7)
        assert run.stop() == 0
    key = (tmp_path / ".droveway" / "key").read_text().strip()
    assert "stream true".replace(" ", "=") in run.text
    assert re.search(r"completed.* HTTP 200", run.text)
    for phase in ("auth", "body", "enqueue", "limit", "route", "attempt 1", "first token"):
        assert re.search(rf"^ *{phase} +\d", run.text, re.MULTILINE), phase
    assert re.search(r"\d+ input tokens .* output tokens, \$0\.0", run.text)
    assert f"Bearer {key}" in run.text
    assert "curl -N http://127.0.0.1:" in run.text
    assert run.text.endswith("stopped\n")
    assert "Traceback" not in run.text


def test_the_lines_for_nats_work_as_they_are_printed(tmp_path: Path) -> None:
    with up(tmp_path) as run:
        subject = run.until(r"^nats  nats://127\.0\.0\.1:\d+  subject (\S+)")[1]
        arguments = run.until(r"^\S*droveway (ask .*)")[1].split()
        line = shlex.split(run.until(r"^nats --server .*")[0])
        options = dict(zip(line[1:9:2], line[2:9:2], strict=True))
        seed = tmp_path / options["--nkey"]
        assert seed.stat().st_mode & 0o777 == 0o600
        assert options["--inbox-prefix"] == f"_INBOX.t.{subject.split('.')[3]}"
        assert line[9:11] == ["req", subject]
        assert json.loads(line[11])["model"] == "sim-small"
        run.until("Ctrl-C stops all")
        asked = subprocess.run(
            [COMMAND, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert re.search(r"\d+ tokens by simulator, req_", asked.stdout)
        assert run.stop() == 0


def test_a_restart_keeps_key_seeds_and_rows(tmp_path: Path) -> None:
    with up(tmp_path) as first:
        port = int(first.until(r"http://127\.0\.0\.1:(\d+)")[1])
        key = first.until(r"^key +(\S+)")[1]
        status, request_id, _answer = ask(port, key)
        assert status == 200
        first.until("Ctrl-C stops all")
        assert first.stop() == 0
    with up(tmp_path) as second:
        assert second.until(r"^key +(\S+)")[1] == key
        assert "stream USAGE: unchanged" in second.text
        second.until("Ctrl-C stops all")
        shown = subprocess.run(
            [COMMAND, "trace", request_id], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert f"{request_id} chat.completions sim-small whole: completed" in shown.stdout
        assert second.stop() == 0


def test_an_applied_configuration_that_differs_from_the_file_is_told(tmp_path: Path) -> None:
    def config(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [COMMAND, "config", *words],
            cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip

    with up(tmp_path) as run:
        run.until("Ctrl-C stops all")
        file = tmp_path / "other.yaml"
        file.write_text(config("show").stdout + "usd_cny: 6.5\n")
        assert "adopted by 5 of 5 in" in config("apply", str(file)).stderr
        assert run.stop() == 0
        assert "holds instead of the file" not in run.text
    with up(tmp_path) as run:
        run.until(r"revision 1 of the configuration, version [0-9a-f]{12}, holds instead of the ")
        run.until("Ctrl-C stops all")
        assert "adopted by 5 of 5 in" in config("release").stderr
        assert run.stop() == 0


def test_nothing_outlives_a_killed_parent(tmp_path: Path) -> None:
    with up(tmp_path) as run:
        run.until("Ctrl-C stops all")
        family = run.family()
        assert "nats-server" in family.values()
        run.process.kill()
        run.process.wait()
        until_s = time.monotonic() + LIMIT_S
        while any(Path(f"/proc/{pid}").exists() for pid in family):
            assert time.monotonic() < until_s
            time.sleep(0.02)


def test_a_killed_broker_comes_back_and_requests_go_on(tmp_path: Path) -> None:
    with up(tmp_path) as run:
        port = int(run.until(r"http://127\.0\.0\.1:(\d+)")[1])
        key = run.until(r"^key +(\S+)")[1]
        run.until("Ctrl-C stops all")
        (broker,) = [pid for pid, name in run.family().items() if name == "nats-server"]
        os.kill(broker, signal.SIGKILL)
        run.until(r"nats-server has ended \(SIGKILL\)")
        until_s = time.monotonic() + LIMIT_S
        while ask(port, key)[0] != 200:
            assert time.monotonic() < until_s
            time.sleep(0.05)
        assert run.stop() == 0


def test_provider_keys_are_written_nowhere(tmp_path: Path) -> None:
    with up(tmp_path, OPENAI_API_KEY="sk-canary", OPENAI_BASE_URL="http://127.0.0.1:9/v1") as run:
        run.until("Ctrl-C stops all")
        assert "providers openai" in run.text
        assert "sk-canary" not in run.text
        (broker,) = [pid for pid, name in run.family().items() if name == "nats-server"]
        assert Path(f"/proc/{broker}/environ").read_bytes() == b""
        for path in (tmp_path / ".droveway").rglob("*"):
            assert not path.is_file() or b"sk-canary" not in path.read_bytes(), path
        assert run.stop() == 0


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with up(tmp_path, "--port", str(port)) as run:
            run.until(f"port {port} on 127.0.0.1 is taken; choose another with --port")
            assert run.process.wait(LIMIT_S) == 78


def test_two_on_one_folder_are_refused(tmp_path: Path) -> None:
    with up(tmp_path) as first:
        first.until("Ctrl-C stops all")
        with up(tmp_path) as second:
            second.until("in use by another `droveway up`")
            assert second.process.wait(LIMIT_S) == 78
        assert first.stop() == 0
