"""`droveway tail`: each request once, as it ends, whatever order, loss or restart lies between."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from droveway.cli import tail_events
from droveway.cli.cost import Costs
from droveway.cli.tail import Tail, Wish, follow, tenant_of
from droveway.cli.tail_durations import duration_of
from droveway.cli.tail_lines import Filter, plain, request_line, request_parts
from droveway.cli.tail_output import Output
from droveway.cli.tail_requests import Ended, RequestJoiner
from droveway.contracts import events
from droveway.contracts.envelope import encode
from droveway.contracts.relay import Usage
from droveway.contracts.usage import RequestTimes, Row, encode_rows, usage_subject
from droveway.runtime.bus import Bus, read_jetstream
from droveway.runtime.errors import SettingsError
from tests.support.nats import NatsServer, serving
from tests.support.rows import attempt_row, request_row
from tests.support.waiting import until

COSTS = Costs(None)
MINUTE = timedelta(minutes=1)
COMMAND = [sys.executable, "-c", "from droveway.cli.main import main; main()", "tail"]


async def store(bus: Bus, *rows: Row) -> None:
    for row in rows:
        read_jetstream(await bus.request(usage_subject(row.tenant), encode(row), 5))


class Printed:
    """What a running tail has printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.lines: list[str] = []

    async def until(self, count: int) -> list[Any]:
        await until(lambda: self._read() >= count)
        return [json.loads(line) for line in self.lines]

    def _read(self) -> int:
        self.lines += self._capsys.readouterr().out.splitlines()
        return len(self.lines)


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    return Printed(capsys)


@asynccontextmanager
async def tailing(nats: NatsServer, filter_: Filter) -> AsyncIterator[None]:
    wish = Wish(filter_, MINUTE, json=True)
    async with nats.bus("operator") as bus:
        task = asyncio.create_task(follow(bus, wish, Tail(wish, COSTS, Output(None))))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


def joined(*rows: Row) -> Ended:
    (ended,) = collect(*rows)
    return ended


def collect(*rows: Row, **bounds: Any) -> list[Ended]:
    shown: list[Ended] = []
    joiner = RequestJoiner(shown.append, **bounds)
    for row in rows:
        joiner.take(row)
    joiner.tick()
    return shown


async def test_a_request_is_one_line_whichever_of_its_rows_comes_first(
    nats: NatsServer, printed: Printed
) -> None:
    times = RequestTimes(first_frame_us=312_000, ended_us=1_240_000)
    first, second = (request_row(tenant="tail-a", model="fast", times=times) for _ in range(2))
    async with tailing(nats, Filter(tenant="tail-a")), nats.bus("gateway") as bus:
        await store(bus, attempt_row(first, tenant="tail-a"), first)
        await store(bus, second, attempt_row(second, tenant="tail-a"))
        lines = await printed.until(2)
    assert [line["request_id"] for line in lines] == [first.request_id, second.request_id]
    assert all(line["complete"] for line in lines)
    line = lines[0]
    assert (line["kind"], line["tenant"], line["key_id"]) == ("request", "tail-a", "k1")
    assert (line["model"], line["provider"], line["target"]) == ("fast", "openai", "gpt-4.1")
    assert (line["mode"], line["status"], line["outcome"]) == ("stream", 200, "completed")
    assert (line["first_token_ms"], line["total_ms"]) == (312.0, 1240.0)
    assert (line["input_tokens"], line["output_tokens"], line["attempts"]) == (10, 5, 1)
    assert line["cost_usd"] == "0.00006"


async def test_requests_whose_rows_share_a_message_have_a_line_each(
    nats: NatsServer, printed: Printed
) -> None:
    requests = [request_row(tenant="tail-d") for _ in range(3)]
    attempts = [attempt_row(one, tenant="tail-d") for one in requests]
    async with tailing(nats, Filter(tenant="tail-d")), nats.bus("gateway") as bus:
        for rows in (attempts, requests):
            await bus.request(usage_subject("tail-d"), encode_rows(rows), 5)
        lines = await printed.until(3)
    assert [line["request_id"] for line in lines] == [one.request_id for one in requests]


async def test_what_comes_later_is_shown_when_it_comes_and_once(
    nats: NatsServer, printed: Printed
) -> None:
    one, other = request_row(tenant="tail-b"), request_row(tenant="tail-b", outcome="failed")
    rows: list[Row] = [attempt_row(one, tenant="tail-b"), one]
    async with tailing(nats, Filter(tenant="tail-b")), nats.bus("gateway") as bus:
        await store(bus, *rows)
        await printed.until(1)
        await store(bus, *rows, attempt_row(other, tenant="tail-b"), other)
        lines = await printed.until(2)
        await asyncio.sleep(0.1)  # nothing more may come
    assert [line["request_id"] for line in lines] == [one.request_id, other.request_id]


