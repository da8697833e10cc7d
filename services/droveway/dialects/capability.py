"""What a request needs of its target, and whether a target has it.

The door reads the needs from the body, the router compares them with what is known of each
target, so that one which would refuse is never asked, and a request that nobody can serve ends in
one 400 that names the parameter.
"""

from collections.abc import Collection, Iterator
from typing import Any

from droveway.contracts.inference import Needs
from droveway.dialects.models import ModelFacts

_IMAGES = frozenset({"image_url", "image"})
_FILES = frozenset({"file", "document"})

_SAID = {
    "tools": ("tools", "tools"),
    "images": ("messages", "images"),
    "audio": ("messages", "audio"),
    "files": ("messages", "files"),
    "json_schema": ("response_format", "a `json_schema` response format"),
    "prefill": ("messages", "a last message of the assistant, which it would continue"),
    "continues": ("messages", "going on with an answer that broke off"),
    "logprobs": ("logprobs", "`logprobs`"),
    "choices": ("n", "`n` above 1"),
    "embeddings": ("model", "embeddings"),
}
"""By need: the parameter, and how it is called in a sentence."""

_NOT_ANTHROPIC = frozenset({"audio", "choices", "embeddings", "logprobs"})
"""What Anthropic's API has no words for."""


def needs_of(request: dict[str, Any]) -> Needs:
    """The needs of a chat request in its normal form, whose shape has been checked."""
    kinds = set(_part_types(request))
    shape = request.get("response_format")
    last = request["messages"][-1]
    return Needs(
        tools=bool(request.get("tools") or request.get("functions")),
        images=not _IMAGES.isdisjoint(kinds),
        json_schema=isinstance(shape, dict) and shape.get("type") == "json_schema",
        prefill=last.get("role") == "assistant" and not last.get("tool_calls"),
        audio="input_audio" in kinds or _speaks(request),
        files=not _FILES.isdisjoint(kinds),
        logprobs=bool(request.get("logprobs") or request.get("top_logprobs")),
        choices=(request.get("n") or 1) > 1,
    )


def missing(
    needs: Needs, facts: ModelFacts, dialect: str, lacks: Collection[str] = ()
) -> tuple[str, str] | None:
    """The first need that a target can't meet: parameter and sentence; None if it meets all.

    Args:
        needs: The request's.
        facts: Of the target's model.
        dialect: Of the target: `openai` or `anthropic`.
        lacks: What its provider can't do, whatever the model.
    """
    if not needs.embeddings and not facts.chat:
        return "model", f"`{facts.name}` makes embeddings; it doesn't chat."
    for need in needs.__struct_fields__:
        if not getattr(needs, need):
            continue
        param, words = _SAID[need]
        if not getattr(facts, need):
            return param, f"`{facts.name}` doesn't support {words}."
        if need in lacks or (dialect == "anthropic" and need in _NOT_ANTHROPIC):
            return param, f"The provider of `{facts.name}` doesn't support {words}."
    return None


def _part_types(request: dict[str, Any]) -> Iterator[str]:
    for message in request["messages"]:
        content = message.get("content")
        if isinstance(content, list):
            for part in content:
                yield part["type"]


def _speaks(request: dict[str, Any]) -> bool:
    modalities = request.get("modalities")
    return isinstance(modalities, list) and "audio" in modalities
