"""A tiny ASGI application whose steps a test can hold, release and look at."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class AsgiProbe:
    """Answers by path; each path is a method below."""

    def __init__(self) -> None:
        self.scopes: list[Message] = []
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.disconnected = asyncio.Event()
        self.released_bytes = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        self.started.set()
        steps = {"/echo": self.echo, "/early": self.early, "/silent": self.silent}
        steps |= {"/sse": self.sse, "/flood": self.flood, "/fail": self.fail, "/mute": self.mute}
        await steps.get(str(scope["path"]), self.echo)(receive, send)

    async def echo(self, receive: Receive, send: Send) -> None:
        """Read the body, then say the path and the body's length."""
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnected.set()
                return
            size, more = size + len(message["body"]), message["more_body"]
        await self.say(send, 200, f"{self.scopes[-1]['path']} {size}".encode())

    async def early(self, receive: Receive, send: Send) -> None:
        """Refuse by the headers alone, the body unread."""
        await self.say(send, 401, b"no")

    async def silent(self, receive: Receive, send: Send) -> None:
        """Say nothing until released or until the client is gone, then answer."""
        await receive()
        if await self.gone(receive):
            return
        await self.say(send, 200, b"finished")

    async def sse(self, receive: Receive, send: Send) -> None:
        """Begin an event stream, wait, send one event."""
        await receive()
        await self.start(send, [(b"content-type", b"text/event-stream")])
        await self.more(send, b"data: first\n\n")
        if await self.gone(receive):
            return
        await self.more(send, b"data: last\n\n")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def flood(self, receive: Receive, send: Send) -> None:
        """Send without end."""
        await receive()
        await self.start(send, [])
        watch = asyncio.ensure_future(receive())
        while not watch.done():
            await self.more(send, b"x" * 65_536)
            self.released_bytes += 65_536
        self.disconnected.set()

    async def fail(self, receive: Receive, send: Send) -> None:
        """Break with an exception that quotes the request."""
        message = await receive()
        raise ValueError(message["body"])

    async def mute(self, receive: Receive, send: Send) -> None:
        """Return without an answer."""
        await receive()

    async def gone(self, receive: Receive) -> bool:
        """Wait for the client to leave (True) or for the test's release (False)."""
        leaving = asyncio.ensure_future(receive())
        released = asyncio.ensure_future(self.release.wait())
        await asyncio.wait({leaving, released}, return_when=asyncio.FIRST_COMPLETED)
        left = leaving.done() and leaving.result()["type"] == "http.disconnect"
        for task in (leaving, released):
            task.cancel()
        if left:
            self.disconnected.set()
        return left

    async def start(
        self, send: Send, headers: list[tuple[bytes, bytes]], status: int = 200
    ) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})

    async def more(self, send: Send, body: bytes) -> None:
        await send({"type": "http.response.body", "body": body, "more_body": True})

    async def say(self, send: Send, status: int, body: bytes) -> None:
        await self.start(send, [(b"content-length", b"%d" % len(body))], status)
        await send({"type": "http.response.body", "body": body, "more_body": False})
