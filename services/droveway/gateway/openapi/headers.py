"""Headers: what a request may say beside its body, and what an answer tells beside its own."""

from collections.abc import Mapping
from typing import Any

from droveway.gateway.idempotency import MAX_TOKEN_BYTES
from droveway.gateway.openapi.shapes import COUNT, TEXT, Schema, number, text, words

_MOMENT: Schema = TEXT | {"format": "date-time"}

ANSWERED: Mapping[str, tuple[str, Schema]] = {
    "x-request-id": ("Names the request in logs, rows and traces.", TEXT),
    "request-id": ("The same by Anthropic's name.", TEXT),
    "openai-version": ("As OpenAI's answers have it.", TEXT),
    "openai-processing-ms": ("Milliseconds until the answer began.", COUNT),
    **{
        f"x-ratelimit-{what}-{kind}": about
        for kind in ("requests", "tokens")
        for what, about in {
            "limit": (f"{kind.capitalize()} that the tightest limit allows.", COUNT),
            "remaining": (f"{kind.capitalize()} left of it.", COUNT),
            "reset": ("When it is whole again: `120ms`, `1.5s`, `6m0s`.", TEXT),
        }.items()
    },
    **{
        f"anthropic-ratelimit-{kind}-{what}": about
        for kind in ("requests", "tokens", "input-tokens", "output-tokens")
        for what, about in {
            "limit": (f"{kind.capitalize()} that the tightest limit allows.", COUNT),
            "remaining": (f"{kind.capitalize()} left of it.", COUNT),
            "reset": ("When it is whole again.", _MOMENT),
        }.items()
    },
    "x-droveway-provider": ("The provider that answered.", TEXT),
    "x-droveway-model": ("The model that it says has answered.", TEXT),
    "x-droveway-attempts": ("How many targets were tried.", COUNT),
    "x-droveway-overhead-ms": ("Milliseconds that weren't the provider's.", number(0, 86_400_000)),
    "x-droveway-duration-ms": ("Milliseconds until a whole answer was there.", COUNT),
    "x-droveway-cached-tokens": ("Input tokens read from a provider's cache.", COUNT),
    "x-droveway-estimated": ("The count is an estimate.", words("true")),
    "x-droveway-trace-id": ("The trace of the request.", TEXT),
    "x-droveway-warning": ("What the provider didn't get, one header for each.", TEXT),
    "retry-after": ("Seconds after which a retry may pass.", COUNT),
    "retry-after-ms": ("The same in milliseconds.", COUNT),
    "x-should-retry": ("Whether to send it again.", words("true", "false")),
    "www-authenticate": ("How to authenticate.", TEXT),
    "etag": ("The entry's revision, for `if-match`.", TEXT),
    "allow": ("The methods that the path has.", TEXT),
}
"""What each says, and its form. Each may be absent where it has nothing to say."""

_TRACED = ("x-droveway-trace-id", "openai-processing-ms")
BASE = {"openai": ("x-request-id", "openai-version"), "anthropic": ("request-id", "x-request-id")}
WINDOW = {
    face: tuple(name for name in ANSWERED if name.startswith(prefix))
    for face, prefix in (("openai", "x-ratelimit-"), ("anthropic", "anthropic-ratelimit-"))
}
SERVED = (
    *_TRACED,
    *(name for name in ANSWERED if name.startswith("x-droveway-") and name not in _TRACED),
)
FAILED = ("retry-after", "retry-after-ms", "x-should-retry")

_ASKED: Mapping[str, tuple[str, Schema]] = {
    "idempotency-key": (
        "One key names one request: a second one under it never calls a provider.",
        text(1, MAX_TOKEN_BYTES) | {"pattern": "^[!-~]+$"},
    ),
    "x-request-timeout": ("Seconds that the request may take, within the gateway's own.", TEXT),
    "x-droveway-max-queue-ms": (
        "Milliseconds that the request may wait for room, also in the key's own limits.",
        TEXT,
    ),
    "x-droveway-user": ("Who is behind the key, where the body doesn't name a user.", TEXT),
    "x-droveway-region": ("Where the client is; a canary may be given to regions.", TEXT),
    "traceparent": ("W3C trace context, version 00; the request's spans join it.", TEXT),
    "anthropic-version": ("Handed on to an Anthropic provider; without effect elsewhere.", TEXT),
    "anthropic-beta": ("Features to hand on to an Anthropic provider.", TEXT),
}

ASKED = {
    face: tuple(name for name in _ASKED if face == "anthropic" or not name.startswith("anthropic-"))
    for face in ("openai", "anthropic")
}
"""What a request for inference may have, in each API."""
COUNTING = tuple(name for name in ASKED["anthropic"] if name != "idempotency-key")
"""What a prompt to be counted may have."""


def components() -> dict[str, Any]:
    """Every header of an answer, by its name."""
    return {
        name: {"description": about, "schema": schema} for name, (about, schema) in ANSWERED.items()
    }


def of_answer(*names: str) -> dict[str, Any]:
    """References to some of them."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def parameters() -> dict[str, Any]:
    """Every header of a request, by its name."""
    return {
        name: {"name": name, "in": "header", "description": about, "schema": schema}
        for name, (about, schema) in _ASKED.items()
    }


def of_request(*names: str) -> list[Any]:
    """References to some of them."""
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]
