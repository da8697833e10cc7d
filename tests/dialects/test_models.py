"""What is known of models: from the least to the most specific, then the operator's."""

from typing import Any

import msgspec
import pytest

from droveway.contracts.config import Model
from droveway.dialects.models import (
    _DATA,
    EXACT,
    MAX_REMEMBERED,
    ModelFacts,
    ModelTable,
    plain_name,
)

TABLE = ModelTable()


def test_a_model_that_nobody_knows_may_do_anything() -> None:
    facts = TABLE.facts("some-new-model")
    assert facts == ModelFacts(name="some-new-model")
    assert all(value is not False for value in msgspec.structs.asdict(facts).values())
    assert not facts.changes


ROWS: list[tuple[str, dict[str, Any]]] = [
    ("gpt-4o", {"context_tokens": 128_000, "max_output_tokens": 16_384, "sampling": True}),
    ("gpt-4o-2024-05-13", {"max_output_tokens": 4_096, "json_schema": False}),
    ("gpt-4o-audio-preview", {"audio": True, "images": False}),
    ("gpt-4", {"context_tokens": 8_192, "images": False}),
    ("gpt-4-turbo-2024-04-09", {"context_tokens": 128_000, "images": True}),
    ("gpt-4.1-mini", {"context_tokens": 1_000_000, "images": True, "logprobs": True}),
    ("gpt-5-mini", {"sampling": False, "renamed": {"max_tokens": "max_completion_tokens"}}),
    ("gpt-5-chat-latest", {"sampling": True, "dropped": ()}),
    ("gpt-5.1", {"sampling": True, "logprobs": True, "dropped": ()}),
    ("gpt-5.4-mini", {"context_tokens": 400_000, "sampling": True}),
    ("gpt-5.6-luna", {"context_tokens": 1_050_000, "sampling": False, "logprobs": False}),
    ("o3-mini", {"images": False, "parallel_tools": False, "thinking": "effort"}),
    ("o1", {"renamed": {"max_tokens": "max_completion_tokens"}, "images": True}),
    ("claude-3-5-haiku-latest", {"json_schema": False, "cache_min_tokens": 2_048}),
    ("claude-sonnet-4-5-20250929", {"prefill": True, "sampling": True, "thinking": "budget"}),
    ("claude-sonnet-4-5", {"context_tokens": 200_000, "cache_min_tokens": 1_024}),
    ("claude-opus-4-6", {"prefill": False, "sampling": True, "max_output_tokens": 128_000}),
    ("claude-opus-4-7", {"sampling": False, "dropped": ("temperature", "top_p", "top_k")}),
    ("claude-opus-5-5", {"context_tokens": 1_000_000, "cache_min_tokens": 512}),
    ("claude-haiku-4-5", {"cache_min_tokens": 4_096, "anthropic_version": "2026-10-21"}),
    ("gemini-2.5-flash", {"context_tokens": 1_048_576, "max_output_tokens": 65_536}),
    ("gemini-embedding-001", {"chat": False, "embeddings": True, "embedding_dimensions": 3_072}),
    ("deepseek-chat", {"images": False, "context_tokens": 128_000}),
    ("deepseek-reasoner", {"sampling": False, "thinking": "always"}),
    ("deepseek-v4-flash", {"context_tokens": 1_000_000, "images": True}),
    ("qwen3-max", {"context_tokens": 262_144}),
    ("qwen-plus", {"context_tokens": 1_000_000}),
    ("kimi-k2.6", {"choices": False, "sampling": False, "context_tokens": 262_144}),
    ("moonshot-v1-8k", {"context_tokens": 8_192, "sampling": True, "temperature_max": 1.0}),
    ("glm-4.6", {"context_tokens": 200_000, "temperature_max": 1.0}),
    ("doubao-seed-1-6-250615", {"context_tokens": 262_144, "family": "doubao"}),
    ("MiniMax-M2", {"context_tokens": 204_800, "family": "minimax"}),
    ("llama3.1:8b", {"context_tokens": 131_072, "family": "llama"}),
    ("text-embedding-3-small", {"chat": False, "embedding_dimensions": 1_536}),
    ("text-embedding-3-large", {"chat": False, "embedding_dimensions": 3_072}),
]


@pytest.mark.parametrize(("model", "expected"), ROWS, ids=[name for name, _ in ROWS])
def test_a_known_model_has_its_facts(model: str, expected: dict[str, Any]) -> None:
    facts = TABLE.facts(model)
    assert facts.name == model
    assert {name: getattr(facts, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("anthropic/claude-sonnet-4.5", "claude-sonnet-4-5"),
        ("us.anthropic.claude-opus-4-7-v1:0", "claude-opus-4-7-v1:0"),
        ("deepseek-ai/DeepSeek-V3.2", "deepseek-v3.2"),
        ("Qwen/Qwen3-32B", "qwen3-32b"),
        ("qwen.qwen3-32b-v1:0", "qwen3-32b-v1:0"),
        ("gpt-4.1", "gpt-4.1"),
        ("", ""),
        ("a/", ""),
    ],
)
def test_a_name_is_known_however_providers_write_it(written: str, plain: str) -> None:
    assert plain_name(written) == plain
    known, same = TABLE.facts(written), TABLE.facts(plain)
    assert msgspec.structs.replace(known, name="") == msgspec.structs.replace(same, name="")


