import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from droveway.cli import trace
from droveway.cli.cost import Costs
from droveway.cli.usage_rows import BATCH_MESSAGES, Trail, read_trail
from droveway.cli.waterfall import phases
from droveway.contracts.config import Price
from droveway.contracts.envelope import (
    encode,
    new_attempt_id,
    new_instance,
    new_request_id,
    request_time_ms,
)
from droveway.contracts.relay import Usage
from droveway.contracts.usage import (
    AttemptRecorded,
    AttemptTimes,
    RequestRecorded,
    RequestTimes,
    Row,
    encode_rows,
    usage_subject,
)
from droveway.runtime.bus import Bus, read_jetstream
from droveway.runtime.errors import DrovewayError, SettingsError
from tests.support.nats import NatsServer, droveway_config

MS = 1000
TRACEPARENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


def request_row(request_id: str, attempts: int = 1, outcome: str = "completed") -> RequestRecorded:
    return RequestRecorded(
        request_id=request_id,
        traceparent=TRACEPARENT,
        tenant="default",
        key_id="key",
        door="gateway-1",
        operation="chat.completions",
        model="gpt-4o",
        stream=True,
        outcome=outcome,
        status=200,
        attempts=attempts,
        began_ns=request_time_ms(request_id) * 1_000_000,
        times=RequestTimes(
            authenticated_us=1 * MS,
            body_us=2 * MS,
            enqueued_us=3 * MS,
            accepted_us=5 * MS,
            first_frame_us=50 * MS,
            first_byte_us=51 * MS,
            ended_us=100 * MS,
        ),
    )


def attempt_row(request_id: str, number: int = 1, **fields: object) -> AttemptRecorded:
    began_ns = request_time_ms(request_id) * 1_000_000
    values: dict[str, object] = {
        "attempt_id": new_attempt_id(),
        "request_id": request_id,
        "attempt": number,
        "traceparent": TRACEPARENT,
        "tenant": "default",
        "key_id": "key",
        "caller": "caller-1",
        "router": "router-1",
        "provider": "upstream-1",
        "credential": "main",
        "model": "gpt-4o",
        "stream": True,
        "outcome": "completed",
        "usage": Usage(input_tokens=100, output_tokens=10, cache_read_tokens=40),
        "received_ns": began_ns + 4_000_000,
        "admitted_ns": began_ns + 6_000_000,
        "routed_ns": began_ns + 7_000_000,
        "began_ns": began_ns + 8_000_000,
        "times": AttemptTimes(
            sent_us=1 * MS,
            headers_us=20 * MS,
            first_token_us=40 * MS,
            last_token_us=90 * MS,
            ended_us=91 * MS,
        ),
    }
    return AttemptRecorded(**(values | fields))  # type: ignore[arg-type]


async def store(bus: Bus, *rows: Row) -> None:
    for row in rows:
        subject = usage_subject(row.tenant)
        read_jetstream(await bus.request(subject, encode(row), 5))


@pytest.fixture
async def gateway(nats: NatsServer) -> AsyncIterator[Bus]:
    async with nats.bus("gateway") as bus:
        yield bus


async def test_a_requests_rows_are_found_among_others(nats: NatsServer, gateway: Bus) -> None:
    wanted, other = new_request_id(), new_request_id()
    rows = (request_row(wanted, attempts=2), attempt_row(wanted, 2), attempt_row(wanted, 1))
    await store(gateway, attempt_row(other), *rows, request_row(other))
    trail = await read_trail(nats.settings("operator"), wanted, 0)
    assert trail.complete
    assert trail.request == rows[0]
    assert trail.attempts == (rows[2], rows[1])


async def test_rows_that_share_a_message_with_others_are_found(
    nats: NatsServer, gateway: Bus
) -> None:
    wanted, other = new_request_id(), new_request_id()
    attempt, request = attempt_row(wanted), request_row(wanted)
    for rows in ([attempt_row(other), attempt], [request_row(other), request]):
        await gateway.request(usage_subject("default"), encode_rows(rows), 5)
    trail = await read_trail(nats.settings("operator"), wanted, 0)
    assert (trail.request, trail.attempts) == (request, (attempt,))


async def test_rows_stored_twice_count_once(nats: NatsServer, gateway: Bus) -> None:
    wanted = new_request_id()
    row = attempt_row(wanted)
    await store(gateway, row, row, request_row(wanted))
    assert (await read_trail(nats.settings("operator"), wanted, 0)).attempts == (row,)


async def test_rows_behind_many_pages_are_found(nats: NatsServer, gateway: Bus) -> None:
    wanted, other = new_request_id(), encode(request_row(new_request_id()))
    for _ in range(BATCH_MESSAGES * 2):
        gateway.publish(usage_subject("default"), other)
    await store(gateway, attempt_row(wanted), request_row(wanted))
    assert (await read_trail(nats.settings("operator"), wanted, 0)).complete


