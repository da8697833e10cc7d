"""Errors after the first byte, time-outs and connections that fail."""

import asyncio
import socket

import openai
import pytest

from tests.sdks.openai.client import Client, opened
from tests.sdks.openai.failures import SERVER, check, late
from tests.sdks.server import Book, Droveway

pytestmark = pytest.mark.sdks

MIDSTREAM = {
    "reset": ("fault-cut-after-3", "stream_interrupted", SERVER),
    "cut": ("fault-fin-after-3", "stream_interrupted", SERVER),
    "clean-end": ("fault-end-after-3", "stream_interrupted", SERVER),
    "stalled": ("stalls", "stream_stalled", "timeout_error"),
}


@pytest.mark.parametrize(("model", "code", "kind"), MIDSTREAM.values(), ids=MIDSTREAM)
async def test_an_error_amid_a_stream_is_raised_after_what_was_said(
    sdk: Client, model: str, code: str, kind: str
) -> None:
    whole = (await sdk.chat(model="sim-small")).choices[0].message.content
    streamed = await sdk.stream(model=model)
    assert len([one for one in streamed.choices() if one.delta.content]) == 3
    assert whole.startswith(streamed.text())
    assert streamed.finish_reasons() == []
    assert type(streamed.error) is openai.APIError
    assert streamed.error is not None
    assert (streamed.error.code, streamed.error.type) == (code, kind)
    assert streamed.error.message == streamed.error.body["message"]
    assert streamed.request_id.startswith("req_")


async def test_a_providers_error_amid_a_stream_keeps_its_code(sdk: Client, upstream: str) -> None:
    streamed = await sdk.stream(model="fault-error-after-3")
    assert len([one for one in streamed.choices() if one.delta.content]) == 3
    assert streamed.error is not None
    own = "overloaded_error" if upstream == "anthropic" else "server_error"
    assert (streamed.error.code, streamed.error.type) == (own, SERVER)


async def test_a_server_that_is_not_there_is_a_connection_error(
    server: Droveway, flavour: str
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        async with opened(flavour, server, base_url=url) as client:
            with pytest.raises(openai.APIConnectionError) as caught:
                await client.chat()
    assert type(caught.value) is openai.APIConnectionError


async def test_a_clients_own_timeout_ends_the_request_at_the_provider(
    server: Droveway, flavour: str, upstream: str, book: Book
) -> None:
    async with opened(flavour, server, upstream, timeout=0.5) as client:
        with pytest.raises(openai.APITimeoutError):
            await client.chat(model="fault-silence")
        await asyncio.to_thread(book.wait_for, "client_closed")
    assert client.sent == 1


async def test_a_silent_provider_is_told_before_the_clients_own_timeout(
    server: Droveway, flavour: str, book: Book
) -> None:
    async with opened(flavour, server, timeout=2.0) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.stream(model="fault-silence")
    check(caught.value, late("provider_timeout"))
    await asyncio.to_thread(book.wait_for, "client_closed")


async def test_a_stream_left_early_ends_at_the_provider(
    server: Droveway, flavour: str, upstream: str, book: Book
) -> None:
    async with opened(flavour, server, upstream) as client:
        assert len(await client.first_chunks(3, model="fault-stall-after-2")) == 3
        entry = await asyncio.to_thread(book.wait_for, "client_closed")
    assert entry["tokens_sent"] == 2
