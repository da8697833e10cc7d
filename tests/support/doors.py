"""One question in the words of either client API, and what came back in words common to both."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import httpx

from tests.support.simulator import payloads

OPENAI = "/v1/chat/completions"
ANTHROPIC = "/v1/messages"
_ENDS = {"end_turn": "stop", "tool_use": "tool_calls", "max_tokens": "length"}
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}


class Call(NamedTuple):
    """One tool call."""

    id: str
    name: str
    arguments: dict[str, Any]


class Said(NamedTuple):
    """A whole answer, read to its end."""

    status: int
    headers: httpx.Headers
    text: str = ""
    reasoning: str = ""
    calls: tuple[Call, ...] = ()
    finish: str = ""
    """As OpenAI names it."""
    tokens: tuple[int, int] = (0, 0)
    """Input, output."""
    error: dict[str, Any] = {}  # noqa: RUF012  never changed


async def ask(
    client: httpx.AsyncClient,
    door: str,
    model: str,
    question: str,
    *,
    stream: bool,
    tools: Sequence[str] = (),
    results: Sequence[tuple[Call, str]] = (),
    **fields: Any,
) -> Said:
    """Asks by that door; `results` are the answers of the tools that the model has called."""
    make = _anthropic_body if door == ANTHROPIC else _openai_body
    body = {**make(question, tools, results), "model": model, "stream": stream, **fields}
    if stream and door == OPENAI:
        body["stream_options"] = {"include_usage": True}
    answer = await client.post(door, json=body)
    if answer.status_code != httpx.codes.OK:
        return Said(answer.status_code, answer.headers, error=answer.json()["error"])
    if door == OPENAI:
        return (_openai_stream if stream else _openai_whole)(answer)
    return (_anthropic_stream if stream else _anthropic_whole)(answer)


def _openai_body(
    question: str, tools: Sequence[str], results: Sequence[tuple[Call, str]]
) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": question}]
    if results:
        calls = [_openai_call(call) for call, _ in results]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        messages += [
            {"role": "tool", "tool_call_id": call.id, "content": text} for call, text in results
        ]
    body: dict[str, Any] = {"messages": messages}
    if tools:
        body["tools"] = [
            {"type": "function", "function": {"name": name, "parameters": PARAMETERS}}
            for name in tools
        ]
    return body


def _openai_call(call: Call) -> dict[str, Any]:
    function = {"name": call.name, "arguments": json.dumps(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def _anthropic_body(
    question: str, tools: Sequence[str], results: Sequence[tuple[Call, str]]
) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": question}]
    if results:
        uses = [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
            for call, _ in results
        ]
        told = [
            {"type": "tool_result", "tool_use_id": call.id, "content": text}
            for call, text in results
        ]
        messages += [{"role": "assistant", "content": uses}, {"role": "user", "content": told}]
    body: dict[str, Any] = {"messages": messages, "max_tokens": 200}
    if tools:
        body["tools"] = [{"name": name, "input_schema": PARAMETERS} for name in tools]
    return body


def _openai_whole(answer: httpx.Response) -> Said:
    body = answer.json()
    (choice,) = body["choices"]
    message = choice["message"]
    return Said(
        answer.status_code,
        answer.headers,
        message["content"] or "",
        message.get("reasoning_content") or "",
        tuple(
            Call(one["id"], one["function"]["name"], json.loads(one["function"]["arguments"]))
            for one in message.get("tool_calls") or ()
        ),
        choice["finish_reason"],
        (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]),
    )


def _openai_stream(answer: httpx.Response) -> Said:
    *chunks, terminal = payloads(answer.text)
    assert terminal == "[DONE]"
    *events, last = [json.loads(chunk) for chunk in chunks]
    assert len({(event["id"], event["created"]) for event in events}) == 1
    assert last["choices"] == []
    assert all(event.get("usage") is None for event in events)
    text = reasoning = finish = ""
    calls: dict[int, list[str]] = {}
    for number, event in enumerate(events):
        (choice,) = event["choices"]
        delta = choice["delta"]
        assert (delta.get("role") == "assistant") is (number == 0), event
        text += delta.get("content") or ""
        reasoning += delta.get("reasoning_content") or ""
        finish = choice["finish_reason"] or finish
        for one in delta.get("tool_calls") or ():
            call = calls.setdefault(one["index"], [one.get("id"), one["function"].get("name"), ""])
            call[2] += one["function"]["arguments"]
    return Said(
        answer.status_code,
        answer.headers,
        text,
        reasoning,
        tuple(Call(one, name, json.loads(said)) for one, name, said in calls.values()),
        finish,
        (last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"]),
    )


def _anthropic_whole(answer: httpx.Response) -> Said:
    body = answer.json()
    return _of_blocks(answer, body["content"], body["stop_reason"], body["usage"])


def _anthropic_stream(answer: httpx.Response) -> Said:
    events = [json.loads(text) for text in payloads(answer.text)]
    kinds = [event["type"] for event in events]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    blocks: list[dict[str, Any]] = []
    usage = dict(events[0]["message"]["usage"])
    for event in events:
        if event["type"] == "content_block_start":
            assert event["index"] == len(blocks)
            blocks.append({**event["content_block"], "json": ""})
        elif event["type"] == "content_block_delta":
            _take(blocks[event["index"]], event["delta"])
        elif event["type"] == "message_delta":
            usage |= event["usage"]
    for block in blocks:
        if block["type"] == "tool_use":
            block["input"] = json.loads(block["json"] or "{}")
    return _of_blocks(answer, blocks, events[-2]["delta"]["stop_reason"], usage)


def _take(block: dict[str, Any], delta: dict[str, Any]) -> None:
    match delta["type"]:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "input_json_delta":
            block["json"] += delta["partial_json"]


def _of_blocks(
    answer: httpx.Response, blocks: list[dict[str, Any]], stop: str, usage: dict[str, int]
) -> Said:
    return Said(
        answer.status_code,
        answer.headers,
        "".join(one["text"] for one in blocks if one["type"] == "text"),
        "".join(one["thinking"] for one in blocks if one["type"] == "thinking"),
        tuple(
            Call(one["id"], one["name"], one["input"])
            for one in blocks
            if one["type"] == "tool_use"
        ),
        _ENDS[stop],
        (usage["input_tokens"], usage["output_tokens"]),
    )
