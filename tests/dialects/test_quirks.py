"""A request is fitted to its provider, and what isn't touched keeps its bytes and its place."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from droveway.contracts.config import PROVIDER_KINDS, Provider
from droveway.contracts.inference import Needs
from droveway.dialects.models import ModelFacts, ModelTable
from droveway.dialects.quirks import QUIRKS, Quirk, apply, quirk_of

PLAIN = ModelFacts(name="m")
TABLE = ModelTable()


def fields_of(body: bytes) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(body, type=dict[str, msgspec.Raw])


def fitted(quirk: Quirk, body: bytes, facts: ModelFacts = PLAIN) -> tuple[bytes, tuple[str, ...]]:
    fields = fields_of(body)
    before = dict(fields)
    changed, warnings = apply(quirk, facts, fields)
    assert fields == before
    return msgspec.json.encode(changed), warnings


def test_every_kind_of_the_configuration_has_its_quirks() -> None:
    assert QUIRKS.keys() == PROVIDER_KINDS.keys()
    assert {kind: quirk.dialect for kind, quirk in QUIRKS.items()} == dict(PROVIDER_KINDS)


@pytest.mark.parametrize("kind", QUIRKS)
def test_a_kinds_data_is_sound(kind: str) -> None:
    quirk = QUIRKS[kind]
    assert quirk.source
    assert quirk.base_url.startswith(("https://", "http://localhost", "http://127.0.0.1"))
    assert not quirk.base_url.endswith("/")
    assert set(quirk.lacks) <= set(Needs.__struct_fields__)
    assert not set(quirk.renamed.values()) & set(quirk.dropped)


def test_a_provider_has_the_kind_that_it_names_or_its_dialects() -> None:
    plain = Provider(id="a", base_url="https://a/v1")
    assert quirk_of(plain) is QUIRKS["openai"]
    replace = msgspec.structs.replace
    assert quirk_of(replace(plain, kind="deepseek")) is QUIRKS["deepseek"]
    assert quirk_of(replace(plain, dialect="anthropic")) is QUIRKS["anthropic"]


def test_paths_carry_the_version_only_where_the_provider_wants_it() -> None:
    assert QUIRKS["azure"].path("chat", "2024-10-21") == (
        "/chat/completions?api-version=2024-10-21"
    )
    assert QUIRKS["azure"].path("embeddings") == "/embeddings"
    assert QUIRKS["openai"].path("chat", "2024-10-21") == "/chat/completions"
    assert QUIRKS["anthropic"].path("chat", "2026-10-21") == "/messages"
    assert QUIRKS["anthropic"].path("embeddings") == ""
    assert (QUIRKS["azure"].auth, QUIRKS["anthropic"].auth) == ("api-key", "x-api-key")


BODY = (
    b'{"zeta":{"b":1.0,  "a":[ ]},"model":"m","messages":[{"role":"system", "content":"\\u00e9"}],'
    b'"temperature":1e0,"tools":[ {"type":"function"} ]}'
)


@pytest.mark.parametrize("kind", QUIRKS)
def test_what_no_quirk_names_keeps_its_bytes_and_its_place(kind: str) -> None:
    body, warnings = fitted(QUIRKS[kind], BODY)
    assert body == BODY
    assert warnings == ()


def test_a_quirk_that_changes_nothing_says_so() -> None:
    assert not QUIRKS["openai"].changes
    fields = fields_of(BODY)
    assert apply(QUIRKS["openai"], PLAIN, fields)[0] is fields
    assert QUIRKS["vllm"].changes
    assert Quirk(base_url="https://a", source="", dropped=("a",)).changes
    assert Quirk(base_url="https://a", source="", stream_options=False).changes


ROWS: dict[str, tuple[str, dict[str, Any], dict[str, Any], list[str]]] = {
    "developer": (
        "deepseek",
        {"messages": [{"role": "developer", "content": "a"}, {"content": "b", "role": "user"}]},
        {"messages": [{"role": "system", "content": "a"}, {"content": "b", "role": "user"}]},
        [],
    ),
    "developer is only talked of": (
        "deepseek",
        {"messages": [{"role": "user", "content": 'a "developer"'}]},
        {"messages": [{"role": "user", "content": 'a "developer"'}]},
        [],
    ),
    "strict": (
        "moonshot",
        {"tools": [{"type": "function", "function": {"name": "f", "strict": True}}, {"type": "x"}]},
        {"tools": [{"type": "function", "function": {"name": "f"}}, {"type": "x"}]},
        ["`tools[].function.strict`"],
    ),
    "strict is a parameter's name": (
        "moonshot",
        {"tools": [{"function": {"name": "f", "parameters": {"strict": 1}}}]},
        {"tools": [{"function": {"name": "f", "parameters": {"strict": 1}}}]},
        [],
    ),
    "a forced tool": (
        "zhipu",
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"tool_choice": "auto"},
        ["`tool_choice`"],
    ),
    "no forced tool": ("zhipu", {"tool_choice": "none"}, {"tool_choice": "none"}, []),
    "renamed in place": (
        "deepseek",
        {"a": 1, "max_completion_tokens": 5, "b": 2},
        {"a": 1, "max_tokens": 5, "b": 2},
        [],
    ),
    "both names": (
        "deepseek",
        {"max_completion_tokens": 5, "max_tokens": 6},
        {"max_tokens": 6},
        [],
    ),
    "dropped": (
        "gemini",
        {"store": True, "logit_bias": {"1": 2}, "metadata": None, "seed": 1},
        {"seed": 1},
        ["`logit_bias`", "`store`"],
    ),
    "openai takes all": (
        "openai",
        {"messages": [{"role": "developer"}], "store": True, "tool_choice": "required"},
        {"messages": [{"role": "developer"}], "store": True, "tool_choice": "required"},
        [],
    ),
    "no array of messages": ("vllm", {"messages": '"developer"'}, {"messages": '"developer"'}, []),
    "no tools": (
        "moonshot",
        {"tools": [{"function": ["strict"]}]},
        {"tools": [{"function": ["strict"]}]},
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "given", "sent", "told"), ROWS.values(), ids=ROWS)
def test_a_request_is_fitted(
    kind: str, given: dict[str, Any], sent: dict[str, Any], told: list[str]
) -> None:
    body, warnings = fitted(QUIRKS[kind], json.dumps(given).encode())
    assert list(json.loads(body).items()) == list(sent.items())
    assert [warning.partition(" was ")[0] for warning in warnings] == told


def test_other_messages_keep_their_bytes_when_a_developers_is_changed() -> None:
    other = b'{"content":[ {"text":"\\u00e9","type":"text"} ],  "role":"user"}'
    given = b'{"messages":[ {"role":"developer","content":  "x"}, ' + other + b" ]}"
    body, _ = fitted(QUIRKS["llama-cpp"], given)
    assert body == b'{"messages":[{"role":"system","content":"x"},' + other + b"]}"


def test_usage_is_not_asked_of_a_provider_that_does_not_know_how() -> None:
    quirk = Quirk(base_url="https://a", source="", stream_options=False)
    body, warnings = fitted(quirk, b'{"stream_options":{"include_usage":true},"stream":true}')
    assert (body, warnings) == (b'{"stream":true}', ())


def test_a_models_own_rules_are_obeyed_too() -> None:
    given = b'{"temperature":0.2,"max_tokens":9,"top_p":null,"seed":1}'
    body, warnings = fitted(QUIRKS["openai"], given, TABLE.facts("gpt-5"))
    assert body == b'{"max_completion_tokens":9,"seed":1}'
    assert warnings == ("`temperature` was dropped: the model doesn't take it.",)


def test_the_providers_name_of_a_parameter_goes_over_the_models() -> None:
    body, _ = fitted(QUIRKS["siliconflow"], b'{"max_tokens":9}', TABLE.facts("gpt-5"))
    assert body == b'{"max_tokens":9}'


def test_the_guide_tells_of_every_kind_and_its_dialect() -> None:
    text = (Path(__file__).parents[2] / "docs/guides/models.md").read_text(encoding="utf-8")
    assert dict(re.findall(r"^\| `([a-z-]+)` \| (\w+) \|", text, re.MULTILINE)) == dict(
        PROVIDER_KINDS
    )
