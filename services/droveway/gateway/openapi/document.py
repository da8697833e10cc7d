"""The OpenAPI 3.1 document: every path that the gateway answers, with what it takes and answers.

Source: OpenAPI Specification 3.1.1.
"""

import functools
from importlib.metadata import version
from typing import Any, NamedTuple

import msgspec

from droveway.gateway import operations
from droveway.gateway.faces import ANTHROPIC
from droveway.gateway.openapi import (
    admin,
    chat,
    content,
    failures,
    headers,
    messages,
    others,
    responses,
    usage,
)
from droveway.gateway.openapi.shapes import TEXT, Schema, either, record, ref
from droveway.gateway.operations import Operation

_ABOUT = """\
One key, one address, many providers. Send the key as `Authorization: Bearer` or as `x-api-key`.

Integers are written without a decimal point. A doubled `/v1/v1` is taken as `/v1`, and a trailing
slash as none. Errors come in the shape of the API that was asked; with the header
`anthropic-version` they come in Anthropic's on every path. What the HTTP server refuses before it
has read the path is told in OpenAI's shape. `docs/errors.md` lists every code. Over NATS the same
is described by `contracts/asyncapi.json`.
"""


class _Body(NamedTuple):
    """What an operation takes and answers, by the names of schemas."""

    summary: str
    request: str
    answer: str
    event: str = ""
    """Of a stream; empty: there is none."""
    stream: str = ""
    """How a stream goes."""
    ends: str = ""
    """The data of its last event, where that is no JSON."""


_BODIES = {
    operations.CHAT.name: _Body(
        "A chat completion", "ChatRequest", "ChatAnswer", "ChatChunk",
        "Each `data:` is a chunk; the last one is `[DONE]`. An error in it is an `OpenAIError`, "
        "and then the body ends without its last chunk.", "[DONE]",
    ),
    operations.COMPLETIONS.name: _Body(
        "A legacy completion, answered by a chat model", "CompletionRequest", "Completion",
        "Completion", "Each `data:` is a part of the answer; the last one is `[DONE]`.", "[DONE]",
    ),
    operations.RESPONSES.name: _Body(
        "A response, kept by its id", "ResponseRequest", "Response", "ResponseEvent",
        "Each event has a name and a `sequence_number`; the last one is `response.completed`, "
        "`response.incomplete` or `response.failed`.",
    ),
    operations.EMBEDDINGS.name: _Body("Embeddings", "EmbeddingsRequest", "Embeddings"),
    operations.MESSAGES.name: _Body(
        "A message of Anthropic's API", "MessagesRequest", "MessageAnswer", "MessageEvent",
        "Each event has a name; the last one is `message_stop`, or `error` with an "
        "`AnthropicError`.",
    ),
}  # fmt: skip


@functools.cache
def encoded() -> bytes:
    """The document as JSON, as it is served."""
    return msgspec.json.encode(document())


def document() -> dict[str, Any]:
    """The document."""
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Droveway",
            "version": version("droveway"),
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"api_key": []}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "api_key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                admin.SCHEME: admin.SECURITY,
            },
            "headers": headers.components(),
            "parameters": headers.parameters(),
            "responses": failures.components(),
            "schemas": _schemas(),
        },
    }


def _schemas() -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    for topic in (chat, content, others, responses, messages):
        found |= topic.REQUESTS
    for topic in (chat, others, responses, messages):
        found |= topic.ANSWERS
    return found | failures.schemas() | usage.schemas() | admin.schemas()


def _paths() -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {
        one.path: {"post": _inference(one)} for one in operations.ALL
    }
    paths[operations.COUNT_TOKENS.path] = {"post": _count_tokens()}
    paths["/v1/responses/{id}"] = {
        "parameters": [_in_path("id")],
        "get": _kept("responses.get", "A response that was kept", "Response"),
        "delete": _kept("responses.delete", "Forget a response", "ResponseDeleted"),
    }
    paths["/v1/responses/{id}/input_items"] = {
        "parameters": [_in_path("id")],
        "get": _kept("responses.items", "What a response was asked with", "ResponseInput")
        | {"parameters": [{"name": n, "in": "query", "schema": s} for n, s in responses.PAGE]},
    }
    paths["/v1/models"] = {"get": _models("models.list", "What the key may use", "Models")}
    paths["/v1/models/{model}"] = {
        "parameters": [_in_path("model")],
        "get": _models("models.get", "One model; its name may have slashes", "Model"),
    }
    return paths | usage.paths() | admin.paths()


def _inference(operation: Operation) -> dict[str, Any]:
    body = _BODIES[operation.name]
    face = "anthropic" if operation.face is ANTHROPIC else "openai"
    answered = _json(body.answer, face, headers.SERVED)
    if body.event:
        answered["content"]["text/event-stream"] = {"schema": _event(body, face)}
    made = _posted(operation.name, body)
    return made | {
        "parameters": headers.of_request(*headers.ASKED[face]),
        "responses": {"200": answered, **failures.responses(face, "inference")},
    }


def _event(body: _Body, face: str) -> Schema:
    """One event of a stream: so tools read the schema of this type where the version is 3.1."""
    shapes = either(ref(body.event), ref(failures.SHAPES[face]))
    data: Schema = TEXT | {"contentMediaType": "application/json", "contentSchema": shapes}
    if body.ends:
        data = either(TEXT | {"const": body.ends}, data)
    about = f"One event; where `stream` is true, the answer is a stream of them. {body.stream}"
    return record({"data": data}, {"event": TEXT}, about)


def _count_tokens() -> dict[str, Any]:
    body = _Body("How large a prompt is", "CountTokensRequest", "TokenCount")
    answered = _json(body.answer, "anthropic", headers.SERVED)
    return _posted(operations.COUNT_TOKENS.name, body) | {
        "parameters": headers.of_request(*headers.COUNTING),
        "responses": {"200": answered, **failures.responses("anthropic", "count")},
    }


def _posted(name: str, body: _Body) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": body.summary,
        "tags": [name.partition(".")[0]],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": ref(body.request)}},
        },
    }


def _kept(name: str, summary: str, answer: str) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["responses"],
        "responses": {"200": _json(answer, "openai"), **failures.responses("openai", "stored")},
    }


def _models(name: str, summary: str, answer: str) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["models"],
        "responses": {
            "200": _json(answer, "openai"),
            **failures.responses("openai", answer.lower()),
        },
    }


def _json(answer: str, face: str, more: tuple[str, ...] = ()) -> dict[str, Any]:
    window = headers.WINDOW[face] if more else ()
    return {
        "description": "Answered.",
        "headers": headers.of_answer(*headers.BASE[face], *window, *more),
        "content": {"application/json": {"schema": ref(answer)}},
    }


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
