"""Requests made from the OpenAPI document: nothing breaks, and what is answered obeys it."""

import asyncio
import copy
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks

from droveway.contracts.config import Config
from droveway.gateway.openapi import chat, content, messages, others, responses
from droveway.gateway.openapi.document import document
from tests.support.flows import route
from tests.support.nats import NatsServer
from tests.support.stack import Stack, running_stack

Operation = schemathesis.APIOperation[Any, Any, Any, Any]

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODELS = ("openai/numbered-5", "anthropic/numbered-5")
ASKED = [name for topic in (chat, content, messages, others, responses) for name in topic.REQUESTS]
EXAMPLES = 8
SEED = 20261122
CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
OF_HTTP = {
    *("date", "server", "connection", "content-type", "content-length", "transfer-encoding"),
    *("cache-control", "x-accel-buffering"),
}
"""Headers that aren't documented, since they say nothing of ours."""
QUICK = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


def _routed(config: Config) -> Config:
    """Each dialect's provider has a model, and one of them embeds."""
    first, second = config.providers
    second = msgspec.structs.replace(second, dialect="anthropic", kind="anthropic")
    routes = [
        route(name, (provider.id, "numbered-5"))
        for name, provider in zip(MODELS, (first, second), strict=True)
    ]
    embed = route("embed", (first.id, "embed-8"))
    return msgspec.structs.replace(config, providers=(first, second), routes=(*routes, embed))


def _aimed(*, closed: bool) -> dict[str, Any]:
    """The document, aimed at what a random request would seldom reach.

    Models are served ones and idempotency keys don't repeat. Valid requests (`closed`) have no
    unknown fields and no unknown blocks, which providers refuse.
    """
    made = copy.deepcopy(document())
    del made["security"], made["components"]["securitySchemes"]  # the session has the key
    del made["components"]["parameters"]["idempotency-key"]
    for path in made["paths"].values():
        for operation in [one for one in path.values() if isinstance(one, dict)]:
            parameters = operation.get("parameters", [])
            parameters[:] = [one for one in parameters if "idempotency-key" not in str(one)]
    for name, schema in made["components"]["schemas"].items():
        if name.endswith("Request"):
            served = ["embed"] if name == "EmbeddingsRequest" else list(MODELS)
            schema["properties"]["model"] = {"enum": served}
    if closed:
        blocks = made["components"]["schemas"]["MessageBlock"]
        del blocks["anyOf"][1:]
        for name in ASKED:
            _close(made["components"]["schemas"][name])
    return made


def _close(schema: Any) -> None:
    if isinstance(schema, dict):
        if "properties" in schema:
            schema["additionalProperties"] = False
        for one in schema.values():
            _close(one)
    elif isinstance(schema, list):
        for one in schema:
            _close(one)


def _operations(*, closed: bool) -> dict[str, Operation]:
    schema = schemathesis.openapi.from_dict(_aimed(closed=closed))
    found = [one.ok() for one in schema.get_all_operations() if isinstance(one, Ok)]
    named = {operation.definition.raw["operationId"]: operation for operation in found}
    return {name: one for name, one in named.items() if not name.startswith("admin.")}


VALID = _operations(closed=True)
INVALID = {name: one for name, one in _operations(closed=False).items() if one.body or one.query}
"""Of operations that have something to get wrong."""


def _integers(value: Any) -> Any:
    """Whole numbers written as such: to JSON Schema `2.0` is an integer, to the API it is none."""
    if isinstance(value, dict):
        return {name: _integers(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_integers(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _documented(operation: Operation, status: int) -> set[str]:
    """The headers of an answer."""
    answers = document()["paths"][operation.path][operation.method]["responses"]
    answer = answers.get(str(status)) or answers[f"{status // 100}XX"]
    if "$ref" in answer:
        answer = document()["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    return set(answer["headers"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("openapi")
    scrapers = {"DROVEWAY_GATEWAY_METRICS_ADDRESSES": "127.0.0.1"}
    async with running_stack(
        nats, folder, simulators=2, configure=_routed, environment=scrapers
    ) as world:
        yield world


@pytest.fixture
def session(stack: Stack) -> Iterator[requests.Session]:
    with requests.Session() as opened:
        opened.headers["authorization"] = f"Bearer {stack.key}"
        yield opened


async def _ask(
    url: str, session: requests.Session, operation: Operation, mode: GenerationMode, *more: Any
) -> set[int]:
    """Sends requests of that mode; the statuses that came."""
    statuses: set[int] = set()

    @seed(SEED)
    @QUICK
    @given(case=operation.as_strategy(mode))
    def every(case: schemathesis.Case[Any]) -> None:
        case.body = _integers(case.body)
        answer = case.call(base_url=url, session=session)
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=[*CHECKS, *more])
        assert set(answer.headers) <= OF_HTTP | _documented(operation, answer.status_code)

    await asyncio.to_thread(every)
    return statuses


@pytest.mark.parametrize("name", VALID)
async def test_a_valid_request_breaks_nothing(
    stack: Stack, session: requests.Session, name: str
) -> None:
    statuses = await _ask(stack.url, session, VALID[name], GenerationMode.POSITIVE)
    assert statuses & ({404} if VALID[name].path_parameters else {200})


@pytest.mark.parametrize("name", INVALID)
async def test_an_invalid_request_breaks_nothing_and_is_refused(
    stack: Stack, session: requests.Session, name: str
) -> None:
    refused = checks.negative_data_rejection
    await _ask(stack.url, session, INVALID[name], GenerationMode.NEGATIVE, refused)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "POST"])
@pytest.mark.parametrize("name", VALID)
async def test_a_method_that_is_not_documented_is_refused(
    stack: Stack, session: requests.Session, name: str, method: str
) -> None:
    operation = VALID[name]
    if method.lower() in document()["paths"][operation.path]:
        return
    url = stack.url + operation.path.format(id="x", model="x")
    answer = await asyncio.to_thread(session.request, method, url)
    documented = {one.upper() for one in document()["paths"][operation.path]} - {"PARAMETERS"}
    assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (405, documented)


@pytest.mark.parametrize("model", MODELS)
async def test_what_is_asked_kept_and_listed_obeys_the_document(
    stack: Stack, session: requests.Session, model: str
) -> None:
    asked = {"model": model, "input": "hello"}
    made = await asyncio.to_thread(session.post, f"{stack.url}/v1/responses", json=asked)
    for name in ("responses.get", "responses.items", "responses.delete"):
        case = VALID[name].Case(path_parameters={"id": made.json()["id"]})
        answer = await asyncio.to_thread(case.call, stack.url, session)
        assert answer.status_code == 200
        case.validate_response(answer, checks=list(CHECKS))
    case = VALID["models.get"].Case(path_parameters={"model": model})
    answer = await asyncio.to_thread(case.call, stack.url, session)
    assert answer.json()["id"] == model
    case.validate_response(answer, checks=list(CHECKS))
