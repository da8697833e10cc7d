"""There is one catalogue of error codes, it is complete, and nothing uses a code outside it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from droveway.contracts.errors import CATALOGUE, ErrorCode, Failure, failure, status_of

SERVICES = Path(__file__).parents[2] / "services"
TYPES = {
    "invalid_request_error", "server_error", "rate_limit_error", "timeout_error", "conflict_error",
    "permission_error", "insufficient_quota",
}  # fmt: skip
CODE = re.compile(r"[a-z][a-z0-9_]{2,63}")


def literals(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Codes given to `failure(…)`, `Failure(code=…)` or a wrapper of theirs, with their lines."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else None
        name = node.func.id if isinstance(node.func, ast.Name) else name
        if name == "failure":
            candidates = node.args[:1]
        elif name == "Failure":
            candidates = [word.value for word in node.keywords if word.arg == "code"]
        else:
            continue
        for candidate in candidates:
            for leaf in ast.walk(candidate):
                if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str):
                    yield leaf.value, leaf.lineno


def strings() -> set[str]:
    """Every string literal of the services: codes may reach `failure` by way of a table."""
    found = set()
    for path in SERVICES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)
def test_a_code_is_complete(entry: ErrorCode) -> None:
    assert CODE.fullmatch(entry.code)
    assert 400 <= entry.status <= 599
    assert entry.type in TYPES
    for text in (entry.message, entry.cause, entry.fix):
        assert text.strip() == text
        assert "\n" not in text
        assert len(text) >= 8
    assert entry.cause.endswith(".")
    assert entry.fix.endswith(".")


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)
def test_a_codes_status_and_type_agree(entry: ErrorCode) -> None:
    expected = {
        429: {"rate_limit_error", "insufficient_quota"}, 504: {"timeout_error"},
        500: {"server_error"},
        501: {"invalid_request_error"}, 502: {"server_error"}, 503: {"server_error"},
        409: {"conflict_error"}, 412: {"conflict_error"}, 403: {"permission_error"},
    }.get(entry.status, {"invalid_request_error"})  # fmt: skip
    assert entry.type in expected


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)
def test_an_occurrence_takes_over_what_its_code_says(entry: ErrorCode) -> None:
    occurrence = failure(entry.code)
    assert occurrence.message == entry.message
    assert occurrence.elsewhere is entry.elsewhere
    assert status_of(occurrence) == entry.status
    assert failure(entry.code, "my own words").message == "my own words"


def test_a_providers_status_overrides_the_catalogues() -> None:
    assert status_of(failure("provider_rejected", status=422)) == 422


@pytest.mark.parametrize("code", ["", "no_such_code", "RATE_LIMIT_EXCEEDED", "invalid_api_key "])
def test_a_code_outside_the_catalogue_cannot_be_built(code: str) -> None:
    with pytest.raises(KeyError):
        failure(code)


def test_no_service_uses_a_code_outside_the_catalogue() -> None:
    unknown = [
        f"{path.relative_to(SERVICES)}:{line}: {code!r}"
        for path in sorted(SERVICES.rglob("*.py"))
        for code, line in literals(ast.parse(path.read_text(encoding="utf-8")))
        if code not in CATALOGUE
    ]
    assert unknown == []


def test_every_code_is_used() -> None:
    assert sorted(CATALOGUE.keys() - strings()) == []


def test_a_code_is_found_however_it_is_written() -> None:
    text = 'failure("a")\nerrors.failure("b" if x else "c")\nFailure(code="d", message="e")\n'
    assert [code for code, _ in literals(ast.parse(text))] == ["a", "b", "c", "d"]


def test_an_occurrence_of_an_unknown_code_has_no_status() -> None:
    with pytest.raises(KeyError):
        status_of(Failure(code="from_the_future"))
