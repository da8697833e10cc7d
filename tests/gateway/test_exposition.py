"""What clients saw, as metrics: labels that are bounded, classes of errors, exemplars."""

from collections.abc import Callable

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from droveway.contracts.errors import CATALOGUE, failure, status_of
from droveway.gateway.connections import ServerStatistics
from droveway.gateway.error_classes import error_class, rejection_kind
from droveway.gateway.exposition import ClientMetrics, EdgeMetrics, Ended
from droveway.runtime.api_key import make_key
from tests.support.gateway_app import config_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
GOOD = Ended(200, "openai", "gpt-4.1", None, 1.2, 0.4, 0.02, 0.004)


class World:
    """A gateway's metrics and the samples of a scrape."""

    def __init__(self, max_models: int = 3, max_destinations: int = 2) -> None:
        self.registry = CollectorRegistry()
        self.metrics = ClientMetrics(self.registry, max_models, max_destinations)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def models(self) -> set[str]:
        return {
            sample.labels["model"]
            for family in self.registry.collect()
            for sample in family.samples
            if "model" in sample.labels
        }


def test_one_request_is_seen_in_each_histogram() -> None:
    world = World()
    world.metrics.observe(GOOD)
    pair = {"destination": "openai", "model": "gpt-4.1"}
    assert world.value("ai_api_requests_total", status="200", **pair) == 1
    for name, seconds in (
        ("ai_api_request_duration_seconds", 1.2),
        ("ai_api_time_to_first_token_seconds", 0.4),
        ("ai_api_time_per_output_token_seconds", 0.02),
    ):
        assert world.value(f"{name}_sum", **pair) == seconds
    assert world.value("ai_api_overhead_seconds_sum", destination="openai") == 0.004


def test_times_that_there_are_not_are_not_observed() -> None:
    world = World()
    world.metrics.observe(Ended(404, duration_s=0.001))
    none = {"destination": "none", "model": "none"}
    assert world.value("ai_api_request_duration_seconds_count", **none) == 1
    for name in ("ai_api_time_to_first_token_seconds", "ai_api_time_per_output_token_seconds"):
        assert world.value(f"{name}_count", **none) == 0


@pytest.mark.parametrize("bound", ["0.5", "2.0", "3.0", "5.0"])
def test_thresholds_of_alerts_are_bounds_of_buckets(bound: str) -> None:
    world = World()
    world.metrics.observe(GOOD)
    for name in ("request_duration", "time_to_first_token", "time_per_output_token"):
        found = world.value(
            f"ai_api_{name}_seconds_bucket", le=bound, destination="openai", model="gpt-4.1"
        )
        assert found is not None, name


def test_clients_cannot_make_labels_without_end() -> None:
    world = World(max_models=3)
    for number in range(100):
        world.metrics.observe(GOOD._replace(model=f"invented-{number}"))
    assert world.models() == {"invented-0", "invented-1", "invented-2", "other"}
    pair = {"destination": "openai", "model": "other"}
    assert world.value("ai_api_requests_total", status="200", **pair) == 97


def test_names_of_the_configuration_keep_their_labels_whatever_clients_ask() -> None:
    world = World(max_models=1)
    config = config_of(make_key("test"), "gpt-4.1", "claude-*", listed=("listed-1",))
    world.metrics.configure(msgspec.structs.replace(config, aliases={"smart": "gpt-4.1"}))
    for model in ("claude-a", "claude-b", "gpt-4.1", "listed-1", "smart", "none"):
        world.metrics.observe(GOOD._replace(model=model))
    assert world.models() == {"claude-a", "other", "gpt-4.1", "listed-1", "smart", "none"}


