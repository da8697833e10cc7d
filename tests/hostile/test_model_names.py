"""Whatever a client calls its model, on whichever path: no subject of the bus has it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from droveway.contracts.envelope import PREFIX
from tests.hostile.dialect_cases import HONEST, NAMES
from tests.hostile.nats_world import SPY, NatsWorld, nats_world
from tests.support.raw_nats import raw_nats

pytestmark = pytest.mark.asyncio(loop_scope="module")

MARK = "canary"
"""Beside it a name that is served has what would end a subject's token, or mean any."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NatsWorld]:
    """A running stack whose route takes any model."""
    async with nats_world(tmp_path_factory.mktemp("world")) as running:
        yield running


async def test_c23_no_subject_has_a_model_in_it(world: NatsWorld) -> None:
    async with raw_nats(world.server, SPY) as spy:
        spy.subscribe(">")
        assert await spy.settle() == []
        for path, honest in HONEST.items():
            for name in (f"{MARK}{name}{MARK}" for name in NAMES):
                answer = await world.client.post(path, json=honest | {"model": name})
                assert answer.status_code < 500, answer.text
        assert await spy.settle() == []
    subjects = {message.subject for message in spy.messages}
    assert any(subject.startswith(f"{PREFIX}.inference.") for subject in subjects), subjects
    assert [subject for subject in subjects if MARK in subject] == []
