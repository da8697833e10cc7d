"""What clients can ask for: for each operation its dialect, its face, and how a request is read."""

from collections.abc import Callable
from typing import Any, NamedTuple

from droveway.contracts.inference import Needs, UserHash
from droveway.dialects import dialect
from droveway.dialects.anthropic import checks as anthropic_checks
from droveway.dialects.anthropic.needs import needs_of_messages
from droveway.dialects.capability import needs_of
from droveway.dialects.chat import checks as chat_checks
from droveway.dialects.completions import request as completions_request
from droveway.dialects.embeddings import request as embeddings
from droveway.dialects.responses import request as responses_request
from droveway.gateway.faces import ANTHROPIC, OPENAI, RESPONSES_FACE, Face


class Asked(NamedTuple):
    """What routing and limiting need to know of a request."""

    stream: bool = False
    include_usage: bool = False
    needs: Needs = Needs()
    max_output_tokens: int | None = None
    """Of all choices together."""
    choices: int = 1
    user: str = ""
    """Who is behind the key, as the body says; empty: it doesn't."""
    prefix: UserHash = b""
    """Stands for the beginning of the prompt; empty: no route goes by it."""


class Operation(NamedTuple):
    """One thing to ask for."""

    name: str
    """As rows and spans name it."""
    path: str
    dialect: str
    """Of the body and of the answer on the bus."""
    face: Face
    read: Callable[[dict[str, Any]], Asked]
    """Checks a request; raises `Untranslatable` naming the parameter that is wrong."""
    adapted: bool = False
    """The door turns the request into a chat completion, and its answer back."""
    free: bool = False
    """The provider takes no tokens for it, so none are reserved."""


def user_of(operation: Operation, request: dict[str, Any]) -> str:
    """The user that a checked body names in its API's own way; empty: none."""
    if operation.face is ANTHROPIC:
        named = [(request.get("metadata") or {}).get("user_id")]
    else:
        named = [request.get("user"), request.get("safety_identifier")]
    return next((one for one in named if one and isinstance(one, str)), "")


def _chat(request: dict[str, Any]) -> Asked:
    chat_checks.check(request)
    options = request.get("stream_options") or {}
    bounds = [request.get(name) or 0 for name in ("max_completion_tokens", "max_tokens")]
    choices = request.get("n") or 1
    return Asked(
        stream=request.get("stream") is True,
        include_usage=options.get("include_usage") is True,
        needs=needs_of(request),
        max_output_tokens=max(bounds) * choices or None,
        choices=choices,
    )


def _messages(request: dict[str, Any]) -> Asked:
    anthropic_checks.check(request)
    return Asked(
        stream=request.get("stream") is True,
        needs=needs_of_messages(request),
        max_output_tokens=request["max_tokens"],
    )


def _count_tokens(request: dict[str, Any]) -> Asked:
    anthropic_checks.check(request, counting=True)
    return Asked(max_output_tokens=0)


def _embeddings(request: dict[str, Any]) -> Asked:
    embeddings.check(request)
    return Asked(needs=Needs(embeddings=True), max_output_tokens=0)


def _completions(request: dict[str, Any]) -> Asked:
    completions_request.check(request)
    options = request.get("stream_options") or {}
    choices = max(request.get("n") or 1, request.get("best_of") or 1)
    return Asked(
        stream=request.get("stream") is True,
        include_usage=options.get("include_usage") is True,
        max_output_tokens=(request.get("max_tokens") or 0) * choices or None,
        choices=choices,
    )


def _responses(request: dict[str, Any]) -> Asked:
    responses_request.check(request)
    return Asked(
        stream=request.get("stream") is True,
        max_output_tokens=request.get("max_output_tokens"),
    )


CHAT = Operation("chat.completions", "/v1/chat/completions", dialect.CHAT, OPENAI, _chat)
COMPLETIONS = Operation(
    "completions", "/v1/completions", dialect.CHAT, OPENAI, _completions, adapted=True
)
RESPONSES = Operation(
    "responses", "/v1/responses", dialect.CHAT, RESPONSES_FACE, _responses, adapted=True
)
EMBEDDINGS = Operation("embeddings", "/v1/embeddings", dialect.EMBEDDINGS, OPENAI, _embeddings)
MESSAGES = Operation("messages", "/v1/messages", dialect.MESSAGES, ANTHROPIC, _messages)
COUNT_TOKENS = Operation(
    "messages.count_tokens", "/v1/messages/count_tokens", dialect.COUNT_TOKENS, ANTHROPIC,
    _count_tokens, free=True,
)  # fmt: skip
"""Has an endpoint of its own: what no provider counts is estimated."""
ALL = (CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS, MESSAGES)
