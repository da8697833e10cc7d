"""The Python client over a whole stack: streams, answers, cancels, errors, traces."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from droveway import client
from tests.support.bus_client import bus_client, key_id_of, read, seed_of, with_bus_users
from tests.support.flows import eventually, nothing_open, numbered, only_first, rows_of
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body
from tests.support.stack import Stack, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(
        nats,
        tmp_path_factory.mktemp("client"),
        configure=lambda config: with_bus_users(nats, only_first(config)),
        token_interval_ms=5,
        book_entries=4000,
    ) as world:
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bus(nats: NatsServer, stack: Stack) -> AsyncIterator[client.Client]:
    async with bus_client(nats, stack) as opened:
        yield opened


async def test_a_stream_is_read_event_by_event(bus: client.Client) -> None:
    async with bus.stream(chat_body()) as stream:
        assert stream.request_id.startswith("req_")
        assert stream.headers["x-droveway-provider"] == "upstream-1"
        assert stream.completed is None
        events = [event async for event in stream]
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert stream.said == numbered(5)
    assert stream.completed is not None
    assert stream.completed.finish_reason == "stop"
    assert stream.completed.usage.output_tokens == 5


async def test_a_stream_is_read_as_text(bus: client.Client) -> None:
    async with bus.stream(chat_body("numbered-30")) as stream:
        pieces = [piece async for piece in stream.text()]
    assert "".join(pieces) == numbered(30)
    assert len(pieces) == 30


@pytest.mark.parametrize("size_bytes", [0, 300_000, 5_000_000])
async def test_a_call_answers_whole_at_any_size(bus: client.Client, size_bytes: int) -> None:
    model = f"fault-numbered-5+huge-line-{size_bytes}" if size_bytes else "numbered-5"
    answer = await bus.call({**chat_body(model), "stream": True})
    assert answer["choices"][0]["message"]["content"] == numbered(5)
    assert len(answer.get("obfuscation", "")) == size_bytes


async def test_many_answers_come_at_once_over_one_connection(bus: client.Client) -> None:
    async def streamed(count: int) -> str:
        async with bus.stream(chat_body(f"numbered-{count}")) as stream:
            return "".join([text async for text in stream.text()])

    counts = range(1, 61)
    assert await asyncio.gather(*map(streamed, counts)) == [numbered(n) for n in counts]


async def test_leaving_the_block_cancels(
    nats: NatsServer, stack: Stack, bus: client.Client
) -> None:
    async with bus.stream(chat_body("numbered-100000")) as stream:
        async for _event in stream:
            break
    await nothing_open(stack, 1.0)
    trail = await rows_of(nats, stream.request_id)
    assert trail.request is not None
    assert (trail.request.outcome, trail.request.status) == ("cancelled", 499)


async def test_a_cancelled_call_cancels(stack: Stack, bus: client.Client) -> None:
    body = chat_body("fault-numbered-9+slow-first-token-20000")
    asked = asyncio.ensure_future(bus.call(body))
    await eventually(lambda: stack.simulator.book.totals.open_requests == 1)
    asked.cancel()
    await nothing_open(stack, 1.0)
    with pytest.raises(asyncio.CancelledError):
        await asked


async def test_a_request_that_is_left_at_once_is_cancelled_once_it_is_taken(
    stack: Stack, bus: client.Client
) -> None:
    body = chat_body("fault-numbered-9+slow-first-token-20000")
    requests = stack.simulator.book.totals.requests
    asked = asyncio.ensure_future(bus.call(body))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await asyncio.sleep(0.1)
    await nothing_open(stack, 1.0)
    assert stack.simulator.book.totals.requests - requests <= 1


async def test_a_slow_reader_holds_the_provider_back(stack: Stack, bus: client.Client) -> None:
    async with bus.stream(chat_body("fault-numbered-400+huge-line-700000")) as stream:
        await asyncio.sleep(0.5)
        held = len(stream._ready)
        assert held < 10, "what isn't read waits at the gateway and the provider"
        async for _event in stream:
            pass
    assert stream.said == numbered(400)


async def test_an_error_in_place_of_an_answer_is_raised_at_the_block(bus: client.Client) -> None:
    with pytest.raises(client.Failed) as caught:
        async with bus.stream(chat_body("fault-503")):
            raise AssertionError("never entered")
    error = caught.value
    assert (error.status, error.code) == (503, "provider_unavailable")
    assert not error.should_retry, "it was tried again here"
    assert error.retry_after_ms is None
    assert error.details[0].target == "upstream-1/fault-503"
    assert error.request_id.startswith("req_")
    with pytest.raises(client.Failed, match="400 invalid_request: `messages`"):
        await bus.call({"model": "x"})


async def test_a_cut_keeps_what_was_said(bus: client.Client) -> None:
    stream = bus.stream(chat_body("fault-cut-after-5"))
    with pytest.raises(client.Interrupted) as caught:
        await read(stream)
    assert caught.value.code == "stream_interrupted"
    assert caught.value.text == stream.said != ""
    assert caught.value.usage is not None
    assert caught.value.usage.output_tokens > 0
    assert caught.value.request_id == stream.request_id


async def test_a_stream_is_read_inside_of_its_block_only(bus: client.Client) -> None:
    stream = bus.stream(chat_body())
    with pytest.raises(client.StreamClosed):
        _ = stream.request_id
    async with stream:
        pass
    with pytest.raises(client.StreamClosed):
        await anext(stream)


async def test_a_time_out_is_the_gateways(bus: client.Client) -> None:
    with pytest.raises(client.Failed) as caught:
        await bus.call(chat_body("fault-numbered-9+slow-first-token-20000"), timeout_s=0.2)
    assert (caught.value.status, caught.value.code) == (504, "deadline_exceeded")


async def test_leaving_the_connection_ends_what_is_open_at_once(
    nats: NatsServer, stack: Stack
) -> None:
    slow = chat_body("fault-numbered-5+slow-first-token-3000")
    async with bus_client(nats, stack) as leaving:
        call = asyncio.ensure_future(leaving.call(slow))
        stream = asyncio.ensure_future(read(leaving.stream(slow)))
        await eventually(lambda: stack.simulator.book.totals.open_requests >= 2)
    for waiting in (call, stream):
        with pytest.raises(client.Interrupted, match="`connect` was left"):
            await asyncio.wait_for(waiting, 1)
    await nothing_open(stack)


async def test_a_repeat_under_one_idempotency_key_is_refused(bus: client.Client) -> None:
    token = secrets.token_hex(8)
    await bus.call(chat_body(), idempotency_key=token)
    with pytest.raises(client.Failed, match="409 already_completed"):
        await bus.call(chat_body(), idempotency_key=token)
    with pytest.raises(ValueError, match="printable ASCII"):
        await bus.call(chat_body(), idempotency_key="a\r\nb: c")


async def test_a_request_too_large_for_a_message_is_not_sent(bus: client.Client) -> None:
    with pytest.raises(client.Failed, match="413 request_too_large"):
        await bus.call(chat_body(content="x" * 800_000))


async def test_who_may_not_come_in_is_told_so(nats: NatsServer, stack: Stack) -> None:
    stranger = nats.folder.path / "stranger.nk"
    stranger.write_text("SUAM" + "A" * 54)
    for seed in (stranger, stranger.with_name("none.nk"), ""):
        with pytest.raises(client.NotConnected):
            async with client.connect(nats.url, key_id=key_id_of(stack), seed_file=seed):
                raise AssertionError("never entered")
    with pytest.raises(client.NotConnected, match="expected a server"):
        async with client.connect(key_id="k1"):
            raise AssertionError("never entered")


async def test_a_context_of_the_nats_command_line_says_where_and_who(
    nats: NatsServer, stack: Stack, tmp_path: Path
) -> None:
    key_id = key_id_of(stack)
    context = tmp_path / "droveway.json"
    context.write_text(json.dumps({"url": nats.url, "nkey": str(seed_of(nats, key_id))}))
    async with client.connect(context=str(context), key_id=key_id) as opened:
        assert (await opened.call(chat_body()))["object"] == "chat.completion"
