"""`GET /v1/models`: what a key may use, from the configuration alone."""

import msgspec

from droveway.contracts.config import Config, Key
from droveway.gateway.auth import may_use
from droveway.gateway.refusal import refuse

_CREATED_S = 1_767_225_600
"""A model's age isn't known here; the field is required, so it is the same for all."""


class ModelList:
    """The names that routes serve, and which names they'd take."""

    def __init__(self, config: Config) -> None:
        exact = {route.model for route in config.routes if not route.model.endswith("*")}
        self._prefixes = tuple(r.model[:-1] for r in config.routes if r.model.endswith("*"))
        listed = {
            name
            for provider in config.providers
            for name in provider.models
            if any(name.startswith(prefix) for prefix in self._prefixes)
        }
        self._exact = exact
        self._names = sorted(exact | listed)

    def serves(self, model: str) -> bool:
        """Whether a route takes this name."""
        return model in self._exact or any(model.startswith(prefix) for prefix in self._prefixes)

    def listing(self, key: Key) -> bytes:
        """The list in OpenAI's shape."""
        data = [_entry(name) for name in self._names if may_use(key, name)]
        return msgspec.json.encode({"object": "list", "data": data})

    def one(self, key: Key, name: str) -> bytes:
        """One model.

        Raises:
            Refusal: 404: no route serves it, or the key may not use it.
        """
        if not self.serves(name) or not may_use(key, name):
            text = f"The model `{name[:100]}` does not exist or you do not have access to it."
            raise refuse("model_not_found", text, param="model")
        return msgspec.json.encode(_entry(name))


def _entry(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": _CREATED_S, "owned_by": "droveway"}
