"""A provider's answer: its head, checked; its body, as the bytes come."""

from collections.abc import AsyncIterator, Mapping

import aiohttp
import msgspec

from droveway.caller.connections import Exchange
from droveway.caller.phases import Phase
from droveway.caller.upstream_errors import FOREIGN, BadResponse, BodyCut, UpstreamError
from droveway.runtime.settings import Count


class HeadCaps(msgspec.Struct, frozen=True, kw_only=True):
    """What the head of an answer may cost; over a cap it is a `BadResponse`."""

    max_headers: Count = 100
    max_field_bytes: Count = 8_190
    """One header field."""
    max_head_bytes: Count = 32_768
    """All header fields together."""
    max_interim: Count = 16
    """Interim (1xx) answers before the final one."""


class UpstreamResponse:
    """One answer; read it inside the `send` block that gave it.

    Attributes:
        status: 200-299 or 400-599; redirects are not followed but refused.
        headers: Names in lower case; values of repeated fields joined by comma.
        framed: Whether length or chunks tell the body's end. Where they don't, a cut looks like an
            end, and only the dialect's own last event tells them apart.
    """

    def __init__(self, exchange: Exchange, caps: HeadCaps) -> None:
        answer = exchange.answered()
        self._exchange = exchange
        self._idle_s = exchange.phases.idle_s
        self._content = answer.content
        self._failure: UpstreamError | None = None
        self.status = answer.status
        self.headers = _checked_headers(answer, caps)
        self.framed = "content-length" in self.headers or "transfer-encoding" in self.headers
        _check_kind(self.status, self.headers)

    async def read(self) -> bytes:
        """Wait for more of the body and return all that came; empty at its end.

        Raises:
            UpstreamError: ReadStalled, BodyCut, ResponseTimeout or BadResponse; bytes that came
                before it are handed out first.
        """
        if self._failure is not None:
            raise self._failure
        timer = self._exchange.timer
        timer.enter(Phase.IDLE, self._idle_s)
        try:
            data = await self._content.readany()
        except FOREIGN as error:
            error.__traceback__ = None  # its frames hold the future that holds it
            return self._rest_before(self._exchange.failure(error))
        finally:
            timer.rest()
        if not data and timer.expired is not None:
            raise timer.error(request_sent=True)
        return data

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, as the bytes come; raises as `read`."""
        while data := await self.read():
            yield data

    async def read_all(self, max_bytes: int) -> bytes:
        """The whole body of an answer that is not a stream.

        Raises:
            BadResponse: It is larger than `max_bytes`; no more than one read over it was held.
        """
        parts: list[bytes] = []
        size = 0
        while data := await self.read():
            size += len(data)
            if size > max_bytes:
                explanation = f"the body is over max_bytes = {max_bytes}"
                raise BadResponse("too_large", explanation, request_sent=True)
            parts.append(data)
            if self._content.at_eof():
                break
        return b"".join(parts)

    def first_token_seen(self) -> None:
        """Lift the limit on the first token."""
        self._exchange.timer.first_token_seen()

    async def aclose(self) -> None:
        """End the call now; a body that is not finished costs its connection.

        Whatever failed it is let go of: its frames hold this answer, a circle that would wait for a
        full collection.
        """
        self._failure = BodyCut("left", "this side has ended the call", request_sent=True)
        self._exchange.close()

    def _rest_before(self, failure: UpstreamError) -> bytes:
        """Bytes that came before the connection failed: a whole answer may be among them."""
        self._failure = failure
        # aiohttp's public reads raise at once and would lose what it holds.
        rest = self._content._read_nowait(-1)  # noqa: SLF001
        try:
            if not rest:
                raise failure
        finally:
            del failure  # else its own frames hold it
        return rest


def _checked_headers(answer: aiohttp.ClientResponse, caps: HeadCaps) -> dict[str, str]:
    headers: dict[str, str] = {}
    size = 0
    for name, value in answer.headers.items():
        size += len(name) + len(value)
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    if size > caps.max_head_bytes:
        explanation = f"the header fields are over max_head_bytes = {caps.max_head_bytes}"
        raise BadResponse("head_too_large", explanation, request_sent=True)
    return headers


def _check_kind(status: int, headers: Mapping[str, str]) -> None:
    """Refuse answers that we can't use: redirects, upgrades, and bodies that are compressed."""
    if not (200 <= status < 300 or 400 <= status < 600):
        cause = "redirect" if 300 <= status < 400 else "status"
        explanation = f"status {status} is no answer to us"
        raise BadResponse(cause, explanation, request_sent=True, status=status)
    if headers.get("content-encoding", "identity").lower() not in ("identity", ""):
        explanation = "the body is compressed though we asked for identity"
        raise BadResponse("content_encoding", explanation, request_sent=True)
