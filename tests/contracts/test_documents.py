"""The pages about the wire name what is there: functions, messages, subjects, decisions."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from droveway.contracts.errors import CATALOGUE
from tests.contracts.samples import SHORT

REPOSITORY = Path(__file__).parents[2]
PAGES = [
    REPOSITORY / "contracts" / "README.md",
    REPOSITORY / "docs" / "glossary.md",
    REPOSITORY / "docs" / "one-request.md",
    *sorted((REPOSITORY / "docs" / "adr").glob("*.md")),
]
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
REFERENCE = re.compile(r"`(services/[a-z_/]+\.py):(\w+)`")
DECISIONS = sorted((REPOSITORY / "docs" / "adr").glob("*.md"))


def definitions(path: Path) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_function_on_the_way_of_a_request_is_there() -> None:
    text = (REPOSITORY / "docs" / "one-request.md").read_text(encoding="utf-8")
    references = REFERENCE.findall(text)
    assert len(references) > 25
    missing = [
        f"{path}:{name}"
        for path, name in references
        if not (REPOSITORY / path).exists() or name not in definitions(REPOSITORY / path)
    ]
    assert missing == []


@pytest.mark.parametrize("message", SHORT, ids=lambda message: type(message).__name__)
def test_every_message_stands_on_the_page_about_the_wire(message: object) -> None:
    text = (REPOSITORY / "contracts" / "README.md").read_text(encoding="utf-8")
    assert f"`{type(message).__name__}`" in text


def test_every_contract_module_stands_there_too() -> None:
    text = (REPOSITORY / "contracts" / "README.md").read_text(encoding="utf-8")
    package = importlib.import_module("droveway.contracts")
    assert package.__file__ is not None
    modules = {path.stem for path in Path(package.__file__).parent.glob("[a-z]*.py")}
    assert [name for name in sorted(modules) if f"| `{name}` |" not in text] == []


def test_codes_on_the_way_of_a_request_are_in_the_catalogue() -> None:
    text = (REPOSITORY / "docs" / "one-request.md").read_text(encoding="utf-8")
    codes = re.findall(r"\b[45]\d\d `([a-z_]+)`", text)
    assert codes
    assert set(codes) <= CATALOGUE.keys()


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.name)
def test_a_decision_has_its_form(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    number = page.name[:4]
    assert text.startswith(f"# {number}: ")
    assert re.findall(r"^## (\w+)", text, re.MULTILINE) == [
        "Context", "Decision", "Consequences", "Alternatives",
    ]  # fmt: skip
    assert re.search(r"^\| date \| \d{4}-\d\d-\d\d \|$", text, re.MULTILINE)
    assert re.search(r"^\| status \| (accepted|superseded by \d{4}) \|$", text, re.MULTILINE)
    assert len(text) < 5_000


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(page.name[:4]) for page in DECISIONS]
    assert numbers == list(range(1, len(numbers) + 1))
