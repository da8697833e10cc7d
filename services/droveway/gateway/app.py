"""The gateway's ASGI application: which path is what, and one way out for every error."""

import logging
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from droveway.contracts.access import Key
from droveway.contracts.config import Config, Cors
from droveway.contracts.errors import Failure
from droveway.gateway import operations
from droveway.gateway.admin.door import AdminDoor
from droveway.gateway.admin.endpoints import ROOT as ADMIN_ROOT
from droveway.gateway.answers import Headers
from droveway.gateway.auth import Authenticator
from droveway.gateway.cors import preflight_headers, response_headers
from droveway.gateway.doors.answering import answer_own
from droveway.gateway.doors.count_tokens import CountTokens
from droveway.gateway.doors.exchange import Exchange, Message, Receive, Send
from droveway.gateway.doors.http import Endpoint, HttpDoor
from droveway.gateway.doors.stored import StoredDoor
from droveway.gateway.doors.usage import UsageDoor
from droveway.gateway.entrance import by_http
from droveway.gateway.faces import ANTHROPIC, OPENAI, Face
from droveway.gateway.journal import Journal, Ledgers
from droveway.gateway.models import ModelList
from droveway.gateway.openapi.serve import PAGES, Page
from droveway.gateway.pending import ClientGone
from droveway.gateway.refusal import Refusal, refuse

log = logging.getLogger(__name__)

_MODELS = "/v1/models"
_RESPONSES = "/v1/responses/"
_MESSAGES = "/v1/messages/"
_MAX_PATH = 1_024


class Route(NamedTuple):
    """What a path means; it holds nothing of the client's."""

    operation: str
    template: str
    methods: tuple[str, ...] = ()
    endpoint: Endpoint | None = None
    face: Face = OPENAI
    page: Page | None = None
    """Instead of an endpoint: for everybody, without a key."""


_UNKNOWN = Route("unknown", "unknown")
_UNKNOWN_MESSAGES = _UNKNOWN._replace(face=ANTHROPIC)
_SHARED = frozenset({"models.list", "models.get", "unknown"})
"""Operations whose path says nothing of the API: then `anthropic-version` does."""


