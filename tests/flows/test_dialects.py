"""Every way to ask, at providers of either dialect: the same answer in the client's own words."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from droveway.contracts.config import Config
from tests.support.flows import entries, numbered, route
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body, message_body
from tests.support.stack import Stack, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
PROVIDERS = pytest.mark.parametrize("provider", ["openai", "anthropic"])
MODELS = ("numbered-5", "fault-500", "fault-429-2", "fault-cut-after-3", "fault-400", "fault-401")


def _two_dialects(config: Config) -> Config:
    """The second provider speaks Anthropic's dialect; `a/<model>` goes there, `o/<model>` not."""
    first, second = config.providers
    second = msgspec.structs.replace(second, dialect="anthropic", kind="anthropic")
    routes = [
        route(f"{prefix}/{model}", (provider.id, model))
        for prefix, provider in (("openai", first), ("anthropic", second))
        for model in MODELS
    ]
    embed = route("embed", (first.id, "embed-floats-8"), (second.id, "embed-8"))
    return msgspec.structs.replace(config, providers=(first, second), routes=(*routes, embed))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("dialects")
    async with running_stack(
        nats, folder, simulators=2, configure=_two_dialects, keep_bodies=True
    ) as world:
        yield world


async def _post(
    stack: Stack, path: str, body: dict[str, Any], **headers: str
) -> tuple[httpx.Response, list[tuple[str, Any]]]:
    """The answer, and its events by name if it is a stream."""
    async with stack.client() as client:
        answer = await client.post(path, json=body, headers=headers)
    events: list[tuple[str, Any]] = []
    name = ""
    for line in answer.text.splitlines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: ") and line != "data: [DONE]":
            events.append((name, json.loads(line.removeprefix("data: "))))
    return answer, events


@BOTH
@PROVIDERS
async def test_chat(stack: Stack, provider: str, stream: bool) -> None:
    body = chat_body(f"{provider}/numbered-5", stream=stream)
    answer, events = await _post(stack, "/v1/chat/completions", body)
    assert answer.status_code == 200, answer.text
    if not stream:
        choice = answer.json()["choices"][0]
        assert (choice["message"]["content"], choice["finish_reason"]) == (numbered(5), "stop")
        assert answer.json()["usage"]["completion_tokens"] == 5
        return
    assert answer.text.endswith("data: [DONE]\n\n")
    assert len({one["id"] for _, one in events}) == 1
    deltas = [one["choices"][0]["delta"] for _, one in events]
    assert (deltas[0]["role"], deltas[0]["content"]) == ("assistant", "")
    assert "".join(delta.get("content") or "" for delta in deltas) == numbered(5)
    assert events[-1][1]["choices"][0]["finish_reason"] == "stop"


@BOTH
@PROVIDERS
async def test_messages(stack: Stack, provider: str, stream: bool) -> None:
    body = message_body(f"{provider}/numbered-5", stream=stream)
    version = {"anthropic-version": "2023-06-01"}
    answer, events = await _post(stack, "/v1/messages", body, **version)
    assert answer.status_code == 200, answer.text
    assert answer.headers["request-id"]
    if not stream:
        message = answer.json()
        assert message["content"] == [{"type": "text", "text": numbered(5)}]
        assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("end_turn", 5)
        return
    names = [name for name, _ in events if name != "ping"]
    assert names[:2] == ["message_start", "content_block_start"]
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert all(name == one["type"] for name, one in events)
    said = [one["delta"]["text"] for name, one in events if name == "content_block_delta"]
    assert "".join(said) == numbered(5)
    assert "[DONE]" not in answer.text


@BOTH
@PROVIDERS
async def test_responses(stack: Stack, provider: str, stream: bool) -> None:
    body = {"model": f"{provider}/numbered-5", "input": "hello", "stream": stream}
    answer, events = await _post(stack, "/v1/responses", body)
    assert answer.status_code == 200, answer.text
    if not stream:
        response = answer.json()
    else:
        assert [one["sequence_number"] for _, one in events] == list(range(len(events)))
        assert events[0][0] == "response.created"
        assert events[-1][0] == "response.completed"
        response = events[-1][1]["response"]
    assert response["output"][0]["content"][0]["text"] == numbered(5)
    assert response["usage"]["output_tokens"] == 5
    async with stack.client() as client:
        again = await client.get(f"/v1/responses/{response['id']}")
        assert again.json() == response
        gone = await client.delete(f"/v1/responses/{response['id']}")
        assert gone.json()["deleted"] is True
        assert (await client.get(f"/v1/responses/{response['id']}")).status_code == 404


