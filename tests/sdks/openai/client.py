"""Both clients of the SDK, sync and async, behind one face; the sync one works in a thread."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import openai

from tests.sdks.server import Droveway, routed

TLS = ssl.create_default_context()
"""Made once, since it takes longer than a request; nothing here speaks TLS."""


class Streamed:
    """What a stream has delivered until its end or its error."""

    def __init__(self) -> None:
        self.chunks: list[Any] = []
        self.request_id = ""
        self.error: openai.APIError | None = None

    def add(self, chunk: Any) -> None:
        """One more chunk."""
        self.chunks.append(chunk)

    def text(self, index: int = 0) -> str:
        """All content of one choice."""
        return "".join(choice.delta.content or "" for choice in self.choices(index))

    def choices(self, index: int = 0) -> list[Any]:
        """One choice's parts, in order."""
        return [one for chunk in self.chunks for one in chunk.choices if one.index == index]

    def finish_reasons(self, index: int = 0) -> list[str]:
        """Every finish reason of one choice: exactly one when it's whole."""
        return [one.finish_reason for one in self.choices(index) if one.finish_reason]


class Client:
    """One client; `raw` is the SDK's own, and `sent` counts its requests, retries included."""

    def __init__(self, flavour: str, upstream: str, **options: Any) -> None:
        self.sent = 0
        self.is_async = flavour == "async"
        self._upstream = upstream
        if self.is_async:
            hooks: Any = {"request": [self._count_async]}
            http: Any = openai.DefaultAsyncHttpxClient(event_hooks=hooks, verify=TLS)
            self.raw: Any = openai.AsyncOpenAI(http_client=http, **options)
        else:
            hooks = {"request": [self._count]}
            http = openai.DefaultHttpxClient(event_hooks=hooks, verify=TLS)
            self.raw = openai.OpenAI(http_client=http, **options)

    def named(self, model: str) -> str:
        """What the model is called where a provider of this client's upstream serves it."""
        return routed(model, self._upstream)

    async def call(self, method: Callable[..., Any], *args: Any, **fields: Any) -> Any:
        """Calls a method of the SDK's client as its flavour wants it."""
        if self.is_async:
            return await method(*args, **fields)
        return await asyncio.to_thread(method, *args, **fields)

    async def chat(self, **fields: Any) -> Any:
        """A whole chat completion."""
        return await self.call(self.raw.chat.completions.create, **self._question(fields))

    async def raw_chat(self, **fields: Any) -> Any:
        """The same with its HTTP answer."""
        method = self.raw.chat.completions.with_raw_response.create
        return await self.call(method, **self._question(fields))

    async def stream(self, **fields: Any) -> Streamed:
        """A stream, read by `for` or `async for` to its end or its error."""
        streamed = Streamed()
        asked = {**self._question(fields), "stream": True}
        if self.is_async:
            await _read_async(self.raw, asked, streamed)
        else:
            await asyncio.to_thread(_read, self.raw, asked, streamed)
        return streamed

    async def first_chunks(self, count: int, **fields: Any) -> list[Any]:
        """The beginning of a stream, which is closed then."""
        asked = {**self._question(fields), "stream": True}
        if not self.is_async:
            return await asyncio.to_thread(_begin, self.raw, asked, count)
        async with await self.raw.chat.completions.create(**asked) as stream:
            return [await anext(stream) for _ in range(count)]

    async def models(self) -> list[Any]:
        """The listed models."""
        page = await self.call(self.raw.models.list)
        return list(page.data)

    async def helper(self, **fields: Any) -> tuple[list[Any], Any]:
        """A stream by the SDK's `stream()`: its events and the completion that it builds."""
        if self.is_async:
            return await _helped_async(self.raw, self._question(fields))
        return await asyncio.to_thread(_helped, self.raw, self._question(fields))

    async def close(self) -> None:
        """Closes its connections."""
        await self.call(self.raw.close)

    def _question(self, fields: dict[str, Any]) -> dict[str, Any]:
        model = self.named(fields.get("model", "numbered-5"))
        return {"messages": [{"role": "user", "content": "hello"}], **fields, "model": model}

    def _count(self, _request: object) -> None:
        self.sent += 1

    async def _count_async(self, _request: object) -> None:
        self.sent += 1


def _read(raw: Any, fields: dict[str, Any], streamed: Streamed) -> None:
    with raw.chat.completions.create(**fields) as stream:
        streamed.request_id = stream.response.headers["x-request-id"]
        try:
            for chunk in stream:
                streamed.add(chunk)
        except openai.APIError as error:
            streamed.error = error


async def _read_async(raw: Any, fields: dict[str, Any], streamed: Streamed) -> None:
    async with await raw.chat.completions.create(**fields) as stream:
        streamed.request_id = stream.response.headers["x-request-id"]
        try:
            async for chunk in stream:
                streamed.add(chunk)
        except openai.APIError as error:
            streamed.error = error


def _begin(raw: Any, fields: dict[str, Any], count: int) -> list[Any]:
    with raw.chat.completions.create(**fields) as stream:
        return [next(stream) for _ in range(count)]


def _helped(raw: Any, fields: dict[str, Any]) -> tuple[list[Any], Any]:
    with raw.chat.completions.stream(**fields) as stream:
        return list(stream), stream.get_final_completion()


async def _helped_async(raw: Any, fields: dict[str, Any]) -> tuple[list[Any], Any]:
    async with raw.chat.completions.stream(**fields) as stream:
        events = [event async for event in stream]
        return events, await stream.get_final_completion()


@asynccontextmanager
async def opened(
    flavour: str, server: Droveway, upstream: str = "openai", **options: Any
) -> AsyncIterator[Client]:
    """A client of either flavour, without retries unless told otherwise."""
    chosen = {
        "base_url": f"{server.url}/v1",
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
