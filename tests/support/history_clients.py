"""Clients that write down what they see: raw HTTP, which checks every chunk, and httpx."""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import httpx

from tests.support.history import History, Request

CHAT = "/v1/chat/completions"
WITHIN_S = 60.0
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError)
"""What parsing raises of an answer that isn't JSON, or not of the shape that it has to have."""
_READ_BYTES = 1_048_576


class FramingError(Exception):
    """The answer isn't HTTP/1.1 as RFC 9112 has it; the message says where."""


class _Reader:
    """Fills a request's record in from the bytes of its answer."""

    def __init__(self, record: Request) -> None:
        self._record = record
        self._line = b""
        self._whole: list[bytes] = []

    def head(self, status: int, headers: Any) -> None:
        """Status and headers; `headers` has `get`."""
        self._record.status = status
        self._record.request_id = headers.get("x-request-id", "")
        attempts = headers.get("x-droveway-attempts", "")
        self._record.attempts = int(attempts) if attempts else None
        self._streams = headers.get("content-type", "").startswith("text/event-stream")

    def feed(self, data: bytes) -> None:
        """Some of the body."""
        if not self._streams:
            self._whole.append(data)
            return
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line.removeprefix(b"data:").strip())

    def end(self) -> None:
        """The body is whole."""
        self._record.body = "whole"
        if self._streams:
            return
        answer = json.loads(b"".join(self._whole))
        if self._error(answer):
            return
        choices = answer["choices"]
        self._say("".join(one["message"]["content"] or "" for one in choices))
        self._record.terminals.append("done")

    def _event(self, payload: bytes) -> None:
        self._record.late_events += bool(self._record.terminals)
        if payload == b"[DONE]":
            self._record.terminals.append("done")
            return
        event = json.loads(payload)
        if not self._error(event):
            deltas = (one.get("delta") or {} for one in event.get("choices", ()))
            self._say("".join(delta.get("content") or "" for delta in deltas))

    def _error(self, answer: Any) -> bool:
        if "error" not in answer:
            return False
        self._record.error_code = str(answer["error"].get("code"))
        self._record.terminals.append("error")
        return True

    def _say(self, text: str) -> None:
        if text:
            self._record.tokens.append(text)
            self._record.arrivals_s.append(time.monotonic() - self._record.invoked_s)


@contextlib.contextmanager
def _recorded(
    history: History, record: Request, late: type[Exception], *broken: type[Exception]
) -> Iterator[None]:
    """Writes down how asking ends, once: in time or late, broken off, or left by its client."""
    try:
        yield
    except late as error:
        record.exception = type(error).__name__
    except broken as error:
        record.exception = type(error).__name__
        record.body = "cut"
    except asyncio.CancelledError:
        record.body = "left"
        raise
    finally:
        history.add(record)


async def ask_raw(
    history: History, port: int, key: str, body: dict[str, Any], *, within_s: float = WITHIN_S
) -> Request:
    """Asks on a connection of its own, byte by byte as HTTP has it; never raises, but records."""
    record = history.invoke("raw", body["model"], stream=bool(body.get("stream")))
    broken = (OSError, EOFError, asyncio.LimitOverrunError, FramingError, *UNREADABLE)
    writer: asyncio.StreamWriter | None = None
    with _recorded(history, record, TimeoutError, *broken):
        try:
            async with asyncio.timeout(within_s):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_READ_BYTES)
                writer.write(_request(key, body))
                await _read_answer(reader, _Reader(record))
        finally:
            if writer is not None:
                writer.transport.abort()
    return record


async def ask_httpx(
    history: History, client: httpx.AsyncClient, body: dict[str, Any], **options: Any
) -> Request:
    """Asks as a program with httpx does; never raises an HTTP error, but records it."""
    record = history.invoke("httpx", body["model"], stream=bool(body.get("stream")))
    reading = _Reader(record)
    with _recorded(history, record, httpx.TimeoutException, httpx.HTTPError, *UNREADABLE):
        async with client.stream("POST", CHAT, json=body, **options) as answer:
            reading.head(answer.status_code, answer.headers)
            async for piece in answer.aiter_bytes():
                reading.feed(piece)
            reading.end()
    return record


async def ask_aiohttp(
    history: History, session: aiohttp.ClientSession, url: str, key: str, body: dict[str, Any]
) -> Request:
    """Asks as a program with aiohttp does, on a connection that it keeps; records its errors."""
    record = history.invoke("aiohttp", body["model"], stream=bool(body.get("stream")))
    reading = _Reader(record)
    headers = {"authorization": f"Bearer {key}"}
    with _recorded(history, record, TimeoutError, aiohttp.ClientError, OSError, *UNREADABLE):
        async with session.post(url + CHAT, json=body, headers=headers) as answer:
            reading.head(answer.status, answer.headers)
            async for piece in answer.content.iter_any():
                reading.feed(piece)
            reading.end()
    return record


def _request(key: str, body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    head = (
        f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(content)}\r\n"
        "connection: close\r\n\r\n"
    )
    return head.encode() + content


async def _read_answer(reader: asyncio.StreamReader, reading: _Reader) -> None:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")[:-4].split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    reading.head(int(first.split(" ", 2)[1]), headers)
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readuntil(b"\r\n"), 16):
            data = await reader.readexactly(size + 2)
            if data[-2:] != b"\r\n":
                raise FramingError(f"a chunk of {size} bytes ends with {data[-2:]!r}")
            reading.feed(data[:-2])
        if await reader.readexactly(2) != b"\r\n":
            raise FramingError("the last chunk isn't followed by an empty line")
    elif "content-length" in headers:
        reading.feed(await reader.readexactly(int(headers["content-length"])))
    else:
        raise FramingError("the answer has neither a length nor chunks")
    if await reader.read(1):
        raise FramingError("bytes follow the answer, though it was to close the connection")
    reading.end()
