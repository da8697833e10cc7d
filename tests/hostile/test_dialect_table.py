"""Every hostile field is refused as listed, in the words of its path; nobody else hears of it."""

import pytest

from droveway.contracts.errors import CATALOGUE
from tests.hostile.dialect_cases import CASES, MESSAGES, Case
from tests.hostile.world import World
from tests.support.raw_http import RawAnswer

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
async def test_a_hostile_field_is_refused_in_the_words_of_its_path(
    world: World, case: Case
) -> None:
    upstream_requests, texts = world.upstream_requests, len(world.log.texts)
    answer = await world.ask(case.wire)
    assert answer.status == case.status, answer.body
    code, param = anthropic(answer) if case.path == MESSAGES else openai(answer)
    assert (code, param) == (case.code, case.param), answer.body
    line = await world.log.line_of(answer.headers["x-request-id"])
    assert line.status == case.status
    assert world.upstream_requests == upstream_requests
    told = "\n".join(world.log.texts[texts:]) + answer.body.decode()
    assert [secret for secret in world.secrets() if secret in told] == []


def openai(answer: RawAnswer) -> tuple[str, str | None]:
    error = answer.json()["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert error["type"] == CATALOGUE[error["code"]].type
    return error["code"], error["param"]


def anthropic(answer: RawAnswer) -> tuple[str, str | None]:
    told = answer.json()
    assert (told["type"], told["request_id"]) == ("error", answer.headers["request-id"])
    kind = {400: "invalid_request_error", 404: "not_found_error"}[answer.status]
    assert told["error"]["type"] == kind
    details = told["error"]["details"]
    return details["error_code"], details.get("param")
