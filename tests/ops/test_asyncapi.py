"""The AsyncAPI document obeys AsyncAPI's own schema, which `make test-ops` installs."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

REPOSITORY = Path(__file__).parents[2]
SCHEMAS = REPOSITORY / ".cache/mocks/node_modules/@asyncapi/specs/schemas"

pytestmark = pytest.mark.ops


@pytest.fixture(scope="module")
def official() -> Any:
    schema = json.loads((SCHEMAS / "3.0.0-without-$id.json").read_text(encoding="utf-8"))
    return jsonschema.validators.validator_for(schema)(schema)


@pytest.fixture(scope="module")
def document() -> Any:
    return json.loads((REPOSITORY / "contracts" / "asyncapi.json").read_text(encoding="utf-8"))


def test_the_document_obeys_the_official_schema(official: Any, document: Any) -> None:
    assert [error.json_path for error in official.iter_errors(document)] == []


def test_the_schema_refuses_an_unknown_action(official: Any, document: Any) -> None:
    wrong = copy.deepcopy(document)
    wrong["operations"]["router_receives_inference"]["action"] = "subscribe"
    assert not official.is_valid(wrong)
