"""One HTTP exchange as the door works with it: headers, body, answer, and a client that leaves."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from droveway.contracts.inference import Standing
from droveway.gateway import answers
from droveway.gateway.answers import Headers
from droveway.gateway.auth import RawHeaders
from droveway.gateway.faces import OPENAI, Face
from droveway.gateway.pending import ClientGone
from droveway.gateway.refusal import Refusal, refuse

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Any], Awaitable[None]]

_NOT_COMPRESSED = (b"", b"identity")


class Exchange:
    """An ASGI `http` scope with its two callables."""

    def __init__(self, scope: Message, receive: Receive, send: Send, request_id: str) -> None:
        self.request_id = request_id
        self.method: str = scope["method"]
        self.query: bytes = scope["query_string"]
        self.raw_headers: RawHeaders = scope["headers"]
        client = scope.get("client")
        self.peer: str = client[0] if client else ""
        """The address at the other end of the connection."""
        self.extra: Headers = []
        """Headers of every answer: CORS."""
        self.face: Face = OPENAI
        self.started = False
        self._receive = receive
        self._send = send

    def header(self, name: bytes) -> bytes | None:
        """The first header of that (lower-case) name."""
        return next((value for key, value in self.raw_headers if key == name), None)

    def text(self, name: bytes) -> str | None:
        """The same as text."""
        value = self.header(name)
        return None if value is None else value.decode("latin-1")

    def check_json(self) -> None:
        """Refuses bodies that can't be JSON by their headers.

        Raises:
            Refusal: 415.
        """
        content_type = (self.header(b"content-type") or b"").partition(b";")[0].strip().lower()
        if content_type != b"application/json":
            raise refuse("unsupported_media_type")
        if (self.header(b"content-encoding") or b"").strip().lower() not in _NOT_COMPRESSED:
            raise refuse("unsupported_media_type")

    async def body(self, hold: Callable[[int], None]) -> bytes:
        """The whole body; the HTTP server holds its bounds of size and time.

        Args:
            hold: Told of each piece's size in bytes before the next is read; may refuse.

        Raises:
            ClientGone: The client left in the middle.
            Refusal: From `hold`.
        """
        pieces: list[bytes] = []
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            piece: bytes = message.get("body", b"")
            hold(len(piece))
            pieces.append(piece)
            if not message.get("more_body", False):
                return b"".join(pieces)

    async def wait_gone(self) -> None:
        """Returns when the client has left."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def start(self, status: int, headers: Headers) -> None:
        """Sends status and headers."""
        self.started = True
        own = self.face.base_headers(self.request_id)
        headers = [*own, *headers, *self.extra]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Sends a piece of the body; waits while the client's socket is full."""
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})

    async def answer(self, status: int, body: bytes, headers: Headers) -> None:
        """Sends a whole JSON answer."""
        await self.start(status, answers.json_headers(body, headers))
        await self.write(body, last=True)

    async def answer_empty(self, status: int) -> None:
        """Sends a whole answer without a body."""
        await self.start(status, [])
        await self.write(b"", last=True)

    async def refuse(self, refusal: Refusal, standing: Standing | None) -> None:
        """Sends an error as the whole answer."""
        face, occurrence = self.face, refusal.failure
        body = face.error_body(occurrence, refusal.tried, self.request_id)
        advice = answers.error_headers(occurrence, spent=refusal.spent)
        headers = [*advice, *face.standing_headers(standing)]
        await self.answer(face.status(occurrence), body, headers)

    async def in_band(self, refusal: Refusal) -> None:
        """Tells an error in a stream that has begun; the body stays without its last chunk."""
        told = self.face.error_event(refusal.failure, refusal.tried, self.request_id)
        await self.write(told)
