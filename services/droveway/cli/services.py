"""`droveway services`: which processes run, what they listen on, and how they fare.

They are asked, not looked up: what answers is connected and alive. Any tool that speaks the
`nats micro` protocol sees the same.
"""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from droveway.cli import terminal
from droveway.cli.connection import OPERATOR, settings_for
from droveway.contracts import discovery
from droveway.contracts.envelope import MALFORMED, PREFIX, new_instance
from droveway.runtime.bus import Bus, BusSettings, connect
from droveway.runtime.errors import DrovewayError
from droveway.runtime.gather_answers import Patience, gather_answers

CONNECT_WITHIN_S = 5.0
PATIENCE = Patience(quiet_s=0.25, longest_s=5.0)
MAX_ANSWERS = 10_000
"""Further ones are left out: an answer is half a kilobyte."""


class NobodyRuns(DrovewayError):
    """No service has answered."""


def show(data: Path, console: Console) -> None:
    """Prints a table of the running services.

    Raises:
        NobodyRuns: There are none.
        SettingsError: The server is unknown or can't be reached.
    """
    console.print(table(_ask(data), datetime.now(UTC)))


def show_json(data: Path) -> str:
    """The services' own answers, as a JSON array.

    Raises:
        NobodyRuns: As `show`.
    """
    return msgspec.json.format(discovery.encode_json(_ask(data))).decode()


def table(found: list[discovery.Stats], now: datetime) -> Table:
    """A row per subject; the process stands on its first."""
    grid = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("service", "instance", "version"):
        grid.add_column(title, no_wrap=True)
    grid.add_column("up", justify="right", no_wrap=True)
    grid.add_column("listens on", no_wrap=True)
    for title in ("requests", "errors", "mean ms"):
        grid.add_column(title, justify="right", no_wrap=True)
    grid.add_column("last error", style="dim", no_wrap=True)
    for one in found:
        process = (one.name, one.id, one.version, uptime(one.started, now))
        for row in _endpoints(one):
            grid.add_row(*(Text(_printable(cell)) for cell in (*process, *row)))
            process = ("", "", "", "")
    return grid


async def gather(broker: BusSettings) -> list[discovery.Stats]:
    """What every service says of itself, by name and instance.

    Raises:
        SettingsError: The server can't be reached or refuses the user.
        BusError: The connection was lost.
    """
    broker = msgspec.structs.replace(broker, connect_within_s=CONNECT_WITHIN_S)
    async with connect(broker, OPERATOR, new_instance(OPERATOR)) as bus:
        return await ask(bus)


async def ask(bus: Bus) -> list[discovery.Stats]:
    """As `gather`, over a connection of the user `operator`.

    Raises:
        BusError: There is no connection.
    """
    found: dict[str, discovery.Stats] = {}

    def take(payload: bytes) -> bool:
        try:
            answer = discovery.stats_decoder.decode(payload)
        except MALFORMED:
            return False  # of another's service in the same account, not as the protocol has it
        if len(found) < MAX_ANSWERS:
            found[answer.id] = answer
        return True

    await gather_answers(bus, f"{discovery.ROOT}.STATS", b"", take, PATIENCE)
    return sorted(found.values(), key=lambda one: (one.name, one.id))


def _ask(data: Path) -> list[discovery.Stats]:
    terminal.quiet()
    broker = settings_for(OPERATOR, data)
    found = asyncio.run(gather(broker))
    if not found:
        raise NobodyRuns("no service has answered: are they running, and on this NATS server?")
    return found


def _endpoints(one: discovery.Stats) -> Iterator[tuple[str, ...]]:
    if not one.endpoints:
        yield ("nothing", "", "", "", "")
    for endpoint in one.endpoints:
        subject = endpoint.subject.removeprefix(f"{PREFIX}.").removesuffix(f".{one.id}")
        mean_ms = endpoint.average_processing_time / 1e6
        yield (
            subject,
            str(endpoint.num_requests),
            str(endpoint.num_errors),
            f"{mean_ms:.2f}" if endpoint.num_requests else "",
            endpoint.last_error,
        )


def _printable(text: str) -> str:
    """A compromised service must not steer the operator's terminal."""
    return "".join(character if character.isprintable() else "?" for character in text[:200])


def uptime(started: str, now: datetime) -> str:
    """As `3d 4h`, `2h 10m`, `5m 1s`, `12s`; empty when the start, in RFC 3339, can't be read."""
    try:
        total_s = max(0, int((now - datetime.fromisoformat(started)).total_seconds()))
    except (ValueError, TypeError):
        return ""
    parts = []
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, total_s = divmod(total_s, seconds)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"
