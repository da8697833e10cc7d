"""The OpenAPI document says what the gateway does, and everybody can read it."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from docs import generate_openapi
from droveway.contracts.errors import CATALOGUE, failure, status_of
from droveway.dialects.anthropic import checks as anthropic_checks
from droveway.dialects.chat import checks as chat_checks
from droveway.dialects.completions import request as completions_request
from droveway.dialects.embeddings import request as embeddings
from droveway.dialects.responses import request as responses_request
from droveway.dialects.untranslatable import Untranslatable
from droveway.gateway import operations
from droveway.gateway.admin.endpoints import ROOT
from droveway.gateway.faces import ANTHROPIC, OPENAI
from droveway.gateway.openapi import chat, failures, others, responses
from droveway.gateway.openapi.document import document
from droveway.gateway.openapi.page import HTML
from droveway.runtime.api_key import make_key
from tests.support.gateway_app import config_of, gateway_client
from tests.support.nats import NatsServer, nats  # noqa: F401
from tests.support.simulator import chat_body, message_body

REPOSITORY = Path(__file__).parents[2]
KEY = make_key("test")
DOCUMENT = json.loads((REPOSITORY / "docs" / "openapi.json").read_text(encoding="utf-8"))
SCHEMAS = DOCUMENT["components"]["schemas"]
NODE = shutil.which("node") or ""
HARNESS = Path(__file__).with_name("openapi_page.mjs")


def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return jsonschema.Draft202012Validator(schema)


def test_the_file_is_up_to_date() -> None:
    assert generate_openapi.main(["--check"]) == 0


def test_a_check_names_a_stale_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "docs").mkdir()
    assert generate_openapi.main(["--check"], tmp_path) == 1
    assert capsys.readouterr().err.startswith("docs/openapi.json: not up to date")
    assert generate_openapi.main([], tmp_path) == 0
    assert generate_openapi.main(["--check"], tmp_path) == 0


def test_it_is_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_every_operation_is_documented_under_its_name() -> None:
    names = {
        path: list(item.values())[-1]["operationId"] for path, item in DOCUMENT["paths"].items()
    }
    assert {one.path: one.name for one in operations.ALL}.items() <= names.items()


def test_every_code_stands_where_it_may_come() -> None:
    scopes = [failures.EDGE, failures.KEYED, failures.ELSEWHERE, *failures.SCOPES.values()]
    assert frozenset().union(*scopes) == CATALOGUE.keys()
    for name, response in DOCUMENT["components"]["responses"].items():
        for code in re.findall(r"^- `([a-z_]+)`:", response["description"], re.MULTILINE):
            face = (
                ANTHROPIC if name.startswith("anthropic") and code not in failures.EDGE else OPENAI
            )
            assert name.endswith(f"_{face.status(failure(code))}"), (name, code)


@pytest.mark.parametrize("code", CATALOGUE)
def test_an_error_of_either_face_obeys_its_schema(code: str) -> None:
    occurrence = failure(code, param="x.y", provider_code="theirs")
    assert status_of(occurrence) == CATALOGUE[code].status
    for face, name in ((OPENAI, "OpenAIError"), (ANTHROPIC, "AnthropicError")):
        body = face.error_body(occurrence, (), "req_1")
        validator(name).validate(msgspec.json.decode(body))


@pytest.mark.parametrize(
    ("checked", "described"),
    [
        (chat_checks.FIELDS.keys() | {"stream_options"}, chat.FIELDS),
        (completions_request._CHECKS.keys() | {"stream_options"}, others.COMPLETION_FIELDS),
        (embeddings._CHECKS.keys(), others.EMBEDDING_FIELDS),
        (responses_request._CHECKS.keys() | {"tool_choice"}, responses.FIELDS),
    ],
    ids=["chat", "completions", "embeddings", "responses"],
)
def test_exactly_the_fields_that_are_checked_are_described(
    checked: set[str], described: dict[str, Any]
) -> None:
    assert set(described) == set(checked)


OUT_OF_FORM: dict[str, tuple[Any, ...]] = {
    "temperature": (-1, 3, "1", True),
    "n": (0, 129, "1", 1.5),
    "stream": (1, "true"),
    "stop": (5, ["x"] * 17, "x" * 1_025),
    "tools": ({}, [1], [{"type": "function"}], [{"function": {}}]),
    "response_format": ("json", {}, {"type": "json_schema"}),
    "reasoning_effort": ("much", 1),
    "logit_bias": ([], {"1": 101}, {"1": "x"}),
    "metadata": ({"a": 1}, {"x" * 65: ""}, {"a": "x" * 513}),
    "messages": (
        *([], {}, [{}], [{"role": "tool", "content": "x"}]),
        [{"role": "user", "content": [{"type": "smell"}]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
    ),
}
WRONG = [(field, value) for field, values in OUT_OF_FORM.items() for value in values]
RIGHT: tuple[tuple[str, Any], ...] = (
    ("temperature", None),
    ("stop", ["a", "b"]),
    ("tools", [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]),
    ("tool_choice", {"type": "function", "function": {"name": "f"}}),
    ("response_format", {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}}),
    ("messages", [{"role": "tool", "tool_call_id": "c", "content": "x"}]),
    ("unheard_of", {"any": "thing"}),
)


@pytest.mark.parametrize(("field", "value"), WRONG, ids=str)
def test_what_the_checks_refuse_the_schema_refuses(field: str, value: Any) -> None:
    body = chat_body() | {field: value}
    with pytest.raises(Untranslatable):
        chat_checks.check(body)
    assert not validator("ChatRequest").is_valid(body)


@pytest.mark.parametrize(("field", "value"), RIGHT, ids=str)
def test_what_the_checks_take_the_schema_takes(field: str, value: Any) -> None:
    body = chat_body() | {field: value}
    chat_checks.check(body)
    validator("ChatRequest").validate(body)


@pytest.mark.parametrize(
    "change", [{"max_tokens": None}, {"messages": []}, {"messages": [{"role": "tool"}]}], ids=str
)
def test_messages_are_described_as_they_are_checked(change: dict[str, Any]) -> None:
    validator("MessagesRequest").validate(message_body())
    with pytest.raises(Untranslatable):
        anthropic_checks.check(message_body() | change)
    assert not validator("MessagesRequest").is_valid(message_body() | change)


async def test_document_and_page_need_no_key(nats: NatsServer) -> None:  # noqa: F811
    async with gateway_client(nats, config_of(KEY)) as client:
        served = await client.get("/openapi.json")
        page = await client.get("/docs/")
        other = await client.post("/docs")
    assert served.json() == DOCUMENT == document()
    assert served.headers["content-type"] == "application/json"
    assert (page.status_code, page.content) == (200, HTML)
    assert (other.status_code, other.headers["allow"]) == (405, "GET")
    policy = dict(one.split(" ", 1) for one in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    (script,) = re.findall(rb"<script>(.*?)</script>", page.content, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    assert policy["script-src"] == f"'sha256-{digest}'"


def test_the_page_loads_nothing_from_elsewhere() -> None:
    assert re.findall(rb"https?:|//[a-z]|\bsrc=|@import|url\(|innerHTML|\bon[a-z]+=", HTML) == []


async def test_every_documented_path_is_served(nats: NatsServer) -> None:  # noqa: F811
    headers = {"authorization": f"Bearer {KEY}"}
    async with gateway_client(nats, config_of(KEY)) as client:
        for path, item in DOCUMENT["paths"].items():
            if path.startswith(ROOT):  # not there without an admin
                continue
            answer = await client.put(path.format(id="resp_1", model="m"), headers=headers)
            allowed = {name.upper() for name in item if name != "parameters"}
            assert answer.status_code == 405, path
            assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.skipif(not NODE, reason="needs Node")
def test_the_page_shows_every_operation_and_schema(tmp_path: Path) -> None:
    """Run in Node with as much of a document as the page asks for."""
    page = tmp_path / "page.html"
    page.write_bytes(HTML)
    shown = subprocess.run(
        [NODE, HARNESS, page, REPOSITORY / "docs" / "openapi.json"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    ).stdout
    for path, item in DOCUMENT["paths"].items():
        for operation in [one for one in item.values() if isinstance(one, dict)]:
            assert f"{path} {operation['summary']}" in shown
    assert [name for name in SCHEMAS if name not in shown] == []
    assert "undefined" not in shown
