"""What USAGE holds after a mixed run, against the providers' own books and the counters."""

import asyncio
import random
from collections import Counter
from pathlib import Path

import httpx
import msgspec

from droveway.cli import ports
from droveway.contracts.config import Config
from droveway.contracts.usage import AttemptRecorded, RequestRecorded
from tests.support.flows import (
    Got,
    ask,
    entries,
    lines_until,
    nothing_open,
    route,
    samples,
    stored_rows,
    with_timeouts,
)
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body
from tests.support.stack import UNSPARED, Stack, running_stack

REQUESTS = 200
SEED = 20261122
MODELS = [
    "numbered-5",
    "numbered-40",
    "sim",
    "fault-numbered-4+no-usage",
    "fault-numbered-6+usage-everywhere",
    "fault-500",
    "fault-400",
    "fault-429",
    "fault-numbered-9+cut-after-3",
    "fault-numbered-9+error-after-2",
    "detour",
    "leave",
]


def _configure(config: Config) -> Config:
    detour = route("detour", ("upstream-1", "fault-503"), ("upstream-2", "numbered-7"))
    config = with_timeouts(config, first_token_s=2.0, idle_s=2.0)
    return msgspec.structs.replace(config, routes=(detour, *config.routes))


async def _one(client: httpx.AsyncClient, model: str, *, stream: bool) -> Got | None:
    if model == "leave":
        async with lines_until(client, chat_body("numbered-5000", stream=True), "t3"):
            return None
    return await ask(client, chat_body(model, stream=stream))


async def test_rows_books_and_counters_agree(own_nats: NatsServer, tmp_path: Path) -> None:
    admin = {name: ports.free() for name in ("metrics", "gateway")}
    environment = {f"DROVEWAY_{n.upper()}_ADMIN_PORT": str(port) for n, port in admin.items()}
    environment |= UNSPARED
    dice = random.Random(SEED)
    asked = [(dice.choice(MODELS), dice.random() < 0.5) for _ in range(REQUESTS)]
    async with running_stack(
        own_nats,
        tmp_path,
        simulators=2,
        replicas={"caller": 2, "router": 2},
        configure=_configure,
        environment=environment,
        book_entries=5000,
        token_interval_ms=1,
    ) as stack:
        async with stack.client() as client:
            got = [
                one
                for start in range(0, REQUESTS, 25)
                for one in await asyncio.gather(
                    *(_one(client, model, stream=s) for model, s in asked[start : start + 25])
                )
            ]
        await nothing_open(stack)
        rows = await _all_rows(own_nats, stack)
        attempts = [row for row in rows if isinstance(row, AttemptRecorded)]
        requests = [row for row in rows if isinstance(row, RequestRecorded)]
        _agree_with_the_books(stack, attempts)
        _agree_with_the_clients(got, requests, attempts)
        metrics = await samples(admin["metrics"])
        for _ in range(50):
            if metrics("droveway_usage_rows_total") == len(rows):
                break
            await asyncio.sleep(0.1)
            metrics = await samples(admin["metrics"])
        door = await samples(admin["gateway"])
    outputs = sum(row.usage.output_tokens for row in attempts)
    assert metrics("ai_api_tokens_total", type="output") == outputs
    inputs = sum(row.usage.input_tokens for row in attempts)
    assert metrics("ai_api_tokens_total", type="input") == inputs
    assert metrics("ai_api_upstream_requests_total") == len(attempts)
    for outcome, number in Counter(row.outcome for row in attempts).items():
        assert metrics("ai_api_upstream_requests_total", outcome=outcome) == number
    assert metrics("droveway_recorded_requests_total") == len(requests)
    for status, number in Counter(row.status for row in requests).items():
        assert door("ai_api_requests_total", status=str(status)) == number


async def _all_rows(nats: NatsServer, stack: Stack) -> list[AttemptRecorded | RequestRecorded]:
    expected = len(entries(stack)) + REQUESTS
    for _ in range(50):
        rows = await stored_rows(nats)
        if len(rows) >= expected:
            break
        await asyncio.sleep(0.1)
    assert len(rows) == expected
    return rows


def _agree_with_the_books(stack: Stack, attempts: list[AttemptRecorded]) -> None:
    assert len({row.attempt_id for row in attempts}) == len(attempts)
    told = Counter(
        (f"upstream-{number}", entry.model, u.prompt_tokens, u.completion_tokens)
        for number, simulator in enumerate(stack.simulators, start=1)
        for entry in simulator.book.entries
        if (u := entry.usage) is not None
    )
    counted = Counter(
        (row.provider, row.model, row.usage.input_tokens, row.usage.output_tokens)
        for row in attempts
        if not row.usage.estimated
    )
    assert counted == told
    by_target = Counter((row.provider, row.model) for row in attempts)
    in_books = Counter(
        (f"upstream-{number}", entry.model)
        for number, simulator in enumerate(stack.simulators, start=1)
        for entry in simulator.book.entries
    )
    assert by_target == in_books
    estimated = [row for row in attempts if row.usage.estimated and row.committed]
    assert estimated, "cuts, cancels and answers without usage are estimated"
    assert all(row.usage.output_tokens > 0 for row in estimated)
    assert all(row.times.ended_us > 0 for row in attempts)


def _agree_with_the_clients(
    got: list[Got | None], requests: list[RequestRecorded], attempts: list[AttemptRecorded]
) -> None:
    by_id = {row.request_id: row for row in requests}
    assert len(by_id) == len(requests) == REQUESTS
    tried = Counter(row.request_id for row in attempts)
    for one in got:
        if one is None:
            continue
        row = by_id.pop(one.headers["x-request-id"])
        assert row.status == one.status
        complete = one.status == 200 and one.whole
        assert (row.outcome == "completed") is complete
        assert row.attempts == tried[row.request_id], row
    assert {(row.outcome, row.status) for row in by_id.values()} == {("cancelled", 499)}
