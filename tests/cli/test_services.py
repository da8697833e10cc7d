"""`droveway services`: every running process is listed, and the operator reaches them as told."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from droveway.cli import services
from droveway.cli.connection import settings_for
from droveway.cli.data_folder import DataFolder
from droveway.cli.main import main
from droveway.contracts import discovery
from droveway.runtime.bus import BusSettings
from droveway.runtime.discovery import Discovery
from droveway.runtime.errors import SettingsError
from tests.support.nats import NatsServer, serving
from tests.support.stack import running_stack

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DATA = Path(".droveway")


def stats(*endpoints: discovery.EndpointStats, up: timedelta = timedelta()) -> discovery.Stats:
    return discovery.Stats(
        name="droveway-router",
        id="router-0123456789ab",
        version="1.2.3",
        started=(NOW - up).isoformat(),
        endpoints=endpoints,
    )


def endpoint(subject: str, last_error: str = "", requests: int = 4) -> discovery.EndpointStats:
    return discovery.EndpointStats(
        name="x", subject=subject, queue_group="", num_requests=requests, num_errors=1,
        last_error=last_error, processing_time=10_000_000, average_processing_time=2_500_000,
    )  # fmt: skip


def printed(*found: discovery.Stats) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(services.table([*found], NOW))
    return capture.get()


async def test_every_service_of_a_system_answers(nats: NatsServer, tmp_path: Path) -> None:
    async with running_stack(nats, tmp_path, replicas={"router": 2}):
        found = await services.gather(nats.settings("operator"))
    names = [one.name for one in found]
    expected = ["caller", "gateway", "limiter", "metrics", "router", "router"]
    assert names == [f"droveway-{service}" for service in expected]
    assert len({one.id for one in found}) == len(found)
    kinds = {one.name: sorted(each.name for each in one.endpoints) for one in found}
    heard = {"admission", "owner", "settlement", "standing"}
    assert heard <= set(kinds["droveway-limiter"])
    assert {"control", "direct", "health", "inference"} <= set(kinds["droveway-router"])
    assert {"control", "dispatch", "health"} <= set(kinds["droveway-caller"])
    assert {"control", "request"} <= set(kinds["droveway-gateway"])


async def test_nobody_is_known_at_once(nats: NatsServer) -> None:
    assert await services.gather(nats.settings("operator")) == []


async def test_an_answer_of_another_form_harms_nobody(nats: NatsServer) -> None:
    def other(_payload: bytes, reply: str) -> None:
        for payload in (b"", b"\xff", b"{}", b'{"type":"io.nats.micro.v1.ping_response"}'):
            stranger.publish(reply, payload)

    async with nats.bus("router") as router, nats.bus("limiter") as stranger:
        await Discovery(router, 10).listen()
        await stranger.subscribe("$SRV.STATS", other)
        found = await services.gather(nats.settings("operator"))
    assert [one.id for one in found] == [router.instance]


def test_a_row_is_a_subject_and_the_process_stands_on_its_first() -> None:
    text = printed(
        stats(
            endpoint("droveway.v1.inference.interactive", "ValueError"),
            endpoint("droveway.v1.control.router.router-0123456789ab", requests=0),
            up=timedelta(hours=3, minutes=4, seconds=5),
        )
    )
    header, first, second = (line.split() for line in text.splitlines())
    assert header[:3] == ["service", "instance", "version"]
    assert first == [
        "droveway-router", "router-0123456789ab", "1.2.3", "3h", "4m",
        "inference.interactive", "4", "1", "2.50", "ValueError",
    ]  # fmt: skip
    assert second == ["control.router", "0", "1"]


def test_words_from_the_bus_do_not_steer_the_terminal() -> None:
    text = printed(stats(endpoint("a", "\x1b]0;title\x07[red]boom[/]\n")))
    assert "\x1b" not in text
    assert "[red]boom[/]?" in text


@pytest.mark.parametrize(
    ("up", "words"),
    [
        (timedelta(), "0s"),
        (timedelta(seconds=-5), "0s"),
        (timedelta(seconds=59), "59s"),
        (timedelta(days=3, hours=4, minutes=5), "3d 4h"),
    ],
)
def test_uptime_has_two_units(up: timedelta, words: str) -> None:
    assert words in printed(stats(up=up))


def test_the_command_says_that_nobody_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(tmp_path / "data", set_up=False), pytest.raises(SystemExit) as ended:
        main(["services", "--data", str(tmp_path / "data")])
    assert ended.value.code == 69
    assert "no service has answered" in capsys.readouterr().err


async def test_json_is_the_services_own_answers(nats: NatsServer) -> None:
    async with nats.bus("caller") as bus:
        await Discovery(bus, 10).listen()
        found = await services.gather(nats.settings("operator"))
    (one,) = json.loads(discovery.encode_json(found))
    assert one["type"] == "io.nats.micro.v1.stats_response"


class Told:
    """What the operator's machine knows: a data folder, contexts and variables."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = DataFolder(home / "data")
        self.context("ours", url="nats://context", nkey="/k/context.nk")

    def context(self, name: str, **fields: str) -> None:
        path = self.home / ".config/nats/context" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(fields))

    def started(self) -> "Told":
        self.folder.remember_server("nats://folder")
        self.folder.seed_file("operator").write_text("seed")
        return self

    def broker(self, user: str = "operator", **variables: str) -> BusSettings:
        return settings_for(user, self.folder.path, {"HOME": str(self.home), **variables})


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def test_the_data_folder_is_enough(told: Told) -> None:
    broker = told.started().broker()
    assert broker.servers == ("nats://folder",)
    assert broker.nkey_file == str(told.folder.seed_file("operator"))


