import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from droveway.otel import names

ROOT = Path(__file__).parents[2]
REGISTRY: dict[str, dict[str, dict[str, Any]]] = yaml.safe_load(
    (ROOT / "otel" / "conventions.yaml").read_text()
)
SECTIONS = {
    "SPAN_": "spans", "EVENT_": "events", "METRIC_": "metrics", "OTLP_": "otlp_metrics",
    "LOG_": "logs",
}  # fmt: skip
SERVICES = {"caller", "gateway", "jobs", "limiter", "metrics", "router"}
EMITTED = re.compile(r"(gen_ai|droveway|messaging)\.[a-z0-9_.]+|ai_api_[a-z0-9_]+")
OURS = {name for name in REGISTRY["metrics"] if name.startswith("droveway_")}


def in_code() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {section: set() for section in REGISTRY}
    for constant, value in vars(names).items():
        if constant.isupper():
            prefix = next((prefix for prefix in SECTIONS if constant.startswith(prefix)), "")
            found[SECTIONS.get(prefix, "attributes")].add(value)
    return found


@pytest.mark.parametrize("section", sorted(REGISTRY))
def test_registry_and_code_hold_the_same_names(section: str) -> None:
    assert set(REGISTRY[section]) == in_code()[section]


def test_no_name_is_given_twice() -> None:
    values = [value for constant, value in vars(names).items() if constant.isupper()]
    assert len(values) == len(set(values))


@pytest.mark.parametrize("section", sorted(REGISTRY))
def test_every_entry_says_what_it_is_and_who_emits_it(section: str) -> None:
    for name, entry in REGISTRY[section].items():
        assert entry["brief"].endswith("."), name
        assert set(entry["services"]) <= SERVICES, name
        assert entry["services"] == sorted(entry["services"]), name
        assert section != "attributes" or entry["type"] in {
            "string", "string[]", "int", "double", "boolean",
        }, name  # fmt: skip
        assert section != "metrics" or entry["unit"], name
        assert section != "metrics" or isinstance(entry["labels"], list), name


def test_metric_names_follow_prometheus() -> None:
    for name, entry in REGISTRY["metrics"].items():
        assert (entry["type"] == "counter") == name.endswith("_total"), name
        assert (entry["type"] == "histogram") == ("buckets" in entry), name
        assert (entry["unit"] == "s") == name.endswith("_seconds"), name


def emitted_literals(source: str) -> Iterator[tuple[int, str]]:
    """Names of ours that stand as literals: neither docstrings, subjects, modules nor files."""
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in prose:
            continue
        value = node.value
        if isinstance(value, str) and (value in OURS or _is_name(value)):
            yield node.lineno, value


def _is_name(value: str) -> bool:
    if EMITTED.fullmatch(value) is None:
        return False
    parts = value.split(".")
    roots = (ROOT / root / "droveway" for root in ("contracts", "otel", "services"))
    is_module = parts[0] == "droveway" and any((root / parts[1]).exists() for root in roots)
    return not (is_module or value.startswith("droveway.v1") or value == "droveway.yaml")


def test_a_literal_name_is_found() -> None:
    source = '"""gen_ai.usage"""\nx = {"gen_ai.usage.input_tokens": 1}\ny = "droveway.v1.usage"\n'
    assert list(emitted_literals(source)) == [(2, "gen_ai.usage.input_tokens")]


def test_services_take_names_from_names_only() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {value}"
        for path in sorted((ROOT / "services").rglob("*.py"))
        for line, value in emitted_literals(path.read_text())
    ]
    assert not found, "take these from droveway.otel.names:\n" + "\n".join(found)
