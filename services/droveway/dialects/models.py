"""What is known of models: windows, limits, abilities, and which parameters they refuse.

The facts are data: `models.json`, whose `sources` say where they come from, and the operator's
`models`. All entries that match a name are laid over each other, from the shortest to the longest,
then the operator's; so `claude-opus-4-7*` says only in what it differs from `claude-*`. What
nobody states is allowed: a model that isn't in any list works.
"""

import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from droveway.contracts.config import Model, Thinking
from droveway.contracts.patterns import best_match, covers

MAX_REMEMBERED = 4_096
"""Names of which something is remembered; clients choose names where a route takes any."""
_MAX_HOPS = 8
"""Aliases of aliases that are followed; the configuration's check refuses loops."""
_VENDOR = re.compile(r"^(?:[a-z]+\.)+(?=[a-z])")
"""`us.anthropic.` before the model's own name, as clouds write it."""


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One model. A false ability means that the provider is known to refuse; unknown is true."""

    name: str
    """The name that was asked about, or the pattern of an entry."""
    family: str = ""
    context_tokens: int = 0
    """Input and output together; 0: unknown."""
    max_output_tokens: int = 8_192
    """What stands for `max_tokens` where the client gives none and the provider wants one."""
    chat: bool = True
    tools: bool = True
    parallel_tools: bool = True
    images: bool = True
    audio: bool = True
    files: bool = True
    json_schema: bool = True
    prefill: bool = True
    """A last message of the assistant is accepted."""
    continues: bool = True
    """It is gone on with from where it ends, not answered anew."""
    sampling: bool = True
    """Temperature, top_p and top_k are honoured."""
    temperature_max: float = 2.0
    logprobs: bool = True
    choices: bool = True
    """`n` above 1."""
    thinking: Thinking = "unknown"
    """How it is asked to think: by a token `budget`, `adaptive`, `either` of them, by `effort`;
    `always`: it isn't asked."""
    dropped: tuple[str, ...] = ()
    """Parameters that it refuses; taken out, with a warning."""
    renamed: dict[str, str] = {}
    """Parameters that it has under another name: `max_tokens` to `max_completion_tokens`."""
    cache_min_tokens: int = 0
    """A shorter prefix isn't cached; 0: unknown."""
    cache_ttl: str = "5m"
    """Lifetime of what a client of OpenAI's dialect marks to be cached: `5m` or `1h`."""
    anthropic_version: str = ""
    """The newest version of Anthropic's API that it is served by; empty: `2023-06-01`."""
    embeddings: bool = True
    embedding_dimensions: int = 0
    """Length of its vectors when none is asked for; 0: unknown."""

    @property
    def changes(self) -> bool:
        """Whether it refuses or renames any parameter."""
        return bool(self.dropped or self.renamed)

    def output_for(self, input_tokens: int) -> int:
        """`max_output_tokens`, or what a known window leaves beside the input; at least 1."""
        if not self.context_tokens:
            return self.max_output_tokens
        return max(1, min(self.max_output_tokens, self.context_tokens - input_tokens))


class _Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`models.json`."""

    sources: dict[str, str]
    aliases: dict[str, str]
    models: tuple[Model, ...]


_DATA = msgspec.json.decode(Path(__file__).with_name("models.json").read_bytes(), type=_Data)


class ModelTable:
    """Facts and aliases: the built-in ones below the operator's."""

    def __init__(
        self, overrides: tuple[Model, ...] = (), aliases: Mapping[str, str] | None = None
    ) -> None:
        self._layers = tuple(
            sorted(models, key=lambda model: _rank(model.name))
            for models in (_DATA.models, overrides)
        )
        self.aliases: Mapping[str, str] = dict(aliases or {})
        """The operator's."""
        self._facts = functools.lru_cache(MAX_REMEMBERED)(self._laid_over)

    def facts(self, model: str) -> ModelFacts:
        """What is known of `model`, as a provider names it: `anthropic/claude-sonnet-4.5`, say."""
        return self._facts(model)

    def alias(self, model: str) -> str:
        """The name that `model` stands for: the operator's aliases first, then the built-in."""
        name = self._operators(model)
        return name if self.aliases.get(name) == name else self._builtin(name)

    def served(self, model: str, specificity: Callable[[str], int]) -> str:
        """The name that is routed when a client asks for `model`.

        A route that names it goes before any alias, and the operator's aliases before the built-in
        ones. Those correct spellings, so they hold unless the name as it stands has the more
        specific route, or the operator's alias of it is itself.

        Args:
            model: As the client wrote it.
            specificity: Of a name's route: larger is more specific, `EXACT` for its own, -1: none.
        """
        if specificity(model) == EXACT:
            return model
        name = self._operators(model)
        asked = specificity(name)
        if asked == EXACT or self.aliases.get(name) == name:
            return name
        known = self._builtin(name)
        return known if specificity(known) >= asked else name

    def _operators(self, model: str) -> str:
        for _ in range(_MAX_HOPS):
            pattern = best_match(self.aliases, model)
            if pattern is None or self.aliases[pattern] == model:
                break
            model = self.aliases[pattern]
        return model

    def _builtin(self, model: str) -> str:
        pattern = best_match(_DATA.aliases, model)
        return model if pattern is None else _DATA.aliases[pattern]

    def _laid_over(self, model: str) -> ModelFacts:
        names = {model.lower(), plain_name(model)}
        stated: dict[str, Any] = {}
        for layer in self._layers:
            for entry in layer:
                if any(covers(entry.name.lower(), name) for name in names):
                    stated |= _stated(entry)
        return ModelFacts(**stated | {"name": model})


EXACT = 1_000_000
"""Specificity of a route that bears the model's own name."""


def plain_name(model: str) -> str:
    """The model's name without vendor, region and capitals: how the built-in table has it."""
    name = _VENDOR.sub("", model.lower().rpartition("/")[2])
    return name.replace(".", "-") if name.startswith("claude") else name


def _rank(pattern: str) -> tuple[bool, int]:
    return not pattern.endswith("*"), len(pattern)


def _stated(entry: Model) -> dict[str, Any]:
    values = ((name, getattr(entry, name)) for name in entry.__struct_fields__)
    return {name: value for name, value in values if value is not None}
