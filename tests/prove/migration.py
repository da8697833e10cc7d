"""A route moves from a provider that fails to a new one, by `droveway canary`, day by day.

`python -m tests.prove.migration 80000` asks so many requests, a quarter of them each day.
"""

import asyncio
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from droveway.contracts.canary import STEPS
from droveway.contracts.config import (
    Config,
    Health,
    Price,
    Provider,
    RetryBudget,
    Route,
    RouteTarget,
    Tier,
)
from droveway.contracts.usage import AttemptRecorded
from droveway.simulator.book import Entry
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import failed, reasons, until_done
from tests.prove.migration_book import (
    Asked,
    Placed,
    outcomes,
    placed,
    strays,
    widest_gap,
    wrong_figures,
)
from tests.prove.migration_commands import Comparison, comparison, droveway
from tests.prove.migration_days import day, sample
from tests.prove.plant import Plant, Shape, broker, plant
from tests.support.accounts import attempts_of, stored_rows
from tests.support.history import History, Request
from tests.support.history_clients import ask_raw
from tests.support.nats import write_droveway_config

SUCCESS = 0.999
MOST_POINTS = 0.6
POPULATION = 80_000
"""Users, of whom a sample asks."""
PASSES = 2
"""How often each user of the sample asks in a day."""
FASTER = 10
"""28 s of silence, as long as the old provider's time-out was, are 2.8 s here."""
_STALL_S = 28.0 / FASTER
_LIVE_S = 1.0
"""An order is in force by then."""
_NIGHT_PER_S = 12.0
_ROUTE = "assistant-numbered-6"
_OLD, _NEW = "fault-numbered-6+silence+permille-386", "fault-numbered-6+500+percent-2"
_FIRST_TOKEN_MS = {_OLD: 300, _NEW: 90}
_PRICES = {_OLD: Price(input=2.5, output=10.0), _NEW: Price(input=0.4, output=1.6)}
_TARGET = f"provider=upstream-2,model={_NEW}"


def _shape(run: Run) -> Shape:
    """The old provider stays in use: by itself a router would leave it after some seconds."""

    def configure(config: Config) -> Config:
        old, new = config.providers
        configured = msgspec.structs.replace(
            config,
            providers=(_timed(old, _OLD), _timed(new, _NEW)),
            routes=(Route(model=_ROUTE, tiers=(_tier(old, _OLD),), unstreamed="stream"),),
            health=Health(consecutive=1_000, ratio=0.6, min_outcomes=200),
            retry_budget=RetryBudget(ratio=0.5),
        )
        write_droveway_config(run.folder / "droveway.yaml", configured)
        return configured

    slow = "DROVEWAY_SIMULATOR_FIRST_TOKEN_MS"
    own = {
        f"simulator-{number}": {slow: str(_FIRST_TOKEN_MS[model])}
        for number, model in enumerate((_OLD, _NEW), 1)
    }
    return Shape(routers=2, callers=2, simulators=2, own=own, configure=configure)


def _timed(provider: Provider, model: str) -> Provider:
    timeouts = msgspec.structs.replace(
        provider.timeouts, first_token_s=_STALL_S, idle_s=_STALL_S, total_s=10 * _STALL_S
    )
    return msgspec.structs.replace(provider, timeouts=timeouts, prices={model: _PRICES[model]})


def _tier(provider: Provider, model: str) -> Tier:
    return Tier(targets=(RouteTarget(provider=provider.id, model=model),))


async def _migrates(run: Run) -> Result:
    return await migrated(run, run.count(1_500, 100), run.count(PASSES, 1))


async def migrated(run: Run, users: int, passes: int) -> Result:
    """Four days, on each of which every user asks so often; before each, a night and an order."""
    rng = run.random("users")
    people = sample(POPULATION, users, rng)
    nights, days = [], []
    async with broker(run) as nats, plant(run, nats, _shape(run)) as it:
        await droveway(run, nats, "canary", "set", _ROUTE, "--percent", "0", "--target", _TARGET)
        await asyncio.sleep(_LIVE_S)
        with run.history() as history:
            for number in range(len(STEPS)):
                nights.append(await _night(it, history, number))
                days.append(await _day(it, history, people * passes))
            await asyncio.gather(*nights)
            asked = [
                Asked(user, number, await record)
                for number, own in enumerate(days)
                for user, record in own
            ]
            everything = history.requests[:]
            await it.judge(history)
        entries = await it.entries()
        told = await comparison(run, nats, _ROUTE, len(entries))
        rows = attempts_of(await stored_rows(nats))
    wrong = [*_differences(told, entries, rows, len(everything))]
    return _result(run, everything, placed(asked, entries), entries, wrong, told.table)


