"""Cross-origin requests: answered only for the configured origins, by default for none."""

from droveway.contracts.config import Cors

_EXPOSED = (
    b"x-request-id, openai-processing-ms, retry-after, retry-after-ms, x-should-retry, "
    b"x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    b"x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, "
    b"x-droveway-provider, x-droveway-model, x-droveway-attempts, x-droveway-overhead-ms, "
    b"x-droveway-duration-ms, x-droveway-cached-tokens, x-droveway-trace-id"
)
_ALLOWED = (
    b"authorization, content-type, x-api-key, idempotency-key, openai-organization, openai-project"
)


def response_headers(cors: Cors, origin: bytes | None) -> list[tuple[bytes, bytes]]:
    """Headers of an answer to a page of `origin`; none when it isn't allowed."""
    allowed = _allowed_origin(cors, origin)
    if allowed is None:
        return []
    return [
        (b"access-control-allow-origin", allowed),
        (b"vary", b"origin"),
        (b"access-control-expose-headers", _EXPOSED),
    ]


def preflight_headers(
    cors: Cors, origin: bytes | None, requested: bytes | None, methods: bytes
) -> list[tuple[bytes, bytes]] | None:
    """Headers of the answer to a preflight; None when the origin isn't allowed."""
    allowed = _allowed_origin(cors, origin)
    if allowed is None or requested is None:
        return None
    return [
        (b"access-control-allow-origin", allowed),
        (b"vary", b"origin"),
        (b"access-control-allow-methods", methods),
        (b"access-control-allow-headers", b"*, " + _ALLOWED),
        (b"access-control-max-age", b"%d" % cors.max_age_s),
    ]


def _allowed_origin(cors: Cors, origin: bytes | None) -> bytes | None:
    if origin is None:
        return None
    if "*" in cors.origins:
        return b"*"
    return origin if origin.decode("latin-1") in cors.origins else None
