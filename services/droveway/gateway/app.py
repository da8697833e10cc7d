"""The gateway's ASGI application: which path is what, and one way out for every error."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from droveway.contracts.config import Config, Cors, Key
from droveway.contracts.errors import Failure, status_of
from droveway.gateway import answers
from droveway.gateway.auth import Authenticator
from droveway.gateway.cors import preflight_headers, response_headers
from droveway.gateway.doors.exchange import Exchange, Message, Receive, Send
from droveway.gateway.doors.http import HttpDoor
from droveway.gateway.entrance import by_http
from droveway.gateway.journal import Journal, Ledgers
from droveway.gateway.models import ModelList
from droveway.gateway.pending import ClientGone
from droveway.gateway.refusal import Refusal, refuse

log = logging.getLogger(__name__)

Endpoint = Callable[[Exchange, Journal, Key], Awaitable[None]]

_MODELS = "/v1/models"
_CHAT = "/v1/chat/completions"
_MAX_PATH = 1_024


class Gateway:
    """Routes requests to endpoints; `configure` replaces what the configuration decides."""

    def __init__(self, auth: Authenticator, ledgers: Ledgers) -> None:
        self.auth = auth
        self.chat: HttpDoor | None = None
        self._ledgers = ledgers
        self._cors = Cors()
        self.models: ModelList | None = None

    def configure(self, config: Config) -> None:
        """Adopts keys, models and CORS of a new configuration."""
        self.auth.configure(config)
        self.models = ModelList(config)
        self._cors = config.cors

    def serves(self, model: str) -> bool:
        """Whether the configuration in force routes this name."""
        return self.models is not None and self.models.serves(model)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One HTTP request, in ASGI's form."""
        exchange = Exchange(scope, receive, send, scope["state"]["request_id"])
        origin = exchange.header(b"origin")
        if origin is not None:
            exchange.extra = response_headers(self._cors, origin)
        method: str = scope["method"]
        path = clean_path(scope)
        name, route, methods, endpoint = self._endpoint(path)
        journal = Journal(
            self._ledgers,
            exchange.request_id,
            by_http(name, method, route),
            exchange.text(b"traceparent"),
            exchange.text(b"tracestate"),
        )
        try:
            if endpoint is None:
                raise refuse("unknown_url", f"Unknown request URL: {method} {path[:200]}")
            if method == "OPTIONS" and (preflight := self._preflight(exchange, origin, methods)):
                journal.finish(204)
                exchange.extra = preflight
                await exchange.answer_empty(204)
                return
            if method not in methods:
                exchange.extra = [*exchange.extra, (b"allow", ", ".join(methods).encode())]
                raise refuse("method_not_allowed")
            client = scope.get("client")
            journal.key = self.auth.authenticate(exchange.raw_headers, client[0] if client else "")
            journal.mark("authenticated")
            await endpoint(exchange, journal, journal.key)
        except Refusal as refusal:
            await self._refuse(exchange, journal, refusal)
        except ClientGone:
            refused: Failure | None = scope["state"].get("refused")
            if refused is not None:  # the HTTP server has answered: too large, too slow
                journal.fail(refused)
            else:
                journal.leave()
        finally:
            journal.close()

    def _endpoint(self, path: str) -> tuple[str, str, tuple[str, ...], Endpoint | None]:
        """Operation, route, methods and what serves it; a route holds nothing of the client's."""
        if path == _CHAT:
            assert self.chat is not None
            return "chat.completions", _CHAT, ("POST",), self.chat.serve
        if path == _MODELS:
            return "models.list", _MODELS, ("GET",), self._list_models
        if path.startswith(_MODELS + "/"):
            one = self._one_model(path.removeprefix(_MODELS + "/"))
            return "models.get", _MODELS + "/{model}", ("GET",), one
        return "unknown", "unknown", (), None

    async def _list_models(self, exchange: Exchange, journal: Journal, key: Key) -> None:
        assert self.models is not None
        await _answer(exchange, journal, self.models.listing(key))

    def _one_model(self, name: str) -> Endpoint:
        async def one(exchange: Exchange, journal: Journal, key: Key) -> None:
            assert self.models is not None
            await _answer(exchange, journal, self.models.one(key, name))

        return one

    def _preflight(
        self, exchange: Exchange, origin: bytes | None, methods: tuple[str, ...]
    ) -> answers.Headers | None:
        requested = exchange.header(b"access-control-request-method")
        return preflight_headers(self._cors, origin, requested, ", ".join(methods).encode())

    async def _refuse(self, exchange: Exchange, journal: Journal, refusal: Refusal) -> None:
        status = status_of(refusal.failure)
        journal.fail(refusal.failure)
        if exchange.started:  # the headers said 200: the error is told in band
            await exchange.in_band(refusal)
            return
        await exchange.refuse(refusal, status, answers.window_headers(journal.window))


async def _answer(exchange: Exchange, journal: Journal, body: bytes) -> None:
    journal.finish(200)
    await exchange.answer(200, body, [])


def clean_path(scope: Message) -> str:
    """The path with `/v1/v1` taken as `/v1` and without a trailing slash.

    Escapes are decoded once. A path that then has a control character or an empty, `.` or `..`
    segment names nothing here; only `//` after `/v1`, of a base_url that ends with a slash, is
    taken as `/`.
    """
    raw: Any = scope.get("raw_path") or scope["path"].encode()
    path = unquote_to_bytes(raw.partition(b"?")[0]).decode("utf-8", "replace")
    if len(path) > _MAX_PATH or not path.isprintable():
        return "/"
    for doubled in ("/v1/v1/", "/v1//"):
        if path.startswith(doubled):
            path = "/v1/" + path.removeprefix(doubled)
    path = path.removesuffix("/")
    parts = path.split("/")[1:]
    return "/" if not path or any(part in ("", ".", "..") for part in parts) else path
