"""Asks the limiter for decisions as fast as they come, settles, and writes down what it was told.

    python -m tests.prove.limits_asker < plan.json

The plan is one line; when its standard input ends, or after its decisions, so does the asker.
"""

import asyncio
import heapq
import random
import sys
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
import uvloop

from droveway.contracts import admission
from droveway.contracts.admission import AdmissionRequested, Admitted, Denied, Place
from droveway.contracts.envelope import encode, new_instance
from droveway.contracts.relay import Usage
from droveway.contracts.settlement import Settled, settlement_subject
from droveway.runtime.bus import Bus, BusSettings, connect
from droveway.runtime.errors import BusError
from tests.prove.limits_plan import Plan, Seen, Told, plan_decoder
from tests.prove.limits_rules import COMMON, PLACES, SCARCE

TICK_S = 0.005
_MS_NS = 1_000_000
_LAST_ANSWERS_S = 3.0
_PLACES = tuple(
    Place(provider=provider, credential=credential, model=COMMON) for provider, credential in PLACES
)
_decode = admission.decision_decoder.decode


class _Open(NamedTuple):
    """A question without an answer."""

    customer: int
    model: str
    asked_ns: int
    input_tokens: int
    output_tokens: int
    payload: bytes
    again_ms: int
    again_at_ns: int


