"""Asks everything at once over one connection of the user `operator`, each for a bounded time."""

import asyncio
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from droveway.cli import services
from droveway.cli.connection import OPERATOR, settings_for
from droveway.cli.doctor import machine
from droveway.cli.doctor.budgets import ask_budgets
from droveway.cli.doctor.evidence import Broker, Evidence, Fill, Unasked
from droveway.contracts import jetstream
from droveway.contracts.access import Key, Tenant
from droveway.contracts.audit import AuditRecorded
from droveway.contracts.canary import PREFIX as CANARIES
from droveway.contracts.canary import CanaryOrder, order_decoder
from droveway.contracts.envelope import MALFORMED, new_instance
from droveway.contracts.providers import ProviderSwitch
from droveway.contracts.reports import ReportAsked, StatsAsked
from droveway.runtime.access_store import keys_store, tenants_store
from droveway.runtime.ask_providers import ask_providers
from droveway.runtime.audit_trail import read_trail
from droveway.runtime.bus import Bus, BusSettings, connect
from droveway.runtime.bus.direct_get import reading
from droveway.runtime.config.store import ConfigStore
from droveway.runtime.errors import BusError, DrovewayError, NoResponders
from droveway.runtime.provider_switches import SwitchStore
from droveway.runtime.reports import ask_fill, ask_report, ask_stats
from droveway.runtime.routing_entries import subject_of

CONNECT_WITHIN_S = 2.0
ANSWER_WITHIN_S = 2.0
"""Each question, all of them at once; so a look takes 4.5 s when nothing answers."""
PRESENCE_WITHIN_S = 1.5
CLOSE_WITHIN_S = 0.5
CHANGES = 20
"""The newest ones that are read of the audit trail."""
MOST_TARGETS = 1_000
"""Lines of the report on prices."""
READABLE = (
    *(jetstream.USAGE, jetstream.AUDIT),
    *(f"KV_{one}" for one in (jetstream.ACCESS, jetstream.PRICES)),
    *(f"KV_{one}" for one in (jetstream.ROUTING, jetstream.CONFIG)),
)
"""Streams that an operator may read, and so can tell whether they are there."""
_HOUR_MS = 3_600_000
_PAGE_ENTRIES = 256
_PAGE_BYTES = 1024 * 1024

T = TypeVar("T")


async def look(data: Path) -> Evidence:
    """All that can be learnt from here; it never raises for what doesn't answer."""
    at = datetime.now(UTC)
    file, local = machine.local_file(data), machine.data_folder(data)
    try:
        broker = settings_for(OPERATOR, data)
        return await _connected(broker, Evidence(at, Unasked(""), file=file, machine=local))
    except DrovewayError as error:
        reason = str(error)
        if reason.endswith(": "):  # a time-out has no words
            reason += f"no answer within {CONNECT_WITHIN_S:g} s"
        return Evidence(at, Unasked(reason), file=file, machine=local)


async def _connected(broker: BusSettings, begun: Evidence) -> Evidence:
    """Raises `DrovewayError` where there is no connection."""
    broker = msgspec.structs.replace(
        broker, connect_within_s=CONNECT_WITHIN_S, close_within_s=CLOSE_WITHIN_S
    )
    own = (broker.nkey_file, broker.credentials_file, broker.tls_key_file)
    files = (*begun.machine.exposed, *machine.exposed(own))
    local = begun.machine._replace(exposed=tuple(dict.fromkeys(files)))
    began_s = time.monotonic()
    async with connect(broker, OPERATOR, new_instance(OPERATOR)) as bus:
        connected_ms = 1_000 * (time.monotonic() - began_s)
        return await _asked(
            bus, begun._replace(broker=_broker(broker, bus, connected_ms), machine=local)
        )


