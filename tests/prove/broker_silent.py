"""A broker that is there and silent: frozen, or behind a link that passes nothing on."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from tests.prove.broker_probe import first_time, probe, statuses, until_served
from tests.prove.broker_publishers import PUBLISHERS, Outcome
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import open_loop, reasons, streams
from tests.prove.plant import Plant, Shape, broker, plant
from tests.support.fault_process import fault_process
from tests.support.history import History
from tests.support.tcp_proxy import address

NOTICED_WITHIN_S = 10.0
RECOVERED_WITHIN_S = 10.0
_ROOT = Path(__file__).parents[2]
_OWN_NETWORK = ("unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"')
_STREAMS = 20
_AFTER_START_S = 0.5
_PER_S = 10.0


async def _frozen(run: Run) -> Result:
    silent_s = run.count(20, 6)
    outcome = await _publishers("stop", silent_s)
    return Result(_told(outcome), _holds(outcome), {"silent_s": silent_s, **_facts(outcome)})


async def _black_hole(run: Run) -> Result:
    silent_s = run.count(20, 6)
    by = "iptables" if await asyncio.to_thread(_may_drop_packets) else "proxy"
    outcome = await _publishers("drop" if by == "iptables" else "hole", silent_s)
    gateway = await _gateway_in_a_hole(run, silent_s)
    facts = {"silent_s": silent_s, "publishers_by": by, **_facts(outcome), "gateway": gateway}
    seconds = [gateway["unready_s"], gateway["served_s"]]
    held = _holds(outcome) and None not in seconds and max(seconds) <= RECOVERED_WITHIN_S
    told = ", ".join("-" if one is None else f"{one:.1f} s" for one in seconds)
    return Result(f"{by}: {_told(outcome)}; proxy: {told}", held, facts)


async def _publishers(how: str, silent_s: float) -> Outcome:
    command = [sys.executable, "-m", "tests.prove.broker_publishers", how, str(silent_s)]
    if how == "drop":
        command = [*_OWN_NETWORK, "sh", *command]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(silent_s + 90):
            return msgspec.json.decode(await process.stdout.readline(), type=Outcome)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _may_drop_packets() -> bool:
    command = [*_OWN_NETWORK, "sh", "iptables", "-A", "INPUT", "-p", "tcp", "-j", "DROP"]
    try:
        return subprocess.run(command, capture_output=True, timeout=10).returncode == 0
    except OSError:  # no such command here
        return False


def _holds(outcome: Outcome) -> bool:
    waits_s = (outcome.noticed_s, outcome.recovered_s, outcome.answered_s)
    known = [one for one in waits_s if one is not None]
    return len(known) == len(waits_s) and max(known) <= NOTICED_WITHIN_S and not outcome.tasks_left


def _told(outcome: Outcome) -> str:
    recovered = [outcome.recovered_s, outcome.answered_s]
    waits = [outcome.noticed_s, None if None in recovered else max(filter(None, recovered))]
    return ", ".join("-" if one is None else f"{one:.1f} s" for one in waits)


def _facts(outcome: Outcome) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(outcome)
    return facts


async def _gateway_in_a_hole(run: Run, silent_s: float) -> dict[str, Any]:
    """A gateway whose link is dead, while all others reach the broker."""
    async with broker(run) as nats, fault_process(*address(nats.url), seed=run.seed) as link:
        shape = Shape(links={"gateway": f"nats://127.0.0.1:{link.port}"})
        async with plant(run, nats, shape) as it:
            with run.history() as history:
                facts = await _one_hole(it, history, link, silent_s)
                await it.judge(history)
    return facts


async def _one_hole(it: Plant, history: History, link: Any, silent_s: float) -> dict[str, Any]:
    gateway = it["gateway"][0]

    async def unready() -> bool:
        try:
            await gateway.until_ready(0)
        except TimeoutError:
            return True
        return False

    running = streams(it, history, _STREAMS, "numbered-4000")
    await it.until_streaming(_STREAMS)
    await asyncio.sleep(_AFTER_START_S)
    asking = asyncio.ensure_future(open_loop(_PER_S, silent_s, lambda _: probe(it)))
    began_s = time.monotonic()
    await link.set(black_hole=True)
    unready_s = await first_time(unready, silent_s)
    await asyncio.sleep(began_s + silent_s - time.monotonic())
    await link.command("heal")
    served_s = await until_served(it, time.monotonic(), 2 * RECOVERED_WITHIN_S)
    return {
        "unready_s": unready_s,
        "served_s": served_s,
        "streams": reasons(await asyncio.gather(*running)),
        "requests_meanwhile": statuses(await asking),
    }


CLAIMS = (
    Claim(
        id="B13",
        text=f"nats-server stands still for 20 s with {PUBLISHERS:,} publishers on one connection: "
        "until that is given up; from its return until all publish again",
        bound=f"≤ {NOTICED_WITHIN_S:g} s, ≤ {RECOVERED_WITHIN_S:g} s",
        run=_frozen,
    ),
    Claim(
        id="B14",
        text=f"the link to NATS is a black hole for 20 s, for {PUBLISHERS:,} publishers and for a "
        "gateway: until it is given up (unready); from its return until all publish (serves)",
        bound=f"≤ {NOTICED_WITHIN_S:g} s, ≤ {RECOVERED_WITHIN_S:g} s each",
        run=_black_hole,
    ),
)
