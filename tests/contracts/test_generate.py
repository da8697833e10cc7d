"""Schemas and error table are what the contracts say, and every sample obeys its schema."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import msgspec
import pytest

from tests.contracts.samples import FULL, SHORT, name_of

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "contracts" / "generate.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = load()


def schema_of(message: msgspec.Struct) -> Any:
    (name,) = [name for name, kind in generate.messages() if kind is type(message)]
    path = REPOSITORY / "contracts" / "schemas" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_generated_files_are_up_to_date() -> None:
    assert generate.differing(REPOSITORY, generate.generated()) == []


def test_generating_twice_changes_nothing(tmp_path: Path) -> None:
    assert generate.main([], tmp_path) == 0
    first = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert generate.main([], tmp_path) == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == first
    assert generate.main(["--check"], tmp_path) == 0


def test_a_check_names_each_file_that_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate.main([], tmp_path)
    schemas = tmp_path / "contracts" / "schemas"
    (schemas / "call.routed.v1.json").unlink()
    (schemas / "config.json").write_text("{}\n")
    (schemas / "call.routed.v0.json").write_text("{}\n")
    (tmp_path / "docs" / "errors.md").write_text("\n")
    assert generate.main(["--check"], tmp_path) == 1
    named = [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()]
    assert named == [
        "contracts/schemas/call.routed.v0.json",
        "contracts/schemas/call.routed.v1.json",
        "contracts/schemas/config.json",
        "docs/errors.md",
    ]
    generate.main([], tmp_path)
    assert generate.main(["--check"], tmp_path) == 0


def test_it_runs_as_a_script() -> None:
    outcome = subprocess.run(
        [sys.executable, str(SCRIPT), "--check"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (outcome.returncode, outcome.stderr) == (0, "")


def test_every_message_has_samples() -> None:
    sampled = {type(message) for message in SHORT}
    assert {kind for _, kind in generate.messages()} == sampled


@pytest.mark.parametrize("message", [*SHORT, *FULL], ids=name_of)
def test_a_sample_obeys_its_schema(message: msgspec.Struct) -> None:
    schema = schema_of(message)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(msgspec.json.encode(message)), schema)


def test_the_page_of_errors_lists_every_code() -> None:
    page = generate.errors_page()
    assert all(f"| `{code}` |" in page for code in generate.CATALOGUE)