def test_the_operators_word_goes_over_the_tables_and_a_longer_name_over_a_shorter() -> None:
    table = ModelTable(
        (
            Model(name="gpt-4o", context_tokens=9),
            Model(name="gpt-*", images=False, context_tokens=7),
            Model(name="Acme/*", tools=False, renamed={"max_tokens": "limit"}, dropped=("seed",)),
            Model(name="claude-opus-4-7*", dropped=()),
        )
    )
    assert (table.facts("gpt-4o").context_tokens, table.facts("gpt-4o").images) == (9, False)
    assert table.facts("gpt-4o").max_output_tokens == 16_384
    assert table.facts("gpt-4.1").context_tokens == 7
    assert table.facts("acme/gpt-9").renamed == {"max_tokens": "limit"}
    assert not table.facts("acme/gpt-9").tools
    assert table.facts("claude-opus-4-7").dropped == ()


def test_an_override_has_the_fields_of_the_facts() -> None:
    assert set(Model.__struct_fields__) == set(ModelFacts.__struct_fields__)


def test_each_entry_of_the_data_says_something_and_stands_once() -> None:
    names = [entry.name for entry in _DATA.models]
    assert len(set(names)) == len(names)
    assert [name for name in names if "*" in name[:-1] or name != name.lower()] == []
    assert [one for one in _DATA.models if one == Model(name=one.name)] == []
    families = {entry.family for entry in _DATA.models if entry.family}
    assert {"claude", "gpt", "gemini", "deepseek", "kimi", "glm", "qwen"} <= families
    assert "context_tokens" in _DATA.sources


def test_context_windows_agree_with_the_price_lists() -> None:
    """Of chat models that genai-prices knows by their maker's name, within a tenth."""
    from genai_prices.data import providers

    other_apis = ("realtime", "transcribe", "computer")
    stated = {
        model.id: model.context_window
        for provider in providers
        for model in (provider.models if provider.id in ("anthropic", "openai") else ())
        if model.context_window and not any(word in model.id for word in other_apis)
    }
    known = {name: TABLE.facts(name).context_tokens for name in stated}
    assert len([name for name in known if known[name]]) > 60
    assert {
        name: (known[name], stated[name])
        for name in stated
        if known[name] and not 0.9 <= known[name] / stated[name] <= 1.1
    } == {}


@pytest.mark.parametrize(
    ("context", "output", "used", "left"),
    [(0, 100, 10**9, 100), (200, 100, 50, 100), (200, 100, 150, 50), (200, 100, 300, 1)],
    ids=["unknown window", "room enough", "cut", "none left"],
)
def test_the_default_output_fits_the_window(
    context: int, output: int, used: int, left: int
) -> None:
    facts = ModelFacts(name="m", context_tokens=context, max_output_tokens=output)
    assert facts.output_for(used) == left


ALIASES = {"fast": "cheap", "cheap": "gpt-4o-mini", "team-*": "gpt-4.1", "claude-opus-4.5": "o3"}


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("claude-sonnet-4.5", "claude-sonnet-4-5"),
        ("claude-sonnet-4.5-20250514", "claude-sonnet-4-5"),
        ("claude-sonnet-4-5-20250514", "claude-sonnet-4-5"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5-20250929"),
        ("claude-haiku-4.5", "claude-haiku-4-5"),
        ("anthropic/claude-sonnet-4.5", "anthropic/claude-sonnet-4.5"),
        ("gpt-4.1", "gpt-4.1"),
        ("fast", "gpt-4o-mini"),
        ("team-a", "gpt-4.1"),
        ("claude-opus-4.5", "o3"),
    ],
)
def test_an_alias_is_the_operators_else_the_tables(asked: str, meant: str) -> None:
    assert ModelTable((), ALIASES).alias(asked) == meant


def test_an_alias_to_itself_keeps_a_spelling() -> None:
    table = ModelTable((), {"claude-sonnet-4.5": "claude-sonnet-4.5"})
    assert table.alias("claude-sonnet-4.5") == "claude-sonnet-4.5"
    assert table.served("claude-sonnet-4.5", lambda _: 0) == "claude-sonnet-4.5"


def test_a_loop_of_aliases_ends() -> None:
    assert ModelTable((), {"a": "b", "b": "a"}).alias("a") in ("a", "b")


@pytest.mark.parametrize(
    ("routes", "asked", "served"),
    [
        ({"*": 1}, "claude-sonnet-4.5", "claude-sonnet-4-5"),
        ({"claude-sonnet-4.5": EXACT, "*": 1}, "claude-sonnet-4.5", "claude-sonnet-4.5"),
        ({"claude-sonnet-4.5*": 18, "*": 1}, "claude-sonnet-4.5-x", "claude-sonnet-4.5-x"),
        ({"claude-sonnet-4-5": EXACT, "claude-*": 8}, "claude-sonnet-4.5", "claude-sonnet-4-5"),
        ({"fast": EXACT, "*": 1}, "fast", "fast"),
        ({"fa*": 3, "*": 1}, "fast", "gpt-4o-mini"),
    ],
    ids=["any", "own route", "own prefix", "the alias's route", "a route's name", "the operator's"],
)
def test_a_spelling_is_corrected_unless_a_route_wants_it(
    routes: dict[str, int], asked: str, served: str
) -> None:
    def specificity(name: str) -> int:
        found = [n for n in routes if n == name or (n[-1] == "*" and name.startswith(n[:-1]))]
        return max((routes[one] for one in found), default=-1)

    assert ModelTable((), {"fast": "gpt-4o-mini"}).served(asked, specificity) == served


def test_what_is_remembered_of_names_is_bounded() -> None:
    table = ModelTable()
    for number in range(MAX_REMEMBERED + 10):
        table.facts(f"made-up-{number}")
    assert table._facts.cache_info().currsize == MAX_REMEMBERED
