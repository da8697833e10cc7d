"""The admin port tells what fails; every bound is a metric."""

from functools import partial
from typing import NamedTuple

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from droveway.runtime.deadline import Deadline
from droveway.runtime.errors import SettingsError
from droveway.runtime.gauges import Gauges
from droveway.runtime.probes import Check, serving


class Snapshot(NamedTuple):
    running: int
    handled: int
    connected: bool


async def get(port: int, path: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def test_readiness_names_what_fails() -> None:
    reasons = {"nats": "", "usage": ""}
    checks: dict[str, Check] = {name: partial(reasons.__getitem__, name) for name in reasons}
    async with serving("127.0.0.1", 0, CollectorRegistry(), checks) as port:
        assert await get(port, "/livez") == (200, '{"status": "live"}')
        assert (await get(port, "/readyz"))[0] == 200
        reasons["nats"] = "no connection to NATS"
        status, text = await get(port, "/readyz")
        assert status == 503
        assert text == '{"status": "unready", "failing": {"nats": "no connection to NATS"}}'
        assert (await get(port, "/livez"))[0] == 200
        assert (await get(port, "/other"))[0] == 404


async def test_a_taken_port_is_a_settings_error() -> None:
    async with serving("127.0.0.1", 0, CollectorRegistry(), {}) as port:
        with pytest.raises(SettingsError, match=f"admin port 127.0.0.1:{port}"):
            async with serving("127.0.0.1", port, CollectorRegistry(), {}):
                pass


async def test_metrics_are_served_as_prometheus_reads_them() -> None:
    registry, gauges = CollectorRegistry(), Gauges("caller")
    registry.register(gauges)
    gauges.add("consumer", lambda: Snapshot(3, 7, True), {"consumer": "dispatch"})
    gauges.add("consumer", lambda: Snapshot(1, 2, False), {"consumer": "other"})
    gauges.add("nothing", lambda: None)
    async with serving("127.0.0.1", 0, registry, {}) as port:
        _, text = await get(port, "/metrics")
    labels = 'consumer="dispatch",service="caller"'
    assert f"droveway_consumer_running{{{labels}}} 3.0" in text
    assert f"droveway_consumer_handled_total{{{labels}}} 7.0" in text
    assert f"droveway_consumer_connected{{{labels}}} 1.0" in text
    assert 'consumer="other",service="caller"} 1.0' in text
    assert "nothing" not in text


def test_what_is_replaced_is_exposed_once() -> None:
    registry, gauges = CollectorRegistry(), Gauges("caller")
    registry.register(gauges)
    for running in (1, 2):
        gauges.replace("up", partial(Snapshot, running, 0, True), {"to": "a"})
    assert generate_latest(registry).decode().count('droveway_up_running{service="caller"') == 1


def test_a_deadline_counts_down_and_ends_at_nothing() -> None:
    deadline = Deadline.after_ms(60_000)
    assert 59_000 < deadline.remaining_ms() <= 60_000
    assert not deadline.passed
    over = Deadline.after_ms(-1)
    assert (over.remaining_ms(), over.remaining_s(), over.passed) == (0, 0.0, True)
