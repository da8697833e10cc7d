"""The models that the simulator lists, with prices of its own."""

import msgspec

OWNER = "simulator"
CREATED = 1_767_225_600
MISSING_MODEL = "missing-model"
"""The one name that is refused with 404; any other is served, listed or not."""


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """US dollars for a million tokens."""

    input_per_mtok_usd: float
    cached_input_per_mtok_usd: float
    output_per_mtok_usd: float


class Model(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model as `/v1/models` lists it; a model that isn't in the table has no prices."""

    id: str
    object: str
    created: int
    owned_by: str
    prices: Prices | None = None


def _model(name: str, prices: Prices | None = None) -> Model:
    return Model(id=name, object="model", created=CREATED, owned_by=OWNER, prices=prices)


MODELS = (
    _model(
        "sim-small",
        Prices(input_per_mtok_usd=0.2, cached_input_per_mtok_usd=0.02, output_per_mtok_usd=0.8),
    ),
    _model(
        "sim-medium",
        Prices(input_per_mtok_usd=1.0, cached_input_per_mtok_usd=0.1, output_per_mtok_usd=4.0),
    ),
    _model(
        "sim-large",
        Prices(input_per_mtok_usd=3.0, cached_input_per_mtok_usd=0.3, output_per_mtok_usd=15.0),
    ),
)


def find(name: str) -> Model | None:
    """Describe a model by name; only `missing-model` isn't there."""
    if name == MISSING_MODEL:
        return None
    return next((model for model in MODELS if model.id == name), _model(name))