async def test_events_stand_between_requests(nats: NatsServer, printed: Printed) -> None:
    crossed = events.BudgetCrossed(
        scope="tenant", id="tail-c", period="month", period_start_ms=1, soft_nano=1,
        limit_nano=10**9, spent_nano=5 * 10**8,
    )  # fmt: skip
    async with tailing(nats, Filter(tenant="tail-c")), nats.bus("limiter") as bus:
        await asyncio.sleep(0.1)  # an event isn't kept: it must be listening
        bus.publish(events.events_subject("limiter"), b"\xff")
        bus.publish(events.events_subject("limiter"), events.encode_json(events.ConfigAdopted()))
        bus.publish(events.events_subject("limiter"), events.encode_json(crossed))
        (line,) = await printed.until(1)
    assert (line["kind"], line["t"], line["id"]) == ("event", "budget.crossed.v1", "tail-c")


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[NatsServer]:
    """A broker that may be killed."""
    with serving(tmp_path / "nats") as server:
        yield server


async def test_a_restart_of_the_broker_loses_no_line(
    own_nats: NatsServer, printed: Printed
) -> None:
    before, after = (request_row(tenant="t", attempts=0) for _ in range(2))
    async with own_nats.bus("gateway") as bus, tailing(own_nats, Filter(tenant="t")):
        await store(bus, before)
        await printed.until(1)
        own_nats.kill()
        await asyncio.sleep(0.1)  # away for a moment
        own_nats.start()
        await until(lambda: bus.ready, 10)
        await store(bus, after)
        lines = await printed.until(2)
    assert [line["request_id"] for line in lines] == [before.request_id, after.request_id]


def test_a_missing_attempt_is_waited_for_and_then_told() -> None:
    row = request_row(attempts=2)
    rows: tuple[Row, ...] = (row, attempt_row(row))
    assert collect(*rows) == []
    (ended,) = collect(*rows, join_within_s=-1.0)
    line = request_line(ended, COSTS)
    assert (line.complete, line.attempts) == (False, 2)
    assert "or more" in plain(request_parts(line))


def test_the_own_word_of_a_caller_takes_the_place_of_a_witness() -> None:
    row = request_row(attempts=2)
    own = attempt_row(row, attempt=1)
    told = msgspec.structs.replace(own, witness="router-0", usage=Usage(1, 1, estimated=True))
    second = attempt_row(row, attempt=2)
    assert joined(own, told, second, row).attempts == (own, second)
    assert joined(told, own, second, row).attempts == (own, second)


def test_a_request_whose_door_died_is_shown_when_there_is_no_room_for_more() -> None:
    orphan, others = attempt_row(), [attempt_row() for _ in range(3)]
    (ended,) = collect(orphan, *others, max_waiting=3)
    assert ended == Ended(None, (orphan,))
    line = request_line(ended, COSTS)
    assert (line.outcome, line.status, line.complete) == ("unknown", 0, False)
    assert "? unknown" in plain(request_parts(line))


def test_a_line_is_for_people() -> None:
    row = request_row(
        model="fast", attempts=2, times=RequestTimes(first_frame_us=300_400, ended_us=1_240_000)
    )
    first = attempt_row(row, outcome="failed", provider="other", usage=Usage())
    second = attempt_row(row, attempt=2, usage=Usage(1_000, 500, 400))
    text = plain(request_parts(request_line(joined(first, second, row), COSTS)))
    assert text.split()[1:] == [
        row.request_id, "default/k1", "fast", "->", "openai/gpt-4.1", "stream", "200", "completed",
        "2x", "first", "300", "ms", "1240", "ms", "1000", "(400", "cached)+500", "tokens",
        "$0.005400",
    ]  # fmt: skip


def test_names_of_clients_do_not_steer_the_terminal() -> None:
    row = request_row(model="\x1b]0;title\x07[red]", attempts=0)
    text = plain(request_parts(request_line(joined(row), COSTS)))
    assert "\x1b" not in text
    assert "?]0;title?[red]" in text


@pytest.mark.parametrize(
    ("filter_", "wanted"),
    [
        (Filter(), True),
        (Filter(key_id="k1"), True),
        (Filter(key_id="k2"), False),
        (Filter(tenant="default", model="fast"), True),
        (Filter(model="fa*"), True),
        (Filter(model="gpt-4.1"), True),
        (Filter(model="slow"), False),
        (Filter(provider="other"), True),
        (Filter(provider="third"), False),
        (Filter(failed=True), False),
    ],
    ids=str,
)
def test_a_filter_leaves_what_was_asked_for(filter_: Filter, wanted: bool) -> None:
    row = request_row(model="fast", attempts=2)
    ended = joined(attempt_row(row, provider="other"), attempt_row(row, attempt=2), row)
    assert filter_.wants(request_line(ended, COSTS), ended) is wanted


@pytest.mark.parametrize("outcome", ["failed", "interrupted"])
def test_what_went_wrong_is_failed_and_what_the_client_cancelled_is_not(outcome: str) -> None:
    wanted = Filter(failed=True)
    for told, expected in ((outcome, True), ("cancelled", False)):
        ended = joined(request_row(attempts=0, outcome=told))
        assert wanted.wants(request_line(ended, COSTS), ended) is expected


