"""Streams: each event in its place, whatever reads them."""

import asyncio

import pytest

from tests.sdks.anthropic.client import Client, Streamed, opened
from tests.sdks.server import Book, Droveway

pytestmark = pytest.mark.sdks

CLIENTS = 50
TOKENS = 50


async def test_a_stream_has_its_events_in_order(sdk: Client) -> None:
    streamed = await sdk.stream()
    assert streamed.types() == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 5,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    begun = streamed.events[0].message
    assert begun.id.startswith("msg_")
    assert (begun.role, begun.model, begun.content) == ("assistant", "numbered-5", [])
    assert (begun.stop_reason, begun.stop_sequence) == (None, None)
    [block] = streamed.of("content_block_start")
    assert (block.index, block.content_block.type, block.content_block.text) == (0, "text", "")
    assert [delta.text for delta in streamed.deltas("text_delta")] == [f"t{n} " for n in range(5)]
    [ended] = streamed.of("message_delta")
    assert ended.delta.stop_reason == "end_turn"
    assert streamed.request_id.startswith("req_")


async def test_a_streams_last_counts_are_those_of_the_whole_message(sdk: Client) -> None:
    usage = (await sdk.message()).usage
    streamed = await sdk.stream()
    [ended] = streamed.of("message_delta")
    assert (ended.usage.input_tokens, ended.usage.output_tokens) == (usage.input_tokens, 5)
    _, message = await sdk.helper()
    assert message.usage.input_tokens == usage.input_tokens
    assert message.usage.output_tokens == 5


async def test_the_stream_helper_builds_the_whole_message(sdk: Client) -> None:
    events, message = await sdk.helper()
    assert [event.text for event in events if event.type == "text"] == [f"t{n} " for n in range(5)]
    whole = await sdk.message()
    assert message.model_dump()["content"] == whole.model_dump()["content"]
    assert (message.stop_reason, message.model) == (whole.stop_reason, whole.model)


async def test_a_stream_that_is_cut_at_the_limit_says_so(sdk: Client) -> None:
    _, message = await sdk.helper(max_tokens=2)
    assert (message.stop_reason, message.content[0].text) == ("max_tokens", "t0 t1 ")


async def test_fifty_streams_at_once_are_all_whole(server: Droveway, upstream: str) -> None:
    async with opened("async", server, upstream) as client:
        asked = (client.stream(model=f"numbered-{TOKENS}") for _ in range(CLIENTS))
        streams: list[Streamed] = await asyncio.gather(*asked)
    expected = "".join(f"t{index} " for index in range(TOKENS))
    assert [one.text() for one in streams] == [expected] * CLIENTS
    assert all(one.types()[-1] == "message_stop" for one in streams)
    assert len({one.request_id for one in streams}) == CLIENTS


async def test_a_stream_left_early_ends_at_the_provider(
    server: Droveway, flavour: str, upstream: str, book: Book
) -> None:
    async with opened(flavour, server, upstream) as client:
        assert len(await client.first_events(4, model="fault-stall-after-2")) == 4
        entry = await asyncio.to_thread(book.wait_for, "client_closed")
    assert entry["tokens_sent"] == 2
