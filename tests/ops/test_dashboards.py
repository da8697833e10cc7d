"""Every panel has something to show: a real Prometheus over a running stack is asked for each."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import msgspec
import pytest

from droveway.cli import ports
from droveway.contracts.access import Limit
from droveway.contracts.config import Config
from grafana import generate
from grafana.model import Panel, concrete
from tests.support.monitoring import hastened, prometheus, write_prometheus
from tests.support.nats import NatsServer
from tests.support.otlp import OtlpReceiver
from tests.support.simulator import chat_body
from tests.support.stack import Stack, running_stack

pytestmark = [pytest.mark.ops, pytest.mark.timeout(120)]

TIMES = 60
SERVICES = ("gateway", "router", "limiter", "caller", "metrics")
SHOWN_WITHIN_S = 40
GOOD, FAILING, LIMITED = "numbered-5", "fault-503", "numbered-7"
ONLY_IN_TROUBLE = {"Alerts that fire", "Budgets"}
"""Panels of series that a stack without trouble doesn't have."""


def questions() -> Iterator[tuple[str, str]]:
    """Each expression by its place, with windows as short as the test."""
    for dashboard in generate.DASHBOARDS:
        for item in dashboard.content:
            if isinstance(item, Panel) and item.title not in ONLY_IN_TROUBLE:
                for query in item.queries:
                    place = f"{dashboard.uid}: {item.title}: {query.legend}"
                    yield place, hastened(concrete(query.expr), TIMES)


async def keep_asking(stack: Stack) -> None:
    """Streams and whole answers out of a cache, a failing model, a limit, an overlong path."""
    prompt = "word " * 3_000
    bodies = (
        chat_body(GOOD, prompt, stream=True),
        chat_body(GOOD, prompt),
        chat_body(FAILING),
        chat_body(LIMITED),
    )
    async with stack.client() as client:
        while True:
            for body in bodies:
                await client.post("/v1/chat/completions", json=body)
            await client.get("/v1/" + "x" * 10_000)
            await asyncio.sleep(0.1)


def limited(config: Config) -> Config:
    """One model may be asked once."""
    limit = Limit(requests=1, window_s=600, model=LIMITED)
    return msgspec.structs.replace(config, limits=(*config.limits, limit))


async def empty(url: str) -> set[str]:
    """Places whose expression has no result yet."""
    found = set()
    async with httpx.AsyncClient(base_url=url) as client:
        for place, expr in questions():
            answer = await client.get("/api/v1/query", params={"query": expr})
            assert answer.status_code == 200, f"{place}: {answer.text}"
            if not answer.json()["data"]["result"]:
                found.add(place)
    return found


async def test_every_panel_has_something_to_show(
    nats: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = {name: ports.free() for name in SERVICES}
    told = {f"DROVEWAY_{name.upper()}_ADMIN_PORT": str(port) for name, port in admin.items()}
    told["DROVEWAY_METRICS_DATABASE"] = f"sqlite:///{tmp_path}/ledger.db"
    async with OtlpReceiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        async with running_stack(
            nats, tmp_path, simulators=2, configure=limited, environment=told
        ) as stack:
            with ExitStack() as programs:
                jobs = {"droveway": [*admin.values()]}
                config = write_prometheus(tmp_path / "prometheus", jobs, "127.0.0.1:9", TIMES)
                url = await asyncio.to_thread(programs.enter_context, prometheus(config))
                asking = asyncio.create_task(keep_asking(stack))
                try:
                    await until_shown(url)
                finally:
                    asking.cancel()
                    await asyncio.gather(asking, return_exceptions=True)


async def until_shown(url: str) -> None:
    """Returns once every panel shows something; else names those that don't."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + SHOWN_WITHIN_S
    while missing := await empty(url):
        assert loop.time() < until_s, missing
        await asyncio.sleep(0.5)
