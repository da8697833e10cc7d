"""What goes to a provider: path, headers and body in its own dialect, for one attempt."""

import re
from typing import Any, NamedTuple

import msgspec

from droveway.caller.credentials import Secret
from droveway.caller.upstream import Upstream
from droveway.contracts.dispatch import CallRouted
from droveway.dialects import dialect
from droveway.dialects.anthropic.from_chat import from_chat
from droveway.dialects.anthropic.passing import NOT_COUNTED, passed_body
from droveway.dialects.anthropic.to_chat import to_chat
from droveway.dialects.chat import passing as openai_chat
from droveway.dialects.chat.extensions import without_extensions
from droveway.dialects.embeddings import request as embeddings
from droveway.dialects.estimate import body_tokens
from droveway.dialects.models import ModelFacts
from droveway.dialects.quirks import apply, going_on
from droveway.dialects.untranslatable import Untranslatable

VERSION_2023 = "2023-06-01"
VERSION_2026 = "2026-10-21"
"""From it on sampling parameters are refused."""
_TEMPERATURE_MAX = 1.0
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SAMPLING = ("temperature", "top_p", "top_k")
_STREAMED = msgspec.Raw(b"true")
_requests = msgspec.json.Decoder(dict[str, Any])
_encode = msgspec.json.Encoder().encode
_COMMON = ((b"content-type", b"application/json"), (b"user-agent", b"droveway"))


class Outgoing(NamedTuple):
    """One request to a provider."""

    path: str
    """Below the provider's base URL, with its query."""
    headers: list[tuple[bytes, bytes]]
    body: bytes
    warnings: tuple[str, ...] = ()
    """What the provider doesn't get of what the client asked for."""


def outgoing(call: CallRouted, body: bytes, upstream: Upstream, facts: ModelFacts) -> Outgoing:
    """The client's request as this provider takes it.

    Args:
        call: The attempt.
        body: The client's request, in the call's dialect.
        upstream: The provider.
        facts: What is known of the target's model.

    Raises:
        Untranslatable: The provider's dialect has no words for it.
        msgspec.DecodeError: The body isn't JSON.
    """
    secret = upstream.secrets[call.target.credential]
    if upstream.provider.dialect == "anthropic":
        return _messages(call, body, upstream, facts, secret)
    if call.dialect == dialect.COUNT_TOKENS:
        raise Untranslatable("The provider doesn't count tokens", "model")
    quirk, version = upstream.quirk, upstream.provider.api_version
    if call.dialect == dialect.EMBEDDINGS:
        sent = embeddings.upstream_body(body, call.target.model, base64=quirk.base64_embeddings)
        path = quirk.path("embeddings", version)
        return Outgoing(path, _headers(call, quirk.auth, secret), sent)
    warnings: tuple[str, ...] = ()
    translated = call.dialect == dialect.MESSAGES
    if translated:
        normal = to_chat(_requests.decode(body))
        body, warnings = _encode(normal.body), normal.warnings
    streamed = call.stream or call.gathered
    fields = openai_chat.upstream_fields(body, call.target.model, stream=streamed)
    if call.gathered:
        fields["stream"] = _STREAMED
    fields, more = apply(quirk, facts, without_extensions(fields, translated=translated))
    if call.continues:
        fields = going_on(quirk, fields)
    path = quirk.path("chat", version)
    return Outgoing(path, _headers(call, quirk.auth, secret), _encode(fields), (*warnings, *more))


def _messages(
    call: CallRouted, body: bytes, upstream: Upstream, facts: ModelFacts, secret: Secret
) -> Outgoing:
    path = upstream.quirk.path("chat")
    counting = call.dialect == dialect.COUNT_TOKENS
    if counting or call.dialect == dialect.MESSAGES:
        path += "/count_tokens" if counting else ""
        added = {"stream": _STREAMED} if call.gathered else {}
        passed = passed_body(body, call.target.model, NOT_COUNTED if counting else (), added)
        headers = _anthropic_headers(call, upstream, _version(call.api_version), secret)
        if call.api_features:
            headers.append((b"anthropic-beta", call.api_features.encode()))
        return Outgoing(path, headers, passed.body, passed.warnings)
    request = _requests.decode(body)
    sampled = facts.sampling and any(request.get(name) is not None for name in _SAMPLING)
    newest = upstream.provider.api_version or facts.anthropic_version
    version = VERSION_2023 if sampled else _version(newest)
    translated = from_chat(
        request,
        max_output_tokens=facts.output_for(body_tokens(body)),
        sampling=facts.sampling,
        version_2026=version >= VERSION_2026,
        temperature_max=min(_TEMPERATURE_MAX, facts.temperature_max),
        cache_ttl=facts.cache_ttl,
    )
    streamed = call.stream or call.gathered
    sent = {**translated.body, "model": call.target.model, "stream": streamed}
    headers = _anthropic_headers(call, upstream, version, secret)
    return Outgoing(path, headers, _encode(sent), translated.warnings)


def _version(text: str) -> str:
    """A version of Anthropic's API; what is no date counts as not said."""
    return text if _DATE.fullmatch(text) else VERSION_2023


def _anthropic_headers(
    call: CallRouted, upstream: Upstream, version: str, secret: Secret
) -> list[tuple[bytes, bytes]]:
    auth = upstream.quirk.auth if version < VERSION_2026 else "bearer"
    return [*_headers(call, auth, secret), (b"anthropic-version", version.encode())]


def _headers(call: CallRouted, auth: str, secret: Secret) -> list[tuple[bytes, bytes]]:
    accept = b"text/event-stream" if call.stream or call.gathered else b"application/json"
    headers = [*_COMMON, (b"accept", accept)]
    if secret:
        name, value = secret.header(auth)
        headers.append((name, value))
    return headers
