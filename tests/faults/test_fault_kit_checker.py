"""Each invariant catches what is planted for it, and says nothing of what is clean."""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from droveway.simulator.book import Totals
from tests.support.checker import (
    CHECKS,
    MANY,
    STREAMS,
    USUAL,
    Evidence,
    Health,
    Snapshot,
    check,
)
from tests.support.history import History, Request
from tests.support.observations import Watched

TOKENS = [f"t{number} " for number in range(6)]
SECRET = "sk-canary-1234567890"


def done(**changes: object) -> Request:
    """A whole stream of six tokens, or whatever the changes make of it."""
    history = History()
    request = history.invoke("raw", "numbered-6", stream=True)
    request.status, request.tokens, request.body = 200, list(TOKENS), "whole"
    request.terminals = ["done"]
    for name, value in changes.items():
        setattr(request, name, value)
    return request


def judged(*requests: Request, books: tuple[Totals, ...] = ()) -> list[str]:
    history = History()
    for number, request in enumerate(requests):
        request.id = f"raw-{number}"
        history.add(request)
    return check(Evidence(history, books=books), STREAMS)


CLEAN: dict[str, Request] = {
    "whole": done(),
    "several tokens in a delta": done(tokens=["t0 t1 ", "t2 t3 t4 ", "t5 "]),
    "a delta within a token": done(tokens=["t0 t", "1 t2 t3 t4 t5 "]),
    "told of an error": done(tokens=TOKENS[:3], terminals=["error"], body="cut"),
    "cut": done(tokens=TOKENS[:3], terminals=[], body="cut"),
    "cut before the first token": done(tokens=[], terminals=[], body="cut"),
    "refused": done(status=503, tokens=[], terminals=["error"]),
    "the client left": done(tokens=TOKENS[:3], terminals=[], body="left"),
    "nobody there": done(status=None, tokens=[], terminals=[], body="cut"),
}
PLANTED: dict[str, tuple[Request, str]] = {
    "gap": (done(tokens=[*TOKENS[:2], *TOKENS[3:]]), "gap: t2 to t2 are missing at place 2"),
    "wide gap": (done(tokens=[TOKENS[0], TOKENS[5]]), "gap: t1 to t4 are missing at place 1"),
    "no first": (done(tokens=TOKENS[1:]), "gap: t0 to t0 are missing at place 0"),
    "duplicate": (done(tokens=[*TOKENS[:4], *TOKENS[3:]]), "duplicate: t3 again at place 4"),
    "from the start again": (done(tokens=TOKENS * 2), "duplicate: t0 again at place 6"),
    "swapped": (
        done(tokens=["t0 ", "t2 ", "t1 ", *TOKENS[3:]]),
        "reorder: t2 before t1 at place 1",
    ),
    "changed": (done(tokens=["t0 ", "x1 ", *TOKENS[2:]]), "changed: 'x1 t2 t3 t4 t5 ' at place 1"),
    "lost space": (done(tokens=["t0 ", "t1", *TOKENS[2:]]), "changed: 't1t2 t3 t4 t5 ' at place 1"),
    "too many": (done(expected_tokens=5), "excess: 6 tokens instead of 5"),
    "gap in what was cut": (
        done(tokens=["t0 ", "t2 "], terminals=[], body="cut"),
        "gap: t1 to t1 are missing at place 1",
    ),
    "silent truncation": (
        done(tokens=TOKENS[:3], terminals=[]),
        "no outcome: its body ended well",
    ),
    "no end": (done(terminals=[], body="none", exception="TimeoutError"), "TimeoutError"),
    "two terminals": (
        done(terminals=["done", "done"], late_events=1),
        "2 terminals: done, done",
    ),
    "an error after success": (done(terminals=["done", "error"]), "2 terminals: done, error"),
    "more after the end": (done(late_events=2), "2 events after its terminal"),
    "missing tail": (done(tokens=TOKENS[:5]), "success with 5 of 6 tokens"),
    "success that was cut": (done(body="cut"), "success, but its body was cut"),
    "success by another status": (done(status=502), "success with status 502"),
}


@pytest.mark.parametrize("name", CLEAN)
def test_clean_histories_pass(name: str) -> None:
    assert judged(CLEAN[name]) == []


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_is_found_and_placed(name: str) -> None:
    request, said = PLANTED[name]
    found = judged(done(), request, done())
    assert any(said in violation for violation in found), found
    assert all("raw-1 (numbered-6" in violation for violation in found)


