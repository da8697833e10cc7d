"""The admin port tells what fails; every bound is a metric."""

from functools import partial
from typing import NamedTuple

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from droveway.router.settings import RouterSettings
from droveway.runtime.deadline import Deadline
from droveway.runtime.errors import SettingsError
from droveway.runtime.gauge_texts import TEXTS
from droveway.runtime.gauges import Gauges, SettingGauges
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
        gauges.replace("up", [({"to": "a"}, partial(Snapshot, running, 0, True))])
    assert generate_latest(registry).decode().count('droveway_up_running{service="caller"') == 1


def test_a_deadline_counts_down_and_ends_at_nothing() -> None:
    deadline = Deadline.after_ms(60_000)
    assert 59_000 < deadline.remaining_ms() <= 60_000
    assert not deadline.passed
    over = Deadline.after_ms(-1)
    assert (over.remaining_ms(), over.remaining_s(), over.passed) == (0, 0.0, True)


class Timed(NamedTuple):
    age_s: float
    commit_s: float


async def test_seconds_are_spelt_out_and_help_says_what_is_meant() -> None:
    registry, gauges = CollectorRegistry(), Gauges("limiter")
    registry.register(gauges)
    gauges.add("directory", lambda: Timed(1.5, 0.25))
    text = generate_latest(registry).decode()
    assert 'droveway_directory_age_seconds{service="limiter"} 1.5' in text
    assert 'droveway_directory_commit_seconds_total{service="limiter"} 0.25' in text
    assert f"# HELP droveway_directory_age_seconds {TEXTS['directory']['age_s']}\n" in text


def test_each_number_that_may_be_set_is_a_gauge() -> None:
    registry = CollectorRegistry()
    registry.register(SettingGauges("router", RouterSettings(max_in_flight=7)))
    for setting, value in (("max_in_flight", 7), ("drain_s", 30)):
        labels = {"service": "router", "setting": setting}
        assert registry.get_sample_value("droveway_setting", labels) == value
    labels = {"service": "router", "setting": "nats_url"}
    assert registry.get_sample_value("droveway_setting", labels) is None


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        pytest.param("*/*", "text/plain; version=0.0.4", id="anything"),
        pytest.param(
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
            "application/openmetrics-text; version=1.0.0",
            id="prometheus",
        ),
        pytest.param("text/plain;version=0.0.4", "text/plain; version=0.0.4", id="text"),
        pytest.param(
            "application/openmetrics-text;version=x", "text/plain; version=0.0.4", id="nonsense"
        ),
    ],
)
async def test_a_scraper_gets_the_format_that_it_accepts(accept: str, content_type: str) -> None:
    registry = CollectorRegistry()
    Histogram("waited_seconds", "Waits.", registry=registry).observe(0.1, {"trace_id": "a" * 32})
    async with (
        serving("127.0.0.1", 0, registry, {}) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics", headers={"accept": accept}) as answer,
    ):
        text = await answer.text()
        assert answer.status == 200
        assert answer.headers["content-type"].startswith(content_type)
    assert text.endswith("# EOF\n") == content_type.startswith("application/openmetrics")
    assert ("trace_id" in text) == content_type.startswith("application/openmetrics")
