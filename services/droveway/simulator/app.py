"""The simulator's routes: OpenAI's under /v1, its own book, and probes."""

import asyncio
import time
from collections.abc import Iterator

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from droveway.simulator import catalogue
from droveway.simulator.answer import Author
from droveway.simulator.book import Book, Entry, Outcome
from droveway.simulator.chat import ChatRequest, decode
from droveway.simulator.errors import ApiError, model_not_found, refusal
from droveway.simulator.faults import (
    FailFirst,
    FaultError,
    Faults,
    parse_faults,
    parse_model_faults,
)
from droveway.simulator.script import JSON_HEADERS, instead_of_answer, stream, whole
from droveway.simulator.settings import Settings
from droveway.simulator.steps import Step, Timing, body_steps, with_wire_faults
from droveway.simulator.text import numbered_count
from droveway.simulator.tokens import PrefixCache
from droveway.simulator.wire import Player

FAULT_HEADER = "x-simulator-fault"
SCOPE_HEADER = "x-simulator-scope"
REFUSED_KEY_PREFIX = "bad-"


def monotonic_ms() -> float:
    """Read the clock of the book."""
    return time.monotonic() * 1000


class Simulator:
    """The provider: its settings, its book and what it remembers of earlier requests."""

    def __init__(self, settings: Settings) -> None:
        self.changed = asyncio.Event()
        self.book = Book(settings.book_entries, monotonic_ms, self.changed.set)
        self.stopping = asyncio.Event()
        self._settings = settings
        self._fail_first = FailFirst(settings.fail_first_counters)
        self._cache = PrefixCache(settings.prefix_blocks)
        self._author = Author(
            seed=settings.seed,
            answer_tokens=settings.answer_tokens,
            max_answer_tokens=settings.max_answer_tokens,
            cache=self._cache,
        )

    def application(self) -> web.Application:
        """Lay out the routes."""
        app = web.Application(
            client_max_size=self._settings.max_body_bytes, middlewares=[errors_in_openai_shape]
        )
        app.router.add_post("/v1/chat/completions", self.chat)
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
        """Answer a chat request and keep book of how that ended."""
        authorization = request.headers.get("authorization")
        entry = self.book.open(
            authorization is not None, _bearer_key(request), list(request.headers)
        )
        player = Player(request, entry, self.stopping)
        outcome: Outcome = "broken"
        try:
            outcome = await player.play(await self._steps(request, entry))
        except ConnectionError:
            outcome = "client_closed"
        except asyncio.CancelledError:
            # aiohttp cancels both for a lost connection and for a stop that drained too long.
            outcome = "client_closed" if request.transport is None else "stopped"
            raise
        finally:
            self.book.close(entry, outcome)
        return player.response

    async def models(self, request: web.Request) -> web.Response:
        """List the models with prices."""
        _authorize(request)
        return _json({"object": "list", "data": catalogue.MODELS})

    async def model(self, request: web.Request) -> web.Response:
        """Describe one model."""
        _authorize(request)
        name = request.match_info["id"]
        found = catalogue.find(name)
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
        self._cache.clear()
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

    async def _steps(self, request: web.Request, entry: Entry) -> Iterator[Step]:
        try:
            chat = await self._read(request, entry)
            faults = self._faults(request, chat.model)
            entry.fault = faults.spec or None
            return with_wire_faults(self._reply(chat, entry, faults), faults)
        except ApiError as error:
            return body_steps(error.status, JSON_HEADERS, error.body)

    async def _read(self, request: web.Request, entry: Entry) -> ChatRequest:
        if self.book.totals.open_requests > self._settings.max_open_requests:
            raise refusal(503)
        _authorize(request)
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            raise refusal(413) from error
        entry.body_bytes = len(body)
        if self._settings.keep_bodies:
            self.book.keep_body(entry, body[: self._settings.kept_body_bytes])
        chat = decode(body, self._settings.max_choices)
        entry.model, entry.stream, entry.images = chat.model, bool(chat.stream), chat.images
        return chat

    def _faults(self, request: web.Request, model: str) -> Faults:
        header = request.headers.get(FAULT_HEADER)
        try:
            if header is not None:
                faults = parse_faults(header)
            else:
                faults = parse_model_faults(model)
                faults = faults if faults.spec else parse_faults(self._settings.fault)
        except FaultError as error:
            param = "model" if header is None else None
            raise ApiError(400, f"{error}.", code="unknown_fault", param=param) from error
        scope = request.headers.get(SCOPE_HEADER, "")
        return faults if self._fail_first.strikes(faults, model, scope) else faults.spared()

    def _reply(self, chat: ChatRequest, entry: Entry, faults: Faults) -> Iterator[Step]:
        if faults.instead:
            return instead_of_answer(faults)
        if chat.model == catalogue.MISSING_MODEL:
            raise model_not_found(chat.model)
        answer = self._author.write(
            chat,
            serial=entry.id.removeprefix("req_"),
            created=int(time.time()),
            numbered=faults.numbers.get("numbered", numbered_count(chat.model)),
        )
        first_token_ms = faults.numbers.get("slow-first-token", self._settings.first_token_ms)
        timing = Timing(first_token_ms, self._settings.token_interval_ms)
        if chat.stream:
            return stream(answer, chat.include_usage, faults, timing)
        return whole(answer, faults, timing)


@web.middleware
async def errors_in_openai_shape(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer refusals and unknown routes with OpenAI's error object."""
    try:
        return await handler(request)
    except ApiError as error:
        return web.Response(status=error.status, body=error.body, headers=JSON_HEADERS)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        unknown = ApiError(error.status, f"Unknown request URL: {request.method} {request.path}.")
        return web.Response(status=error.status, body=unknown.body, headers=JSON_HEADERS)


def _bearer_key(request: web.Request) -> str | None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def _authorize(request: web.Request) -> None:
    key = _bearer_key(request)
    if key is None or key.startswith(REFUSED_KEY_PREFIX):
        raise refusal(401)


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), headers=JSON_HEADERS)