def test_a_request_that_is_recorded_twice_is_found() -> None:
    history = History()
    for request in (done(), done()):
        history.add(request)
    assert check(Evidence(history)) == ["I1 raw-1 (numbered-6, no request id): recorded twice"]


def test_books_bear_witness_against_invented_tokens_and_answers() -> None:
    good = Totals(tokens_sent=12, answered=2)
    assert judged(done(), done(), books=(good,)) == []
    assert judged(done(), done(), done(), books=(good,)) == [
        "I2 clients were given 18 tokens, providers sent 12",
        "I3 3 requests succeeded, providers answered 2",
    ]


def test_many_violations_are_told_in_few_lines() -> None:
    found = judged(*(done(late_events=1) for _ in range(MANY + 5)))
    assert len(found) == MANY + 1
    assert found[-1] == "I1 and 5 more"


def test_what_proves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="proves nothing"):
        check(Evidence(History()))
    history = History()
    history.add(done())
    for name in ("I6", "I7", "I8"):
        with pytest.raises(ValueError, match=name):
            check(Evidence(history), [name])


def evidence(**fields: object) -> Evidence:
    history = History()
    history.add(done())
    make: Callable[..., Evidence] = Evidence
    return make(history, **fields)


def test_growth_beyond_what_is_allowed_is_found() -> None:
    age = "droveway_bus_last_beat_seconds{service=caller} of caller"
    before = Snapshot(
        {"fds of caller": 10, age: 0.1, "rss_bytes of caller": 1e8, "tasks of self": 3}
    )
    after = Snapshot(
        {"fds of caller": 12, age: 0.9, "rss_bytes of caller": 1.1e8, "tasks of self": 2}
    )
    found = check(evidence(before=before, after=after), ["I6"])
    assert found == ["I6 fds of caller grew from 10 to 12"]
    allowed = {"fds *": 2.0, **USUAL}
    assert check(evidence(before=before, after=after, allowed=allowed), ["I6"]) == []
    books = (Totals(), Totals(open_requests=2))
    found = check(evidence(before=before, after=before, books=books), ["I6"])
    assert found == ["I6 2 requests are still open at provider 2"]


async def test_tasks_descriptors_and_threads_that_stay_are_seen() -> None:
    watched = Watched(pids={"self": os.getpid()})
    before = await watched.snapshot()
    assert check(evidence(before=before, after=await watched.snapshot()), ["I6"]) == []
    forever = asyncio.ensure_future(asyncio.Event().wait())
    with socket.socket():
        after = await watched.snapshot()
        found = check(evidence(before=before, after=after), ["I6"])
    assert [line.split(" grew")[0] for line in found] == ["I6 tasks of self", "I6 fds of self"]
    forever.cancel()
    after = await watched.settled(before, USUAL)
    assert check(evidence(before=before, after=after), ["I6"]) == []


def test_a_secret_in_a_file_is_found_but_not_told(tmp_path: Path) -> None:
    (tmp_path / "spans").mkdir()
    (tmp_path / "gateway.log").write_text("all is well\n")
    big = tmp_path / "spans" / "1.bin"
    paths = (tmp_path,)
    for before in (0, 1_048_576 - 5, 2_000_000):
        big.write_bytes(bytes(before))
        assert check(evidence(secrets=(SECRET,), paths=paths), ["I7"]) == []
        big.write_bytes(bytes(before) + SECRET.encode() + b"rest")
        (found,) = check(evidence(secrets=(SECRET,), paths=paths), ["I7"])
        assert found.endswith(f"at byte {before}")
        assert SECRET not in found
    (found,) = check(evidence(secrets=(SECRET,), paths=(tmp_path / "nowhere",)), ["I7"])
    assert "nothing to look at" in found


async def test_the_dead_and_the_unready_are_told_apart() -> None:
    process = await asyncio.create_subprocess_exec("true")
    pids = {"self": os.getpid(), "ended": process.pid}
    await process.wait()
    health = await Watched(pids=pids, admin_ports={"nobody": 1}).health(within_s=0.1)
    assert check(evidence(health=health), ["I8"]) == [
        "I8 ended has died",
        "I8 nobody wasn't ready within 0.1 s",
    ]
    assert check(evidence(health=(Health("caller", True, 0.4, 10.0),)), ["I8"]) == []


def test_a_test_may_bring_an_invariant_of_its_own() -> None:
    checks = {**CHECKS, "three": lambda _evidence: iter(["two of three"])}
    assert check(evidence(), ["I1", "three"], checks) == ["three two of three"]
