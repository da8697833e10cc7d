"""One request's life in any dialect: book, key, body, faults, answer, end."""

import asyncio
from collections.abc import Iterator

from aiohttp import web

from droveway.simulator.book import Book, Entry, Outcome
from droveway.simulator.delivery import JSON_HEADERS, instead_of_answer
from droveway.simulator.dialect import Dialect, Endpoint
from droveway.simulator.errors import ApiError
from droveway.simulator.fail_first import FailFirst
from droveway.simulator.fault_names import RESET_MS
from droveway.simulator.faults import (
    FaultError,
    Faults,
    parse_faults,
    parse_model_faults,
    said_by_name,
)
from droveway.simulator.settings import Settings
from droveway.simulator.steps import Step, body_steps, with_wire_faults
from droveway.simulator.wire import Player

FAULT_HEADER = "x-simulator-fault"
SCOPE_HEADER = "x-simulator-scope"
REFUSED_KEY_PREFIX = "bad-"
KEY_HEADERS = ("authorization", "x-api-key")


def authorize(request: web.Request, dialect: Dialect) -> None:
    """Refuse a request without a key or with one that begins with `bad-`.

    Raises:
        ApiError: 401.
    """
    key = dialect.key(request.headers)
    if key is None or key.startswith(REFUSED_KEY_PREFIX):
        raise ApiError(401)


class Front:
    """Takes requests to endpoints and keeps book of how that ended."""

    def __init__(
        self, settings: Settings, book: Book, fail_first: FailFirst, stopping: asyncio.Event
    ) -> None:
        self._settings = settings
        self._book = book
        self._fail_first = fail_first
        self._stopping = stopping

    async def serve(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        """Answer a request."""
        entry = self._open(request, endpoint)
        player = Player(request, entry, self._stopping, endpoint.dialect.headers)
        outcome: Outcome = "broken"
        try:
            outcome = await player.play(await self._steps(request, endpoint, entry))
        except ConnectionError:
            outcome = "client_closed"
        except asyncio.CancelledError:
            # aiohttp cancels both for a lost connection and for a stop that drained too long.
            outcome = "client_closed" if request.transport is None else "stopped"
            raise
        finally:
            self._book.close(entry, outcome)
        return player.response

    def _open(self, request: web.Request, endpoint: Endpoint) -> Entry:
        headers = request.headers
        key = endpoint.dialect.key(headers)
        entry = self._book.open("authorization" in headers, key, list(headers))
        entry.dialect, entry.endpoint = endpoint.dialect.name, endpoint.name
        entry.key_headers = [name for name in KEY_HEADERS if name in headers]
        entry.anthropic_version = headers.get("anthropic-version")
        entry.anthropic_beta = ",".join(headers.getall("anthropic-beta", [])) or None
        return entry

    async def _steps(
        self, request: web.Request, endpoint: Endpoint, entry: Entry
    ) -> Iterator[Step]:
        try:
            body = await self._read(request, endpoint.dialect, entry)
            job = endpoint.read(body, request.headers, entry)
            faults = self._faults(request, job.model)
            entry.fault = faults.spec or None
            limits = _limits(endpoint.dialect, faults)
            if faults.instead:
                words = endpoint.dialect.words(entry.id, faults)
                return with_wire_faults(instead_of_answer(faults, words), faults, limits)
            return with_wire_faults(job.steps(faults), faults, limits)
        except ApiError as error:
            error_body = endpoint.dialect.error_body(error, entry.id)
            return body_steps(error.status, JSON_HEADERS, error_body)

    async def _read(self, request: web.Request, dialect: Dialect, entry: Entry) -> bytes:
        if self._book.totals.open_requests > self._settings.max_open_requests:
            raise ApiError(503)
        authorize(request, dialect)
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            raise ApiError(413) from error
        entry.body_bytes = len(body)
        if self._settings.keep_bodies:
            self._book.keep_body(entry, body[: self._settings.kept_body_bytes])
        return body

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
        if not self._fail_first.strikes(faults, model, scope):
            faults = faults.spared()
        return faults.saying(said_by_name(model))


def _limits(dialect: Dialect, faults: Faults) -> dict[str, str]:
    remaining = faults.numbers.get("remaining")
    if remaining is None:
        return {}
    return dialect.limit_headers(remaining, faults.numbers.get("reset", RESET_MS))
