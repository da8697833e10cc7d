"""Debian's Prometheus and Alertmanager on the repository's own files, and who hears of alerts."""

import asyncio
import re
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml
from aiohttp import web

from droveway.cli import ports

REPOSITORY = Path(__file__).parents[2]
PROMETHEUS = REPOSITORY / "otel/prometheus"
ALERTMANAGER = REPOSITORY / "otel/alertmanager/alertmanager.yaml"
RULES = sorted((PROMETHEUS / "rules").glob("*.yaml"))
READY_WITHIN_S = 20
_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
# What is a duration: `5m` alone as a value, in a range, behind `offset`.
_DURATION = re.compile(
    r"(?P<before>(?:interval|for|wait|timeout): |\[|offset )(?P<number>\d+)(?P<unit>ms|s|m|h|d)\b"
)


def rules_of(path: Path) -> Iterator[dict[str, Any]]:
    """All rules of a file."""
    for group in yaml.safe_load(path.read_text())["groups"]:
        yield from group["rules"]


def alerts() -> dict[str, dict[str, Any]]:
    """All alerting rules by name."""
    found = {}
    for path in RULES:
        for rule in rules_of(path):
            if "alert" in rule:
                assert rule["alert"] not in found, rule["alert"]
                found[rule["alert"]] = rule
    return found


def hastened(text: str, times: int) -> str:
    """The same file with every duration divided: hours of a rule pass in a test's seconds."""

    def shorter(match: re.Match[str]) -> str:
        ms = int(match["number"]) * _UNITS_MS[match["unit"]] // times
        assert ms, match[0]
        return f"{match['before']}{ms}ms"

    return _DURATION.sub(shorter, text)


def write_prometheus(
    folder: Path, targets: Mapping[str, Sequence[int]], alertmanager: str, times: int
) -> Path:
    """prometheus.yaml and the rules, hastened, with the ports of running services by job."""
    (folder / "rules").mkdir(parents=True)
    for path in RULES:
        (folder / "rules" / path.name).write_text(hastened(path.read_text(), times))
    config = yaml.safe_load(hastened((PROMETHEUS / "prometheus.yaml").read_text(), times))
    (manager,) = config["alerting"]["alertmanagers"]
    manager["static_configs"] = [{"targets": [alertmanager.removeprefix("http://")]}]
    for job in config["scrape_configs"]:
        job.pop("scrape_interval", None)  # 12 times a second is too often for a busy machine
        found = targets.get(job["job_name"], ())
        job["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in found]}]
    file = folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


def write_alertmanager(folder: Path, webhook: str, times: int) -> Path:
    """alertmanager.yaml, hastened, with an address for both receivers."""
    config = yaml.safe_load(hastened(ALERTMANAGER.read_text(), times))
    for receiver in config["receivers"]:
        receiver["webhook_configs"] = [{"url": f"{webhook}/{receiver['name']}"}]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "alertmanager.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


@contextmanager
def prometheus(config: Path) -> Iterator[str]:
    """A running Prometheus; its URL."""
    port = ports.free()
    options = (
        f"--config.file={config}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--storage.tsdb.path={config.parent / 'data'}",
        "--storage.tsdb.retention.time=7d",
        "--web.enable-lifecycle",
    )
    with _running(("prometheus", *options), config.parent, port) as url:
        yield url


@contextmanager
def alertmanager(config: Path) -> Iterator[str]:
    """A running Alertmanager; its URL."""
    port = ports.free()
    options = (
        f"--config.file={config}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        f"--storage.path={config.parent / 'alerts'}",
    )
    with _running(("prometheus-alertmanager", *options), config.parent, port) as url:
        yield url


@contextmanager
def _running(command: Sequence[str], folder: Path, port: int) -> Iterator[str]:
    url = f"http://127.0.0.1:{port}"
    output = folder / f"{command[0]}.txt"
    with (
        output.open("wb") as file,
        subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT) as process,
    ):
        try:
            until_s = time.monotonic() + READY_WITHIN_S
            while not _is_ready(url):
                assert process.poll() is None, output.read_text()
                assert time.monotonic() < until_s, output.read_text()
                time.sleep(0.05)  # another program's start can't be awaited otherwise
            yield url
        finally:
            process.kill()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready").status_code == 200
    except httpx.HTTPError:
        return False


class Webhook:
    """Whoever is woken up: remembers what Alertmanager posted, by receiver."""

    def __init__(self) -> None:
        self.url = ""
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self._more = asyncio.Event()

    async def until(self, alert: str, status: str, within_s: float) -> dict[str, Any]:
        """The first message about an alert in a status; its receiver is among its fields."""
        async with asyncio.timeout(within_s):
            while True:
                for _receiver, message in self.posted:
                    named = message["commonLabels"].get("alertname") == alert
                    if named and message["status"] == status:
                        return message
                self._more.clear()
                await self._more.wait()

    def told(self, receiver: str) -> set[str]:
        """Names of the alerts that a receiver has heard of."""
        return {
            alert["labels"]["alertname"]
            for name, message in self.posted
            for alert in message["alerts"]
            if name == receiver
        }

    async def take(self, request: web.Request) -> web.Response:
        """One POST of Alertmanager."""
        self.posted.append((request.match_info["receiver"], await request.json()))
        self._more.set()
        return web.Response()


@asynccontextmanager
async def webhook() -> AsyncIterator[Webhook]:
    """A server that Alertmanager can post to."""
    heard = Webhook()
    app = web.Application()
    app.router.add_post("/{receiver}", heard.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        heard.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield heard
    finally:
        await runner.cleanup()
