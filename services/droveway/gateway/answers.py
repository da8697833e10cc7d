"""Answers that aren't streams: JSON bodies, errors in OpenAI's shape, and the headers of both."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec

from droveway.contracts.client import Error, Tried
from droveway.contracts.errors import CATALOGUE, Failure, status_of
from droveway.contracts.inference import Standing, TriedTarget

Headers = list[tuple[bytes, bytes]]

MAX_RETRY_AFTER_MS = 60_000
"""SDKs don't wait longer than their own bounds (60 s in openai 1.x, 120 s in 3.x): told to, they
would come back too early or, as Anthropic's, sleep through it; so they are told not to retry."""
_JSON = (b"content-type", b"application/json")
_BASE = ((b"openai-version", b"2020-10-01"),)


def error_object(
    occurrence: Failure, tried: Iterable[TriedTarget] = (), request_id: str = ""
) -> Error:
    """What clients are told of an error, by whichever way; `details` say what each target did.

    `request_id` is for errors told where no header can carry it.
    """
    entry = CATALOGUE[occurrence.code]
    return Error(
        message=occurrence.message or entry.message,
        type=occurrence.type or entry.type,
        param=occurrence.param,
        code=occurrence.provider_code or occurrence.code,
        details=tuple(
            Tried(
                target=one.target,
                code=one.code,
                status=one.status or None,
                duration_ms=one.duration_ms,
            )
            for one in tried
        ),
        request_id=request_id,
    )


def error_body(
    occurrence: Failure, tried: Iterable[TriedTarget] = (), request_id: str = ""
) -> bytes:
    """`{"error": {...}}`."""
    return msgspec.json.encode({"error": error_object(occurrence, tried, request_id)})


def retry_after_ms(occurrence: Failure, *, spent: bool = False) -> int | None:
    """When to try again, where that is known or worth a guess."""
    guessed = status_of(occurrence) in (429, 503) and should_retry(occurrence, spent=spent)
    if occurrence.retry_after_ms is None and guessed:
        return 1_000
    return occurrence.retry_after_ms


def should_retry(occurrence: Failure, *, spent: bool = False) -> bool:
    """Whether a client does well to send the same request again by itself.

    1. Not where that can't help, nor where it would have to wait longer than SDKs do.
    2. After a wait that is known: yes, also where our own retries are `spent`.
    3. With those spent, and nobody knowing when it will be better: no. Clients would multiply what
       the routes' policies and the budget of retries keep small.
    4. Else yes.
    """
    if not CATALOGUE[occurrence.code].retry:
        return False
    if occurrence.retry_after_ms is None:
        return not spent
    return occurrence.retry_after_ms <= MAX_RETRY_AFTER_MS


def error_headers(occurrence: Failure, *, spent: bool = False) -> Headers:
    """When to retry, whether to, and how to authenticate.

    Whether to is said with each status after which SDKs would do it by themselves.
    """
    status = status_of(occurrence)
    headers: Headers = []
    if (wait_ms := retry_after_ms(occurrence, spent=spent)) is not None:
        headers.append((b"retry-after-ms", b"%d" % wait_ms))
        headers.append((b"retry-after", b"%d" % -(-wait_ms // 1000)))
    if status >= 500 or status in (408, 409, 429):
        helps = should_retry(occurrence, spent=spent)
        headers.append((b"x-should-retry", b"true" if helps else b"false"))
    if status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="droveway"'))
    return headers


def standing_headers(standing: Standing | None) -> Headers:
    """`x-ratelimit-*` of the tightest limits on requests and on tokens, as OpenAI has them."""
    if standing is None:
        return []
    tokens = standing.tokens or standing.input_tokens or standing.output_tokens
    headers: Headers = []
    for kind, window in ((b"requests", standing.requests), (b"tokens", tokens)):
        if window is not None:
            headers += [
                (b"x-ratelimit-limit-" + kind, b"%d" % window.limit),
                (b"x-ratelimit-remaining-" + kind, b"%d" % window.remaining),
                (b"x-ratelimit-reset-" + kind, duration(window.reset_ms)),
            ]
    return headers


def duration(milliseconds: int) -> bytes:
    """`120ms`, `1.5s`, `6m0s`: durations as OpenAI's headers write them."""
    if milliseconds < 1_000:
        return b"%dms" % milliseconds
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:g}s".encode()
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s".encode() if hours else f"{minutes}m{rest}s".encode()


def moment(after_ms: int) -> bytes:
    """A time from now as RFC 3339 has it, in whole seconds and never too early."""
    at = datetime.now(UTC) + timedelta(milliseconds=after_ms + 999)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ").encode()


def with_base(headers: Headers, request_id: str) -> Headers:
    """`headers` and those of every answer."""
    return [(b"x-request-id", request_id.encode()), *_BASE, *headers]


def json_headers(body: bytes, headers: Headers) -> Headers:
    """`headers` with type and length of a JSON body."""
    return [_JSON, (b"content-length", b"%d" % len(body)), *headers]
