"""Requests to the administration made from the OpenAPI document: what is answered obeys it."""

import asyncio
import copy
import re
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

from droveway.contracts.access import Admin
from droveway.gateway.admin.endpoints import ENDPOINTS, ROOT
from droveway.gateway.openapi.document import document
from droveway.runtime.api_key import hash_key, make_key
from tests.support.access import make_streams
from tests.support.nats import NatsServer, droveway_config, nats  # noqa: F401
from tests.support.running_gateway import RunningGateway, running_gateway

Operation = schemathesis.APIOperation[Any, Any, Any, Any]

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = make_key("admin")
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
OF_HTTP = {"date", "connection", "content-type", "content-length", "cache-control"}
"""Headers that aren't documented, since they say nothing of ours."""
QUICK = settings(
    max_examples=6,
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
SEED = 20261123
ENTRY = "made-here"
PROVIDER = "upstream-1"
"""Of the configuration."""


def _operations() -> dict[str, Operation]:
    made = copy.deepcopy(document())
    del made["security"], made["components"]["securitySchemes"]  # the session has the key
    for path in made["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict):
                operation.pop("security", None)
    made["paths"] = {path: item for path, item in made["paths"].items() if path.startswith(ROOT)}
    schema = schemathesis.openapi.from_dict(made)
    found = [one.ok() for one in schema.get_all_operations() if isinstance(one, Ok)]
    return {operation.definition.raw["operationId"]: operation for operation in found}


OPERATIONS = _operations()
WITH_BODY = [one.name for one in ENDPOINTS if one.body is not None]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(
    nats: NatsServer,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[RunningGateway]:
    await make_streams(nats)
    admins = (Admin(id="ann", sha256=hash_key(KEY), role="admin"),)
    config = msgspec.structs.replace(droveway_config("http://127.0.0.1:9/v1"), admins=admins)
    folder = tmp_path_factory.mktemp("admin")
    async with running_gateway(nats, folder, config, admin_changes_per_s="100000") as running:
        async with running.client(KEY) as client:
            for path in ("keys", "tenants"):
                await client.post(f"{ROOT}{path}", json={"id": ENTRY})
        yield running


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        opened.headers["authorization"] = f"Bearer {KEY}"
        yield opened


def _deletes(name: object) -> bool:
    return str(name).endswith("delete")


def _check(operation: Operation, case: schemathesis.Case[Any], answer: Any, *more: Any) -> None:
    case.validate_response(answer, checks=[*CHECKS, *more])
    told = document()["paths"][operation.path][operation.method]["responses"]
    told = told[str(answer.status_code)]
    if "$ref" in told:
        told = document()["components"]["responses"][told["$ref"].rpartition("/")[2]]
    assert {name.lower() for name in answer.headers} <= OF_HTTP | set(told["headers"])


async def _ask(
    gateway: RunningGateway,
    session: requests.Session,
    operation: Operation,
    mode: GenerationMode,
    *more: Any,
) -> set[int]:
    statuses: set[int] = set()

    @seed(SEED)
    @QUICK
    @given(case=operation.as_strategy(mode))
    def every(case: schemathesis.Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE:
            if case.path_parameters:
                known = PROVIDER if "providers" in operation.path else ENTRY
                case.path_parameters = {"id": known}
            if case.headers:
                case.headers["if-match"] = "*"
        answer = case.call(base_url=gateway.url, session=session)
        statuses.add(answer.status_code)
        _check(operation, case, answer, *more)

    await asyncio.to_thread(every)
    return statuses


async def test_every_endpoint_is_documented_under_its_name() -> None:
    assert set(OPERATIONS) == {one.name for one in ENDPOINTS}
    for name in WITH_BODY:
        body = OPERATIONS[name].definition.raw["requestBody"]["content"]["application/json"]
        schema = document()["components"]["schemas"][body["schema"]["$ref"].rpartition("/")[2]]
        assert schema["additionalProperties"] is False
    assert not re.search(r"\(\?!", msgspec.json.encode(document()).decode())


@pytest.mark.parametrize("name", sorted(OPERATIONS, key=_deletes))
async def test_a_valid_request_is_answered_as_documented(
    gateway: RunningGateway, session: requests.Session, name: str
) -> None:
    statuses = await _ask(gateway, session, OPERATIONS[name], GenerationMode.POSITIVE)
    expected = {503} if name.endswith("standing") else {200, 201}
    assert statuses & expected
    assert all(status < 500 for status in statuses - expected)


@pytest.mark.parametrize("name", WITH_BODY)
async def test_an_invalid_request_is_refused_as_documented(
    gateway: RunningGateway, session: requests.Session, name: str
) -> None:
    refused = (checks.negative_data_rejection, schemathesis.checks.not_a_server_error)
    statuses = await _ask(gateway, session, OPERATIONS[name], GenerationMode.NEGATIVE, *refused)
    assert statuses <= {400, 404, 405, 409, 412, 413, 415, 428}
