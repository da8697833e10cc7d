"""Alertmanager's configuration: who hears of what, together with what, and what is held back."""

import datetime
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.monitoring import ALERTMANAGER, alertmanager, alerts, write_alertmanager

pytestmark = pytest.mark.ops

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real one on the repository's file, whose receivers nobody answers."""
    folder = tmp_path_factory.mktemp("alertmanager")
    with alertmanager(write_alertmanager(folder, NOWHERE, 1)) as running:
        yield running


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{url}/api/v2", timeout=10) as connected:
        yield connected
        everything = connected.get("/alerts").json()
        _post(connected, [one["labels"] for one in everything], ended=True)


def _post(client: httpx.Client, firing: list[dict[str, str]], *, ended: bool = False) -> None:
    now = datetime.datetime.now(datetime.UTC)
    times = {"startsAt": (now - datetime.timedelta(minutes=1)).isoformat()}
    if ended:
        times["endsAt"] = (now - datetime.timedelta(seconds=1)).isoformat()
    body = [{"labels": labels, **times} for labels in firing]
    client.post("/alerts", json=body).raise_for_status()


def _alert(name: str, **labels: str) -> dict[str, str]:
    return {"alertname": name, **alerts()[name]["labels"], **labels}


def _silent(client: httpx.Client, *firing: dict[str, str]) -> set[str]:
    """Which of the alerts nobody is told of; each is named with its destination or the like."""
    _post(client, list(firing))
    found: list[dict[str, Any]] = client.get("/alerts", params={"inhibited": True}).json()
    return {
        " ".join((one["labels"]["alertname"], *_rest(one["labels"])))
        for one in found
        if one["status"]["state"] == "suppressed"
    }


def _rest(labels: dict[str, str]) -> list[str]:
    return [labels[name] for name in ("destination", "slo", "stream", "service") if name in labels]


def amtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["amtool", *arguments], capture_output=True, text=True, timeout=20, check=False
    )


def test_amtool_takes_the_file() -> None:
    outcome = amtool("check-config", str(ALERTMANAGER))
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.parametrize("name", sorted(alerts()))
def test_critical_alerts_go_to_the_pager_and_the_others_do_not(name: str) -> None:
    labels = alerts()[name]["labels"]
    expected = "pager" if labels["severity"] == "critical" else "tickets"
    told = [f"{key}={value}" for key, value in labels.items()]
    options = (f"--config.file={ALERTMANAGER}", f"--verify.receivers={expected}")
    outcome = amtool("config", "routes", "test", *options, f"alertname={name}", *told)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_amtool_sees_a_wrong_route() -> None:
    options = (f"--config.file={ALERTMANAGER}", "--verify.receivers=tickets")
    assert amtool("config", "routes", "test", *options, "severity=critical").returncode == 1


def test_a_critical_alert_silences_warnings_about_the_same_destination(
    client: httpx.Client,
) -> None:
    silent = _silent(
        client,
        _alert("APILatencyCritical", destination="a"),
        _alert("APILatencyHigh", destination="a"),
        _alert("ProviderLatencySpike", destination="a"),
        _alert("APILatencyHigh", destination="b"),
        _alert("APICostHigh"),
    )
    assert silent == {"APILatencyHigh a", "ProviderLatencySpike a"}


def test_a_critical_alert_without_a_destination_silences_nothing_else(
    client: httpx.Client,
) -> None:
    silent = _silent(
        client,
        _alert("LimiterWithoutOwner"),
        _alert("NatsUnreachable", service="gateway"),
        _alert("APICostHigh"),
        _alert("BudgetNearlySpent", scope="key", share="0.8"),
        _alert("ConfigRejected", service="gateway"),
    )
    assert silent == {"LimiterWithoutOwner"}


def test_an_outage_of_everything_is_told_once(client: httpx.Client) -> None:
    silent = _silent(
        client,
        _alert("APIErrorRateCritical", destination="all"),
        _alert("APIErrorRateHigh", destination="all"),
        _alert("APIErrorRateHigh", destination="a"),
        _alert("APILatencyHigh", destination="none"),
        _alert("ProviderUnavailable", destination="a"),
    )
    assert silent == {"APIErrorRateHigh all", "APIErrorRateHigh a", "APILatencyHigh none"}


def test_objectives_streams_and_services_silence_their_own_warnings(client: httpx.Client) -> None:
    silent = _silent(
        client,
        _alert("SLOBurnFast", slo="success"),
        _alert("SLOBurnSlow", slo="success"),
        _alert("SLOBurnSlow", slo="overhead"),
        _alert("StreamFull", stream="USAGE"),
        _alert("StreamNearlyFull", stream="USAGE"),
        _alert("StreamNearlyFull", stream="AUDIT"),
        _alert("ConsumerRefusing", service="router", consumer="inference"),
        _alert("ConsumerNearLimit", service="router", consumer="inference", instance="r1"),
        _alert("ConsumerNearLimit", service="caller", consumer="calls", instance="c1"),
        _alert("UsageFrozen"),
        _alert("SpoolFilling", service="gateway", instance="g1"),
    )
    assert silent == {
        "SLOBurnSlow success",
        "StreamNearlyFull USAGE",
        "ConsumerNearLimit router",
        "SpoolFilling gateway",
    }


def test_without_targets_nothing_else_is_told_of_services(client: httpx.Client) -> None:
    silent = _silent(
        client,
        _alert("DrovewayAbsent"),
        _alert("ServiceAbsent", service="gateway"),
        _alert("InstanceDown", instance="g1", job="droveway"),
        _alert("TrafficStopped"),
    )
    assert silent == {"ServiceAbsent gateway", "InstanceDown", "TrafficStopped"}


def test_one_message_tells_of_all_instances_of_one_trouble(client: httpx.Client) -> None:
    _post(
        client,
        [
            _alert("ProviderUnavailable", destination="a"),
            _alert("ProviderUnavailable", destination="b"),
            _alert("UpstreamNearLimit", destination="c", instance="c1"),
            _alert("UpstreamNearLimit", destination="c", instance="c2"),
        ],
    )
    # A group appears with the dispatcher's next turn, not with the answer to the POST.
    groups: list[tuple[str, int]] = []
    while len(groups) < 3:
        told = client.get("/alerts/groups").json()
        groups = sorted((one["receiver"]["name"], len(one["alerts"])) for one in told)
    assert groups == [("pager", 1), ("pager", 1), ("tickets", 2)]


def test_receivers_hold_no_address_and_no_secret_of_anybody(tmp_path: Path) -> None:
    text = ALERTMANAGER.read_text()
    assert "_configs" not in text
    assert "password" not in text
    assert write_alertmanager(tmp_path, NOWHERE, 1).exists()
