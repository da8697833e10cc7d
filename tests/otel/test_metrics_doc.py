"""docs/guides/metrics.md names exactly what is exposed, and agrees with otel/conventions.yaml."""

import asyncio
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from droveway.otel.genai import OtlpStatistics
from droveway.otel.spans import SpanStatistics
from droveway.runtime.gauge_texts import TEXTS
from droveway.runtime.gauges import Gauges
from tests.support.nats import NatsServer, nats  # noqa: F401
from tests.support.scrapes import SERVICES, scraped

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guides" / "metrics.md"
REGISTRY: dict[str, dict[str, Any]] = yaml.safe_load(
    (ROOT / "otel" / "conventions.yaml").read_text()
)["metrics"]
ROW = re.compile(
    r"^\| `((?:ai_api|droveway|process)_\w+)` \|(.*)\|(.*)\|(.*)\|(.*)\|$", re.MULTILINE
)
SENDING_METRICS = {"caller", "gateway"}


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


def meanings() -> dict[str, str]:
    """What the page says of each gauge and counter of ours."""
    text = PAGE.read_text(encoding="utf-8")
    rows = ROW.findall(text[text.index("## How the services stand") :])
    return {row[0]: row[4].strip() for row in rows}


def read(exposition: dict[str, str]) -> dict[str, Entry]:
    """What services expose, by their names; samples of histograms count as one metric.

    A family of which nothing has happened yet has no samples, so its labels are the registry's.
    """
    found: dict[str, Entry] = {}
    for service, text in exposition.items():
        for family in text_string_to_metric_families(text):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            if not family.samples:
                labels = set(REGISTRY[name]["labels"])
            known = found.get(name, Entry(family.type, frozenset(), frozenset()))
            found[name] = Entry(family.type, known.labels | labels, known.services | {service})
    return found


@pytest.fixture(scope="module")
def pages(
    nats: NatsServer,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """Each service's page, once something of each kind has happened."""
    return asyncio.run(scraped(nats, tmp_path_factory.mktemp("metrics")))


@pytest.fixture(scope="module")
def exposed(pages: dict[str, str]) -> dict[str, Entry]:
    """What stands on them."""
    return read(pages)


def with_an_endpoint() -> dict[str, Entry]:
    """What a service with an OTLP endpoint exposes besides."""
    found = {}
    for noun, statistics, services in (
        ("spans", SpanStatistics, SERVICES),
        ("otlp", OtlpStatistics, SENDING_METRICS),
    ):
        gauges = Gauges("any")
        gauges.add(noun, statistics)
        for family in gauges.collect():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found[name] = Entry(family.type, frozenset({"service"}), frozenset(services))
    return found


def test_the_page_names_exactly_what_is_exposed(exposed: dict[str, Entry]) -> None:
    assert documented().keys() == (exposed | with_an_endpoint()).keys()


def test_the_page_tells_type_labels_and_services(exposed: dict[str, Entry]) -> None:
    actual = exposed | with_an_endpoint()
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


def test_help_says_what_the_page_says(pages: dict[str, str]) -> None:
    told = meanings()
    differing = {
        name: (family.documentation, told[name])
        for text in pages.values()
        for family in text_string_to_metric_families(text)
        for name in {family.name, f"{family.name}_total"} & told.keys()
        if family.documentation != told[name]
    }
    assert differing == {}


def test_each_help_text_is_of_a_field_that_is_exposed(exposed: dict[str, Entry]) -> None:
    actual = exposed | with_an_endpoint()
    for noun, fields in TEXTS.items():
        for field in fields:
            name = f"droveway_{noun}_{field}" + ("econds" if field.endswith("_s") else "")
            assert actual.keys() & {name, f"{name}_total"}, name


def test_what_clients_saw_is_counted_whatever_the_way_it_ended(pages: dict[str, str]) -> None:
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for service in ("gateway", "router")
        for family in text_string_to_metric_families(pages[service])
        for sample in family.samples
    }
    destination = ("destination", "upstream-1")
    model = ("model", "numbered-5")
    assert samples["ai_api_requests_total", destination, model, ("status", "200")] == 2
    for name in ("time_to_first_token", "time_per_output_token"):
        assert samples[f"ai_api_{name}_seconds_count", destination, model] == 1, name
    assert samples["ai_api_overhead_seconds_count", destination] == 4
    assert 0 < samples["ai_api_overhead_seconds_sum", destination] < 4
    assert samples["ai_api_queue_wait_seconds_count", ("class", "interactive")] == 4
    assert samples["ai_api_destination_up", destination] == 1
    assert samples["ai_api_limit_rejections_total", ("kind", "rate")] == 1
    rejected = (("class", "RateLimit"), ("destination", "none"))
    assert samples["ai_api_errors_total", *rejected] == 1
    assert samples["ai_api_inflight",] == 0
