"""What can go wrong between the caller and a provider, and what may be tried again.

UpstreamError
├── PoolFull         no connection came free in time; nothing was sent
├── ConnectFailed    refused, unreachable, dns, tls, timeout, proxy_…; nothing was sent
├── SendFailed       the connection broke or stalled while the request was written
├── NoResponse       the request was written, the connection ended without an answer
├── ResponseTimeout  the answer is late: response_headers, first_token, total
├── ReadStalled      the body began, then fell silent for longer than the idle limit
├── BodyCut          the body ended before its own framing said so
└── BadResponse      an answer that we refuse: malformed, redirect, content_encoding, too_large, …

Foreign exceptions become ours in `from_foreign` only. What counts is how far the call had come, not
what the library calls it: httpx-aiohttp reports "closed after reading the request" as a
ConnectTimeout, which would be retried and billed twice.
"""

import enum
import errno
from typing import Final

import aiohttp
import httpx

from droveway.runtime.errors import DrovewayError

FOREIGN: Final = (httpx.TransportError, aiohttp.ClientError, OSError)
"""What the HTTP libraries, ssl and the system raise; `TimeoutError` is an `OSError`."""


class Stage(enum.Enum):
    """How far a call has come."""

    CONNECTING = "connecting"
    SENDING = "sending"
    WAITING = "waiting"
    READING = "reading"


class UpstreamError(DrovewayError):
    """A call to a provider failed.

    Attributes:
        cause: Short name of what happened, for metrics; one of a small closed set per class.
        request_sent: Whether any byte of the request may have left this process.
        retry_safe: Whether another attempt can't make the provider process the request twice.
        status: The HTTP status that makes it a failure, of a proxy or of a redirect; else 0.
    """

    def __init__(
        self,
        cause: str,
        explanation: str,
        *,
        request_sent: bool,
        policy_allows: bool = False,
        status: int = 0,
    ) -> None:
        super().__init__(f"{type(self).__name__} ({cause}): {explanation}")
        self.cause = cause
        self.request_sent = request_sent
        self.retry_safe = policy_allows or not request_sent
        self.status = status


class PoolFull(UpstreamError):
    """Every connection is in use; nothing was sent."""


class ConnectFailed(UpstreamError):
    """No connection could be made; nothing was sent."""


class SendFailed(UpstreamError):
    """The request could not be written to its end."""


class NoResponse(UpstreamError):
    """The connection ended after the request was written, before an answer began."""


class ResponseTimeout(UpstreamError):
    """The answer, or a part of it that has a limit of its own, did not come in time."""


class ReadStalled(UpstreamError):
    """Nothing more of the body came for the idle limit."""


class BodyCut(UpstreamError):
    """The connection ended inside the body."""


class BadResponse(UpstreamError):
    """An answer that no honest provider gives, or that costs more than we pay."""


_BY_TYPE: Final[tuple[tuple[type[BaseException], type[UpstreamError], str, str], ...]] = (
    (aiohttp.ConnectionTimeoutError, ConnectFailed, "timeout", "no connection within connect_s"),
    (aiohttp.ClientConnectorDNSError, ConnectFailed, "dns", "the host name has no address"),
    (aiohttp.ClientConnectorCertificateError, ConnectFailed, "tls", "the certificate is not valid"),
    (aiohttp.ClientConnectorSSLError, ConnectFailed, "tls", "the TLS handshake failed"),
    (aiohttp.ClientConnectorError, ConnectFailed, "unreachable", "the host can't be reached"),
    (aiohttp.ClientResponseError, BadResponse, "malformed", "the answer's head is not HTTP/1.1"),
)
"""Exceptions that say what happened by themselves; the most specific stands first."""

_BY_STAGE: Final[dict[Stage, tuple[type[UpstreamError], str]]] = {
    Stage.CONNECTING: (ConnectFailed, "the connection ended while it was made"),
    Stage.SENDING: (SendFailed, "the connection ended while the request was written"),
    Stage.WAITING: (NoResponse, "the connection ended after the request, without an answer"),
    Stage.READING: (BodyCut, "the connection ended inside the body"),
}
"""Everything else is a lost connection, and means what the stage says."""


def from_foreign(
    error: BaseException, stage: Stage, *, request_sent: bool, policy_allows: bool = False
) -> UpstreamError:
    """Turn a library's exception into ours, without its text, which may quote headers or bodies.

    Args:
        error: As raised by the transport or the body's reader.
        stage: How far the call had come.
        request_sent: Whether any byte of the request may have left this process.
        policy_allows: Whether the operator takes a request that was lost without an answer as
            not processed.
    """
    if isinstance(error, httpx.TransportError) and error.__cause__ is not None:
        error = error.__cause__
    for kind, ours, cause, explanation in _BY_TYPE:
        if isinstance(error, kind):
            refused = cause == "unreachable" and _errno(error) == errno.ECONNREFUSED
            return ours("refused" if refused else cause, explanation, request_sent=request_sent)
    ours, explanation = _BY_STAGE[stage]
    allowed = policy_allows and ours is NoResponse
    return ours(_loss(error), explanation, request_sent=request_sent, policy_allows=allowed)


def _loss(error: BaseException) -> str:
    """How a connection was lost: `reset`, or `closed`, or `incomplete` by the body's framing."""
    if _errno(error) in (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED):
        return "reset"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "incomplete"
    return "closed"


def _errno(error: BaseException) -> int | None:
    """The system's error number, also where a library wrapped the system's error."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.errno is not None:
            return inner.errno
        inner = inner.__cause__
    return None
