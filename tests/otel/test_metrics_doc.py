"""docs/guides/metrics.md names exactly what is exposed, and agrees with otel/conventions.yaml."""

import asyncio
import re
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from droveway.cli import ports
from droveway.contracts.config import Config, Price
from droveway.otel.spans import SpanStatistics
from droveway.runtime.gauges import Gauges
from tests.support.nats import NatsServer, nats  # noqa: F401
from tests.support.simulator import chat_body
from tests.support.stack import Stack, running_stack

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guides" / "metrics.md"
REGISTRY: dict[str, dict[str, Any]] = yaml.safe_load(
    (ROOT / "otel" / "conventions.yaml").read_text()
)["metrics"]
SERVICES = ("caller", "gateway", "limiter", "metrics", "router")
ROW = re.compile(r"^\| `((?:ai_api|droveway)_\w+)` \|(.*)\|(.*)\|(.*)\|(.*)\|$", re.MULTILINE)
COUNTED_WITHIN_S = 10
PRICED, UNPRICED = "numbered-5", "numbered-6"


class Entry(NamedTuple):
    """What is told of one metric."""

    type: str
    labels: frozenset[str]
    services: frozenset[str]


def documented() -> dict[str, Entry]:
    """The page's tables; gauges of ours carry the label `service` besides."""
    text = PAGE.read_text(encoding="utf-8")
    begins_at = text.index("## How the services stand")
    found = {}
    for row in ROW.finditer(text):
        name, kind, labels, services, meaning = (cell.strip() for cell in row.groups())
        assert meaning.endswith("."), name
        assert name not in found, f"{name} stands twice"
        common = {"service"} if row.start() > begins_at else set()
        where = SERVICES if services == "all" else services.split(", ")
        own = labels.split(", ") if labels else []
        found[name] = Entry(kind, frozenset({*own} | common), frozenset(where))
    return found


def read(exposition: dict[str, str]) -> dict[str, Entry]:
    """What services expose, by their names; samples of histograms count as one metric."""
    found: dict[str, Entry] = {}
    for service, text in exposition.items():
        for family in text_string_to_metric_families(text):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            known = found.get(name, Entry(family.type, frozenset(), frozenset()))
            found[name] = Entry(family.type, known.labels | labels, known.services | {service})
    return found


@pytest.fixture(scope="module")
def exposed(
    nats: NatsServer,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Entry]:
    """All services, each scraped once something of each kind has happened."""
    return read(asyncio.run(_scraped(nats, tmp_path_factory.mktemp("metrics"))))


async def _scraped(server: NatsServer, folder: Path) -> dict[str, str]:
    admin = {name: ports.free() for name in SERVICES}
    told = {f"DROVEWAY_{name.upper()}_ADMIN_PORT": str(port) for name, port in admin.items()}
    async with running_stack(server, folder, configure=_priced, environment=told) as stack:
        await _some_of_each_kind(stack)
        async with httpx.AsyncClient() as client, asyncio.timeout(COUNTED_WITHIN_S):
            # Asking is waiting enough: the services run on the loop that serves the page.
            while "ai_api_unpriced_tokens_total{" not in await _page(client, admin["metrics"]):
                pass
            return {name: await _page(client, port) for name, port in admin.items()}


async def _some_of_each_kind(stack: Stack) -> None:
    async with stack.client() as client:
        for model, stream in ((PRICED, False), (PRICED, True), (UNPRICED, False)):
            body = chat_body(model, stream=stream)
            assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
        assert (await client.get("/v1/" + "x" * 10_000)).status_code == 414


async def _page(client: httpx.AsyncClient, port: int) -> str:
    answer = await client.get(f"http://127.0.0.1:{port}/metrics")
    assert answer.status_code == 200, f"/metrics on {port}: {answer.status_code} {answer.text}"
    return answer.text


def _priced(config: Config) -> Config:
    prices = {PRICED: Price(input=1, output=2)}
    return msgspec.structs.replace(
        config,
        providers=tuple(msgspec.structs.replace(one, prices=prices) for one in config.providers),
    )


def of_spans() -> dict[str, Entry]:
    """What a service with an OTLP endpoint exposes besides."""
    found = {}
    for service in SERVICES:
        gauges = Gauges(service)
        gauges.add("spans", SpanStatistics)
        for family in gauges.collect():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found[name] = Entry(family.type, frozenset({"service"}), frozenset(SERVICES))
    return found


def test_the_page_names_exactly_what_is_exposed(exposed: dict[str, Entry]) -> None:
    assert documented().keys() == (exposed | of_spans()).keys()


def test_the_page_tells_type_labels_and_services(exposed: dict[str, Entry]) -> None:
    actual = exposed | of_spans()
    differing = {
        name: (entry, actual[name])
        for name, entry in documented().items()
        if name in actual and entry != actual[name]
    }
    assert differing == {}


def test_the_page_and_the_registry_agree() -> None:
    told = documented()
    differing = {
        name: (entry["type"], entry["labels"], entry["services"])
        for name, entry in REGISTRY.items()
        if told.get(name)
        != Entry(entry["type"], frozenset(entry["labels"]), frozenset(entry["services"]))
    }
    assert differing == {}


def test_every_metric_of_clients_and_tokens_is_registered() -> None:
    told = {name for name in documented() if name.startswith("ai_api_")}
    assert told <= REGISTRY.keys()
