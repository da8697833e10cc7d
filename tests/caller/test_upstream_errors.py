"""One row per foreign exception and stage: what it means and whether it may be tried again."""

import errno
import socket
import ssl
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import httpx
import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from droveway.caller.upstream_errors import (
    BadResponse,
    BodyCut,
    ConnectFailed,
    NoResponse,
    SendFailed,
    Stage,
    UpstreamError,
    from_foreign,
)

KEY = cast("Any", SimpleNamespace(host="provider.test", port=443, is_ssl=True, ssl=True))
INFO = aiohttp.RequestInfo(
    URL("https://provider.test/?key=canary"), "POST", CIMultiDictProxy(CIMultiDict())
)
REFUSED = OSError(errno.ECONNREFUSED, "refused")
RESET = aiohttp.ClientOSError(errno.ECONNRESET, "reset by peer")

ROWS: list[tuple[BaseException, Stage, type[UpstreamError], str]] = [
    (aiohttp.ConnectionTimeoutError("late"), Stage.CONNECTING, ConnectFailed, "timeout"),
    (
        aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(-2, "unknown")),
        Stage.CONNECTING,
        ConnectFailed,
        "dns",
    ),
    (
        aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError(1, "expired")),
        Stage.CONNECTING,
        ConnectFailed,
        "tls",
    ),
    (
        aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "wrong version")),
        Stage.CONNECTING,
        ConnectFailed,
        "tls",
    ),
    (aiohttp.ClientConnectorError(KEY, REFUSED), Stage.CONNECTING, ConnectFailed, "refused"),
    (
        aiohttp.ClientConnectorError(KEY, OSError(errno.EHOSTUNREACH, "no route")),
        Stage.CONNECTING,
        ConnectFailed,
        "unreachable",
    ),
    (aiohttp.ClientConnectionError("closed"), Stage.CONNECTING, ConnectFailed, "closed"),
    (RESET, Stage.SENDING, SendFailed, "reset"),
    (aiohttp.ServerDisconnectedError(), Stage.SENDING, SendFailed, "closed"),
    (aiohttp.ServerDisconnectedError(), Stage.WAITING, NoResponse, "closed"),
    (RESET, Stage.WAITING, NoResponse, "reset"),
    (BrokenPipeError(errno.EPIPE, "broken"), Stage.WAITING, NoResponse, "reset"),
    (aiohttp.ClientResponseError(INFO, (), status=400), Stage.WAITING, BadResponse, "malformed"),
    (aiohttp.ClientPayloadError("cut"), Stage.READING, BodyCut, "incomplete"),
    (RESET, Stage.READING, BodyCut, "reset"),
    (ssl.SSLError("bad record mac"), Stage.READING, BodyCut, "closed"),
    (TimeoutError(), Stage.READING, BodyCut, "closed"),
]


@pytest.mark.parametrize(
    ("foreign", "stage", "kind", "cause"),
    ROWS,
    ids=[f"{type(foreign).__name__}-{stage.value}-{cause}" for foreign, stage, _, cause in ROWS],
)
@pytest.mark.parametrize("wrapped", [False, True], ids=["as raised", "renamed by httpx-aiohttp"])
def test_foreign_error_means(
    foreign: BaseException, stage: Stage, kind: type[UpstreamError], cause: str, wrapped: bool
) -> None:
    error = foreign
    if wrapped:
        error = httpx.ConnectTimeout("renamed")
        error.__cause__ = foreign
    sent = stage is not Stage.CONNECTING
    ours = from_foreign(error, stage, request_sent=sent, policy_allows=False)
    assert type(ours) is kind
    assert (ours.cause, ours.request_sent, ours.retry_safe) == (cause, sent, not sent)
    assert "canary" not in str(ours)


def test_policy_speaks_of_requests_without_an_answer_only() -> None:
    for stage, safe in ((Stage.SENDING, False), (Stage.WAITING, True), (Stage.READING, False)):
        ours = from_foreign(RESET, stage, request_sent=True, policy_allows=True)
        assert ours.retry_safe is safe


def test_nothing_sent_is_safe_to_try_again_at_any_stage() -> None:
    for stage in Stage:
        assert from_foreign(RESET, stage, request_sent=False).retry_safe