class Asker:
    """One connection, standing for a router: so many questions in flight, in any order."""

    def __init__(self, bus: Bus, plan: Plan) -> None:
        self._bus = bus
        self._plan = plan
        self._rng = random.Random(plan.seed)
        self._subject = admission.admission_subject(0)
        self._settlement = settlement_subject(0)
        self._inbox = bus.open_inbox(self._on_answer, lambda: None)
        self._open: dict[str, _Open] = {}
        self._settling: list[tuple[int, int]] = []
        """When, and which admission, the soonest first."""
        self._waiting: list[int] = []
        """When the next questions are due."""
        self._number = 0
        self._ends = False
        self.seen = Seen()

    async def run(self) -> None:
        """Asks until all is decided or it's told to end; then waits for what is open."""
        for _ in range(self._plan.in_flight):
            self._ask()
        while not self._ends:
            self._tick()
            await asyncio.sleep(TICK_S)
        until_s = time.monotonic() + _LAST_ANSWERS_S
        while (self._open or self._settling) and time.monotonic() < until_s:
            self._tick()
            await asyncio.sleep(TICK_S)
        self.seen.unanswered = len(self._open)

    def end(self) -> None:
        """Asks nothing more."""
        self._ends = True

    def _ask(self) -> None:
        plan, rng = self._plan, self._rng
        self._number += 1
        free = rng.random() < plan.free_share
        customer = 0 if free else rng.randrange(len(plan.customers))
        who = plan.customers[customer]
        model = SCARCE if customer and rng.random() < 0.3 else COMMON
        input_tokens, most = rng.randint(20, 200), rng.randint(20, 150)
        question = AdmissionRequested(
            request_id=f"req_{plan.seed}_{self._number}",
            router=self._bus.instance,
            key_id=who.key_id,
            tenant=who.tenant,
            model=model,
            input_tokens=input_tokens,
            max_output_tokens=most,
            remaining_ms=60_000,
            places=_PLACES if who.placed else (),
        )
        now_ns = time.monotonic_ns()
        self._send(
            question.request_id,
            _Open(
                customer=customer,
                model=model,
                asked_ns=now_ns,
                input_tokens=input_tokens,
                output_tokens=rng.randint(0, most),
                payload=encode(question),
                again_ms=plan.again_ms,
                again_at_ns=now_ns + plan.again_ms * _MS_NS,
            ),
        )

    def _send(self, request_id: str, one: _Open) -> None:
        self._open[request_id] = one
        try:
            self._bus.publish(self._subject, one.payload, self._inbox.subject)
        except BusError:
            return  # asked again when it's time

    def _on_answer(self, payload: bytes) -> None:
        now_ns = time.monotonic_ns()
        answer = _decode(payload)
        one = self._open.pop(answer.request_id, None)
        if one is None:
            return  # answered twice, since it was asked twice
        if isinstance(answer, Admitted):
            self._admitted(answer, one, now_ns)
        elif isinstance(answer, Denied):
            self.seen.denied += 1
            if not one.customer:
                self.seen.refused_free.append(answer.failure.code)
        else:
            raise AssertionError(f"nobody else asks for {answer.request_id}: {answer}")
        if self.seen.decisions % 100 == 0:
            self.seen.waits_ms.append((now_ns - one.asked_ns) / _MS_NS)
        if self.seen.decisions + len(self._open) >= self._plan.decisions:
            self._ends = self._ends or not self._open
        elif not self._ends and self._plan.pause_ms:
            heapq.heappush(self._waiting, now_ns + round(self._plan.pause_ms * _MS_NS))
        elif not self._ends:
            self._ask()

    def _admitted(self, answer: Admitted, one: _Open, now_ns: int) -> None:
        placed = self._plan.customers[one.customer].placed
        told = Told(
            answer.request_id,
            one.customer,
            one.model,
            answer.place if placed else -1,
            one.asked_ns,
            now_ns,
            0,
            one.input_tokens,
            one.output_tokens,
        )
        if answer.lease_ms:
            held_ns = round(self._rng.random() * self._plan.hold_ms * _MS_NS)
            heapq.heappush(self._settling, (now_ns + held_ns, len(self.seen.admitted)))
        self.seen.admitted.append(told)

    def _tick(self) -> None:
        now_ns = time.monotonic_ns()
        while self._settling and self._settling[0][0] <= now_ns:
            self._settle(heapq.heappop(self._settling)[1])
        while self._waiting and self._waiting[0] <= now_ns:
            heapq.heappop(self._waiting)
            if not self._ends:
                self._ask()
        late = [(id_, one) for id_, one in self._open.items() if one.again_at_ns <= now_ns]
        for request_id, one in late:
            self.seen.again += 1
            again_ms = min(2 * one.again_ms, 800)
            self._send(
                request_id,
                one._replace(again_ms=again_ms, again_at_ns=now_ns + again_ms * _MS_NS),
            )

    def _settle(self, index: int) -> None:
        told = self.seen.admitted[index]
        provider, credential = PLACES[max(0, told.place)]
        settled = Settled(
            request_id=told.request_id,
            attempt_id=hash(told.request_id).to_bytes(16, "big", signed=True),
            caller="caller-00000000",
            provider=provider,
            credential=credential,
            model=told.model,
            usage=Usage(told.input_tokens, told.output_tokens),
            committed=True,
        )
        now_ns = time.monotonic_ns()  # before: from now on it may be free
        try:
            self._bus.publish(self._settlement, encode(settled))
        except BusError:
            return  # its lease will end
        self.seen.admitted[index] = msgspec.structs.replace(told, settled_ns=now_ns)


async def run(plan: Plan) -> Seen:
    """Asks what the plan says."""
    loop = asyncio.get_running_loop()
    settings = BusSettings(servers=(plan.nats_url,), nkey_file=plan.seed_file)
    async with connect(settings, "router", new_instance("router")) as bus:
        asker = Asker(bus, plan)
        watching = asyncio.ensure_future(bus.watch())
        loop.add_reader(sys.stdin.fileno(), asker.end)
        try:
            await asker.run()
        finally:
            loop.remove_reader(sys.stdin.fileno())
            watching.cancel()
            await asyncio.wait({watching})
    return asker.seen


def main() -> None:
    """Reads the plan, asks, writes the history."""
    plan = plan_decoder.decode(sys.stdin.buffer.readline())
    seen = uvloop.run(run(plan))
    Path(plan.history).write_bytes(msgspec.msgpack.encode(seen))


if __name__ == "__main__":
    main()
