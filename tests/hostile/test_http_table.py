"""Every hostile HTTP request is refused as listed: at once, in shape, alone, and unseen."""

import statistics

import pytest

from droveway.contracts.errors import CATALOGUE
from tests.hostile.http_cases import CASES, KEYS, SILENT, Case
from tests.hostile.world import World
from tests.support.pace import Pace
from tests.support.raw_http import RawAnswer, RawConnection

pytestmark = pytest.mark.asyncio(loop_scope="module")

AT_ONCE_S = 1.0
MEDIAN_S = 0.05


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
async def test_a_hostile_request_is_refused_as_listed(world: World, case: Case) -> None:
    upstream_requests, texts = world.upstream_requests, len(world.log.texts)
    async with world.connection() as client:
        with Pace() as pace:
            await client.send(world.filled(case.wire))
            if case.ends:
                client.half_close()
            if case.status == SILENT:
                assert await client.read_to_end() == b""
            else:
                answer = await read_answer(client, case)
                await assert_listed(world, case, answer)
        assert pace.elapsed_s < AT_ONCE_S
        if case.closes:
            assert await client.read_to_end() == b""
    assert world.upstream_requests == upstream_requests
    assert_nothing_told(world, texts)


async def read_answer(client: RawConnection, case: Case) -> RawAnswer:
    if not case.name.startswith("HEAD"):
        return await client.read_answer()
    head = await client.read_until(b"\r\n\r\n")
    lines = [line.partition(b": ") for line in head.split(b"\r\n")[1:] if line]
    headers = {name.decode(): value.decode() for name, _, value in lines}
    return RawAnswer(int(head.split(b" ")[1]), headers, b"")


async def assert_listed(world: World, case: Case, answer: RawAnswer) -> None:
    assert (answer.status, answer.interim) == (case.status, ())
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers.get("connection", "") == ("close" if case.closes else "")
    assert answer.headers.get("allow", "") == case.allow
    assert ("www-authenticate" in answer.headers) is (case.status == 401)
    if answer.body:
        error = answer.json()["error"]
        assert list(error) == ["message", "type", "param", "code"]
        assert (error["code"], error["type"]) == (case.code, CATALOGUE[case.code].type)
        assert not any(secret in answer.body.decode() for secret in world.secrets())
    line = await world.log.line_of(answer.headers["x-request-id"])
    assert line.status == case.status


def assert_nothing_told(world: World, since: int) -> None:
    told = "\n".join(world.log.texts[since:])
    assert [secret for secret in world.secrets() if secret in told] == []


async def test_wrong_keys_are_told_alike(world: World) -> None:
    wrong = [case for case in KEYS if case.code == "invalid_api_key"]
    bodies = {(await world.ask(case.wire)).body for case in wrong}
    assert bodies == {
        b'{"error":{"message":"Incorrect API key provided","type":"invalid_request_error",'
        b'"param":null,"code":"invalid_api_key"}}'
    }


async def test_a_refusal_takes_less_than_50_ms(world: World) -> None:
    took_s = []
    for case in CASES:
        if case.row in (3, 4, 6, 7, 8, 10, 15, 16, 17, 19, 21, 22, 31, 33) and len(case.wire) < 999:
            with Pace() as pace:
                await world.ask(case.wire)
            took_s.append(pace.elapsed_s)
    assert statistics.median(took_s) < MEDIAN_S