PRECEDENCE: dict[str, tuple[dict[str, str], str, str, str]] = {
    "context": ({"NATS_CONTEXT": "ours"}, "nats://context", "/k/context.nk", ""),
    "our context first": (
        {"DROVEWAY_NATS_CONTEXT": "ours", "NATS_CONTEXT": "gone"},
        "nats://context", "/k/context.nk", "",
    ),
    "URL over the context": (
        {"NATS_CONTEXT": "ours", "NATS_URL": "nats://url"}, "nats://url", "/k/context.nk", "",
    ),
    "our URL first": (
        {"DROVEWAY_NATS_URL": "nats://ours", "NATS_URL": "nats://url", "NATS_NKEY": "/k"},
        "nats://ours", "/k", "",
    ),
    "creds over the context": (
        {"NATS_CONTEXT": "ours", "NATS_CREDS": "/k.creds"}, "nats://context", "", "/k.creds",
    ),
    "our seed over all": (
        {"NATS_CREDS": "/k.creds", "DROVEWAY_OPERATOR_NATS_NKEY_FILE": "/ours.nk"},
        "nats://folder", "/ours.nk", "",
    ),
    "our creds": (
        {"NATS_NKEY": "/k", "DROVEWAY_OPERATOR_NATS_CREDS_FILE": "/o.creds"},
        "nats://folder", "", "/o.creds",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("variables", "url", "nkey", "creds"), PRECEDENCE.values(), ids=PRECEDENCE)
def test_what_is_told_goes_before_the_data_folder(
    variables: dict[str, str], url: str, nkey: str, creds: str, told: Told
) -> None:
    broker = told.started().broker(**variables)
    assert (broker.servers, broker.nkey_file, broker.credentials_file) == ((url,), nkey, creds)


def test_without_a_data_folder_the_selected_context_serves(told: Told) -> None:
    (told.home / ".config/nats/context.txt").write_text("ours")
    assert told.broker().servers == ("nats://context",)


def test_what_changes_streams_takes_no_selected_context(told: Told) -> None:
    (told.home / ".config/nats/context.txt").write_text("ours")
    for variables in ({}, {"NATS_URL": "nats://x", "NATS_CONTEXT": "ours"}):
        with pytest.raises(SettingsError, match="no NATS server known"):
            told.broker("setup", **variables)
    assert told.broker("setup", DROVEWAY_NATS_CONTEXT="ours").servers == ("nats://context",)


def test_an_inbox_that_services_would_not_answer_is_refused(told: Told) -> None:
    told.context("other", inbox_prefix="_INBOX.me")
    with pytest.raises(SettingsError, match=r"answer _INBOX\.operator only"):
        told.broker(NATS_CONTEXT="other")
    told.context("fine", inbox_prefix="_INBOX.operator.me")
    assert told.broker(NATS_CONTEXT="fine").inbox_prefix == "_INBOX.operator.me"
