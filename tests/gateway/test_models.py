import json
from typing import Any

import msgspec
import pytest

from droveway.contracts.config import Key
from droveway.gateway.models import ModelList
from droveway.gateway.refusal import Refusal
from tests.support.gateway_app import config_of


def key(*models: str) -> Key:
    return Key(id="k", sha256="0" * 64, models=models or ("*",))


def names(models: ModelList, key: Key) -> list[str]:
    return [entry["id"] for entry in json.loads(models.listing(key))["data"]]


def test_exact_routes_and_the_models_behind_open_ones_are_listed_once_and_in_order() -> None:
    models = ModelList(config_of("", "o3", "gpt-*", listed=("gpt-5", "gpt-4.1", "claude", "o3")))
    assert names(models, key()) == ["gpt-4.1", "gpt-5", "o3"]


def test_a_key_sees_only_what_it_may_use() -> None:
    models = ModelList(config_of("", "*", listed=("gpt-5", "claude", "o3")))
    assert names(models, key("gpt-*", "o3")) == ["gpt-5", "o3"]
    assert names(models, key("none")) == []


def test_an_entry_has_openai_s_shape() -> None:
    models = ModelList(config_of("", "gpt-5"))
    listing: dict[str, Any] = msgspec.json.decode(models.listing(key()))
    entry = {"id": "gpt-5", "object": "model", "created": 1_767_225_600, "owned_by": "droveway"}
    assert listing == {"object": "list", "data": [entry]}
    assert json.loads(models.one(key(), "gpt-5")) == entry


@pytest.mark.parametrize(
    ("name", "allowed"),
    [("gpt-5", ("*",)), ("o3", ("gpt-*",)), ("", ("*",)), ("*", ("*",))],
    ids=["no route", "not the key's", "empty", "star"],
)
def test_a_model_that_is_not_there_or_not_allowed_looks_the_same(
    name: str, allowed: tuple[str, ...]
) -> None:
    models = ModelList(config_of("", "o3"))
    with pytest.raises(Refusal) as caught:
        models.one(key(*allowed), name)
    failure = caught.value.failure
    assert (failure.code, failure.param) == ("model_not_found", "model")
    assert failure.message == (
        f"The model `{name}` does not exist or you do not have access to it."
    )


def test_an_open_route_serves_names_that_nobody_listed() -> None:
    models = ModelList(config_of("", "gpt-*"))
    assert models.serves("gpt-6-nano")
    assert not models.serves("claude")
    assert json.loads(models.one(key(), "gpt-6-nano"))["id"] == "gpt-6-nano"
