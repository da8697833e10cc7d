"""Messages through either client of the SDK."""

import asyncio
from functools import partial
from typing import Any

import anthropic

from tests.sdks import both


class Streamed(both.Streamed):
    """The events of a stream."""

    @property
    def events(self) -> list[Any]:
        """All events, in order."""
        return self.items

    @property
    def request_id(self) -> str:
        """The answer's own name."""
        return str(self.headers["request-id"])

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


class Client(both.BothClients):
    """Asks for messages."""

    library = anthropic
    clients = {  # noqa: RUF012  never changed
        "sync": anthropic.Anthropic,
        "async": anthropic.AsyncAnthropic,
    }

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
        create = self.raw.messages.create
        await self.read(create, self._question(fields), streamed, anthropic.APIStatusError)
        return streamed

    async def first_events(self, count: int, **fields: Any) -> list[Any]:
        """The beginning of a stream, which is closed then."""
        return await self.begin(self.raw.messages.create, self._question(fields), count)

    async def helper(self, **fields: Any) -> tuple[list[Any], Any]:
        """A stream by the SDK's `stream()`: its events and the message that it builds."""
        method = self.raw.messages.stream
        return await self.help(method, self._question(fields), "get_final_message")

    async def models(self) -> list[Any]:
        """The listed models, of all pages."""
        if self.is_async:
            return [model async for model in self.raw.models.list()]
        return await asyncio.to_thread(lambda: list(self.raw.models.list()))

    def _question(self, fields: dict[str, Any]) -> dict[str, Any]:
        messages = [{"role": "user", "content": "hello"}]
        return self.question(fields, max_tokens=1_000, messages=messages)


opened = partial(both.opening, Client, "")
"""Opens a client; the arguments are those of `both.opening` after its path."""
