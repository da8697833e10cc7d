"""What tests of whole requests ask: of answers, of the stack's configuration, of stored rows."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from droveway.cli.usage_rows import Trail, read_trail
from droveway.contracts.config import Config, Health, Retry, Route, RouteTarget, Tier, Timeouts
from droveway.contracts.jetstream import USAGE
from droveway.contracts.usage import Row
from droveway.contracts.usage import rows_of as rows_in
from droveway.simulator.book import Entry
from tests.support.nats import NatsServer
from tests.support.simulator import payloads
from tests.support.stack import Stack

CHAT = "/v1/chat/completions"


class Got(NamedTuple):
    """One answer as a client saw it to its end."""

    status: int
    headers: httpx.Headers
    text: str
    whole: bool
    """The body ended as HTTP has it; False: it was cut."""

    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def error(self) -> dict[str, Any]:
        """The error object, of the body or of a stream's last event."""
        text = payloads(self.text)[-1] if self.is_stream else self.text
        error: dict[str, Any] = json.loads(text)["error"]
        return error

    @property
    def is_stream(self) -> bool:
        return str(self.headers.get("content-type")).startswith("text/event-stream")

    @property
    def done(self) -> bool:
        return self.is_stream and payloads(self.text)[-1:] == ["[DONE]"]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The events that are no terminal and no error."""
        events = [json.loads(text) for text in payloads(self.text) if text != "[DONE]"]
        return [event for event in events if "error" not in event]

    @property
    def said(self) -> str:
        """The text of all choices, in order."""
        if not self.is_stream:
            return "".join(one["message"]["content"] or "" for one in self.json()["choices"])
        choices = [choice for chunk in self.chunks for choice in chunk["choices"]]
        return "".join((one.get("delta") or {}).get("content") or "" for one in choices)


async def ask(client: httpx.AsyncClient, body: dict[str, Any], **options: Any) -> Got:
    """Posts a chat request and reads the answer to its end, however it comes."""
    pieces: list[bytes] = []
    async with client.stream("POST", CHAT, json=body, **options) as answer:
        try:
            async for piece in answer.aiter_raw():
                pieces.append(piece)  # noqa: PERF401  those before a cut count
            whole = True
        except (httpx.RemoteProtocolError, httpx.ReadError):
            whole = False
    return Got(answer.status_code, answer.headers, b"".join(pieces).decode(), whole)


def numbered(count: int) -> str:
    """What `numbered-<count>` says."""
    return "".join(f"t{number} " for number in range(count))


def each_once(config: Config) -> Config:
    """The configuration with no target asked twice, nor spared for what it did to others."""
    return msgspec.structs.replace(
        config,
        retry=Retry(same_target=0),
        health=Health(consecutive=1_000, min_outcomes=1_000_000),
    )


def with_timeouts(config: Config, **timeouts: float) -> Config:
    """The configuration with other phase limits for each provider."""
    return msgspec.structs.replace(
        config,
        providers=tuple(
            msgspec.structs.replace(one, timeouts=Timeouts(**timeouts)) for one in config.providers
        ),
    )


def route(model: str, *targets: tuple[str, str]) -> Route:
    """A route that tries (provider, its model) one after the other."""
    tiers = tuple(
        Tier(targets=(RouteTarget(provider=provider, model=name),)) for provider, name in targets
    )
    return Route(model=model, tiers=tiers)


def only_first(config: Config, *routes: Route) -> Config:
    """Route `*` has the first provider alone; other routes beside it."""
    first = config.routes[0]
    alone = msgspec.structs.replace(first, tiers=first.tiers[:1])
    return msgspec.structs.replace(config, routes=(*routes, alone))


async def eventually(
    holds: Callable[[], bool], within_s: float = 5.0, every_s: float = 0.01
) -> None:
    """Returns as soon as `holds()`; fails after `within_s`."""
    until_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until_s, "still not so"
        await asyncio.sleep(every_s)


async def rows_of(
    nats: NatsServer, request_id: str, within_s: float = 5.0, *, attempts: int = 0
) -> Trail:
    """The rows of one request, once all are stored.

    A request that was cancelled may not know of its attempts: then `attempts` says how many.
    """
    until_s = time.monotonic() + within_s
    while True:
        trail = await read_trail(nats.settings("operator"), request_id, within_s)
        assert trail.complete, trail
        if len(trail.attempts) >= attempts:
            return trail
        assert time.monotonic() < until_s, trail


def entries(stack: Stack) -> list[Entry]:
    """All entries of all simulators' books."""
    return [entry for simulator in stack.simulators for entry in simulator.book.entries]


def models(found: Sequence[Entry]) -> list[str]:
    """The models of entries."""
    return [entry.model for entry in found]


async def nothing_open(stack: Stack, within_s: float = 5.0) -> None:
    """Waits until no simulator has an open request."""
    await eventually(
        lambda: all(one.book.totals.open_requests == 0 for one in stack.simulators), within_s
    )


@asynccontextmanager
async def lines_until(
    client: httpx.AsyncClient, body: dict[str, Any], needle: str
) -> AsyncIterator[httpx.Response]:
    """A stream that has said `needle`; leaving the block closes the connection."""
    async with client.stream("POST", CHAT, json=body) as answer:
        lines = answer.aiter_lines()  # kept: once it's collected, httpx closes the connection
        async for line in lines:
            if needle in line:
                break
        yield answer


async def stored_rows(nats: NatsServer) -> list[Row]:
    """All rows of USAGE, in order."""
    rows: list[Row] = []
    async with nats.bus("operator") as bus:
        for sequence in itertools.count(1):
            question = msgspec.json.encode({"seq": sequence})
            payload = await bus.request(f"$JS.API.DIRECT.GET.{USAGE}", question, 2.0)
            if not payload:
                break
            rows += rows_in(payload)
    return rows


async def samples(port: int) -> Callable[..., float]:
    """A scrape of an admin port: the sum of a metric's samples with the labels given."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        text = (await client.get("/metrics")).text
    found = [one for family in text_string_to_metric_families(text) for one in family.samples]

    def total(name: str, **labels: str) -> float:
        return sum(
            one.value for one in found
            if one.name == name and labels.items() <= one.labels.items()
        )  # fmt: skip

    return total