REFUSED = events.RequestRefused(
    at_ms=1, instance="gateway-0123456789ab", unsaid=3, request_id="req_1", protocol="http",
    operation="chat.completions", tenant="acme", key_id="k1", model="fast", status=429,
    code="rate_limit_exceeded",
)  # fmt: skip
OPENED = events.TargetOpened(provider="openai", model="gpt-5", why="slow")
COOLED = events.CooldownBegan(provider="openai", credential="a", why="rate_limited", for_ms=5)


@pytest.mark.parametrize(
    ("filter_", "event", "wanted"),
    [
        (Filter(), COOLED, True),
        (Filter(tenant="acme", key_id="k1", model="f*", failed=True), REFUSED, True),
        (Filter(tenant="other"), REFUSED, False),
        (Filter(provider="openai"), COOLED, True),
        (Filter(provider="openai"), REFUSED, False),
        (Filter(tenant="acme"), COOLED, False),
        (Filter(provider="openai", model="gpt-*", failed=True), OPENED, True),
        (Filter(model="claude-*"), OPENED, False),
        (Filter(failed=True), events.TargetClosed(provider="openai", model="gpt-5"), False),
        (Filter(failed=True), COOLED, True),
        (Filter(failed=True), events.ConfigAdopted(), False),
    ],
)
def test_a_filter_leaves_events_about_it(
    filter_: Filter, event: events.Event, wanted: bool
) -> None:
    assert tail_events.wants(filter_, event) is wanted


def test_every_event_has_words() -> None:
    crossed = events.BudgetCrossed(
        scope="key", id="k1", period="month", period_start_ms=1, soft_nano=1,
        limit_nano=2_000_000, spent_nano=747_000,
    )  # fmt: skip
    said: dict[events.Event, str] = {
        REFUSED: "req_1 chat.completions fast of acme/k1: 429 rate_limit_exceeded (3 more",
        crossed: "key k1 has spent $0.000747 of $0.002 / month",
        COOLED: "openai/a is spared for 5 ms: rate limited",
        events.CooldownEnded(provider="openai", credential="a"): "openai/a is used again",
        events.TargetOpened(provider="openai", model="m", why="provider_timeout"): (
            "openai/m is left alone: provider timeout"
        ),
        events.TargetClosed(provider="openai", model="m"): "openai/m is used again",
        events.ConfigAdopted(): "new configuration",
        events.ConfigRefused(findings=2): "2 findings",
        events.OwnerChanged(partition=0, sequence=1): "decides over limits now",
        events.LedgerBehind(rows=7): "behind by 7 rows",
        events.LedgerCaughtUp(): "has all rows again",
        events.CanaryRolledBack(route="gpt-*", reason="worse"): "of gpt-* is rolled back: worse",
    }
    assert {type(event) for event in said} == set(events.Event.__args__)
    for event, words in said.items():
        text = plain(tail_events.event_parts(event))
        assert words in text
        assert events.name_of(type(event)) in text


@pytest.mark.parametrize(
    ("text", "expected_s"), [("90s", 90), ("0.5s", 0.5), ("5m", 300), ("2h", 7_200), ("1d", 86_400)]
)
def test_a_duration_is_a_number_and_a_unit(text: str, expected_s: float) -> None:
    assert duration_of(text, "--since", 0, 86_400).total_seconds() == expected_s


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "-5m", "5w", "9999999s", "36d", "nans"])
def test_another_duration_is_explained(text: str) -> None:
    with pytest.raises(SettingsError, match=r"--since .*expected"):
        duration_of(text, "--since", 0, 35 * 86_400)


def test_a_tenant_that_is_none_is_explained() -> None:
    assert tenant_of("acme") == "acme"
    with pytest.raises(SettingsError, match="--tenant"):
        tenant_of("*")


class TestCommand:
    """The command as a process of its own."""

    @pytest.fixture
    def row(self, nats: NatsServer) -> Row:
        row = request_row(tenant="tail-p", attempts=0)

        async def fill() -> None:
            async with nats.bus("gateway") as bus:
                await store(bus, row)

        asyncio.run(fill())
        return row

    def run(self, nats: NatsServer, end: "Callable[[subprocess.Popen[bytes]], None]") -> str:
        """Starts it, waits for its first line, and returns what it says while it ends."""
        words = ["--tenant", "tail-p", "--since", "1m", "--data", str(nats.folder.path)]
        with subprocess.Popen(
            [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "DROVEWAY_CONFIG": "/nonexistent"},
        ) as process:  # fmt: skip
            assert process.stdout is not None
            assert process.stderr is not None
            assert b"req_" in process.stdout.readline()
            end(process)
            assert process.wait(10) == 0
            return process.stderr.read().decode()

    def test_an_interrupt_ends_it_without_a_word(self, nats: NatsServer, row: Row) -> None:
        assert self.run(nats, lambda process: process.send_signal(signal.SIGINT)) == ""

    def test_it_ends_when_nobody_reads_any_more(self, nats: NatsServer, row: Row) -> None:
        began_s = time.monotonic()

        def leave(process: "subprocess.Popen[bytes]") -> None:
            assert process.stdout is not None
            process.stdout.close()

        assert self.run(nats, leave) == ""
        assert time.monotonic() - began_s < 8, "it noticed with nothing more to print"