@PROVIDERS
async def test_a_response_goes_on_from_another(stack: Stack, provider: str) -> None:
    model = f"{provider}/numbered-5"
    first, _ = await _post(stack, "/v1/responses", {"model": model, "input": "one"})
    second, _ = await _post(
        stack,
        "/v1/responses",
        {"model": model, "input": "two", "previous_response_id": first.json()["id"]},
    )
    assert second.status_code == 200, second.text
    book = stack.simulators[int(provider == "anthropic")].book
    sent = book.body(book.entries[-1].id)
    assert sent is not None
    said = [message["content"] for message in json.loads(sent)["messages"]]
    assert [one if isinstance(one, str) else one[0]["text"] for one in said] == [
        "one",
        numbered(5),
        "two",
    ]
    missing = {"model": model, "input": "x", "previous_response_id": "resp_" + "0" * 32}
    answer, _ = await _post(stack, "/v1/responses", missing)
    assert (answer.status_code, answer.json()["error"]["code"]) == (
        400,
        "previous_response_not_found",
    )


@BOTH
@PROVIDERS
async def test_completions(stack: Stack, provider: str, stream: bool) -> None:
    body = {"model": f"{provider}/numbered-5", "prompt": "hello", "stream": stream}
    answer, events = await _post(stack, "/v1/completions", body)
    assert answer.status_code == 200, answer.text
    shown = [one for _, one in events] if stream else [answer.json()]
    assert "".join(one["choices"][0]["text"] for one in shown) == numbered(5)
    assert {one["object"] for one in shown} == {"text_completion"}


@pytest.mark.parametrize("encoding", [None, "float", "base64"])
async def test_embeddings(stack: Stack, encoding: str | None) -> None:
    body: dict[str, Any] = {"model": "embed", "input": ["a", "b"]}
    if encoding is not None:
        body["encoding_format"] = encoding
    answer, _ = await _post(stack, "/v1/embeddings", body)
    assert answer.status_code == 200, answer.text
    vectors = [one["embedding"] for one in answer.json()["data"]]
    assert all(isinstance(one, str if encoding == "base64" else list) for one in vectors)
    assert answer.json()["usage"]["prompt_tokens"] > 0


@PROVIDERS
async def test_count_tokens_asks_no_provider(stack: Stack, provider: str) -> None:
    before = len(entries(stack))
    body = message_body(f"{provider}/numbered-5")
    del body["max_tokens"]
    answer, _ = await _post(stack, "/v1/messages/count_tokens", body)
    assert answer.json()["input_tokens"] > 0
    assert len(entries(stack)) == before


@PROVIDERS
@pytest.mark.parametrize(
    ("model", "status", "kind"),
    [
        ("fault-429-2", 429, "rate_limit_error"),
        ("fault-500", 529, "overloaded_error"),
        ("fault-401", 502, "api_error"),
    ],
)
async def test_an_anthropic_client_gets_anthropics_errors(
    stack: Stack, provider: str, model: str, status: int, kind: str
) -> None:
    answer, _ = await _post(stack, "/v1/messages", message_body(f"{provider}/{model}"))
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind), answer.text
    assert answer.json()["type"] == "error"
    assert answer.json()["request_id"] == answer.headers["request-id"]


@PROVIDERS
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses", "/v1/chat/completions"])
async def test_a_cut_is_told_in_the_clients_words(stack: Stack, provider: str, path: str) -> None:
    model = f"{provider}/fault-cut-after-3"
    bodies = {
        "/v1/messages": message_body(model, stream=True),
        "/v1/responses": {"model": model, "input": "x", "stream": True},
        "/v1/chat/completions": chat_body(model, stream=True),
    }
    pieces: list[bytes] = []
    async with stack.client() as client, client.stream("POST", path, json=bodies[path]) as answer:
        with contextlib.suppress(httpx.RemoteProtocolError):
            async for piece in answer.aiter_raw():
                pieces.append(piece)  # noqa: PERF401  those before the cut count
    text = b"".join(pieces).decode()
    last = json.loads(text.strip().rpartition("data: ")[2])
    if path == "/v1/messages":
        assert "event: error\n" in text
        assert last["type"] == "error"
    elif path == "/v1/responses":
        assert last["type"] == "response.failed"
    else:
        assert last["error"]["code"] == "stream_interrupted"
