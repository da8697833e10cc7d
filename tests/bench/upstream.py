"""A provider that costs next to nothing, in a process of its own; also swallows OTLP exports.

The model's name says what to answer: `mock` a JSON body of about 1 KB at once, `mock-c200-p10` a
stream of 200 chunks, one every 10 ms (`p0`: all in one write). Any path but chat completions is
answered by an empty 200, which is all that an OTLP exporter wants.
"""

import argparse
import asyncio
import functools
import json
import re
from typing import cast

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_MODEL = re.compile(rb'"model": ?"(?:[a-z]+/)?(mock-c(\d+)-p(\d+))"')
_STREAM = re.compile(rb'"stream": ?true')
_USAGE = {"prompt_tokens": 980, "completion_tokens": 200, "total_tokens": 1180}
_ANSWER_CHARACTERS = 700
_EMPTY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
_STREAM_END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
_BASE = {"id": "chatcmpl-bench", "created": 1_767_225_600}
MARK = b"zq"
"""Each token begins with it, and nothing else in a stream does."""


def _whole() -> bytes:
    content = ("the answer of the mock " * 50)[:_ANSWER_CHARACTERS]
    body = json.dumps(
        {
            **_BASE,
            "object": "chat.completion",
            "model": "mock",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": content, "refusal": None},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": _USAGE,
            "system_fingerprint": "fp_bench",
        }
    ).encode()
    head = (
        f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


_WHOLE = _whole()


@functools.cache
def _events(model: str, count: int) -> tuple[bytes, ...]:
    """One HTTP chunk per event: distinct tokens, then finish reason, then usage."""
    deltas = [{"content": f"{MARK.decode()}{number} "} for number in range(count)]
    events: list[dict[str, object]] = []
    for number, delta in enumerate(deltas):
        shown = {"role": "assistant", **delta} if number == 0 else delta
        events.append({"choices": [{"index": 0, "delta": shown, "finish_reason": None}]})
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    events.append({"choices": [], "usage": _USAGE})
    chunks = []
    for event in events:
        document = {**_BASE, "object": "chat.completion.chunk", "model": model, **event}
        data = f"data: {json.dumps(document, separators=(',', ':'))}\n\n".encode()
        chunks.append(b"%x\r\n%s\r\n" % (len(data), data))
    return tuple(chunks)


@functools.cache
def _at_once(model: str, count: int) -> bytes:
    return b"".join((_STREAM_HEAD, *_events(model, count), _STREAM_END))


class Provider(asyncio.Protocol):
    """One connection; a request is whatever its content length says."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.WriteTransport | None = None
        self._data = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone: a stream to it ends."""
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Bytes of a request; answers when it is whole."""
        self._data = self._data + data if self._data else data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(self._data, 0, end)
            size = end + 4 + (int(found[1]) if found else 0)
            if len(self._data) < size:
                return
            request, self._data = self._data[:size], self._data[size:]
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        assert self._transport is not None
        if b"/chat/completions" not in request[: request.find(b"\r\n")]:
            self._transport.write(_EMPTY)
        elif not _STREAM.search(request):
            self._transport.write(_WHOLE)
        else:
            self._stream(request)

    def _stream(self, request: bytes) -> None:
        assert self._transport is not None
        found = _MODEL.search(request)
        name, count, pace_ms = found.groups() if found else (b"mock", b"20", b"0")
        if int(pace_ms) == 0:
            self._transport.write(_at_once(name.decode(), int(count)))
            return
        self._transport.write(_STREAM_HEAD)
        self._pace(_events(name.decode(), int(count)), 0, int(pace_ms) / 1000, self._loop.time())

    def _pace(self, events: tuple[bytes, ...], number: int, pace_s: float, began_s: float) -> None:
        """Writes one token and sets the clock for the next; the last three come together."""
        if self._transport is None:
            return
        if number >= len(events) - 3:
            self._transport.write(b"".join((*events[number:], _STREAM_END)))
            return
        self._transport.write(events[number])
        due_s = began_s + (number + 1) * pace_s
        self._timer = self._loop.call_at(due_s, self._pace, events, number + 1, pace_s, began_s)


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Provider(loop), "127.0.0.1", port, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Serves until a signal; prints its port."""
    parser = argparse.ArgumentParser(description="A provider that costs next to nothing.")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    uvloop.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
