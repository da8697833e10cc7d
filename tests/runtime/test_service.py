"""A service's life as a process: wrong settings, start, probes, stop."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from droveway.runtime.service import EX_CONFIG, EX_UNAVAILABLE
from tests.runtime.test_config_file import GOOD
from tests.support.nats import NatsServer

_PORT = re.compile(r'"admin_port": ?(\d+)')


class Limiter:
    """`python -m droveway.limiter` as a child."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        config = folder / "droveway.yaml"
        if not config.exists():
            config.write_text(GOOD)
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("DROVEWAY_", "OTEL_"))
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "droveway.limiter"],
            env={
                **inherited, "DROVEWAY_CONFIG": str(config), "DROVEWAY_LOG_FORMAT": "json",
                "DROVEWAY_DRAIN_S": "2", **environment,
            },
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        self.lines: list[str] = []

    def until_line(self, part: str) -> str:
        """Reads its log as far as a line that holds `part`."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if part in line:
                return line
        raise AssertionError(f"no {part!r} in {self.lines}")

    def ended(self) -> tuple[int, str]:
        """Its exit code and the rest of what it said."""
        _, rest = self.process.communicate(timeout=10)
        return self.process.returncode, "".join(self.lines) + rest

    def admin(self, path: str) -> tuple[int, str]:
        match = _PORT.search(self.until_line("service_started"))
        assert match is not None
        with urllib.request.urlopen(f"http://127.0.0.1:{match[1]}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[list[Limiter]]:
    started: list[Limiter] = []
    yield started
    for limiter in started:
        if limiter.process.poll() is None:
            limiter.process.kill()
            limiter.process.communicate()


WRONG: dict[str, tuple[dict[str, str], str, str, str]] = {
    "configuration": ({}, "routes: 5", "limiter: ", "expected"),
    "port": ({"DROVEWAY_LIMITER_ADMIN_PORT": "x"}, GOOD, "LIMITER_ADMIN_PORT='x'", "`int`"),
    "log level": ({"DROVEWAY_LOG_LEVEL": "loud"}, GOOD, "LOG_LEVEL='loud'", "debug, info"),
    "log format": ({"DROVEWAY_LOG_FORMAT": "xml"}, GOOD, "LOG_FORMAT='xml'", "json or text"),
    "seed file": ({"DROVEWAY_LIMITER_NATS_NKEY_FILE": "/no/seed"}, GOOD, "NATS", "/no/seed"),
}


@pytest.mark.parametrize(("environment", "config", "place", "advice"), WRONG.values(), ids=WRONG)
def test_a_wrong_setting_ends_the_start_with_78_and_one_line(
    environment: dict[str, str], config: str, place: str, advice: str,
    tmp_path: Path, start: list[Limiter],
) -> None:  # fmt: skip
    (tmp_path / "droveway.yaml").write_text(config)
    start.append(Limiter(tmp_path, {"DROVEWAY_NATS_URL": "nats://127.0.0.1:1", **environment}))
    code, said = start[0].ended()
    told = [line for line in said.splitlines() if line.startswith("droveway limiter: ")]
    assert code == EX_CONFIG
    assert len(told) == 1
    assert place in told[0]
    assert advice.lower() in told[0].lower()
    assert "Traceback" not in said


def test_a_running_service_serves_its_probes_and_stops_on_sigterm(
    nats: NatsServer, tmp_path: Path, start: list[Limiter]
) -> None:
    start.append(Limiter(tmp_path, nats.environment("limiter")))
    status, metrics = start[0].admin("/metrics")
    assert status == 200
    assert 'droveway_bus_connected{service="limiter"} 1.0' in metrics
    start[0].process.send_signal(signal.SIGTERM)
    code, said = start[0].ended()
    assert code == 0
    assert "service_stopped" in said
    assert "Traceback" not in said


def test_a_service_without_a_broker_still_stops_at_once(
    tmp_path: Path, start: list[Limiter]
) -> None:
    start.append(Limiter(tmp_path, {"DROVEWAY_NATS_URL": "nats://127.0.0.1:1"}))
    start[0].until_line("bus_error")
    began_s = time.monotonic()
    start[0].process.send_signal(signal.SIGTERM)
    code, _ = start[0].ended()
    assert code == 0
    assert time.monotonic() - began_s < 2


def test_configuration_errors_and_outages_have_codes_of_their_own() -> None:
    assert (EX_CONFIG, EX_UNAVAILABLE) == (78, 69)
