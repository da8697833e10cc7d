"""The simulator's routes: those of two providers under /v1, its own book, and probes."""

import asyncio
import time

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from droveway.simulator import catalogue as openai_catalogue
from droveway.simulator.anthropic import catalogue as anthropic_catalogue
from droveway.simulator.anthropic.cache import BreakpointCache
from droveway.simulator.anthropic.dialect import ANTHROPIC
from droveway.simulator.anthropic.messages import CountTokens, Messages
from droveway.simulator.book import Book
from droveway.simulator.delivery import JSON_HEADERS
from droveway.simulator.dialect import Dialect
from droveway.simulator.errors import ApiError
from droveway.simulator.fail_first import FailFirst
from droveway.simulator.front import Front, authorize
from droveway.simulator.openai.chat import Chat
from droveway.simulator.openai.dialect import OPENAI, model_not_found
from droveway.simulator.openai.embeddings import Embeddings
from droveway.simulator.settings import Settings
from droveway.simulator.tokens import PrefixCache

VERSION_HEADER = "anthropic-version"


def monotonic_ms() -> float:
    """Read the clock of the book."""
    return time.monotonic() * 1000


class Simulator:
    """The provider: its settings, its book and what it remembers of earlier requests."""

    def __init__(self, settings: Settings) -> None:
        self.changed = asyncio.Event()
        self.book = Book(settings.book_entries, monotonic_ms, self.changed.set)
        self.stopping = asyncio.Event()
        self._max_body_bytes = settings.max_body_bytes
        self._fail_first = FailFirst(settings.fail_first_counters)
        self._prefixes = PrefixCache(settings.prefix_blocks)
        self._breakpoints = BreakpointCache(settings.prefix_blocks, time.monotonic)
        self._front = Front(settings, self.book, self._fail_first, self.stopping)
        self._chat = Chat(settings, self._prefixes)
        self._embeddings = Embeddings(settings)
        self._messages = Messages(settings, self._breakpoints)
        self._count_tokens = CountTokens(settings)

    def application(self) -> web.Application:
        """Lay out the routes."""
        app = web.Application(
            client_max_size=self._max_body_bytes, middlewares=[errors_in_the_callers_shape]
        )
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/v1/embeddings", self.embeddings)
        app.router.add_post("/v1/messages", self.messages)
        app.router.add_post("/v1/messages/count_tokens", self.count_tokens)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/v1/models/{id:.+}", self.model)
        app.router.add_get("/book", self.read_book)
        app.router.add_delete("/book", self.reset)
        app.router.add_get("/book/{id}", self.read_entry)
        app.router.add_get("/livez", self.live)
        app.router.add_get("/readyz", self.ready)
        app.on_shutdown.append(self._stop)
        return app

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer a chat completion."""
        return await self._front.serve(request, self._chat)

    async def embeddings(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for embeddings."""
        return await self._front.serve(request, self._embeddings)

    async def messages(self, request: web.Request) -> web.StreamResponse:
        """Answer an Anthropic message."""
        return await self._front.serve(request, self._messages)

    async def count_tokens(self, request: web.Request) -> web.StreamResponse:
        """Count the tokens that an Anthropic message would have."""
        return await self._front.serve(request, self._count_tokens)

    async def models(self, request: web.Request) -> web.Response:
        """List the models, in the shape of whoever asks."""
        dialect = _dialect_of(request)
        authorize(request, dialect)
        if dialect is ANTHROPIC:
            return _json(anthropic_catalogue.page(request.query))
        return _json({"object": "list", "data": openai_catalogue.MODELS})

    async def model(self, request: web.Request) -> web.Response:
        """Describe one model."""
        dialect = _dialect_of(request)
        authorize(request, dialect)
        name = request.match_info["id"]
        if dialect is ANTHROPIC:
            return _json(anthropic_catalogue.find(name))
        found = openai_catalogue.find(name)
        if found is None:
            raise model_not_found(name)
        return _json(found)

    async def read_book(self, _request: web.Request) -> web.Response:
        """Show the entries, oldest first, and the totals."""
        return _json({"entries": self.book.entries, "totals": self.book.totals})

    async def read_entry(self, request: web.Request) -> web.Response:
        """Show one entry with its request's body, if bodies are kept."""
        entry = self.book.find(request.match_info["id"])
        if entry is None:
            raise ApiError(404, f"The book has no entry {request.match_info['id']!r}.")
        body = self.book.body(entry.id)
        text = None if body is None else body.decode(errors="replace")
        return _json({**msgspec.structs.asdict(entry), "body": text})

    async def reset(self, _request: web.Request) -> web.Response:
        """Forget the book, the counters of `times=n` and the prefixes, as after a start."""
        self.book.clear()
        self._fail_first.clear()
        self._prefixes.clear()
        self._breakpoints.clear()
        return web.Response(status=204)

    async def live(self, _request: web.Request) -> web.Response:
        """Say that the process runs."""
        return web.Response(text="ok\n")

    async def ready(self, _request: web.Request) -> web.Response:
        """Say whether requests are taken."""
        if self.stopping.is_set():
            return web.Response(status=503, text="stopping\n")
        return web.Response(text="ok\n")

    async def _stop(self, _app: web.Application) -> None:
        self.stopping.set()


@web.middleware
async def errors_in_the_callers_shape(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer refusals and unknown routes with the error object that the caller knows."""
    try:
        return await handler(request)
    except ApiError as error:
        return _refused(request, error)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        message = f"Unknown request URL: {request.method} {request.path}."
        return _refused(request, ApiError(error.status, message))


def _refused(request: web.Request, error: ApiError) -> web.Response:
    body = _dialect_of(request).error_body(error, "")
    return web.Response(status=error.status, body=body, headers=JSON_HEADERS)


def _dialect_of(request: web.Request) -> Dialect:
    is_messages = request.path.startswith("/v1/messages")
    return ANTHROPIC if is_messages or VERSION_HEADER in request.headers else OPENAI


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), headers=JSON_HEADERS)