async def _night(it: Plant, history: History, number: int) -> "asyncio.Future[list[Request]]":
    """The canary advances while others ask; it is in force when the day begins.

    Neither nights nor days wait for their last answers.
    """

    async def advance() -> None:
        await droveway(it.run, it.nats, "canary", "advance", _ROUTE)
        await asyncio.sleep(_LIVE_S)

    async def ask(asked: int) -> Request:
        return await _ask(it, history, f"night-{number}-{asked}", asked)

    order = asyncio.ensure_future(advance())
    asking = asyncio.ensure_future(until_done(_NIGHT_PER_S, order, ask))
    await order
    return asking


async def _day(
    it: Plant, history: History, users: list[str]
) -> list[tuple[str, "asyncio.Task[Request]"]]:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    asking = []
    for asked, (user, at_s) in enumerate(zip(users, day(len(users)), strict=True)):
        await asyncio.sleep(began_s + at_s - loop.time())
        asking.append((user, asyncio.create_task(_ask(it, history, user, asked))))
    return asking


async def _ask(it: Plant, history: History, user: str, number: int) -> Request:
    body = it.body(_ROUTE, stream=number % 2 == 0, user=user)
    return await ask_raw(history, it.port, it.key, body)


def _result(
    run: Run,
    everything: list[Request],
    found: list[Placed],
    entries: list[Entry],
    wrong: list[str],
    table: str,
) -> Result:
    points = widest_gap(found, _NEW, STEPS)
    astray = strays(found, _NEW, STEPS)
    served = 1 - len(failed(everything)) / len(everything)
    spared = [one for one in found if one.asked.day == len(STEPS) - 1 and _OLD in one.tried]
    if not spared:
        run.blame("on the last day the old channel had to answer nothing: its fallback isn't shown")
    facts = {
        "requests": len(everything),
        "of_days": len(found),
        "users": len({one.asked.user for one in found}),
        "failures": reasons(everything),
        "calls": outcomes(entries),
        "shares_percent": _shares(found),
        "served_by_the_old_channel_on_the_last_day": len(spared),
        "astray": astray[:10],
        "wrong_figures": wrong,
        "table": table.splitlines(),
    }
    held = served >= SUCCESS and points <= MOST_POINTS and not astray and not wrong
    measured = f"{100 * served:.2f} %; {points:.2f} pp; {len(astray)}; {len(wrong)}"
    return Result(measured, held, facts)


def _differences(
    told: Comparison, entries: list[Entry], rows: list[AttemptRecorded], requests: int
) -> Iterator[str]:
    lines = {line["channel"]: line for line in told.whole["channels"]}
    for channel, model in (("stable", _OLD), ("canary", _NEW)):
        own = [one for one in entries if one.model == model]
        counted = [one for one in rows if one.model == model]
        yield from wrong_figures(told.whole, lines[channel], own, counted, _PRICES[model])
    if (counted := sum(line["requests"] for line in lines.values())) != requests:
        yield f"{counted} requests, clients asked {requests}"


def _shares(found: list[Placed]) -> list[float]:
    days = [[one.first == _NEW for one in found if one.asked.day == n] for n in range(len(STEPS))]
    return [round(100 * sum(own) / len(own), 2) for own in days]


CLAIMS = (
    Claim(
        id="R46+R47",
        text="a route moves from a channel that leaves 38.6 % of its calls without an answer to a "
        "new one, 5, 20, 50, 100 % of users by `droveway canary`, at up to 120 requests/s: "
        "requests that succeed; widest gap of the canary's share; users who leave it, are in both "
        "channels or in the wrong one; figures of `canary compare` that the providers' books "
        "don't have",
        bound=f"≥ {100 * SUCCESS:g} %; ≤ {MOST_POINTS:g} pp; 0; 0",
        run=_migrates,
    ),
)


def main() -> None:
    """Runs it with as many requests as the command line says, 80,000 by default."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 80_000
    folder = Path(__file__).parents[2] / "build" / "prove" / "migration"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run = Run("R46+R47", 1, False, folder)
    result = asyncio.run(migrated(run, requests // (PASSES * len(STEPS)), PASSES))
    sys.stdout.write("\n".join((*result.facts.pop("table"), "", f"{result.facts}", "")))
    sys.stdout.write(f"{result.measured}\n")
    sys.exit(not result.held or bool(run.violations))


if __name__ == "__main__":
    main()
