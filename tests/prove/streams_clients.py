"""Client processes side by side: raw HTTP, the official SDKs, and our bus client."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from droveway.runtime.api_key import parse_key
from tests.prove.claim import Run
from tests.prove.plant import Plant
from tests.prove.streams_plan import Ask, Plan
from tests.support.history import History

ROOT = Path(__file__).parents[2]
SDKS = ("openai1", "openai3", "anthropic2")
_ENDS_WITHIN_S = 90.0
"""After the last stream was begun: longer than a client waits for any of them."""


def available() -> list[str]:
    """The clients that can be run: an SDK needs the environment that `make test-sdks` makes."""
    return ["raw", "bus", *(name for name in SDKS if _python(name).exists())]


async def ask_all(
    it: Plant,
    asks: Mapping[str, Sequence[Ask]],
    *,
    at_once: Mapping[str, int],
    until_s: float,
) -> list[Path]:
    """Runs one process for each name, which begins with its client's; where they wrote."""
    plans = []
    for name, its in asks.items():
        client = name.partition("-")[0]
        path = it.run.folder / f"{name}.jsonl"
        plan = Plan(
            client=client, key=it.key, asks=its, at_once=at_once[name], until_s=until_s,
            history=str(path), nats_url=it.nats.url,
            seed_file=str(it.nats.folder.key_seed_file(parse_key(it.key).id)),
        )  # fmt: skip
        plans.append(plan)
    await asyncio.gather(*(_run(it.run, plan) for plan in plans))
    return [Path(plan.history) for plan in plans]


def gathered(history: History, paths: Sequence[Path]) -> None:
    """Adds what the processes saw; who left has no outcome, even if it was just coming."""
    for path in paths:
        history.extend_from(path)
    for request in history.requests:
        if request.body == "left":
            request.terminals.clear()


async def _run(run: Run, plan: Plan) -> None:
    if plan.client in SDKS:
        program = Path(__file__).with_name("streams_sdk.py")
        command = [str(_python(plan.client)), str(program), plan.client.rstrip("0123456789")]
    else:
        command = [sys.executable, "-m", "tests.prove.streams_asker"]
    log = os.open(Path(plan.history).with_suffix(".log"), os.O_WRONLY | os.O_CREAT)
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stderr=log
    )
    os.close(log)
    try:
        async with asyncio.timeout_at(plan.until_s + _ENDS_WITHIN_S):
            await process.communicate(msgspec.json.encode(plan))
    except TimeoutError:
        run.blame(f"{plan.history}: its clients still wait")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        run.blame(f"{plan.client} client process ended with {process.returncode}")


def _python(sdk: str) -> Path:
    return ROOT / ".cache" / f"sdk-{sdk}" / "bin" / "python"
