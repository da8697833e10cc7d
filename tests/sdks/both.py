"""Both clients of an SDK, sync and async, behind one face; the sync one works in a thread."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar, TypeVar

from tests.sdks.server import Droveway, routed

TLS = ssl.create_default_context()
"""Made once, since it takes longer than a request; nothing here speaks TLS."""
MODEL = "numbered-5"
"""What is asked where a test names no model."""


class Streamed:
    """What a stream has delivered until its end or its error."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.headers: Any = None
        self.error: Any = None


class BothClients:
    """One client; `raw` is the SDK's own, and `sent` counts its requests, retries included."""

    library: ClassVar[Any]
    """The SDK's module."""
    clients: ClassVar[dict[str, Any]]
    """Its classes, by flavour."""
    default_model: ClassVar[str] = "numbered-5"

    def __init__(self, flavour: str, upstream: str, **options: Any) -> None:
        self.sent = 0
        self.is_async = flavour == "async"
        self._upstream = upstream
        if self.is_async:
            http: Any = self.library.DefaultAsyncHttpxClient
            hooks: Any = {"request": [self._count_async]}
        else:
            http = self.library.DefaultHttpxClient
            hooks = {"request": [self._count]}
        client = http(event_hooks=hooks, verify=TLS)
        self.raw: Any = self.clients[flavour](http_client=client, **options)

    def named(self, model: str) -> str:
        """What the model is called where a provider of this client's upstream serves it."""
        return routed(model, self._upstream)

    async def call(self, method: Callable[..., Any], *args: Any, **fields: Any) -> Any:
        """Calls a method of the SDK's client as its flavour wants it."""
        if self.is_async:
            return await method(*args, **fields)
        return await asyncio.to_thread(method, *args, **fields)

    async def read(
        self, create: Callable[..., Any], fields: dict[str, Any], streamed: Streamed, error: Any
    ) -> None:
        """Reads a stream by `for` or `async for` to its end or an error of that class."""
        if self.is_async:
            await _read_async(create, fields, streamed, error)
        else:
            await asyncio.to_thread(_read, create, fields, streamed, error)

    async def begin(
        self, create: Callable[..., Any], fields: dict[str, Any], count: int
    ) -> list[Any]:
        """The beginning of a stream, which is closed then."""
        if not self.is_async:
            return await asyncio.to_thread(_begin, create, fields, count)
        async with await create(**fields, stream=True) as stream:
            return [await anext(stream) for _ in range(count)]

    async def help(
        self, method: Callable[..., Any], fields: dict[str, Any], final: str
    ) -> tuple[list[Any], Any]:
        """A stream by the SDK's `stream()`: its events and what its method `final` builds."""
        if not self.is_async:
            return await asyncio.to_thread(_helped, method, fields, final)
        async with method(**fields) as stream:
            events = [event async for event in stream]
            return events, await getattr(stream, final)()

    async def close(self) -> None:
        """Closes its connections."""
        await self.call(self.raw.close)

    def question(self, given: dict[str, Any], **usual: Any) -> dict[str, Any]:
        """A request of what is given over what is usual, by the model's name at this upstream."""
        model = self.named(given.get("model", MODEL))
        return {**usual, **given, "model": model}

    def _count(self, _request: object) -> None:
        self.sent += 1

    async def _count_async(self, _request: object) -> None:
        self.sent += 1


AnyClient = TypeVar("AnyClient", bound=BothClients)


@asynccontextmanager
async def opening(
    kind: type[AnyClient],
    path: str,
    flavour: str,
    server: Droveway,
    upstream: str = "openai",
    **options: Any,
) -> AsyncIterator[AnyClient]:
    """A client of either flavour at that path, without retries unless told otherwise."""
    chosen = {
        "base_url": server.url + path,
        "api_key": server.key,
        "max_retries": 0,
        "timeout": 20,
        **options,
    }
    client = kind(flavour, upstream, **chosen)
    try:
        yield client
    finally:
        await client.close()


def _read(
    create: Callable[..., Any], fields: dict[str, Any], streamed: Streamed, ends: Any
) -> None:
    with create(**fields, stream=True) as stream:
        streamed.headers = stream.response.headers
        try:
            for item in stream:
                streamed.items.append(item)
        except ends as error:
            streamed.error = error


async def _read_async(
    create: Callable[..., Any], fields: dict[str, Any], streamed: Streamed, ends: Any
) -> None:
    async with await create(**fields, stream=True) as stream:
        streamed.headers = stream.response.headers
        try:
            async for item in stream:
                streamed.items.append(item)
        except ends as error:
            streamed.error = error


def _begin(create: Callable[..., Any], fields: dict[str, Any], count: int) -> list[Any]:
    with create(**fields, stream=True) as stream:
        return [next(stream) for _ in range(count)]


def _helped(
    method: Callable[..., Any], fields: dict[str, Any], final: str
) -> tuple[list[Any], Any]:
    with method(**fields) as stream:
        return list(stream), getattr(stream, final)()
