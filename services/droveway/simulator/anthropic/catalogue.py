"""The simulator's models as Anthropic lists them."""

from collections.abc import Mapping

import msgspec

from droveway.simulator import catalogue
from droveway.simulator.errors import ApiError

CREATED_AT = "2026-01-01T00:00:00Z"
MAX_INPUT_TOKENS = 200_000
MAX_TOKENS = 128_000
DEFAULT_LIMIT = 20


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model as `/v1/models` lists it to who sends `anthropic-version`."""

    type: str = "model"
    id: str
    display_name: str
    created_at: str = CREATED_AT
    lifecycle: str = "active"
    max_input_tokens: int = MAX_INPUT_TOKENS
    max_tokens: int = MAX_TOKENS


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the list."""

    data: list[Model]
    has_more: bool
    first_id: str | None
    last_id: str | None


def page(query: Mapping[str, str]) -> Page:
    """List the models after `after_id`, `limit` at most.

    Raises:
        ApiError: 400, the limit is no number of 1 to 1000.
    """
    models = [_model(model.id) for model in catalogue.MODELS]
    names = [model.id for model in models]
    after = query.get("after_id")
    start = names.index(after) + 1 if after in names else 0
    limit = query.get("limit", str(DEFAULT_LIMIT))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= 1000):
        raise ApiError(400, f"limit: {limit!r} is not a whole number of 1 to 1000")
    shown = models[start : start + int(limit)]
    return Page(
        data=shown,
        has_more=start + len(shown) < len(models),
        first_id=shown[0].id if shown else None,
        last_id=shown[-1].id if shown else None,
    )


def find(name: str) -> Model:
    """Describe a model by name; only the missing one isn't there.

    Raises:
        ApiError: 404, as Anthropic says it.
    """
    if name == catalogue.MISSING_MODEL:
        raise not_found(name)
    return _model(name)


def not_found(name: str) -> ApiError:
    """Refuse a model as Anthropic refuses one that doesn't exist."""
    return ApiError(404, f"model: {name}")


def _model(name: str) -> Model:
    return Model(id=name, display_name=name.replace("-", " ").title())
