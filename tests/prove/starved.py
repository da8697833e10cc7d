"""Processes that run out of something: of file descriptors, of memory."""

import asyncio
import resource
from collections import Counter
from pathlib import Path

from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import failed, http_request, reasons, streams
from tests.prove.member import Member
from tests.prove.plant import Plant, Shape, broker, plant
from tests.support.history import History, Request
from tests.support.history_clients import ask_raw
from tests.support.raw_http import raw_connection

_DESCRIPTORS = 256
_CONNECTIONS = 400
_ANSWER_S = 3.0
_MEMORY_LEFT_BYTES = 6 * 1024 * 1024
_PROMPT_BYTES = 512 * 1024
_DIES_WITHIN_S = 20.0


async def _without_descriptors(run: Run) -> Result:
    shape = Shape(rlimits={"gateway": {resource.RLIMIT_NOFILE: _DESCRIPTORS}})
    async with broker(run) as nats, plant(run, nats, shape) as it:
        with run.history() as history:
            running = streams(it, history, 20, "numbered-600")
            await it.until_streaming(20)
            crowd = await asyncio.gather(*(_one_of_a_crowd(it) for _ in range(_CONNECTIONS)))
            broken = failed(await asyncio.gather(*running))
            after = await asyncio.gather(*streams(it, history, 20, "numbered-5"))
            await it.judge(history)
    answers = Counter(crowd)
    unanswered = len(crowd) - answers["200"] - answers["503"]
    late = failed(after)
    facts = {
        "connections": _CONNECTIONS,
        "answers": dict(answers),
        "broken_streams": reasons(broken),
        "failed_afterwards": reasons(late),
    }
    held = answers["200"] > 0 and not unanswered and not broken and not late
    return Result(f"{unanswered} of {len(crowd)}; {len(broken) + len(late)} of 40", held, facts)


async def _one_of_a_crowd(it: Plant) -> str:
    """The status that one connection was answered with, or how it ended without."""
    slow = f"fault-numbered-3+slow-first-token-{int(_ANSWER_S * 1000)}"
    try:
        async with raw_connection(it.port) as client:
            await client.send(http_request(it, it.body(slow)))
            return str((await client.read_answer(5 * _ANSWER_S)).status)
    except (OSError, EOFError, TimeoutError) as error:
        return type(error).__name__


async def _without_memory(run: Run) -> Result:
    async with broker(run) as nats, plant(run, nats, Shape(callers=2)) as it:
        victim = it["caller"][0]
        with run.history() as history:
            running = streams(it, history, 40, "numbered-1000")
            await it.until_streaming(40)
            on_victim = await victim.metric("droveway_caller_in_flight")
            starve(victim, _MEMORY_LEFT_BYTES)
            pressed = await _press(it, history, victim)
            got = await asyncio.gather(*running)
            died, exit_code = not victim.alive, victim.exit_code
            victim.struck = True
            await victim.kill()
            await victim.restart()
            after = await asyncio.gather(*streams(it, history, 40, "numbered-5"))
            await it.judge(history)
    lost = failed(got)
    others = max(0, len(lost) - round(on_victim))
    untold = [one for one in (*lost, *failed(pressed)) if one.terminal != "error"]
    late = failed(after)
    facts = {
        "died_by_itself": died,
        "exit_code": exit_code,
        "streams": len(got),
        "streams_on_the_starved": on_victim,
        "broken_streams": reasons(lost),
        "requests_meanwhile": len(pressed),
        "failed_meanwhile": reasons(pressed),
        "failed_after_the_restart": reasons(late),
    }
    held = not others and not untold and not late
    return Result(f"{others} of {len(got)}; {len(untold)}; {len(late)} of 40", held, facts)


def starve(member: Member, left_bytes: int) -> None:
    """Lets a process have so much more address space than it has now."""
    pages = int(Path(f"/proc/{member.pid}/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + left_bytes
    resource.prlimit(member.pid, resource.RLIMIT_AS, (limit, limit))


async def _press(it: Plant, history: History, victim: Member) -> list[Request]:
    """Large requests, until the starved process has died or that takes too long."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + (_DIES_WITHIN_S if not it.run.quick else _DIES_WITHIN_S / 2)
    got: list[Request] = []
    while victim.alive and loop.time() < until_s:
        body = it.body("numbered-5", stream=True)
        body["messages"].append({"role": "user", "content": "x" * _PROMPT_BYTES})
        asked = (ask_raw(history, it.port, it.key, body, within_s=30) for _ in range(16))
        got += await asyncio.gather(*asked)
    return got


CLAIMS = (
    Claim(
        id="B55",
        text="400 connections to a gateway with 256 file descriptors: connections answered neither "
        "with 200 nor with 503; streams before and after that break",
        bound="0; 0",
        run=_without_descriptors,
    ),
    Claim(
        id="B56",
        text="a caller runs out of memory: streams of the other that break; "
        "clients that aren't told; requests that fail after its restart",
        bound="0; 0; 0",
        run=_without_memory,
    ),
)
