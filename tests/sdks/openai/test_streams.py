"""Streams: every token once and in order, whatever reads them."""

import asyncio

import pytest

from tests.sdks.marks import TO_OPENAI
from tests.sdks.openai.client import Client, Streamed, opened
from tests.sdks.server import Book, Droveway

pytestmark = pytest.mark.sdks

CLIENTS = 50
TOKENS = 50


async def test_a_stream_has_role_tokens_and_finish_in_this_order(sdk: Client) -> None:
    streamed = await sdk.stream()
    first, *middle, last = streamed.choices()
    assert first.delta.role == "assistant"
    assert not first.delta.content
    assert [one.delta.content for one in middle] == ["t0 ", "t1 ", "t2 ", "t3 ", "t4 "]
    assert (last.finish_reason, last.delta.content) == ("stop", None)
    assert streamed.finish_reasons() == ["stop"]
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in streamed.chunks}) == 1
    assert {chunk.object for chunk in streamed.chunks} == {"chat.completion.chunk"}
    assert streamed.request_id.startswith("req_")


@pytest.mark.parametrize("options", [{}, {"include_usage": False}], ids=["unsaid", "false"])
async def test_usage_that_nobody_asked_for_is_not_sent(
    sdk: Client, book: Book, options: dict[str, bool]
) -> None:
    fields = {"stream_options": options} if options else {}
    streamed = await sdk.stream(**fields)
    assert all(chunk.choices for chunk in streamed.chunks)
    assert all("usage" not in chunk.model_fields_set for chunk in streamed.chunks)
    assert book.output_tokens(book.wait_for("answered")) == 5


async def test_usage_that_is_asked_for_is_the_last_chunk(sdk: Client) -> None:
    streamed = await sdk.stream(stream_options={"include_usage": True})
    *others, last = streamed.chunks
    assert last.choices == []
    assert last.usage.completion_tokens == 5
    assert last.usage.total_tokens == last.usage.prompt_tokens + 5
    assert all("usage" in one.model_fields_set and one.usage is None for one in others)


@pytest.mark.parametrize("include_usage", [False, True])
async def test_the_stream_helper_builds_the_whole_answer(sdk: Client, include_usage: bool) -> None:
    fields = {"stream_options": {"include_usage": True}} if include_usage else {}
    events, completion = await sdk.helper(**fields)
    deltas = [event.delta for event in events if event.type == "content.delta" and event.delta]
    assert deltas == ["t0 ", "t1 ", "t2 ", "t3 ", "t4 "]
    [done] = [event for event in events if event.type == "content.done"]
    assert done.content == "t0 t1 t2 t3 t4 "
    assert completion.choices[0].message.content == "t0 t1 t2 t3 t4 "
    assert completion.choices[0].finish_reason == "stop"
    assert (completion.usage is not None) is include_usage


@TO_OPENAI
async def test_two_choices_stream_beside_each_other(sdk: Client) -> None:
    whole = await sdk.chat(model="sim-small", n=2)
    streamed = await sdk.stream(model="sim-small", n=2)
    for index in (0, 1):
        assert streamed.text(index) == whole.choices[index].message.content
        assert streamed.finish_reasons(index) == ["stop"]


async def test_fifty_streams_at_once_are_all_whole(server: Droveway, upstream: str) -> None:
    async with opened("async", server, upstream) as client:
        asked = (
            client.stream(model=f"numbered-{TOKENS}", stream_options={"include_usage": True})
            for _ in range(CLIENTS)
        )
        streams: list[Streamed] = await asyncio.gather(*asked)
    expected = "".join(f"t{index} " for index in range(TOKENS))
    assert [one.text() for one in streams] == [expected] * CLIENTS
    assert all(one.finish_reasons() == ["stop"] for one in streams)
    assert all(one.chunks[-1].usage.completion_tokens == TOKENS for one in streams)
    assert len({one.request_id for one in streams}) == CLIENTS
