"""Both clients of the SDK, sync and async, behind one face; the sync one works in a thread."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anthropic

from tests.sdks.server import Droveway, routed

TLS = ssl.create_default_context()
"""Made once, since it takes longer than a request; nothing here speaks TLS."""


class Streamed:
    """What a stream has delivered until its end or its error."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.request_id = ""
        self.error: anthropic.APIStatusError | None = None

    def types(self) -> list[str]:
        """The types of all events, in order."""
        return [event.type for event in self.events]

    def of(self, kind: str) -> list[Any]:
        """The events of one type."""
        return [event for event in self.events if event.type == kind]

    def deltas(self, kind: str) -> list[Any]:
        """The pieces of one kind, of all blocks."""
        found = [event.delta for event in self.of("content_block_delta")]
        return [delta for delta in found if delta.type == kind]

    def text(self) -> str:
        """All text."""
        return "".join(delta.text for delta in self.deltas("text_delta"))


class Client:
    """One client; `raw` is the SDK's own, and `sent` counts its requests, retries included."""

    def __init__(self, flavour: str, upstream: str, **options: Any) -> None:
        self.sent = 0
        self.is_async = flavour == "async"
        self._upstream = upstream
        if self.is_async:
            hooks: Any = {"request": [self._count_async]}
            http: Any = anthropic.DefaultAsyncHttpxClient(event_hooks=hooks, verify=TLS)
            self.raw: Any = anthropic.AsyncAnthropic(http_client=http, **options)
        else:
            hooks = {"request": [self._count]}
            http = anthropic.DefaultHttpxClient(event_hooks=hooks, verify=TLS)
            self.raw = anthropic.Anthropic(http_client=http, **options)

    def named(self, model: str) -> str:
        """What the model is called where a provider of this client's upstream serves it."""
        return routed(model, self._upstream)

    async def call(self, method: Callable[..., Any], *args: Any, **fields: Any) -> Any:
        """Calls a method of the SDK's client as its flavour wants it."""
        if self.is_async:
            return await method(*args, **fields)
        return await asyncio.to_thread(method, *args, **fields)

    async def message(self, **fields: Any) -> Any:
        """A whole message."""
        return await self.call(self.raw.messages.create, **self._question(fields))

    async def raw_message(self, **fields: Any) -> tuple[Any, Any]:
        """The HTTP answer and the message."""
        method = self.raw.messages.with_raw_response.create
        raw = await self.call(method, **self._question(fields))
        return raw, (await raw.parse() if self.is_async else raw.parse())

    async def parse(self, **fields: Any) -> Any:
        """A whole message with its text as the caller's own type."""
        return await self.call(self.raw.messages.parse, **self._question(fields))

    async def count(self, **fields: Any) -> int:
        """The size of a prompt."""
        asked = self._question(fields)
        del asked["max_tokens"]
        counted = await self.call(self.raw.messages.count_tokens, **asked)
        return int(counted.input_tokens)

    async def stream(self, **fields: Any) -> Streamed:
        """A stream, read by `for` or `async for` to its end or its error."""
        streamed = Streamed()
        asked = {**self._question(fields), "stream": True}
        if self.is_async:
            await _read_async(self.raw, asked, streamed)
        else:
            await asyncio.to_thread(_read, self.raw, asked, streamed)
        return streamed

    async def first_events(self, count: int, **fields: Any) -> list[Any]:
        """The beginning of a stream, which is closed then."""
        asked = {**self._question(fields), "stream": True}
        if not self.is_async:
            return await asyncio.to_thread(_begin, self.raw, asked, count)
        async with await self.raw.messages.create(**asked) as stream:
            return [await anext(stream) for _ in range(count)]

    async def helper(self, **fields: Any) -> tuple[list[Any], Any]:
        """A stream by the SDK's `stream()`: its events and the message that it builds."""
        if self.is_async:
            return await _helped_async(self.raw, self._question(fields))
        return await asyncio.to_thread(_helped, self.raw, self._question(fields))

    async def models(self) -> list[Any]:
        """The listed models, of all pages."""
        if self.is_async:
            return [model async for model in self.raw.models.list()]
        return await asyncio.to_thread(lambda: list(self.raw.models.list()))

    async def close(self) -> None:
        """Closes its connections."""
        await self.call(self.raw.close)

    def _question(self, fields: dict[str, Any]) -> dict[str, Any]:
        model = self.named(fields.get("model", "numbered-5"))
        messages = [{"role": "user", "content": "hello"}]
        return {"max_tokens": 1_000, "messages": messages, **fields, "model": model}

    def _count(self, _request: object) -> None:
        self.sent += 1

    async def _count_async(self, _request: object) -> None:
        self.sent += 1


def _read(raw: Any, fields: dict[str, Any], streamed: Streamed) -> None:
    with raw.messages.create(**fields) as stream:
        streamed.request_id = stream.response.headers["request-id"]
        try:
            for event in stream:
                streamed.events.append(event)
        except anthropic.APIStatusError as error:
            streamed.error = error


async def _read_async(raw: Any, fields: dict[str, Any], streamed: Streamed) -> None:
    async with await raw.messages.create(**fields) as stream:
        streamed.request_id = stream.response.headers["request-id"]
        try:
            async for event in stream:
                streamed.events.append(event)
        except anthropic.APIStatusError as error:
            streamed.error = error


def _begin(raw: Any, fields: dict[str, Any], count: int) -> list[Any]:
    with raw.messages.create(**fields) as stream:
        return [next(stream) for _ in range(count)]


def _helped(raw: Any, fields: dict[str, Any]) -> tuple[list[Any], Any]:
    with raw.messages.stream(**fields) as stream:
        return list(stream), stream.get_final_message()


async def _helped_async(raw: Any, fields: dict[str, Any]) -> tuple[list[Any], Any]:
    async with raw.messages.stream(**fields) as stream:
        events = [event async for event in stream]
        return events, await stream.get_final_message()


@asynccontextmanager
async def opened(
    flavour: str, server: Droveway, upstream: str = "openai", **options: Any
) -> AsyncIterator[Client]:
    """A client of either flavour, without retries unless told otherwise."""
    chosen = {
        "base_url": server.url,
        "api_key": server.key,
        "max_retries": 0,
        "timeout": 20,
        **options,
    }
    client = Client(flavour, upstream, **chosen)
    try:
        yield client
    finally:
        await client.close()