class Gateway:
    """Routes requests to endpoints; `configure` replaces what the configuration decides."""

    def __init__(self, auth: Authenticator, ledgers: Ledgers) -> None:
        self.auth = auth
        self._inference: dict[str, Route] = {}
        self._ledgers = ledgers
        self._cors = Cors()
        self.models: ModelList | None = None
        self.stored: StoredDoor | None = None
        self.admin: AdminDoor | None = None
        self.usage: UsageDoor | None = None

    def serve_inference(self, door: HttpDoor, count_tokens: CountTokens) -> None:
        """Has `door` serve every operation."""
        endpoints = {one: door.endpoint(one) for one in operations.ALL}
        endpoints[operations.COUNT_TOKENS] = count_tokens.serve
        for one, endpoint in endpoints.items():
            self._inference[one.path] = Route(one.name, one.path, ("POST",), endpoint, one.face)

    def configure(self, config: Config) -> None:
        """Adopts models, admins and CORS of a new configuration; keys reach `auth` without us."""
        if self.admin is not None:
            self.admin.configure(config)
        self.models = ModelList(config)
        self._cors = config.cors

    def allows(self, key: Key, model: str) -> bool:
        """Whether the configuration in force routes this name for this key."""
        return self.models is not None and self.models.allows(key, model)

    def counts(self, model: str) -> bool:
        """Whether a provider can tell how many tokens a prompt for this name has."""
        return self.models is not None and self.models.counts(model)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One HTTP request, in ASGI's form."""
        exchange = Exchange(scope, receive, send, scope["state"]["request_id"])
        origin = exchange.header(b"origin")
        if origin is not None:
            exchange.extra = response_headers(self._cors, origin)
        method: str = scope["method"]
        path = clean_path(scope)
        route = self._route(path, method)
        shared = route.operation in _SHARED
        if shared and exchange.header(b"anthropic-version") is not None:
            route = route._replace(face=ANTHROPIC)
        exchange.face = route.face
        methods, endpoint, page = route.methods, route.endpoint, route.page
        journal = Journal(
            self._ledgers,
            exchange.request_id,
            by_http(route.operation, method, route.template),
            exchange.text(b"traceparent"),
            exchange.text(b"tracestate"),
        )
        try:
            if endpoint is None and page is None:
                raise refuse("unknown_url", f"Unknown request URL: {method} {path[:200]}")
            if method == "OPTIONS" and (preflight := self._preflight(exchange, origin, methods)):
                journal.finish(204)
                exchange.extra = preflight
                await exchange.answer_empty(204)
                return
            if method not in methods:
                exchange.extra = [*exchange.extra, (b"allow", ", ".join(methods).encode())]
                text = f"{method} is not allowed for {route.template}, but {' and '.join(methods)}."
                raise refuse("method_not_allowed", text)
            if endpoint is None:
                assert page is not None
                await page(exchange, journal)
                return
            journal.key = self.auth.authenticate(exchange.raw_headers, exchange.peer)
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

    def _route(self, path: str, method: str) -> Route:
        if (route := self._inference.get(path)) is not None:
            return route
        if path in PAGES:
            name, page = PAGES[path]
            return Route(name, path, ("GET",), page=page)
        if path == _MODELS:
            return Route("models.list", _MODELS, ("GET",), self._list_models)
        if path.startswith(_RESPONSES) and self.stored is not None:
            return self._stored_route(self.stored, path.removeprefix(_RESPONSES))
        if path.startswith(_MODELS + "/"):
            one = self._one_model(path.removeprefix(_MODELS + "/"))
            return Route("models.get", _MODELS + "/{model}", ("GET",), one)
        if path.startswith(ADMIN_ROOT) and self.admin is not None and self.admin.open:
            return self._admin_route(self.admin, path, method)
        if self.usage is not None and (found := self.usage.find(path)) is not None:
            return Route(found.operation, path, ("GET",), page=found.page)
        return _UNKNOWN_MESSAGES if path.startswith(_MESSAGES) else _UNKNOWN

    def _stored_route(self, door: StoredDoor, rest: str) -> Route:
        response_id, slash, below = rest.partition("/")

        async def one(exchange: Exchange, journal: Journal, key: Key) -> None:
            await door.one(response_id, exchange, journal, key)

        async def items(exchange: Exchange, journal: Journal, key: Key) -> None:
            await door.items(response_id, exchange, journal, key)

        template = _RESPONSES + "{id}"
        if not slash:
            return Route("responses.one", template, ("GET", "DELETE"), one)
        if below == "input_items":
            return Route("responses.items", template + "/input_items", ("GET",), items)
        return _UNKNOWN

    def _admin_route(self, door: AdminDoor, path: str, method: str) -> Route:
        found = door.find(path, method)
        if found is None:
            return _UNKNOWN
        return Route(found.operation, found.template, found.methods, page=found.page)

    async def _list_models(self, exchange: Exchange, journal: Journal, key: Key) -> None:
        assert self.models is not None
        await answer_own(exchange, journal, self.models.listing(key))

    def _one_model(self, name: str) -> Endpoint:
        async def one(exchange: Exchange, journal: Journal, key: Key) -> None:
            assert self.models is not None
            await answer_own(exchange, journal, self.models.one(key, name))

        return one

    def _preflight(
        self, exchange: Exchange, origin: bytes | None, methods: tuple[str, ...]
    ) -> Headers | None:
        requested = exchange.header(b"access-control-request-method")
        return preflight_headers(self._cors, origin, requested, ", ".join(methods).encode())

    async def _refuse(self, exchange: Exchange, journal: Journal, refusal: Refusal) -> None:
        journal.fail(refusal.failure)
        if exchange.started:  # the headers said 200: the error is told in band
            await exchange.in_band(refusal)
            return
        await exchange.refuse(refusal, journal.standing)


def clean_path(scope: Message) -> str:
    """The path with `/v1/v1` taken as `/v1` and without a trailing slash.

    Escapes are decoded once. A path that then has a control character or an empty, `.` or `..`
    segment names nothing here; only `//` after `/v1`, of a base_url that ends with a slash, is
    taken as `/`. Nor does one with escapes that leads into the administration: a proxy that keeps
    `/admin/` to itself may not have looked behind them.
    """
    raw: Any = scope.get("raw_path") or scope["path"].encode()
    path = unquote_to_bytes(raw.partition(b"?")[0]).decode("utf-8", "replace")
    if len(path) > _MAX_PATH or not path.isprintable():
        return "/"
    if b"%" in raw.partition(b"?")[0] and path.startswith(ADMIN_ROOT):
        return "/"
    for doubled in ("/v1/v1/", "/v1//"):
        if path.startswith(doubled):
            path = "/v1/" + path.removeprefix(doubled)
    path = path.removesuffix("/")
    parts = path.split("/")[1:]
    return "/" if not path or any(part in ("", ".", "..") for part in parts) else path