async def _asked(bus: Bus, begun: Evidence) -> Evidence:
    now_ms = int(begun.at.timestamp() * 1_000)
    async with asyncio.TaskGroup() as tasks:

        def ask(question: Coroutine[Any, Any, T]) -> asyncio.Task[T | Unasked]:
            return tasks.create_task(_answer(question))

        keys, tenants = ask(_keys(bus)), ask(_tenants(bus))
        applied = ask(ConfigStore(bus).current())
        answered = ask(_round_trip_ms(bus))
        found = ask(services.ask(bus))
        providers, switches = ask(ask_providers(bus)), ask(_switches(bus))
        canaries, changes = ask(_canaries(bus)), ask(_changes(bus))
        missing, fill = ask(_missing(bus)), ask(_fill(bus))
        unpriced = ask(ask_report(bus, _unpriced(now_ms), ANSWER_WITHIN_S))
        requests = ask(ask_stats(bus, _last_hour(now_ms), ANSWER_WITHIN_S))
        budgets = ask(ask_budgets(bus, keys, tenants, applied, begun.file))
    assert isinstance(begun.broker, Broker)
    took = answered.result()
    broker = took if isinstance(took, Unasked) else begun.broker._replace(answered_ms=took)
    return begun._replace(
        broker=broker,
        services=found.result(),
        providers=providers.result(),
        switches=switches.result(),
        canaries=canaries.result(),
        keys=keys.result(),
        tenants=tenants.result(),
        applied=applied.result(),
        budgets=budgets.result(),
        missing=missing.result(),
        fill=fill.result(),
        unpriced=unpriced.result(),
        requests=requests.result(),
        changes=changes.result(),
    )


async def _answer(question: Coroutine[Any, Any, T]) -> T | Unasked:
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return await question
    except TimeoutError:
        return Unasked(f"no answer within {ANSWER_WITHIN_S:g} s")
    except DrovewayError as error:
        return Unasked(str(error))
    except MALFORMED as error:
        return Unasked(f"an answer of another form: {error}")


def _broker(settings: BusSettings, bus: Bus, connected_ms: float) -> Broker:
    where = (urlsplit(one).netloc.rpartition("@")[2] for one in settings.servers)
    return Broker(", ".join(where), bus.server_version, connected_ms, 0.0)


async def _round_trip_ms(bus: Bus) -> float:
    began_s = time.monotonic()
    await bus.settle()
    return 1_000 * (time.monotonic() - began_s)


async def _keys(bus: Bus) -> list[Key]:
    return [one.value for one in await keys_store(bus).all()]


async def _tenants(bus: Bus) -> list[Tenant]:
    return [one.value for one in await tenants_store(bus).all()]


async def _missing(bus: Bus) -> list[str]:
    """Streams that aren't there, or have no leader; silence says nothing."""
    there = await asyncio.gather(*(_is_there(bus, stream) for stream in READABLE))
    return [stream for stream, answers in zip(READABLE, there, strict=True) if not answers]


async def _is_there(bus: Bus, stream: str) -> bool:
    async with reading(bus, stream, PRESENCE_WITHIN_S) as reader:
        try:
            await reader.last(">")
        except NoResponders:
            return False
        except BusError:  # a user of an older broker may not ask
            return True
    return True


async def _switches(bus: Bus) -> list[ProviderSwitch]:
    stored = await SwitchStore(bus).all()
    return [one.switch for one in stored.values()]


async def _canaries(bus: Bus) -> list[CanaryOrder]:
    """Every order as it stands; one of a later version is left out."""
    found = []
    async with reading(bus, f"KV_{jetstream.ROUTING}", ANSWER_WITHIN_S) as reader:
        pattern = subject_of(f"{CANARIES}*")
        async for stored in reader.messages(pattern, _PAGE_ENTRIES, _PAGE_BYTES):
            if not stored.operation:
                try:
                    found.append(order_decoder.decode(stored.payload))
                except MALFORMED:
                    continue
    return found


async def _changes(bus: Bus) -> list[AuditRecorded]:
    return [event for _, event in await read_trail(bus, CHANGES)]


async def _fill(bus: Bus) -> Fill:
    told = await ask_fill(bus, ANSWER_WITHIN_S)
    return Fill(told, time.time_ns() // 1_000_000)


def _unpriced(now_ms: int) -> ReportAsked:
    """What each target had at the default price in the last day."""
    since_ms = max(0, now_ms - 24 * _HOUR_MS)
    return ReportAsked(
        by=("provider", "target"), since_ms=since_ms, until_ms=now_ms, measures=False,
        max_lines=MOST_TARGETS,
    )  # fmt: skip


def _last_hour(now_ms: int) -> StatsAsked:
    return StatsAsked(since_ms=max(0, now_ms - _HOUR_MS), until_ms=now_ms)
