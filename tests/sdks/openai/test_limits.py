"""Limits as the SDK's own retries meet them."""

import asyncio

import pytest

from tests.sdks.openai.client import opened
from tests.sdks.server import Droveway

pytestmark = pytest.mark.sdks

AT_ONCE = 3


async def test_more_at_once_than_the_limit_all_pass_by_the_sdks_own_retries(
    server: Droveway, flavour: str
) -> None:
    key = server.keys[f"limited-{flavour}"]  # one request a second
    async with opened(flavour, server, api_key=key, max_retries=AT_ONCE) as client:
        answers = await asyncio.gather(*(client.raw_chat() for _ in range(AT_ONCE)))
    assert [one.parse().choices[0].finish_reason for one in answers] == ["stop"] * AT_ONCE
    retries = sorted(one.retries_taken for one in answers)
    # Each second lets one in, and who is told to wait comes back just then.
    assert retries[-1] >= AT_ONCE - 1
    assert client.sent == AT_ONCE + sum(retries)
