"""Clients that read slowly, and then not at all."""

import asyncio
import socket
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

from tests.bench.figures import percentile
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import failed, http_request, open_loop, reasons
from tests.prove.plant import Plant, Shape, broker, plant
from tests.support.history import History, Request
from tests.support.history_clients import ask_raw

READERS = 100
GROWTH_MIB = 32.0
"""320 KiB for each reader: its credit, what the connection holds, and what malloc keeps."""
SLOWER_BY = 2.0
"""Of the others' p99: what two busy cores do to it by themselves."""
CUT_LATE_BY = 1.35
"""The stall is looked for four times in its time."""
_MODEL = "numbered-90000"
_PIECE_BYTES = 1_000
_BUFFER_BYTES = 4_096
_HELD_BACK_WITHIN_S = 20.0
_PROBES_PER_S = 40.0
_LISTENING = "0A"
_MIB = 1024 * 1024


async def _slow_readers(run: Run) -> Result:
    stall_s = run.count(30, 10)
    probe_s = run.count(15, 5)
    environment = {"DROVEWAY_GATEWAY_WRITE_STALL_S": str(stall_s)}
    shape = Shape(environment=environment)
    async with broker(run) as nats, plant(run, nats, shape) as it:
        with run.history() as history, ExitStack() as stack:
            await _probe(it, history, 2.0)
            before = await _probe(it, history, probe_s)
            sizes = await _sizes_mib(it)
            readers = [stack.enter_context(closing(_connected(it.port))) for _ in range(READERS)]
            request = http_request(it, it.body(_MODEL, stream=True))
            began_s = time.monotonic()
            reading = [asyncio.ensure_future(_read_slowly(one, request)) for one in readers]
            held_back = await _until_held_back(it)
            during = await _probe(it, history, probe_s)
            queued = _queued_mib(it.port)
            grown = [now - then for now, then in zip(await _sizes_mib(it), sizes, strict=True)]
            await asyncio.sleep(began_s + 1.2 * stall_s - time.monotonic())  # longer than a stall
            for task in reading:
                task.cancel()
            stopped_s = time.monotonic()
            idle_s = await it.until_idle(2 * stall_s)
            cuts_s = await _cuts_s(it, stopped_s)
            await it.judge(history)
    facts: dict[str, Any] = {
        "readers": READERS,
        "held_back_after_s": held_back,
        "gateway_growth_mib": grown[0],
        "caller_growth_mib": grown[1],
        "kernel_queues_mib": queued,
        "others": len(during),
        "others_failed": reasons(during),
        "p99_before_ms": _p99_ms(before),
        "p99_during_ms": _p99_ms(during),
        "cut_while_reading": sum(cut_s < 0 for cut_s in cuts_s),
        "stall_setting_s": stall_s,
        "last_cut_s": max(cuts_s, default=0.0),
    }
    return _result(facts, grown, during, idle_s is not None)


def _result(facts: dict[str, Any], grown: list[float], during: list[Request], idle: bool) -> Result:
    slower = facts["p99_during_ms"] / facts["p99_before_ms"]
    wrong = facts["cut_while_reading"] + len(failed(during))
    late_by = facts["last_cut_s"] / facts["stall_setting_s"]
    held = (
        max(grown) <= GROWTH_MIB
        and slower <= SLOWER_BY
        and not wrong
        and idle
        and late_by <= CUT_LATE_BY
    )
    measured = f"{grown[0]:.1f}, {grown[1]:.1f} MiB; {slower:.1f}x; {wrong}; {30 * late_by:.0f} s"
    return Result(measured, held, facts)


async def _probe(it: Plant, history: History, for_s: float) -> list[Request]:
    """Others' requests."""

    async def one(number: int) -> Request:
        body = it.body("numbered-5", stream=number % 2 == 0)
        return await ask_raw(history, it.port, it.key, body)

    return await open_loop(_PROBES_PER_S, for_s, one)


def _p99_ms(requests: list[Request]) -> float:
    return percentile([one.duration_s * 1000 for one in requests], 99)


def _connected(port: int) -> socket.socket:
    """A connection of a client with little room."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    peer.connect(("127.0.0.1", port))
    peer.setblocking(False)
    return peer


async def _read_slowly(peer: socket.socket, request: bytes) -> None:
    """About 1 kB a second, until the end."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(peer, request)
    with suppress(ConnectionError):
        while await loop.sock_recv(peer, _PIECE_BYTES):  # noqa: ASYNC110 - slowness is all it does
            await asyncio.sleep(_PIECE_BYTES / 1000)


async def _until_held_back(it: Plant) -> float | None:
    """How long until the readers' pace has reached the caller; None: not in time."""
    began_s = time.monotonic()
    while time.monotonic() - began_s < _HELD_BACK_WITHIN_S:
        if await it["caller"][0].metric("droveway_relay_blocked") >= READERS:
            return time.monotonic() - began_s
        await asyncio.sleep(0.2)
    return None


async def _sizes_mib(it: Plant) -> list[float]:
    """Resident memory of the gateway and of the caller."""
    return [await it[service][0].rss_bytes() / _MIB for service in ("gateway", "caller")]


def _queued_mib(port: int) -> float:
    """What the kernel holds for the clients of a port, sent or not, until they take it.

    Source: Linux, Documentation/networking/proc_net_tcp.rst (the fifth field, hexadecimal).
    """
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    connected = [one for one in lines if one[1].endswith(f":{port:04X}") and one[3] != _LISTENING]
    return sum(int(one[4].partition(":")[0], 16) for one in connected) / _MIB


async def _cuts_s(it: Plant, stopped_s: float) -> list[float]:
    """When each slow reader's call to the provider was closed, since reading stopped."""
    found = [one for one in await it.entries() if one.model == _MODEL]
    return [(one.client_closed_ms or 0.0) / 1000 - stopped_s for one in found]


CLAIMS = (
    Claim(
        id="B28",
        text=f"{READERS} clients read 1 kB/s: growth of gateway and caller; others' p99; readers "
        "cut or others failed; after reading nothing for 30 s all are cut within",
        bound=f"≤ {GROWTH_MIB:g} MiB each; ≤ {SLOWER_BY:g}x; 0; ≤ {30 * CUT_LATE_BY:.0f} s",
        run=_slow_readers,
    ),
)
