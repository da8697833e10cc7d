"""Chat completions through either client of the SDK."""

from functools import partial
from typing import Any

import openai

from tests.sdks import both


class Streamed(both.Streamed):
    """The chunks of a stream."""

    @property
    def chunks(self) -> list[Any]:
        """All chunks, in order."""
        return self.items

    @property
    def request_id(self) -> str:
        """The answer's own name."""
        return str(self.headers["x-request-id"])

    def text(self, index: int = 0) -> str:
        """All content of one choice."""
        return "".join(choice.delta.content or "" for choice in self.choices(index))

    def choices(self, index: int = 0) -> list[Any]:
        """One choice's parts, in order."""
        return [one for chunk in self.chunks for one in chunk.choices if one.index == index]

    def finish_reasons(self, index: int = 0) -> list[str]:
        """Every finish reason of one choice: exactly one when it's whole."""
        return [one.finish_reason for one in self.choices(index) if one.finish_reason]


class Client(both.BothClients):
    """Asks for chat completions."""

    library = openai
    clients = {"sync": openai.OpenAI, "async": openai.AsyncOpenAI}  # noqa: RUF012  never changed

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
        create = self.raw.chat.completions.create
        await self.read(create, self._question(fields), streamed, openai.APIError)
        return streamed

    async def first_chunks(self, count: int, **fields: Any) -> list[Any]:
        """The beginning of a stream, which is closed then."""
        return await self.begin(self.raw.chat.completions.create, self._question(fields), count)

    async def helper(self, **fields: Any) -> tuple[list[Any], Any]:
        """A stream by the SDK's `stream()`: its events and the completion that it builds."""
        method = self.raw.chat.completions.stream
        return await self.help(method, self._question(fields), "get_final_completion")

    async def models(self) -> list[Any]:
        """The listed models."""
        page = await self.call(self.raw.models.list)
        return list(page.data)

    def _question(self, fields: dict[str, Any]) -> dict[str, Any]:
        return self.question(fields, messages=[{"role": "user", "content": "hello"}])


opened = partial(both.opening, Client, "/v1")
"""Opens a client; the arguments are those of `both.opening` after its path."""
