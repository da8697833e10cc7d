"""Providers whose every byte and pause is scripted: what the simulator has no fault for."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from droveway.contracts.config import Config
from tests.support.flows import Got, ask, only_first, rows_of, with_timeouts
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body
from tests.support.stack import Stack, running_stack
from tests.support.upstream import CHUNKED, Peer, Script, ScriptedUpstream, answer, chunk

AFTER_FINISH_S = 0.1


@asynccontextmanager
async def _stack(nats: NatsServer, folder: Path, script: Script) -> AsyncIterator[Stack]:
    async with ScriptedUpstream(script) as upstream:

        def configure(config: Config) -> Config:
            first, *others = config.providers
            scripted = msgspec.structs.replace(first, base_url=f"{upstream.url}/v1")
            config = msgspec.structs.replace(config, providers=(scripted, *others))
            return only_first(with_timeouts(config, first_token_s=2, idle_s=2))

        environment = {"DROVEWAY_CALLER_AFTER_FINISH_S": str(AFTER_FINISH_S)}
        async with running_stack(
            nats, folder, configure=configure, environment=environment
        ) as stack:
            yield stack


async def _ask(stack: Stack, **fields: Any) -> Got:
    async with stack.client() as client:
        return await ask(client, chat_body(**fields))


def _event(index: int = 0, text: str = "", finish: str | None = None, **fields: Any) -> bytes:
    delta = {"content": text} if text else {}
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    data = {"id": "c", "model": "m", "choices": [choice], **fields}
    return chunk(b"data: " + json.dumps(data).encode() + b"\n\n")


DONE = chunk(b"data: [DONE]\n\n") + chunk(b"")


async def test_a_choice_that_begins_when_another_has_finished_is_not_cut(
    nats: NatsServer, tmp_path: Path
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + _event(0, "a") + _event(0, finish="stop") + _event(1, "b"))
        await asyncio.sleep(3 * AFTER_FINISH_S)
        await peer.send(_event(1, "c") + _event(1, finish="stop") + DONE)

    async with _stack(nats, tmp_path, script) as stack:
        got = await _ask(stack, stream=True, n=2)
        assert got.said == "abc"
        assert got.done


async def test_a_provider_that_hangs_after_the_finish_has_finished(
    nats: NatsServer, tmp_path: Path
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + _event(0, "hello") + _event(0, finish="stop"))
        await peer.gone()

    async with _stack(nats, tmp_path, script) as stack:
        got = await _ask(stack, stream=True)
        assert got.done
        assert got.whole
        trail = await rows_of(nats, got.headers["x-request-id"])
        assert trail.attempts[0].usage.estimated
        assert trail.attempts[0].outcome == "completed"


async def test_usage_beside_the_finish_is_counted_and_shown_only_when_asked_for(
    nats: NatsServer, tmp_path: Path
) -> None:
    async def script(peer: Peer) -> None:
        usage = {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
        await peer.request()
        await peer.send(CHUNKED + _event(0, "a") + _event(0, finish="stop", usage=usage) + DONE)

    async with _stack(nats, tmp_path, script) as stack:
        plain = await _ask(stack, stream=True)
        assert all("usage" not in one for one in plain.chunks)
        trail = await rows_of(nats, plain.headers["x-request-id"])
        assert (trail.attempts[0].usage.input_tokens, trail.attempts[0].usage.estimated) == (
            7, False,
        )  # fmt: skip
        asked = await _ask(stack, stream=True, stream_options={"include_usage": True})
        assert asked.chunks[-1]["usage"]["total_tokens"] == 8


async def test_bytes_of_events_reach_the_client_as_they_were(
    nats: NatsServer, tmp_path: Path
) -> None:
    names = '{"id" : "c1","created" : 5, '
    role = names + '"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}'
    odd = names + (
        '"choices" : [{"index":0, "delta":{"content":"\\u00e9 \u2028 \U0001f600"}}], "x":1.50}'
    )

    async def script(peer: Peer) -> None:
        await peer.request()
        data = f"data: {role}\n\ndata: {odd}\n\n".encode()
        half = data.index("\U0001f600".encode()) + 2  # within a character
        await peer.send(CHUNKED + chunk(data[:half]))
        await peer.send(chunk(data[half:]) + _event(0, finish="stop") + DONE)

    async with _stack(nats, tmp_path, script) as stack:
        got = await _ask(stack, stream=True)
        assert f"data: {odd}\n\n" in got.text


async def test_a_whole_answer_to_a_request_for_a_stream_is_refused(
    nats: NatsServer, tmp_path: Path
) -> None:
    body = b'{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}'

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(body, headers={"content-type": "application/json"}))

    async with _stack(nats, tmp_path, script) as stack:
        got = await _ask(stack, stream=True)
        assert (got.status, got.error["code"]) == (502, "bad_upstream")


async def test_a_provider_that_only_keeps_alive_is_left_at_its_first_token_limit(
    nats: NatsServer, tmp_path: Path
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        while True:
            await peer.send(chunk(b": keep-alive\n\n"))
            await asyncio.sleep(0.05)

    async with _stack(nats, tmp_path, script) as stack, stack.client() as client:
        headers = {"x-stainless-read-timeout": "1"}  # 40 % of it for the first token
        got = await ask(client, chat_body(stream=True), headers=headers)
        assert (got.status, got.error["code"]) == (504, "provider_timeout")
