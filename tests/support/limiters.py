"""Limiters as tasks of a test, each with a connection of its own, on a partition of its own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from droveway.contracts import admission, limits, settlement
from droveway.contracts.access import Budget, Key, Limit
from droveway.contracts.admission import AdmissionRequested, Decision
from droveway.contracts.config import Config, Provider, Route, RouteTarget, Tier
from droveway.contracts.envelope import encode, new_request_id
from droveway.limiter.handlers import Questions
from droveway.limiter.partition import Partition
from droveway.limiter.settings import LimiterSettings
from droveway.runtime.bus import Bus

KEY = "k1"
MODEL = "m"
TENANT = "acme"


def config(
    *key_limits: Limit, budgets: tuple[Budget, ...] = (), **more: tuple[Limit, ...]
) -> Config:
    """Limits of the key `k1`, and of others by their ids."""
    keys = {KEY: key_limits, **more}
    return Config(
        providers=(Provider(id="p", base_url="https://p.test"),),
        routes=(Route(model="*", tiers=(Tier(targets=(RouteTarget(provider="p"),)),)),),
        keys=tuple(
            Key(
                id=key_id,
                sha256=f"{index:064x}",
                tenant=TENANT,
                limits=own,
                budgets=budgets if key_id == KEY else (),
            )
            for index, (key_id, own) in enumerate(keys.items())
        ),
    )


class Limiter:
    """One of them; `leave` is what SIGTERM would be."""

    def __init__(self, bus: Bus, number: int, own: LimiterSettings) -> None:
        self.bus = bus
        self.number = number
        self.partition = Partition(bus, number, own)
        self.questions = Questions(self.partition)
        self.leave = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    async def start(self, until_known: Callable[[], Awaitable[None]]) -> None:
        """Listens and begins to follow."""
        for subject, handler in (
            (limits.owner_subject, self.partition.on_alive),
            (admission.admission_subject, self.questions.on_admission),
            (admission.standing_subject, self.questions.on_standing),
            (settlement.settlement_subject, self.questions.on_settlement),
        ):
            await self.bus.subscribe(subject(self.number), handler)
        self.task = asyncio.ensure_future(self.partition.run(until_known, self.leave))

    async def end(self) -> None:
        """Leaves as an operator would have it."""
        self.leave.set()
        await self.partition.left()

    @property
    def owns(self) -> bool:
        return self.partition.statistics().owner


async def _at_once() -> None: ...


@asynccontextmanager
async def limiter(
    buses: Callable[[str], Any],
    number: int,
    configured: Config,
    own: LimiterSettings | None = None,
    until_known: Callable[[], Awaitable[None]] = _at_once,
) -> AsyncIterator[Limiter]:
    """A limiter for the length of a block; `buses("limiter")` connects it."""
    async with AsyncExitStack() as stack:
        one = Limiter(
            await stack.enter_async_context(buses("limiter")), number, own or LimiterSettings()
        )
        one.partition.configure(configured)
        await one.start(until_known)
        assert one.task is not None
        try:
            yield one
        finally:
            one.task.cancel()
            await asyncio.gather(one.task, return_exceptions=True)


def question(request_id: str = "", **fields: Any) -> AdmissionRequested:
    """A router's."""
    defaults: dict[str, Any] = {
        "router": "router-00000000",
        "key_id": KEY,
        "tenant": TENANT,
        "model": MODEL,
        "remaining_ms": 1_000,
    }
    return AdmissionRequested(request_id=request_id or new_request_id(), **(defaults | fields))


async def ask(
    router: Bus, number: int, asked: AdmissionRequested | None = None, timeout_s: float = 2.0
) -> Decision:
    """Asks once, as a router does."""
    payload = encode(asked or question())
    answer = await router.request(admission.admission_subject(number), payload, timeout_s)
    decision: Decision = admission.decision_decoder.decode(answer)
    return decision
