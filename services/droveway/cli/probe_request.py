"""One request of `droveway probe`: sent as any client would, timed from outside."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx
import msgspec

from droveway.contracts.relay import Usage
from droveway.gateway.error_classes import error_class

MAX_ANSWER_BYTES = 1_048_576
"""Of one answer; what is longer counts as a failure."""
_MAX_DETAIL_CHARACTERS = 200
_CONNECT_WITHIN_S = 10


class Question(NamedTuple):
    """What is asked."""

    model: str
    prompt: str
    max_tokens: int
    limit_s: float
    """From connecting to the last byte."""


class Result(NamedTuple):
    """What the client saw."""

    model: str
    status: int
    """HTTP status; 0: there was none."""
    error: str
    """Class of the failure; empty: answered, whole."""
    detail: str
    first_s: float | None
    """Until the first content; None: there was none."""
    total_s: float
    usage: Usage
    provider: str
    provider_model: str
    request_id: str


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Tokens(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = msgspec.field(default_factory=list)
    usage: _Tokens | None = None
    error: Any = None


class _Failed(Exception):
    """The answer can't be used; holds the class of it and what is known besides."""


class _Answer:
    """What is known of an answer while it comes."""

    def __init__(self) -> None:
        self.status = 0
        self.headers = httpx.Headers()
        self.first_s: float | None = None
        self.usage = Usage()


async def ask(client: httpx.AsyncClient, question: Question) -> Result:
    """Asks once, streaming; a failure is a result, too."""
    began_s = time.monotonic()
    answer = _Answer()
    error = detail = ""
    try:
        async with asyncio.timeout(question.limit_s):
            await _stream(client, question, answer, began_s)
    except _Failed as failed:
        error, detail = failed.args
    except (TimeoutError, httpx.TimeoutException):
        error, detail = "Timeout", f"no whole answer within {question.limit_s:g} s"
    except httpx.HTTPError as failed:
        error, detail = "ConnectionError", str(failed) or type(failed).__name__
    return Result(
        model=question.model,
        status=answer.status,
        error=error,
        detail=_one_line(detail),
        first_s=answer.first_s,
        total_s=time.monotonic() - began_s,
        usage=answer.usage,
        provider=answer.headers.get("x-droveway-provider", ""),
        provider_model=answer.headers.get("x-droveway-model", ""),
        request_id=answer.headers.get("x-request-id", ""),
    )


async def _stream(
    client: httpx.AsyncClient, question: Question, answer: _Answer, began_s: float
) -> None:
    body = {
        "model": question.model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": question.max_tokens,
        "messages": [{"role": "user", "content": question.prompt}],
    }
    timeout = httpx.Timeout(question.limit_s, connect=min(_CONNECT_WITHIN_S, question.limit_s))
    async with client.stream("POST", "chat/completions", json=body, timeout=timeout) as response:
        answer.status, answer.headers = response.status_code, response.headers
        if response.status_code != httpx.codes.OK:
            raise _Failed(_class_of(response.status_code), await _refusal(response))
        async for chunk in _chunks(response):
            if chunk.error is not None:
                raise _Failed("Interrupted", _message(chunk.error))
            if answer.first_s is None and any(
                one.delta and one.delta.content for one in chunk.choices
            ):
                answer.first_s = time.monotonic() - began_s
            if chunk.usage is not None:
                answer.usage = _usage(chunk.usage)


async def _chunks(response: httpx.Response) -> AsyncIterator[_Chunk]:
    """Each event's chunk, to `[DONE]`.

    Raises:
        _Failed: It ended before, or isn't a stream of chunks.
    """
    async for line in _lines(response):
        if not line.startswith(b"data:"):
            continue
        event = line[5:].strip()
        if event == b"[DONE]":
            return
        try:
            yield msgspec.json.decode(event, type=_Chunk)
        except msgspec.DecodeError as error:
            raise _Failed("Unknown", f"an event that isn't a chunk: {error}") from None
    raise _Failed("Interrupted", "the stream ended without [DONE]")


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    rest, received_bytes = b"", 0
    async for piece in response.aiter_bytes():
        received_bytes += len(piece)
        if received_bytes > MAX_ANSWER_BYTES:
            raise _Failed("Unknown", f"an answer of more than {MAX_ANSWER_BYTES} bytes")
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line
    yield rest


async def _refusal(response: httpx.Response) -> str:
    """What the answer says for itself: its error's code and message, or its text."""
    text = b"\n".join([line async for line in _lines(response)])
    try:
        return _message(msgspec.json.decode(text))
    except msgspec.DecodeError:
        return text.decode(errors="replace") or response.reason_phrase


def _message(error: Any) -> str:
    inner = error.get("error", error) if isinstance(error, dict) else error
    if isinstance(inner, dict):
        return ": ".join(str(inner[name]) for name in ("code", "message") if inner.get(name))
    return str(inner)


def _class_of(status: int) -> str:
    return error_class(status, None) or f"HTTP_{status}"


def _usage(told: _Tokens) -> Usage:
    details = told.prompt_tokens_details
    return Usage(
        input_tokens=told.prompt_tokens,
        output_tokens=told.completion_tokens,
        cache_read_tokens=(details.cached_tokens or 0) if details else 0,
    )


def _one_line(text: str) -> str:
    """Without line ends, and without what a terminal would obey."""
    shown = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(shown.split())[:_MAX_DETAIL_CHARACTERS]
