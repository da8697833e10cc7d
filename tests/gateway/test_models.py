import json
from typing import Any

import msgspec
import pytest

from droveway.contracts.access import Key
from droveway.contracts.config import Tier
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


GPT_5 = {
    "type": "model",
    "id": "gpt-5",
    "object": "model",
    "created": 1_767_225_600,
    "created_at": "2026-01-01T00:00:00Z",
    "display_name": "gpt-5",
    "owned_by": "droveway",
    "lifecycle": "active",
    "max_input_tokens": 400_000,
    "max_tokens": 128_000,
}


def test_an_entry_has_the_keys_of_openai_and_of_anthropic() -> None:
    models = ModelList(config_of("", "gpt-5"))
    listing: dict[str, Any] = msgspec.json.decode(models.listing(key()))
    assert listing == {
        "object": "list",
        "data": [GPT_5],
        "has_more": False,
        "first_id": "gpt-5",
        "last_id": "gpt-5",
    }
    assert json.loads(models.one(key(), "gpt-5")) == GPT_5


def test_a_page_tells_its_first_and_its_last_model() -> None:
    models = ModelList(config_of("", "o3", "gpt-5", "gpt-4.1"))
    listing = json.loads(models.listing(key()))
    assert (listing["first_id"], listing["last_id"]) == ("gpt-4.1", "o3")
    none = json.loads(models.listing(key("none")))
    assert (none["data"], none["first_id"], none["last_id"]) == ([], None, None)


def test_what_is_not_known_of_a_model_is_null() -> None:
    models = ModelList(config_of("", "made-up", "text-embedding-3-small"))
    assert json.loads(models.one(key(), "made-up"))["max_input_tokens"] is None
    assert json.loads(models.one(key(), "text-embedding-3-small"))["max_tokens"] is None


def test_the_facts_are_those_of_the_model_behind_the_name() -> None:
    config = config_of("", "smart")
    route = config.routes[0]
    target = msgspec.structs.replace(route.tiers[0].targets[0], model="claude-opus-4-7")
    route = msgspec.structs.replace(route, tiers=(Tier(targets=(target,)),))
    models = ModelList(msgspec.structs.replace(config, routes=(route,)))
    assert json.loads(models.one(key(), "smart"))["max_input_tokens"] == 1_000_000


def test_aliases_are_listed_and_served() -> None:
    config = msgspec.structs.replace(
        config_of("", "gpt-*", listed=("gpt-5",)),
        aliases={"fast": "gpt-5", "team-*": "gpt-5", "gone": "claude"},
    )
    models = ModelList(config)
    assert names(models, key()) == ["fast", "gpt-5"]
    assert json.loads(models.one(key(), "team-a"))["max_tokens"] == 128_000
    assert models.served("team-a") == "gpt-5"
    assert not models.serves("gone")


def test_a_key_may_use_an_alias_by_either_name() -> None:
    config = msgspec.structs.replace(config_of("", "*"), aliases={"fast": "gpt-5"})
    models = ModelList(config)
    assert models.allows(key("fast"), "fast")
    assert models.allows(key("gpt-*"), "fast")
    assert not models.allows(key("claude-*"), "fast")
    assert models.allows(key("claude-sonnet-4-5"), "claude-sonnet-4.5-20250514")
    assert names(models, key("claude-*")) == []


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
