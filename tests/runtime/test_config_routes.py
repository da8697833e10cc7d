"""Routes that could serve nobody are refused, with their place and what would be right."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from droveway.runtime.config.file import parse
from droveway.runtime.errors import SettingsError

ROOT = Path(__file__).parents[2]
OPENAI = {"provider": "openai"}
TIERS = [{"targets": [OPENAI]}]
AT = "routes[0].tiers[0].targets"


def _file(*, aliases: dict[str, str] | None = None, others: Any = (), **route: Any) -> bytes:
    """A file of one provider, with a route `gpt-5` that is as told, and `other-*`."""
    providers = [{"id": "openai", "base_url": "https://api.openai.com/v1"}]
    routes = [{"model": "gpt-5", "tiers": TIERS, **route}, {"model": "other-*", "tiers": TIERS}]
    made = {"providers": providers, "routes": [*routes, *others], "aliases": aliases or {}}
    return yaml.safe_dump(made).encode()


def _weighing(weight: Any) -> dict[str, Any]:
    return {"tiers": [{"targets": [{**OPENAI, "weight": weight}, OPENAI]}]}


REFUSED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no tiers": ({"tiers": []}, ("$.routes[0].tiers", "length >= 1")),
    "no targets": ({"tiers": [{"targets": []}]}, (f"$.{AT}", "length >= 1")),
    "an empty tier behind another": (
        {"tiers": [*TIERS, {"targets": []}]}, ("$.routes[0].tiers[1].targets", "length >= 1"),
    ),
    "a canary without targets": (
        {"canary": {"targets": []}}, ("$.routes[0].canary.targets", "length >= 1"),
    ),
    "weight 0": (_weighing(0), (f"$.{AT}[0].weight", ">= 1")),
    "negative weight": (_weighing(-3), (f"$.{AT}[0].weight", ">= 1")),
    "weight of half": (_weighing(0.5), (f"$.{AT}[0].weight", "`int`")),
    "weight without a value": (_weighing(None), (f"$.{AT}[0].weight", "`int`")),
    "weight 0 of a canary": (
        {"canary": {"targets": [{**OPENAI, "model": "new", "weight": 0}]}},
        ("$.routes[0].canary.targets[0].weight", ">= 1"),
    ),
    "unknown strategy": ({"strategy": "cheap"}, ("$.routes[0].strategy", "'cheap'")),
    "an alias of itself through another": (
        {"aliases": {"a": "b", "b": "a"}}, ("aliases.a", "'b'", "leads back to itself"),
    ),
    "a long loop": (
        {"aliases": {"a": "b", "b": "c", "c": "d", "d": "b"}}, ("aliases.d", "back to itself"),
    ),
    "a loop of beginnings": (
        {"aliases": {"a-*": "b-1", "b-*": "a-1"}}, ("aliases.a-*", "leads back to itself"),
    ),
    "a fallback in a loop of aliases": (
        {"aliases": {"a": "b", "b": "a"}, "fallbacks": {"failed": ["a"]}},
        ("routes[0].fallbacks.failed[0]", "no route serves 'a'"),
    ),
    "a fallback to the route itself by two aliases": (
        {"aliases": {"fast": "quick", "quick": "gpt-5"}, "fallbacks": {"failed": ["fast"]}},
        ("routes[0].fallbacks.failed[0]", "'fast' is served by this very route"),
    ),
    "a fallback without a route": (
        {"fallbacks": {"context": ["large"]}},
        ("routes[0].fallbacks.context[0]", "no route serves 'large'", "add one"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "said"), REFUSED.values(), ids=REFUSED)
def test_what_could_serve_nobody_is_refused(fields: dict[str, Any], said: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(_file(**fields), "f")
    for part in said:
        assert part in str(caught.value)


def test_the_guides_example_is_taken_and_serves_what_it_says() -> None:
    guide = (ROOT / "docs/guides/routing.md").read_text(encoding="utf-8")
    example = guide.partition("```yaml\n")[2].partition("```")[0]
    config = parse(example.encode(), "routing.md")
    assert [route.model for route in config.routes] == ["gpt-4.1", "gpt-*"]
    assert [route.strategy for route in config.routes] == ["cached", "weighted"]


TAKEN: dict[str, dict[str, Any]] = {
    "a fallback by two aliases": {
        "aliases": {"fast": "quick", "quick": "other-1"}, "fallbacks": {"failed": ["fast"]},
    },
    "an alias to its own spelling": {"aliases": {"other-*": "other-1"}},
    "fallbacks of each other, of which only one is followed": {
        "fallbacks": {"failed": ["gpt-4"]},
        "others": [{"model": "gpt-4", "tiers": TIERS, "fallbacks": {"failed": ["gpt-5"]}}],
    },
    "one target alone, by what is cached": {"strategy": "cached"},
    "one target alone, by what it costs": {"strategy": "cheapest"},
}  # fmt: skip


@pytest.mark.parametrize("fields", TAKEN.values(), ids=TAKEN)
def test_what_leads_somewhere_is_taken(fields: dict[str, Any]) -> None:
    assert parse(_file(**fields), "f").routes[0].model == "gpt-5"