async def test_a_row_on_its_way_is_waited_for(nats: NatsServer, gateway: Bus) -> None:
    import asyncio

    wanted = new_request_id()
    await store(gateway, attempt_row(wanted))

    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(read_trail(nats.settings("operator"), wanted, 5))
        await asyncio.sleep(0.15)  # a slow spool
        await store(gateway, request_row(wanted))
    assert reading.result().complete


async def test_an_unfinished_request_shows_what_there_is(nats: NatsServer, gateway: Bus) -> None:
    wanted = new_request_id()
    await store(gateway, attempt_row(wanted))
    trail = await read_trail(nats.settings("operator"), wanted, 0)
    assert (trail.request, len(trail.attempts), trail.complete) == (None, 1, False)


async def test_an_unknown_request_has_no_rows(nats: NatsServer) -> None:
    assert await read_trail(nats.settings("operator"), new_request_id(), 0) == Trail(None, ())


async def test_another_user_may_not_read(nats: NatsServer) -> None:
    with pytest.raises(SettingsError, match="no request id"):
        await read_trail(nats.settings("operator"), "req_1", 0)


def test_phases_follow_the_request() -> None:
    request_id = new_request_id()
    found = phases(request_row(request_id), (attempt_row(request_id),))
    assert [(phase.name, phase.start_us // MS, phase.end_us // MS) for phase in found] == [
        ("auth", 0, 1),
        ("body", 1, 2),
        ("enqueue", 2, 3),
        ("accepted", 3, 5),
        ("limit", 4, 6),
        ("route", 6, 7),
        ("dispatch", 7, 8),
        ("attempt 1", 8, 99),
        ("sent", 8, 9),
        ("headers", 9, 28),
        ("first token", 28, 48),
        ("last token", 48, 98),
        ("first byte", 50, 51),
        ("answer", 51, 100),
    ]


def test_phases_that_were_not_reached_are_missing() -> None:
    request_id = new_request_id()
    bare = attempt_row(request_id, times=AttemptTimes(ended_us=5), received_ns=0, admitted_ns=0)
    assert [phase.name for phase in phases(None, (bare,))] == ["dispatch", "attempt 1"]
    assert phases(None, ()) == []


@pytest.mark.parametrize(
    ("fields", "prices", "expected"),
    [
        ({"cost_nano_usd": 1_500}, {}, Decimal("0.0000015")),
        ({}, {"gpt-4o": Price(input=1, output=2, cached_input=0.5)}, Decimal("0.0001")),
        ({}, {"gpt-4o": Price(input=1, output=2)}, Decimal("0.00012")),
        ({"provider": "openai"}, {}, Decimal("0.0003")),
        ({"provider": "nobody", "model": "unheard-of"}, {}, Decimal("0.00088")),
    ],
    ids=["by the row", "by the configuration", "cached at full price", "by the list", "default"],
)
def test_cost(fields: dict[str, object], prices: dict[str, Price], expected: Decimal) -> None:
    config = droveway_config("http://127.0.0.1:1/v1", prices=prices)
    assert Costs(config).of(attempt_row(new_request_id(), 1, **fields)).usd == expected


def test_the_waterfall_is_readable_without_a_terminal() -> None:
    request_id = new_request_id()
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(trace.table(phases(request_row(request_id), (attempt_row(request_id),))))
    lines = console.export_text().splitlines()
    console.file.close()
    assert lines[1].split()[:3] == ["auth", "0.00", "1.00"]
    assert any("upstream-1/gpt-4o completed" in line for line in lines)


class TestCommand:
    """The command as it is called, in its own event loop."""

    @pytest.fixture
    def stored(self, nats: NatsServer) -> str:
        import asyncio

        request_id = new_request_id()

        async def fill() -> None:
            async with nats.bus("gateway") as bus:
                await store(bus, attempt_row(request_id), request_row(request_id))

        asyncio.run(fill())
        return request_id

    def test_json_has_both_kinds_of_rows(self, nats: NatsServer, stored: str) -> None:
        shown = json.loads(trace.show_json(stored, nats.folder.path))
        assert shown["complete"]
        assert shown["request"]["request_id"] == stored
        assert shown["attempts"][0]["usage"]["input_tokens"] == 100
        assert len(shown["attempts"][0]["attempt_id"]) == 32

    def test_an_unknown_request_is_explained(self, nats: NatsServer, stored: str) -> None:
        unknown = stored[:-4] + "0000"
        with pytest.raises(DrovewayError, match=f"no row of {unknown}"):
            trace.show_json(unknown, nats.folder.path, wait_s=0.2)

    def test_without_a_server_the_advice_is_to_start_one(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="start `droveway up"):
            trace.show_json(new_request_id(), tmp_path)


def test_instances_are_named_by_service() -> None:
    assert new_instance("operator").startswith("operator-")
