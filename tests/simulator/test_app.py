"""The simulator's routes and OpenAI's shapes, over HTTP."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from droveway.simulator.server import Running, running
from tests.support.simulator import chat_body, payloads, quick_settings, spoken

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
    for name in ("weather", "clock")
]


class Client:
    def __init__(self, server: Running, session: aiohttp.ClientSession) -> None:
        self.server = server
        self._session = session

    async def send(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        async with self._session.request(method, self.server.url + path, **options) as response:
            return response.status, await response.text()

    async def chat(self, **fields: Any) -> Any:
        status, text = await self.send("POST", "/v1/chat/completions", json=chat_body(**fields))
        assert status == 200, text
        return json.loads(text)

    async def refused(self, expected: int, body: Any, **options: Any) -> Any:
        options = {"data": body} if isinstance(body, bytes) else {"json": body, **options}
        status, text = await self.send("POST", "/v1/chat/completions", **options)
        assert status == expected
        error = json.loads(text)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error

    async def stream(self, **fields: Any) -> str:
        body = chat_body(stream=True, **fields)
        status, text = await self.send("POST", "/v1/chat/completions", json=body)
        assert status == 200, text
        return text


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    headers = {"authorization": "Bearer sk-test"}
    settings = quick_settings(keep_bodies=True, max_body_bytes=100_000, kept_body_bytes=50_000)
    async with running(settings) as server, aiohttp.ClientSession(headers=headers) as session:
        yield Client(server, session)


async def test_a_whole_answer_has_openai_shape(client: Client) -> None:
    answer = await client.chat()
    assert answer["object"] == "chat.completion"
    assert answer["id"].startswith("chatcmpl-")
    assert isinstance(answer["created"], int)
    (choice,) = answer["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"] == "t0 t1 t2 t3 t4 "
    assert choice["finish_reason"] == "stop"
    usage = answer["usage"]
    assert usage["completion_tokens"] == 5
    assert usage["total_tokens"] == usage["prompt_tokens"] + 5
    assert usage["prompt_tokens_details"]["cached_tokens"] == 0


async def test_a_stream_goes_role_content_finish_usage_done(client: Client) -> None:
    text = await client.stream(stream_options={"include_usage": True})
    *events, done = payloads(text)
    chunks = [json.loads(event) for event in events]
    assert done == "[DONE]"
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert spoken(text) == "t0 t1 t2 t3 t4 "
    assert chunks[-2]["choices"][0]["delta"] == {}
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 5
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert len({(chunk["id"], chunk["created"], chunk["object"]) for chunk in chunks}) == 1


async def test_a_stream_has_no_usage_unless_asked(client: Client) -> None:
    events = payloads(await client.stream())[:-1]
    assert all("usage" not in json.loads(event) for event in events)


async def test_max_tokens_cuts_with_finish_reason_length(client: Client) -> None:
    cut = await client.chat(max_tokens=2)
    assert cut["choices"][0]["message"]["content"] == "t0 t1 "
    assert cut["choices"][0]["finish_reason"] == "length"
    uncut = await client.chat(model="any", max_completion_tokens=100)
    assert uncut["usage"]["completion_tokens"] == 32
    assert uncut["choices"][0]["finish_reason"] == "stop"


async def test_the_same_question_gets_the_same_answer_streamed_or_whole(client: Client) -> None:
    whole = await client.chat(model="any", content="why?")
    again = await client.chat(model="any", content=[{"type": "text", "text": "why?"}])
    streamed = await client.stream(model="other", content="why?")
    said = whole["choices"][0]["message"]["content"]
    assert said == again["choices"][0]["message"]["content"] == spoken(streamed)


async def test_n_choices_differ(client: Client) -> None:
    answer = await client.chat(model="any", n=3)
    said = {choice["message"]["content"] for choice in answer["choices"]}
    assert len(said) == 3
    streamed = await client.stream(model="any", n=3)
    finished = [
        choice["index"]
        for event in payloads(streamed)[:-1]
        for choice in json.loads(event)["choices"]
        if choice["finish_reason"]
    ]
    assert finished == [0, 1, 2]


async def test_a_user_message_with_tools_is_answered_by_a_call(client: Client) -> None:
    answer = await client.chat(model="any", tools=TOOLS)
    (choice,) = answer["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert choice["message"]["content"] is None
    assert choice["finish_reason"] == "tool_calls"
    assert call["function"]["name"] == "weather"
    assert isinstance(json.loads(call["function"]["arguments"])["city"], str)


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"content": "in parallel"}, ["weather", "clock"]),
        ({"content": "in parallel", "parallel_tool_calls": False}, ["weather"]),
        ({"tool_choice": {"type": "function", "function": {"name": "clock"}}}, ["clock"]),
        ({"tool_choice": "none"}, []),
        ({"tool_choice": "required"}, ["weather"]),
    ],
)
async def test_the_request_decides_which_tools_are_called(
    client: Client, fields: dict[str, Any], names: list[str]
) -> None:
    answer = await client.chat(model="any", tools=TOOLS, **fields)
    calls = answer["choices"][0]["message"].get("tool_calls", [])
    assert [call["function"]["name"] for call in calls] == names


async def test_streamed_calls_name_themselves_once_and_add_up(client: Client) -> None:
    text = await client.stream(model="any", tools=TOOLS, content="in parallel")
    whole = await client.chat(model="any", tools=TOOLS, content="in parallel")
    firsts: dict[int, str] = {}
    arguments = {0: "", 1: ""}
    for event in payloads(text)[:-1]:
        for piece in json.loads(event)["choices"][0]["delta"].get("tool_calls", []):
            if "id" in piece:
                assert piece["index"] not in firsts
                assert (piece["type"], piece["function"]["arguments"]) == ("function", "")
                firsts[piece["index"]] = piece["function"]["name"]
            arguments[piece["index"]] += piece["function"]["arguments"]
    calls = whole["choices"][0]["message"]["tool_calls"]
    assert list(firsts.values()) == ["weather", "clock"]
    assert list(arguments.values()) == [call["function"]["arguments"] for call in calls]


async def test_a_tool_message_is_answered_by_text(client: Client) -> None:
    messages = [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1"}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]
    answer = await client.chat(model="any", tools=TOOLS, messages=messages)
    assert answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    "response_format",
    [
        {"type": "json_object"},
        {
            "type": "json_schema",
            "json_schema": {
                "name": "reply",
                "schema": {"type": "object", "properties": {"answer": {"type": "string"}}},
            },
        },
    ],
    ids=["object", "schema"],
)
async def test_json_is_answered_where_json_is_asked(
    client: Client, response_format: dict[str, Any]
) -> None:
    answer = await client.chat(model="any", response_format=response_format)
    assert "answer" in json.loads(answer["choices"][0]["message"]["content"])


async def test_images_are_counted_and_never_fetched(client: Client) -> None:
    image = {"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/none.png"}}
    answer = await client.chat(content=[{"type": "text", "text": "what?"}, image])
    assert answer["usage"]["prompt_tokens_details"]["image_tokens"] == 85
    assert client.server.book.entries[-1].images == 1


async def test_a_prefix_seen_before_is_reported_as_cached(client: Client) -> None:
    content = "".join(f"line {number}\n" for number in range(1000))
    first, second = await client.chat(content=content), await client.chat(content=content)
    assert first["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] >= 1024


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"\xff\xfe", None),
        ({"messages": []}, None),
        (chat_body(model=""), "model"),
        ({"model": "any", "messages": []}, "messages"),
        (chat_body(max_tokens=0), "max_tokens"),
        (chat_body(n=9), "n"),
        (chat_body(tools=TOOLS, tool_choice={"type": "f", "function": {"name": "x"}}), None),
    ],
)
async def test_a_wrong_request_is_refused_with_400(
    client: Client, body: Any, param: str | None
) -> None:
    error = await client.refused(400, body)
    assert error["type"] == "invalid_request_error"
    assert param is None or error["param"] == param


@pytest.mark.parametrize("authorization", ["Bearer bad-key", "Bearer ", "Basic abc"])
async def test_a_bad_key_is_refused_and_not_repeated(client: Client, authorization: str) -> None:
    error = await client.refused(401, chat_body(), headers={"authorization": authorization})
    assert error["code"] == "invalid_api_key"
    assert "bad-key" not in error["message"]


async def test_other_refusals_have_openai_shape(client: Client) -> None:
    assert (await client.refused(404, chat_body("missing-model")))["code"] == "model_not_found"
    assert (await client.refused(400, chat_body("fault-explode")))["code"] == "unknown_fault"
    await client.refused(413, chat_body(content="x" * 100_000))
    assert [entry.status for entry in client.server.book.entries] == [404, 400, 413]
    for method, path in (("GET", "/v1/none"), ("GET", "/v1/chat/completions")):
        status, text = await client.send(method, path)
        assert status in {404, 405}
        assert json.loads(text)["error"]["type"] == "invalid_request_error"


async def test_models_carry_prices(client: Client) -> None:
    listed = json.loads((await client.send("GET", "/v1/models"))[1])
    assert listed["object"] == "list"
    assert all(model["prices"]["output_per_mtok_usd"] > 0 for model in listed["data"])
    status, text = await client.send("GET", "/v1/models/org/any-name")
    assert (status, json.loads(text)["id"], "prices" in text) == (200, "org/any-name", False)
    assert (await client.send("GET", "/v1/models/missing-model"))[0] == 404


async def test_the_book_tells_each_request_but_never_the_key(client: Client) -> None:
    await client.chat(content="private words")
    await client.stream(stream_options={"include_usage": True})
    status, text = await client.send("GET", "/book")
    book = json.loads(text)
    assert status == 200
    assert "sk-test" not in text
    assert "private words" not in text
    whole, streamed = book["entries"]
    assert [whole["outcome"], streamed["outcome"]] == ["answered", "answered"]
    assert whole["usage"]["completion_tokens"] == streamed["usage"]["completion_tokens"] == 5
    assert whole["authorization_present"]
    assert "authorization" in whole["header_names"]
    assert whole["ended_ms"] >= whole["started_ms"]
    assert book["totals"]["open_requests"] == 0
    assert book["totals"]["tokens_sent"] == 10
    kept = json.loads((await client.send("GET", f"/book/{whole['id']}"))[1])
    assert json.loads(kept["body"])["messages"][0]["content"] == "private words"


async def test_users_can_be_told_apart_by_the_book_but_not_known(client: Client) -> None:
    for user in ("oskar", "oskar", "grace"):
        await client.chat(user=user)
    await client.chat()
    assert "oskar" not in (await client.send("GET", "/book"))[1]
    first, again, other, nobody = client.server.book.entries
    assert first.user_fingerprint == again.user_fingerprint != other.user_fingerprint
    assert nobody.user_fingerprint is None


async def test_deleting_the_book_forgets_it(client: Client) -> None:
    await client.chat()
    assert (await client.send("DELETE", "/book"))[0] == 204
    book = json.loads((await client.send("GET", "/book"))[1])
    assert (book["entries"], book["totals"]["requests"]) == ([], 0)
    assert (await client.send("GET", "/book/req_00000001"))[0] == 404


async def test_probes_answer(client: Client) -> None:
    assert (await client.send("GET", "/livez"))[0] == 200
    assert (await client.send("GET", "/readyz"))[0] == 200
    client.server.simulator.stopping.set()
    assert (await client.send("GET", "/readyz"))[0] == 503
