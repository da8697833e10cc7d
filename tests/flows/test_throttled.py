"""A provider that suddenly serves six of ten and stalls at the others: nobody notices for long."""

import asyncio
from pathlib import Path

import msgspec

from droveway.contracts.config import Config
from tests.support.flows import Got, ask, route, with_timeouts
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body
from tests.support.stack import running_stack

WELL = 30
FALLS = f"fault-numbered-3+silence+skip-{WELL}+percent-39"
STALL_S = 0.25
"""Stands for 28 s."""
AT_ONCE = 8


def configure(config: Config) -> Config:
    quick = with_timeouts(config, first_token_s=STALL_S, total_s=2 * STALL_S)
    return msgspec.structs.replace(
        quick,
        routes=(route("m", ("upstream-1", FALLS), ("upstream-2", "numbered-5")),),
        health=msgspec.structs.replace(config.health, slow_s=STALL_S / 2),
    )


async def test_all_requests_are_served_and_most_of_them_by_the_other_one(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        running_stack(
            own_nats, tmp_path, simulators=2, replicas={"router": 2}, configure=configure
        ) as stack,
        stack.client() as client,
    ):
        got: list[Got] = []
        for number in range(24):
            stream = number % 2 == 0
            got += await asyncio.gather(
                *(ask(client, chat_body("m", stream=stream)) for _ in range(AT_ONCE))
            )
        first, second = (one.book.entries for one in stack.simulators)
        assert {one.status for one in got} == {200}
        assert len(first) > WELL, "it was well at first"
        late = [one.headers["x-droveway-provider"] for one in got[-10 * AT_ONCE :]]
        assert late.count("upstream-2") > 0.7 * len(late)
        struck = sum(entry.fault is not None for entry in first)
        assert struck < 0.25 * len(got)
        assert len(second) > 0.5 * len(got)
