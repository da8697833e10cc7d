"""Asks the running limiter over the bus, as the router does, and reads its CPU clock."""

import asyncio
import time
from typing import NamedTuple

import uvloop

from droveway.contracts import admission
from droveway.contracts.envelope import encode, new_instance, new_request_id
from droveway.runtime.api_key import parse_key
from droveway.runtime.bus import Bus, BusSettings, connect
from tests.bench import system
from tests.bench.children import RunFailed
from tests.bench.figures import percentile
from tests.bench.targets import Deployed

_IN_FLIGHT = 64
_ANSWER_LIMIT_S = 2.0


class Decisions(NamedTuple):
    """What decisions cost."""

    p50_us: float
    """There and back over the bus."""
    per_core_s: float
    """By the limiter's own CPU time: what one core could decide."""


def decisions(deployed: Deployed, seconds: float) -> Decisions:
    """Measures for about `seconds`, half of it one question at a time.

    Raises:
        RunFailed: An answer isn't an admission.
    """
    return uvloop.run(_decisions(deployed, seconds))


async def _decisions(deployed: Deployed, seconds: float) -> Decisions:
    seed = str(deployed.data.seed_file("router"))
    broker = BusSettings(servers=(deployed.nats_url,), nkey_file=seed)
    (pid,) = deployed.target.services["limiter"]
    key_id = parse_key(deployed.six_limits_key).id
    async with connect(broker, "router", new_instance("router")) as bus:
        await _ask_for(bus, key_id, 0.2)
        times_s = await _ask_for(bus, key_id, seconds / 2)
        before_us = system.cpu_us(pid)
        asking = [_ask_for(bus, key_id, seconds / 2) for _ in range(_IN_FLIGHT)]
        answers = sum(map(len, await asyncio.gather(*asking)))
        spent_us = system.cpu_us(pid) - before_us
    return Decisions(1e6 * percentile(times_s, 50), 1e6 * answers / spent_us)


async def _ask_for(bus: Bus, key_id: str, seconds: float) -> list[float]:
    """Asks one question after the other; returns how long each answer took, in seconds."""
    until_s = time.perf_counter() + seconds
    times_s: list[float] = []
    subject = admission.admission_subject(0)
    while (began_s := time.perf_counter()) < until_s:
        question = admission.AdmissionRequested(
            request_id=new_request_id(),
            router=bus.instance,
            key_id=key_id,
            tenant="default",
            model="mock",
            input_tokens=1_000,
            max_output_tokens=None,
            remaining_ms=60_000,
        )
        data = await bus.request(subject, encode(question), _ANSWER_LIMIT_S)
        answer = admission.decision_decoder.decode(data)
        if not isinstance(answer, admission.Admitted):
            raise RunFailed(f"the limiter says {answer}")
        times_s.append(time.perf_counter() - began_s)
    return times_s
