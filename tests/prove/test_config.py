"""The judges of applied configurations find one too many; what is tried is what is meant."""

import itertools
import random
from pathlib import Path

import pytest

from droveway.otel import names
from droveway.runtime.config.file import check, load
from droveway.runtime.errors import SettingsError
from tests.prove.config_bad import BAD, LARGE, Bad
from tests.prove.config_live import configurations, decisions, first
from tests.support.nats import droveway_config, write_droveway_config
from tests.support.otlp import ReceivedSpan

GOOD = first(droveway_config("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"))


def span(name: str, own: bytes, parent: bytes, version: str) -> ReceivedSpan:
    attempt = {} if name == names.SPAN_ROUTE else {names.DROVEWAY_ATTEMPT: 1}
    told = {names.DROVEWAY_REQUEST_ID: "req_1", names.DROVEWAY_CONFIG_VERSION: version}
    return ReceivedSpan(
        service="s", resource={}, name=name, kind="CONSUMER", trace_id=b"t", span_id=own,
        parent_id=parent, tracestate="", start_ns=0, end_ns=1, attributes={**told, **attempt},
        events=(), links=(), status="UNSET", status_message="",
    )  # fmt: skip


def test_an_attempt_by_another_version_than_its_routers_is_found() -> None:
    spans = [
        span(names.SPAN_ROUTE, b"1", b"0", "a"),
        span("attempt 1", b"2", b"1", "a"),
        span("attempt 2", b"3", b"1", "b"),
        span(names.SPAN_ROUTE, b"4", b"0", "b"),
        span("attempt 1", b"5", b"4", "b"),
    ]
    torn, whole = decisions(spans)
    assert (torn.versions, torn.attempts) == ({"a", "b"}, 2)
    assert (whole.versions, whole.attempts) == ({"b"}, 1)


def test_each_configuration_that_is_applied_is_good_and_differs_from_the_one_before() -> None:
    found = [GOOD, *configurations(GOOD, random.Random(1), 100)]
    assert all(one != other for one, other in itertools.pairwise(found))
    for one in found:
        check(one, "applied")
    targets = {len(one.routes[0].tiers[0].targets) for one in found}
    addresses = {tuple(each.base_url for each in one.providers) for one in found}
    assert (targets, len(addresses)) == ({1, 2}, 4)


@pytest.mark.parametrize("bad", [one for one in BAD if one.name != LARGE], ids=lambda one: one.name)
def test_each_bad_configuration_is_refused(bad: Bad, tmp_path: Path) -> None:
    text = write_droveway_config(tmp_path / "good.yaml", GOOD).read_text()
    load(str(tmp_path / "good.yaml"))
    (tmp_path / "bad.yaml").write_text(bad.spoil(text))
    with pytest.raises(SettingsError):
        load(str(tmp_path / "bad.yaml"))