def test_destinations_and_statuses_are_bounded_too() -> None:
    world = World(max_destinations=2)
    for number in range(10):
        world.metrics.observe(GOOD._replace(destination=f"d{number}", status=900 + number))
    told = {"status": "other", "destination": "other", "model": "gpt-4.1"}
    assert world.value("ai_api_requests_total", **told) == 8


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "invalid_request", "BadRequest"),
        (401, "invalid_api_key", "Unauthorized"),
        (403, "address_not_allowed", "Forbidden"),
        (429, "rate_limit_exceeded", "RateLimit"),
        (500, "internal_error", "InternalError"),
        (502, "bad_upstream", "BadGateway"),
        (503, "overloaded", "ServiceUnavailable"),
        (504, "deadline_exceeded", "GatewayTimeout"),
        (404, "model_not_found", "HTTP_404"),
        (413, "request_too_large", "HTTP_413"),
        (200, "stream_stalled", "Timeout"),
        (200, "stream_interrupted", "ConnectionError"),
        (200, "internal_error", "Unknown"),
        (499, "client_closed_request", ""),
    ],
)
def test_an_error_has_the_class_of_its_status(status: int, code: str, expected: str) -> None:
    assert error_class(status, failure(code)) == expected


def test_what_ended_well_has_no_class() -> None:
    assert error_class(200, None) == ""
    assert error_class(499, None) == ""


def test_no_error_is_without_a_class() -> None:
    for code in CATALOGUE.keys() - {"client_closed_request"}:
        assert error_class(status_of(failure(code)), failure(code)), code
        assert error_class(200, failure(code)), code


def test_errors_count_by_class_and_destination() -> None:
    world = World()
    world.metrics.observe(GOOD._replace(status=503, failure=failure("all_targets_failed")))
    world.metrics.observe(GOOD._replace(failure=failure("stream_stalled")))
    world.metrics.observe(GOOD._replace(status=499, failure=None))
    counted = {
        tuple(sample.labels.values()): sample.value
        for family in world.registry.collect()
        for sample in family.samples
        if sample.name == "ai_api_errors_total"
    }
    assert counted == {("ServiceUnavailable", "openai"): 1, ("Timeout", "openai"): 1}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("rate_limit_exceeded", "rate"),
        ("request_exceeds_limit", "size"),
        ("insufficient_quota", "budget"),
        ("too_many_failed_logins", "logins"),
        ("provider_rate_limited", "provider"),
        ("invalid_request", ""),
    ],
)
def test_refusals_by_limits_count_by_kind(code: str, kind: str) -> None:
    world = World()
    refused = failure(code)
    world.metrics.observe(Ended(status_of(refused), failure=refused))
    assert rejection_kind(refused) == kind
    assert world.value("ai_api_limit_rejections_total", kind=kind or "rate") == (
        1 if kind else None
    )


def test_every_429_of_ours_has_a_kind() -> None:
    for entry in CATALOGUE.values():
        assert bool(rejection_kind(failure(entry.code))) == (entry.status == 429), entry.code


def _exemplars(world: World) -> dict[str, str]:
    text = generate_latest(world.registry).decode()  # type: ignore[no-untyped-call]
    return {
        family.name: sample.exemplar.labels["trace_id"]
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        for sample in family.samples
        if sample.exemplar is not None
    }


def test_a_kept_trace_is_an_exemplar_of_duration_and_first_token() -> None:
    world = World()
    world.metrics.observe(GOOD)
    assert _exemplars(world) == {}
    world.metrics.observe(GOOD._replace(trace_id=TRACE))
    assert _exemplars(world) == {
        "ai_api_request_duration_seconds": TRACE,
        "ai_api_time_to_first_token_seconds": TRACE,
    }


def test_requests_in_flight_are_a_gauge() -> None:
    world = World()
    world.metrics.inflight += 2
    assert world.value("ai_api_inflight") == 2


def test_connections_stand_beside_their_bound() -> None:
    registry = CollectorRegistry()
    snapshot: Callable[[], ServerStatistics] = lambda: ServerStatistics(  # noqa: E731
        open=3, phases={"idle": 2, "body": 1}, accepted_total=9, requests_total=8,
        refused_total={"connection_limit": 1},
    )  # fmt: skip
    registry.register(EdgeMetrics(snapshot, 2_000))
    assert registry.get_sample_value("droveway_http_connections", {"phase": "idle"}) == 2
    assert registry.get_sample_value("droveway_http_connections_limit") == 2_000
    labels = {"code": "connection_limit"}
    assert registry.get_sample_value("droveway_http_refused_total", labels) == 1
