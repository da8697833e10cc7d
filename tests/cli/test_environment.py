import pytest

from droveway.cli.config import to_yaml
from droveway.cli.environment import configuration, credential_variables
from droveway.contracts.config import Config
from droveway.runtime.api_key import hash_key, make_key
from droveway.runtime.config.file import parse
from droveway.runtime.errors import SettingsError

KEY = make_key("test")
OPENAI = ("gpt-*", "o1*", "o3*", "o4*", "chatgpt-*", "text-embedding-*")


def routes(**environment: str) -> dict[str, list[str]]:
    config = configuration(environment, KEY, 8090)
    return {
        route.model: [tier.targets[0].provider for tier in route.tiers] for route in config.routes
    }


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {"*": ["simulator"]}),
        ({"OPENAI_API_KEY": ""}, {"*": ["simulator"]}),
        ({"OPENAI_API_KEY": "k"}, {name: ["openai"] for name in (*OPENAI, "*")}),
        ({"ANTHROPIC_API_KEY": "k"}, {"claude-*": ["anthropic"], "*": ["anthropic"]}),
        ({"DEEPSEEK_API_KEY": "k"}, {"deepseek-*": ["deepseek"], "*": ["deepseek"]}),
        ({"HOLYSHEEP_API_KEY": "k"}, {"*": ["holysheep"]}),
        (
            {"DEEPSEEK_API_KEY": "k", "HOLYSHEEP_API_KEY": "k"},
            {"deepseek-*": ["deepseek", "holysheep"], "*": ["holysheep"]},
        ),
        (
            {"B_API_KEY": "k", "B_BASE_URL": "https://b/v1", "ANTHROPIC_API_KEY": "k",
             "A_BASE_URL": "https://a/v1", "A_API_KEY": "k"},
            {"claude-*": ["anthropic", "b", "a"], "*": ["b", "a"]},
        ),
        (
            {"DEEPSEEK_API_KEY": "k", "ANTHROPIC_API_KEY": "k"},
            {"deepseek-*": ["deepseek"], "claude-*": ["anthropic"], "*": ["deepseek"]},
        ),
        ({"LONELY_API_KEY": "k"}, {"*": ["simulator"]}),
        ({"DROVEWAY_API_KEY": "k", "DROVEWAY_BASE_URL": "https://d"}, {"*": ["simulator"]}),
        ({"MY_RELAY_API_KEY": "k", "MY_RELAY_BASE_URL": "https://r/"}, {"*": ["my_relay"]}),
    ],
    ids=["nothing", "empty", "openai", "anthropic", "deepseek", "relay", "own and relay",
         "order of appearance", "two owners", "no address", "not a provider", "long name"],
)  # fmt: skip
def test_keys_become_routes(environment: dict[str, str], expected: dict[str, list[str]]) -> None:
    assert routes(**environment) == expected


@pytest.mark.parametrize(
    ("environment", "base_url"),
    [
        ({"OPENAI_API_KEY": "k"}, "https://api.openai.com/v1"),
        ({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "https://o.example/v1/"},
         "https://o.example/v1"),
        ({"ANTHROPIC_API_KEY": "k"}, "https://api.anthropic.com/v1"),
        ({"DEEPSEEK_API_KEY": "k"}, "https://api.deepseek.com"),
        ({"HOLYSHEEP_API_KEY": "k"}, "https://api.holysheep.ai/v1"),
        ({}, "http://127.0.0.1:8090/v1"),
    ],
)  # fmt: skip
def test_each_provider_has_its_address(environment: dict[str, str], base_url: str) -> None:
    assert configuration(environment, KEY, 8090).providers[0].base_url == base_url


def test_the_file_holds_references_and_hashes_only() -> None:
    config = configuration({"OPENAI_API_KEY": "sk-very-secret"}, KEY, 8090)
    text = to_yaml(config, "made by a test")
    assert "sk-very-secret" not in text
    assert KEY not in text
    assert "${OPENAI_API_KEY}" in text
    assert hash_key(KEY) in text


@pytest.mark.parametrize("environment", [{}, {"OPENAI_API_KEY": "k", "HOLYSHEEP_API_KEY": "k"}])
def test_the_written_file_is_read_as_the_same_configuration(environment: dict[str, str]) -> None:
    config = configuration(environment, KEY, 8090)
    assert parse(to_yaml(config, "one\ntwo").encode(), "test") == config


def test_the_simulator_lists_models_with_prices() -> None:
    provider = configuration({}, KEY, 8090).providers[0]
    assert {"sim-small", "gpt-4o", "gpt-4.1"} <= set(provider.models)
    assert set(provider.models) == set(provider.prices)


def test_keys_have_the_limit_of_the_environment() -> None:
    def limits(**environment: str) -> list[tuple[int | None, float]]:
        config = configuration(environment, KEY, 8090)
        assert not config.keys[0].limits
        return [(limit.requests, limit.window_s) for limit in config.default_limits]

    assert limits() == [(1000, 60.0)]
    assert limits(API_REQUEST_LIMIT="5", API_REQUEST_INTERVAL="1.5") == [(5, 1.5)]


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
def test_a_wrong_limit_is_named(value: str) -> None:
    with pytest.raises(SettingsError, match=f"API_REQUEST_LIMIT='{value}'"):
        configuration({"API_REQUEST_LIMIT": value}, KEY, 8090)


def test_credentials_are_told_by_name_and_by_reference() -> None:
    environment = {"OPENAI_API_KEY": "k", "OTHER_API_KEY": "k", "HOME": "/", "SECRET": "s"}
    config: Config = configuration(environment, KEY, 8090)
    assert credential_variables(environment, config) == {"OPENAI_API_KEY", "OTHER_API_KEY"}
    text = to_yaml(config).replace("${OPENAI_API_KEY}", "${SECRET}")
    referring = parse(text.encode(), "test")
    assert "SECRET" in credential_variables(environment, referring)
