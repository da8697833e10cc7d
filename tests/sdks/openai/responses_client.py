"""The Responses API through either client."""

import importlib
from typing import Any

import openai

from tests.sdks.both import Streamed
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

    async def stream(self, **fields: Any) -> tuple[list[Any], Any]:
        """All events until the end or the error, and the error."""
        streamed = Streamed()
        await self._client.read(self._raw.create, self._question(fields), streamed, ENDINGS)
        return streamed.items, streamed.error

    async def helper(self, **fields: Any) -> tuple[list[Any], Any]:
        """A stream by the SDK's `stream()`: its events and the response that it builds."""
        return await self._client.help(
            self._raw.stream, self._question(fields), "get_final_response"
        )

    def _question(self, fields: dict[str, Any]) -> dict[str, Any]:
        return self._client.question(fields, input="hello")
