"""`GET /v1/models`: what a key may use, from the configuration alone.

Each entry, and the list, has the keys of OpenAI's and of Anthropic's shape at once: the SDKs of
both ignore what they don't know, so nobody has to be told apart.
"""

import functools

import msgspec

from droveway.contracts.access import Key
from droveway.contracts.config import Config, Route
from droveway.contracts.patterns import best_match
from droveway.dialects.models import EXACT, MAX_REMEMBERED, ModelTable
from droveway.gateway.auth import may_use
from droveway.gateway.refusal import no_such_model

_CREATED_S = 1_767_225_600
_CREATED_AT = "2026-01-01T00:00:00Z"
"""A model's age isn't known here; the fields are required, so they are the same for all."""


class ModelList:
    """The names that routes serve, and which names they'd take."""

    def __init__(self, config: Config) -> None:
        self._routes = {route.model: route for route in config.routes}
        self._counting = {one.id for one in config.providers if one.dialect == "anthropic"}
        self._table = ModelTable(config.models, config.aliases)
        self._found = functools.lru_cache(MAX_REMEMBERED)(self._find)
        exact = {name for name in self._routes if not name.endswith("*")}
        listed = {name for provider in config.providers for name in provider.models}
        aliases = {name for name in config.aliases if not name.endswith("*")}
        self._names = sorted(name for name in exact | listed | aliases if self.serves(name))

    def served(self, model: str) -> str:
        """The name that is routed for what a client calls `model`: an alias's, or its own."""
        return self._found(model)[0]

    def serves(self, model: str) -> bool:
        """Whether a route takes this name, or the one that it is an alias of."""
        return self._found(model)[1] is not None

    def counts(self, model: str) -> bool:
        """Whether a provider that counts tokens is among those that serve it."""
        route = self._found(model)[1]
        tiers = () if route is None else route.tiers
        return any(one.provider in self._counting for tier in tiers for one in tier.targets)

    def allows(self, key: Key, model: str) -> bool:
        """Whether a route serves it, and the key may use it by this name or by the routed one."""
        return self.serves(model) and (may_use(key, model) or may_use(key, self.served(model)))

    def listing(self, key: Key) -> bytes:
        """All models of a key, on one page."""
        names = [name for name in self._names if self.allows(key, name)]
        return msgspec.json.encode(
            {
                "object": "list",
                "data": [self._entry(name) for name in names],
                "has_more": False,
                "first_id": names[0] if names else None,
                "last_id": names[-1] if names else None,
            }
        )

    def one(self, key: Key, name: str) -> bytes:
        """One model.

        Raises:
            Refusal: 404: no route serves it, or the key may not use it.
        """
        if not self.allows(key, name):
            raise no_such_model(name)
        return msgspec.json.encode(self._entry(name))

    def _entry(self, name: str) -> dict[str, object]:
        served, route = self._found(name)
        target = route.tiers[0].targets[0].model if route else ""
        facts = self._table.facts(target or served)
        return {
            "type": "model",
            "id": name,
            "object": "model",
            "created": _CREATED_S,
            "created_at": _CREATED_AT,
            "display_name": name,
            "owned_by": "droveway",
            "lifecycle": "active",
            "max_input_tokens": facts.context_tokens or None,
            "max_tokens": facts.max_output_tokens if facts.chat else None,
        }

    def _find(self, model: str) -> tuple[str, Route | None]:
        served = self._table.served(model, self._specificity)
        pattern = best_match(self._routes, served)
        return served, None if pattern is None else self._routes[pattern]

    def _specificity(self, model: str) -> int:
        pattern = best_match(self._routes, model)
        if pattern is None:
            return -1
        return EXACT if pattern == model else len(pattern)
