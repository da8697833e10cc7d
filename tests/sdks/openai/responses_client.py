"""The Responses API through either client."""

import asyncio
import importlib
from typing import Any

import openai

from tests.sdks.openai.client import Client

# The first major lets a cut connection through as the HTTP library has it.
ENDINGS: tuple[type[Exception], ...] = (openai.APIError,)
if openai.__version__.startswith("1."):
    ENDINGS = (openai.APIError, importlib.import_module("httpx").TransportError)


class Responses:
    """Asks for responses; a thin layer over a client."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._raw = client.raw.responses

    async def create(self, **fields: Any) -> Any:
        """A whole response."""
        return await self._client.call(self._raw.create, **self._question(fields))

    async def raw_create(self, **fields: Any) -> Any:
        """The same with its HTTP answer."""
        method = self._raw.with_raw_response.create
        return await self._client.call(method, **self._question(fields))

    async def parse(self, **fields: Any) -> Any:
        """A whole response with its text as the caller's own type."""
        return await self._client.call(self._raw.parse, **self._question(fields))

    async def retrieve(self, response_id: str) -> Any:
        """A stored response."""
        return await self._client.call(self._raw.retrieve, response_id)

    async def delete(self, response_id: str) -> None:
        """Deletes a stored response."""
        await self._client.call(self._raw.delete, response_id)

    async def stream(self, **fields: Any) -> tuple[list[Any], Exception | None]:
        """All events until the end or the error, and the error."""
        asked = {**self._question(fields), "stream": True}
        if self._client.is_async:
            return await _read_async(self._raw, asked)
        return await asyncio.to_thread(_read, self._raw, asked)

    async def helper(self, **fields: Any) -> tuple[list[Any], Any]:
        """A stream by the SDK's `stream()`: its events and the response that it builds."""
        asked = self._question(fields)
        if not self._client.is_async:
            return await asyncio.to_thread(_helped, self._raw, asked)
        async with self._raw.stream(**asked) as stream:
            events = [event async for event in stream]
            return events, await stream.get_final_response()

    def _question(self, fields: dict[str, Any]) -> dict[str, Any]:
        model = self._client.named(fields.get("model", "numbered-5"))
        return {"input": "hello", **fields, "model": model}


def _read(raw: Any, fields: dict[str, Any]) -> tuple[list[Any], Exception | None]:
    events: list[Any] = []
    with raw.create(**fields) as stream:
        try:
            events.extend(stream)
        except ENDINGS as error:
            return events, error
    return events, None


async def _read_async(raw: Any, fields: dict[str, Any]) -> tuple[list[Any], Exception | None]:
    events: list[Any] = []
    async with await raw.create(**fields) as stream:
        try:
            async for event in stream:
                events.append(event)  # noqa: PERF401  those before an error count
        except ENDINGS as error:
            return events, error
    return events, None


def _helped(raw: Any, fields: dict[str, Any]) -> tuple[list[Any], Any]:
    with raw.stream(**fields) as stream:
        return list(stream), stream.get_final_response()
