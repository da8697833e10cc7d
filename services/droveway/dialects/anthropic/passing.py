"""An Anthropic request for an Anthropic provider: as it came, but for the model's name.

Key order and the bytes of every value stay, so that the provider's prompt cache is hit.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from droveway.dialects.anthropic.cache_markers import fold_cache_markers
from droveway.dialects.chat.passing import forwarded

NOT_COUNTED = frozenset(
    {
        "container", "diagnostics", "fallback_credit_token", "fallbacks", "inference_geo",
        "max_tokens", "metadata", "service_tier", "stop_sequences", "stream", "temperature",
        "thread", "top_k", "top_p",
    }
)  # fmt: skip
"""Fields of a message that `count_tokens` hasn't, and that change no count."""

_any = msgspec.json.Decoder(dict[str, Any])
_encode = msgspec.json.Encoder().encode
_MARKER = b'"cache_control"'


class Passed(NamedTuple):
    """A body, and what was changed in it."""

    body: bytes
    warnings: tuple[str, ...] = ()


def passed_body(
    body: bytes,
    model: str,
    without: Collection[str] = (),
    added: Mapping[str, msgspec.Raw] = MappingProxyType({}),
) -> Passed:
    """The client's body for the provider.

    Args:
        body: As it came.
        model: The provider's name of it.
        without: Fields that the provider's endpoint doesn't have.
        added: Fields that stand for the client's own.

    Raises:
        msgspec.DecodeError: It isn't a JSON object.
        Untranslatable: A cache marker can't be placed.
    """
    fields = forwarded(body, model)
    for name in without:
        fields.pop(name, None)
    fields.update(added)
    warnings: tuple[str, ...] = ()
    if _has_marker_block(body):
        folded, warnings = fold_cache_markers(_any.decode(body))
        for name in ("system", "messages"):
            if name in folded:
                fields[name] = msgspec.Raw(_encode(folded[name]))
    return Passed(_encode(fields), warnings)


def _has_marker_block(body: bytes) -> bool:
    """Whether a cache marker may stand as a block of its own (a `type`, not a key)."""
    return body.count(_MARKER) > body.count(_MARKER + b":") + body.count(_MARKER + b" :")
