"""The answer's side of one request: what the application sends, onto one connection.

uvicorn's cycle turns ASGI messages into bytes; added here are the answers that it gets wrong (to
HTTP/1.0, and before the whole request has come) and the probe for clients that stopped sending.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application, ASGISendEvent, HTTPResponseStartEvent


class AnswerTransport(asyncio.Transport):
    """The connection as an answer sees it: its bytes are watched and its close is graceful."""

    def __init__(
        self,
        write: Callable[[bytes], None],
        finish: Callable[[], None],
        is_closing: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._write = write
        self._finish = finish
        self._is_closing = is_closing
        self._holding = False
        self._held = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes under the connection's watch for readers that stall."""
        if not self._holding:
            self._write(bytes(data))
        elif self._held:
            self._held += data
            self.release()
        else:
            self._held = bytes(data)

    def hold(self) -> None:
        """Keep the next write and send it with the one after it: one segment, one system call."""
        self._holding = True
        asyncio.get_running_loop().call_soon(self.release)

    def release(self) -> None:
        """Send what is held; at the latest the loop's next turn does."""
        held, self._held, self._holding = self._held, b"", False
        if held:
            self._write(held)

    def close(self) -> None:
        """End the connection so that the answer still arrives."""
        self.release()
        self._finish()

    def detach(self) -> None:
        """The connection is lost: lets go of it, so that both are freed at once."""
        self._write, self._finish, self._is_closing = _drop, _nothing, _yes

    def is_closing(self) -> bool:
        """Whether the connection is going or gone."""
        return self._is_closing()


def _drop(_data: bytes) -> None:
    """Where bytes go that nobody is there for."""


def _nothing() -> None:
    """What is left to finish of a connection that is lost."""


def _yes() -> bool:
    """A lost connection is closing."""
    return True


class Answer(RequestResponseCycle):
    """One request's `receive` and `send`.

    `100 Continue` is sent when the application first calls `receive`, not before: a request that
    is refused by its headers alone gets its 401 without one.
    """

    transport: AnswerTransport
    _close_delimited = False
    _event_stream = False
    _between_events = True

    async def run_asgi(self, app: "ASGI3Application") -> None:
        """Run the application; what it raises is for the task's owner to look at."""
        await app(self.scope, self.receive, self.send)

    async def send(self, message: "ASGISendEvent") -> None:
        """Take one ASGI message; silently dropped once the client is gone."""
        if message["type"] == "http.response.start":
            self._prepare(message)
            self.transport.hold()  # the head goes out with the first piece of the body
            return await super().send(message)
        body = message.get("body", b"") if message["type"] == "http.response.body" else b""
        if self._close_delimited:
            self.expected_content_length = len(body)
        if not body:
            self.transport.release()  # no second write may come, and the connection may close
        await super().send(message)
        if body:
            self._between_events = body.endswith(b"\n\n")
        return None

    def probe(self) -> None:
        r"""Send bytes that every client skips, so that a client that is gone resets us.

        After FIN, `close()` and `shutdown(SHUT_WR)` look alike here: CLOSE_WAIT in TCP_INFO and
        POLLRDHUP for both. Only data tells: a socket that nobody can read any more answers it with
        a reset within one round trip, a half-closed one just acknowledges. Such data are
        `100 Continue` before the answer and a comment between the events of a stream. Within an
        event, or in an answer with a length, there are none; the next piece of it has to do.

        100 and not 102 or 103, since Python's http.client skips only 100. curl 7.88, httpx 0.28,
        httpx2 2.16, requests 2.34, aiohttp 3.14 and Node's http skip it too; Node's fetch (undici)
        fails on it, but never half-closes, so it has left by the time it would see one.

        Source: RFC 9110 section 15.2 (a client must skip 1xx that it doesn't expect); states of
        the socket and clients measured on Linux 6.18, 2026-11-22.
        """
        if self.disconnected or self.response_complete or self.flow.write_paused:
            return
        if not self.response_started and self.scope["http_version"] == "1.1":
            self.waiting_for_100_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        elif self._event_stream and self._between_events:
            comment = b": ping\n\n"
            self.transport.write(
                comment if self._close_delimited else b"%x\r\n%b\r\n" % (len(comment), comment)
            )

    def _prepare(self, message: "HTTPResponseStartEvent") -> None:
        headers = {name.lower(): value for name, value in message.get("headers", ())}
        self._event_stream = headers.get(b"content-type", b"").startswith(b"text/event-stream")
        if self.more_body:
            # The rest of the request is never read as a next request.
            self.keep_alive = False
        if self.scope["http_version"] == "1.0" and b"content-length" not in headers:
            self._close_delimited = True
            self.chunked_encoding = False
