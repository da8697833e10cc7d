"""Answers without usage: what their rows and their clients are told instead, and how near it is."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from droveway.contracts.config import Config
from droveway.contracts.usage import AttemptRecorded
from droveway.simulator.book import Entry
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import at_most
from tests.prove.limits_clients import CHAT, MESSAGES, Answer, clients
from tests.prove.plant import Plant, Shape, broker, plant
from tests.prove.upstream_world import route
from tests.support.accounts import attempts_of, stored_rows

OFF_BY = 1.5
"""Tokens of an answer are about four bytes; numbered ones are a little less."""
_AT_ONCE = 16
_ROWS_WITHIN_S = 10.0
_MAX_TOKENS = 4_096
_SHORTEST = 20
"""Tokens of the first answer; each further one has one more."""


class _Ask(NamedTuple):
    """One request; its length is its own, by which it is found."""

    tokens: int
    anthropic: bool
    path: str
    stream: bool
    usage_asked: bool
    counted: bool
    """Whether its provider tells usage."""

    @property
    def model(self) -> str:
        """At the provider."""
        missing = "" if self.counted else "+no-usage"
        return f"fault-numbered-{self.tokens}+finish-{self._finish}{missing}"

    @property
    def _finish(self) -> str:
        cut = (self.tokens - _SHORTEST) >> 5 & 1 == 0  # lower bits say other things
        if self.anthropic:
            return "max_tokens" if cut else "end_turn"
        return "length" if cut else "stop"

    @property
    def shows_usage(self) -> bool:
        """Whether its client is told: streams of chat tell who asks for it.

        Anthropic's answers to its own clients are passed on as they came, so they tell what the
        provider told.
        """
        if self.path == MESSAGES:
            return self.counted or not self.anthropic
        return not self.stream or self.usage_asked

    @property
    def name(self) -> str:
        """Of the route."""
        return f"{'anthropic' if self.anthropic else 'openai'}-{self.tokens}"


def _asks(count: int) -> list[_Ask]:
    found = []
    for number in range(count):
        bits = [bool(number >> bit & 1) for bit in range(5)]
        anthropic, messages, stream, usage_asked, counted = bits
        path = MESSAGES if messages else CHAT
        found.append(_Ask(_SHORTEST + number, anthropic, path, stream, usage_asked, counted))
    return found


def _configured(asks: Iterable[_Ask]) -> Shape:
    def configure(config: Config) -> Config:
        (first,) = config.providers
        second = msgspec.structs.replace(first, id="anthropic", dialect="anthropic")
        routes = (route(ask.name, ((first, second)[ask.anthropic].id, ask.model)) for ask in asks)
        return msgspec.structs.replace(config, providers=(first, second), routes=tuple(routes))

    return Shape(interval_ms=1, configure=configure)


async def _uncounted(run: Run) -> Result:
    asks = _asks(run.count(640, 96))
    async with (
        broker(run) as nats,
        plant(run, nats, _configured(asks)) as it,
        clients(it) as asking,
    ):

        async def ask(one: _Ask) -> Answer:
            fields: dict[str, Any] = {"stream": one.stream, "max_tokens": _MAX_TOKENS}
            if one.stream and one.usage_asked and one.path == CHAT:
                fields["stream_options"] = {"include_usage": True}
            return await asking.ask(it.key, it.body(one.name, **fields), one.path)

        got = await at_most(_AT_ONCE, map(ask, asks))
        await it.until_idle()
        entries = {one.model: one for one in await it.entries()}
        rows = await _rows(it, len(asks))
    wrong = _wrong(asks, got, entries, rows)
    measured = "; ".join(str(len(one)) for one in wrong.values())
    facts = {"requests": len(asks), **wrong}
    return Result(f"{measured} of {len(asks)}", not any(wrong.values()), facts)


def _wrong(
    asks: Sequence[_Ask],
    got: Sequence[Answer],
    entries: Mapping[str, Entry],
    rows: Mapping[str, AttemptRecorded],
) -> dict[str, list[str]]:
    """The models of those whose row, or whose client, says what isn't so."""
    failed, untrue, far, differ = (list[str]() for _ in range(4))
    for one, answer in zip(asks, got, strict=True):
        row, entry = rows.get(one.model), entries.get(one.model)
        if answer.status != 200:
            failed.append(one.model)
        if row is None or entry is None or row.usage.estimated == one.counted:
            untrue.append(one.model)
            continue
        used = row.usage
        if one.counted and _told(entry) != (used.input_tokens, used.output_tokens):
            untrue.append(one.model)
        if not one.tokens / OFF_BY <= used.output_tokens <= one.tokens * OFF_BY:
            far.append(one.model)
        if usage_shown(answer.body) != (used.output_tokens if one.shows_usage else None):
            differ.append(one.model)
    return {
        "failed": failed,
        "rows_that_are_untrue": untrue,
        "estimates_far_off": far,
        "clients_told_otherwise": differ,
    }


async def _rows(it: Plant, count: int) -> dict[str, AttemptRecorded]:
    """By the provider's name for the model; once all are there or after a while."""
    until_s = asyncio.get_running_loop().time() + _ROWS_WITHIN_S
    while True:
        rows = {row.model: row for row in attempts_of(await stored_rows(it.nats))}
        if len(rows) >= count or asyncio.get_running_loop().time() > until_s:
            return rows
        await asyncio.sleep(0.2)


def _told(entry: Entry) -> tuple[int, int]:
    """What the provider told, which the book has in its dialect."""
    if entry.anthropic_usage is not None:
        return entry.anthropic_usage.input_tokens, entry.anthropic_usage.output_tokens
    assert entry.usage is not None, f"{entry.model} tells its usage"
    return entry.usage.prompt_tokens, entry.usage.completion_tokens


def usage_shown(body: bytes) -> int | None:
    """The last output tokens that an answer tells its client, whole or streamed; None: none."""
    shown = None
    for line in body.splitlines():
        text = line.removeprefix(b"data:").strip()
        if not text.startswith(b"{"):
            continue
        usage = msgspec.json.decode(text, type=dict[str, Any]).get("usage") or {}
        told = usage.get("completion_tokens", usage.get("output_tokens"))
        shown = shown if told is None else told
    return shown


CLAIMS = (
    Claim(
        id="B43",
        text="answers that end well or by their length, half of them without usage, of both "
        "dialects, streamed and whole: requests that fail; rows that are estimates and don't say "
        "so, or otherwise than what the provider told; estimates that are off by more than half; "
        "clients who are told otherwise than the row says",
        bound="0; 0; 0; 0",
        run=_uncounted,
    ),
)
