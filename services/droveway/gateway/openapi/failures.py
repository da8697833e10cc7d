"""Errors as answers: the catalogue's codes by status, in the shape of the API that was asked."""

from typing import Any

import msgspec

from droveway.contracts import client
from droveway.contracts.errors import CATALOGUE, ErrorCode, failure
from droveway.gateway.faces import ANTHROPIC
from droveway.gateway.openapi import headers
from droveway.gateway.openapi.shapes import TEXT, Schema, either, record, ref, words

EDGE = frozenset(
    {
        "bad_request", "request_timeout", "request_too_large", "uri_too_long",
        "request_header_fields_too_large", "not_implemented", "connection_limit", "internal_error",
    }
)  # fmt: skip
"""Said by the HTTP server: until it has read the path, in OpenAI's shape to all."""
KEYED = frozenset(
    {
        "invalid_api_key", "key_not_activated", "key_disabled", "key_expired",
        "tenant_disabled", "address_not_allowed", "service_unavailable", "conflicting_credentials",
        "too_many_failed_logins", "method_not_allowed",
    }
)  # fmt: skip
"""Of every path that needs a key."""
BODY = frozenset(
    {
        "invalid_json", "invalid_request", "unsupported_parameter", "unsupported_media_type",
        "model_not_found", "overloaded",
    }
)  # fmt: skip
"""Of every request with a body."""
STORED = frozenset({"invalid_request", "not_found", "service_unavailable"})
"""Of responses that were kept."""
ADMIN = frozenset(
    {
        "invalid_api_key", "conflicting_credentials", "too_many_failed_logins",
        "insufficient_role", "unknown_url", "not_found", "service_unavailable",
    }
)  # fmt: skip
"""Of every path of the administration."""
ADMIN_CHANGES = frozenset(
    {
        "invalid_json", "invalid_request", "unsupported_media_type", "already_exists",
        "read_only_entry", "revision_changed", "revision_required", "audit_unavailable",
        "rate_limit_exceeded", "tenant_in_use",
    }
)  # fmt: skip
"""Of its changes besides."""
ADMIN_ASKS = frozenset({"invalid_request", "limiter_unavailable"})
"""Of its questions besides."""
USAGE = frozenset(
    {"reports_unavailable", "invalid_request", "insufficient_role", "not_found", "unknown_url"}
)
"""Of what was used."""
SCRAPE = frozenset(
    {"invalid_api_key", "conflicting_credentials", "too_many_failed_logins", "unknown_url"}
)
"""Of the gateway's metrics."""
MODEL = frozenset({"model_not_found"})
ELSEWHERE = frozenset({"unknown_url", "answer_too_large", "client_closed_request", "not_found"})
"""Of no operation: of unknown paths, of the bus, of clients that have left, of stored ones."""
_ADMINS_OWN = (ADMIN_CHANGES | USAGE) - BODY - {"rate_limit_exceeded"}
INFERENCE = frozenset(CATALOGUE) - EDGE - KEYED - ELSEWHERE - _ADMINS_OWN
"""All else may end a request that a provider answers."""

_FACES = {
    "inference": ("openai", "anthropic"),
    "count": ("anthropic",),
    "stored": ("openai",),
    "models": ("openai",),
    "model": ("openai",),
    "usage": ("openai",),
    "scrape": ("openai",),
    "admin_asks": ("openai",),
    "admin_changes": ("openai",),
}
SHAPES = {"openai": "OpenAIError", "anthropic": "AnthropicError"}
_PROVIDERS_OWN = "A provider's own rejection, with its status, type and code."


def schemas() -> dict[str, Schema]:
    """The bodies of errors, one for each API; OpenAI's from the struct that is encoded."""
    _, made = msgspec.json.schema_components(
        [client.Error], ref_template="#/components/schemas/{name}"
    )
    kinds = sorted({entry.type for entry in CATALOGUE.values()})
    made["Error"]["properties"]["type"] = TEXT | {"examples": kinds}
    return {
        **msgspec.json.decode(msgspec.json.encode(made)),
        "OpenAIError": record({"error": ref("Error")}, {}, "An error, as OpenAI tells it."),
        "AnthropicError": record(
            {"type": {"const": "error"}, "error": _anthropic(), "request_id": TEXT},
            {},
            "An error, as Anthropic tells it.",
        ),
    }


SCOPES: dict[str, frozenset[str]] = {
    "inference": INFERENCE | KEYED,
    "count": BODY | KEYED | {"provider_rejected"},
    "stored": STORED | KEYED,
    "models": KEYED,
    "model": MODEL | KEYED,
    "usage": USAGE | KEYED,
    "scrape": SCRAPE | {"method_not_allowed"},
    "admin_asks": ADMIN | ADMIN_ASKS,
    "admin_changes": ADMIN | ADMIN_CHANGES,
}
"""What may go wrong, by what is asked for; each has the codes of the edge besides."""


def responses(face: str, scope: str) -> dict[str, Any]:
    """References to a scope's errors, by status."""
    return {
        status: {"$ref": f"#/components/responses/{face}_{scope}_{status}"}
        for status in _responses(face, SCOPES[scope])
    }


def components() -> dict[str, Any]:
    """Errors of every scope and face, by the names that `responses` refers to."""
    return {
        f"{face}_{scope}_{status}": response
        for scope, faces in _FACES.items()
        for face in faces
        for status, response in _responses(face, SCOPES[scope]).items()
    }


def _responses(face: str, codes: frozenset[str]) -> dict[str, Any]:
    by_status: dict[int, list[ErrorCode]] = {}
    for code in sorted(codes | EDGE):
        entry = CATALOGUE[code]
        is_anthropics = face == "anthropic" and code not in EDGE
        status = ANTHROPIC.status(failure(code)) if is_anthropics else entry.status
        by_status.setdefault(status, []).append(entry)
    made = {str(status): _response(face, by_status[status]) for status in sorted(by_status)}
    if "provider_rejected" in codes:
        made["4XX"] = _answer(face, {face}, _PROVIDERS_OWN, headers.FAILED)
    return made


def _response(face: str, entries: list[ErrorCode]) -> dict[str, Any]:
    told = {face} | {"openai" for entry in entries if entry.code in EDGE}
    lines = [f"- `{entry.code}`: {entry.cause}" for entry in entries]
    names: tuple[str, ...] = headers.FAILED
    names += ("www-authenticate",) if any(entry.status == 401 for entry in entries) else ()
    names += ("allow",) if any(entry.status == 405 for entry in entries) else ()
    return _answer(face, told, "\n".join(lines), names)


def _answer(face: str, told: set[str], description: str, names: tuple[str, ...]) -> dict[str, Any]:
    shapes = [ref(SHAPES[one]) for one in sorted(told)]
    schema = shapes[0] if len(shapes) == 1 else either(*shapes)
    base = dict.fromkeys(name for one in sorted({face, *told}) for name in headers.BASE[one])
    return {
        "description": description,
        "headers": headers.of_answer(*base, *headers.WINDOW[face], *names),
        "content": {"application/json": {"schema": schema}},
    }


def _anthropic() -> Schema:
    details = record({"error_code": TEXT}, {"param": TEXT, "tried": {"type": "array"}})
    told = [failure("provider_rejected", status=status) for status in range(400, 600)]
    bodies = [msgspec.json.decode(ANTHROPIC.error_body(one)) for one in told]
    kinds = words(*sorted({body["error"]["type"] for body in bodies}))
    return record({"type": kinds, "message": TEXT, "details": details})
