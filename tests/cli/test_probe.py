"""`droveway probe`: what it sends, what it makes of answers good and bad, and its exit codes."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import pytest_asyncio

from droveway.cli import probe
from droveway.cli.probe_report import line, outcome, summary
from droveway.cli.probe_request import Question, Result, ask
from droveway.runtime.errors import SettingsError
from droveway.simulator.server import Running, running
from tests.support.nats import NatsServer
from tests.support.simulator import quick_settings
from tests.support.stack import Stack, running_stack

COMMAND = Path(sys.executable).with_name("droveway")
QUESTION = Question("numbered-5", "hello", 16, 5.0)
KEY = "dw_live_canary"


class Outcome(NamedTuple):
    code: int
    stdout: str
    stderr: str


async def droveway(*arguments: str, folder: Path, **environment: str) -> Outcome:
    """Runs the command as a process, beside what it asks."""
    inherited = {name: text for name, text in os.environ.items() if "DROVEWAY" not in name}
    process = await asyncio.create_subprocess_exec(
        COMMAND, "probe", *arguments, cwd=folder, env=inherited | environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(20):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Outcome(process.returncode, out.decode(), err.decode())


@pytest_asyncio.fixture
async def simulator() -> AsyncIterator[Running]:
    async with running(quick_settings()) as provider:
        yield provider


async def asked(simulator: Running, fault: str = "", question: Question = QUESTION) -> Result:
    headers = {"authorization": "Bearer sk-test"}
    if fault:
        headers["x-simulator-fault"] = fault
    async with httpx.AsyncClient(base_url=probe.base_url(simulator.url), headers=headers) as client:
        return await ask(client, question)


async def test_a_good_answer_is_timed_and_counted(simulator: Running) -> None:
    result = await asked(simulator)
    assert (result.status, result.error, result.model) == (200, "", "numbered-5")
    assert result.usage.output_tokens == 5
    assert result.first_s is not None
    assert 0 < result.first_s <= result.total_s < 5


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        ("400", 400, "BadRequest"),
        ("401", 401, "Unauthorized"),
        ("429", 429, "RateLimit"),
        ("502", 502, "BadGateway"),
        ("503", 503, "ServiceUnavailable"),
        ("529", 529, "HTTP_529"),
        ("redirect", 302, "HTTP_302"),
        ("html", 200, "Interrupted"),
        ("json-error-200", 200, "Interrupted"),
        ("cut-after=2", 200, "ConnectionError"),
        ("error-after=2", 200, "Interrupted"),
        ("no-done", 200, "Interrupted"),
        ("close-before-headers", 0, "ConnectionError"),
        ("reset-before-headers", 0, "ConnectionError"),
    ],
)
async def test_a_failure_has_a_class_and_words(
    simulator: Running, fault: str, status: int, error: str
) -> None:
    result = await asked(simulator, fault)
    assert (result.status, result.error) == (status, error)
    assert result.detail
    assert result.detail.isprintable()


@pytest.mark.parametrize("fault", ["silence", "stall-after=2"])
async def test_an_answer_that_does_not_come_ends_in_time(simulator: Running, fault: str) -> None:
    result = await asked(simulator, fault, QUESTION._replace(limit_s=0.2))
    assert result.error == "Timeout"
    assert 0.2 <= result.total_s < 2


@pytest.mark.parametrize("fault", ["no-usage", "one-byte", "crlf", "comments", "no-role-chunk"])
async def test_oddities_of_a_stream_are_no_failure(simulator: Running, fault: str) -> None:
    assert (await asked(simulator, fault)).error == ""


async def test_nobody_at_the_address_is_a_result_too() -> None:
    async with httpx.AsyncClient(base_url="http://127.0.0.1:1/v1/") as client:
        result = await ask(client, QUESTION)
    assert (result.status, result.error) == (0, "ConnectionError")


@pytest.mark.parametrize(
    "text", ["http://a:1", "http://a:1/", "http://a:1/v1", "http://a:1/v1/", " http://a:1 "]
)
def test_an_address_is_taken_with_and_without_its_v1(text: str) -> None:
    assert probe.base_url(text) == "http://a:1/v1/"


@pytest.mark.parametrize("text", ["", "a:1", "ftp://a", "http://u:p@a", "http://a/?key=1"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="--url: expected"):
        probe.base_url(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("30s", 30), ("5m", 300), ("2h", 7_200), ("1d", 86_400)]
)
def test_an_interval_is_a_number_with_a_unit(text: str, expected: float) -> None:
    assert probe.seconds(text) == expected


@pytest.mark.parametrize("text", ["", "5", "m", "0s", "-1s", "5 m", "1w", "9999999s"])
def test_an_interval_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="--every"):
        probe.seconds(text)


def test_a_key_that_no_header_holds_is_refused_without_being_told(tmp_path: Path) -> None:
    for key in ("secret\r\nx: y", "secrét", "secret key"):
        with pytest.raises(SettingsError) as refused:
            probe.key_of(key, tmp_path)
        assert "secr" not in str(refused.value)


def test_without_a_key_it_says_where_to_get_one_and_makes_none(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="DROVEWAY_KEY"):
        probe.key_of("", tmp_path)
    assert [*tmp_path.iterdir()] == []


async def test_a_request_is_told_in_one_line(simulator: Running) -> None:
    good, bad = await asked(simulator), await asked(simulator, "503")
    lines = [line(outcome(one, 12_345, "config")) for one in (good, bad)]
    assert "numbered-5  200  first " in lines[0]
    assert "$0.000012" in lines[0]
    assert "numbered-5  503  ServiceUnavailable  all " in lines[1]


async def test_a_summary_counts_what_was_answered(simulator: Running) -> None:
    good, bad = await asked(simulator), await asked(simulator, "429")
    told = summary("m", [(good._replace(total_s=s), 1_000) for s in (0.1, 0.2, 0.3)] + [(bad, 0)])
    assert (told["asked"], told["answered"], told["errors"]) == (4, 3, {"RateLimit": 1})
    assert (told["total_p50_ms"], told["total_p95_ms"]) == (200.0, 300.0)
    assert line(told).endswith("$0.000003, RateLimit 1")
    nothing = summary("m", [(bad, 0)])
    assert "p50 -, p95 -" in line(nothing)


@pytest_asyncio.fixture
async def stack(nats: NatsServer, tmp_path: Path) -> AsyncIterator[Stack]:
    async with running_stack(nats, tmp_path) as world:
        yield world


async def test_through_all_services_it_prints_lines_and_exits_0(
    stack: Stack, tmp_path: Path
) -> None:
    models = ("--model", "numbered-5", "--model", "numbered-6")
    told = await droveway(
        *models, "--count", "2", "--json", "--url", stack.url,
        folder=tmp_path, DROVEWAY_KEY=stack.key,
    )  # fmt: skip
    assert told.code == 0, told.stderr
    rows = [json.loads(text) for text in told.stdout.splitlines()]
    ended, summaries = rows[:4], rows[4:]
    assert [row["model"] for row in ended] == ["numbered-5", "numbered-6"] * 2
    assert {row["status"] for row in ended} == {200}
    assert all(row["request_id"].startswith("req_") and row["provider"] for row in ended)
    assert [row["summary"] for row in summaries] == ["numbered-5", "numbered-6"]
    assert sum(row["tokens"] for row in summaries) == sum(
        row["input_tokens"] + row["output_tokens"] for row in ended
    )


async def test_a_refused_key_is_exit_1_and_is_not_printed(stack: Stack, tmp_path: Path) -> None:
    told = await droveway(
        "--model", "numbered-5", folder=tmp_path, DROVEWAY_KEY=KEY, DROVEWAY_URL=stack.url
    )
    assert told.code == 1
    assert "401  Unauthorized" in told.stdout
    assert told.stderr == "droveway: 1 of 1 requests failed\n"
    assert "canary" not in told.stdout + told.stderr


async def test_a_schedule_goes_on_until_it_is_interrupted(
    simulator: Running, tmp_path: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        COMMAND, "probe", "--model", "numbered-5", "--every", "1s", "--url", simulator.url,
        cwd=tmp_path, env=os.environ | {"DROVEWAY_KEY": KEY}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(20):
        rounds = 0
        while rounds < 2:
            rounds += b"1 of 1 answered" in await process.stdout.readline()
        process.send_signal(2)
        assert await process.wait() == 0
