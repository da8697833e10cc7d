"""The nemesis strikes by its seed, writes it down, and leaves nothing broken."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from droveway.simulator.server import running
from tests.support.history import Header, History, Request, Strike, read
from tests.support.history_clients import ask_httpx, ask_raw
from tests.support.nemesis import Action, Nemesis, Outage
from tests.support.simulator import chat_body, quick_settings
from tests.support.upstream import CHUNKED, Script, ScriptedUpstream, answer, chunk, replies, resets
from tests.support.waiting import until


def nothing() -> None:
    return


def test_the_seed_alone_decides_the_schedule() -> None:
    actions = [Action("often", nothing, weight=9), Action("rare", nothing)]

    def plan(seed: int) -> list[tuple[float, str]]:
        nemesis = Nemesis(seed, actions, 1.0, history=History(), strikes=200)
        return [(pause_s, action.name) for pause_s, action in nemesis.schedule()]

    assert plan(1) == plan(1) != plan(2)
    assert all(0.5 <= pause_s <= 1.5 for pause_s, _ in plan(1))
    assert 5 <= sum(name == "rare" for _, name in plan(1)) <= 40


async def test_strikes_are_written_down_in_order() -> None:
    history = History()
    struck: list[str] = []

    async def later() -> None:
        struck.append("later")

    actions = [Action("now", lambda: struck.append("now")), Action("later", later)]
    await Nemesis(3, actions, 0.001, history=history, strikes=20).run()
    assert len(struck) == 20
    assert {"now", "later"} == set(struck)
    assert [one.name for one in history.strikes if one.phase == "begins"] == struck
    assert [one.phase for one in history.strikes] == ["begins", "ends"] * 20
    times = [one.at_s for one in history.strikes]
    assert times == sorted(times)


@pytest.mark.parametrize("blocking", [False, True])
async def test_an_outage_ends_once_even_if_the_block_ends_first(blocking: bool) -> None:
    state: list[str] = []
    broken = threading.Event()

    def begin() -> None:
        state.append("broken")
        broken.set()

    outage = Outage(begin, lambda: state.append("whole"), 60, blocking=blocking)
    history = History()
    async with Nemesis(1, [outage.action("link")], 0.001, history=history).running():
        await until(broken.is_set)
    assert state == ["broken", "whole"]
    assert [one.phase for one in history.strikes] == ["begins", "heals"]
    await outage.heal()
    assert state == ["broken", "whole"]


async def during(nemesis: Nemesis, holds: Callable[[], bool]) -> None:
    async with nemesis.running():
        await until(holds)


async def test_a_strike_that_fails_is_told_after_all_is_healed() -> None:
    healed: list[str] = []

    def fail() -> None:
        raise OSError("no such process")

    history = History()
    actions = [Action("kill", fail, heal=lambda: healed.append("kill"))]
    nemesis = Nemesis(1, actions, 0.001, history=history)
    with pytest.raises(OSError, match="no such process"):
        await during(nemesis, lambda: bool(healed))
    phases = [(one.phase, one.cause) for one in history.strikes]
    assert phases == [("begins", ""), ("fails", "OSError"), ("heals", "")]


async def test_one_that_cannot_be_healed_does_not_keep_the_others() -> None:
    healed: list[str] = []

    def fail() -> None:
        raise OSError("still broken")

    actions = [
        Action("one", nothing, heal=lambda: healed.append("one")),
        Action("two", nothing, heal=fail),
        Action("three", nothing, heal=lambda: healed.append("three")),
    ]
    with pytest.raises(ExceptionGroup, match="not healed"):
        await Nemesis(1, actions, 0.001, history=History(), strikes=30).run()
    assert sorted(healed) == ["one", "three"]


def test_a_history_is_the_same_when_it_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "sdk.jsonl"
    with History(path, seed=5) as history:
        request = history.invoke("openai", "numbered-3", stream=True)
        request.tokens, request.terminals = ["t0 ", "t1 "], ["error"]
        history.add(request)
        history.add(Strike(name="rst", at_s=1.5, phase="begins"))
    with path.open("ab") as file:
        file.write(b'{"type":"request","id":"cut by a ki')
    header, *lines = read(path)
    assert isinstance(header, Header)
    assert header.seed == 5
    assert header.versions["droveway"]
    assert lines == [request, history.strikes[0]]
    other = History()
    assert other.extend_from(path) == 2
    assert other.requests[0].id == f"sdk/{request.id}"
    assert other.requests[0].duration_s == request.duration_s
    assert (other.requests[0].expected_tokens, other.requests[0].text) == (3, "t0 t1 ")


async def seen(script: Script, client: str, *, within_s: float = 5.0) -> Request:
    """What a client wrote down of one scripted answer."""
    history = History()
    body = chat_body("numbered-3", stream=True)
    async with ScriptedUpstream(script) as upstream:
        if client == "raw":
            return await ask_raw(history, upstream.port, "sk", body, within_s=within_s)
        async with httpx.AsyncClient(base_url=upstream.url, timeout=within_s) as http:
            return await ask_httpx(history, http, body)


def event(content: str) -> bytes:
    return chunk(b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % content.encode())


T = event("t0 ")
DONE = chunk(b"data: [DONE]\n\n")
ERROR = chunk(b'data: {"error":{"code":"stream_interrupted"}}\n\n')
END = chunk(b"")
SCRIPTS: dict[str, tuple[Script, str, str]] = {
    "whole": (replies(CHUNKED, T, DONE, END), "done", "whole"),
    "error, then cut": (replies(CHUNKED, T, ERROR), "error", "cut"),
    "cut by FIN": (replies(CHUNKED, T), "cut", "cut"),
    "cut by RST": (resets(CHUNKED, T), "cut", "cut"),
    "cut within a chunk": (replies(CHUNKED, T[:-5]), "cut", "cut"),
    "silent truncation": (replies(CHUNKED, T, END), "none", "whole"),
    "done, then cut": (replies(CHUNKED, T, DONE), "done", "cut"),
    "wrong framing": (replies(CHUNKED, b"zz\r\nhello\r\n"), "cut", "cut"),
    "refused": (
        replies(answer(b'{"error":{"code":"rate_limited"}}', "429 Too Many Requests")),
        "error",
        "whole",
    ),
    "no HTTP": (replies(b"hello\r\n\r\n"), "cut", "cut"),
}


@pytest.mark.parametrize("client", ["raw", "httpx"])
@pytest.mark.parametrize("name", SCRIPTS)
async def test_clients_tell_every_end_apart(name: str, client: str) -> None:
    script, terminal, body = SCRIPTS[name]
    record = await seen(script, client)
    assert (record.terminal, record.body) == (terminal, body)
    if "error" in name:
        assert record.error_code == "stream_interrupted"
    assert (record.exception != "") == (body == "cut")


async def test_the_raw_client_sees_bytes_behind_the_answer() -> None:
    record = await seen(replies(CHUNKED, T, DONE, END, b"HTTP/1.1 200 OK\r\n\r\n"), "raw")
    assert record.exception == "FramingError"


async def test_an_answer_that_never_ends_is_no_outcome() -> None:
    async def stall(upstream: object) -> None:
        await asyncio.Event().wait()

    for client in ("raw", "httpx"):
        record = await seen(stall, client, within_s=0.05)
        assert (record.terminal, record.body) == ("none", "none")
        assert "Timeout" in record.exception


async def test_a_client_that_leaves_is_written_down() -> None:
    history = History()
    async with running(quick_settings(first_token_ms=60_000)) as simulator:
        asked = asyncio.ensure_future(ask_raw(history, simulator.port, "sk", chat_body()))
        await simulator.until(lambda totals: totals.open_requests == 1)
        asked.cancel()
        await asyncio.wait({asked})
    assert [(one.terminal, one.body) for one in history.requests] == [("none", "left")]


async def test_a_record_has_tokens_arrivals_and_duration() -> None:
    history = History()
    async with running(quick_settings(token_interval_ms=5)) as simulator:
        for stream in (True, False):
            body = chat_body("numbered-5", stream=stream)
            record = await ask_raw(history, simulator.port, "sk", body)
            assert record.text == "t0 t1 t2 t3 t4 "
            assert (record.expected_tokens, record.terminal, record.status) == (5, "done", 200)
            assert record.duration_s >= 0.018
    first = history.requests[0]
    assert first.tokens == [f"t{number} " for number in range(5)]
    assert first.arrivals_s == sorted(first.arrivals_s)
    assert 0.003 < first.longest_pause_s < first.duration_s
