"""A fault proxy as a process of its own, which a busy test doesn't slow down.

    python -m tests.support.fault_process --to 127.0.0.1:4222 --seed 7

prints its port. Each line on standard input is a command, answered by one line of JSON:

    set up|down|both name=value ...    the fields of `Faults`; the others go back to good
    reset    reset-each <seconds>    refuse    heal    statistics

It ends with its standard input.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

from tests.support.fault_proxy import FaultProxy
from tests.support.tcp_proxy import Direction, address

ANSWER_WITHIN_S = 5.0
REPOSITORY = Path(__file__).parents[2]


class CommandError(Exception):
    """The proxy understood no such command; its message says why."""


def obey(proxy: FaultProxy, line: str) -> Any:
    """Does what one line says; returns what is to be answered.

    Raises:
        ValueError: The line isn't a command.
    """
    match line.split():
        case ["set", where, *fields] if where in ("both", *get_args(Direction)):
            directions = [one for one in get_args(Direction) if where in (one, "both")]
            proxy.set(*directions, **dict(field.split("=", 1) for field in fields))
        case ["reset"]:
            return proxy.reset()
        case ["reset-each", every_s]:
            proxy.reset_each(float(every_s))
        case ["refuse"]:
            proxy.refuse()
        case ["heal"]:
            proxy.heal()
        case ["statistics"]:
            return vars(proxy.statistics)
        case _:
            raise ValueError(f"{line!r} is no command: set, reset, reset-each, refuse, heal, ...")
    return None


async def run(target: tuple[str, int], seed: int) -> None:
    """Serves until standard input ends."""
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with FaultProxy(*target, seed=seed) as proxy:
        _tell({"port": proxy.port})
        while line := (await lines.readline()).decode():
            try:
                _tell({"answer": obey(proxy, line)})
            except ValueError as error:  # msgspec's is one
                _tell({"error": str(error)})


def _tell(words: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


class FaultProcess:
    """A proxy process as a test sees it; its methods are those of `FaultProxy`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.port = 0
        self._process = process

    async def set(self, *directions: Direction, **faults: Any) -> None:
        """Replaces the faults of one direction, or of both."""
        (where,) = directions or ("both",)
        await self.command(f"set {where} " + " ".join(f"{k}={v}" for k, v in faults.items()))

    async def command(self, line: str) -> Any:
        """Sends any command and returns its answer.

        Raises:
            CommandError: The process refused it.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        answer = await self.answer()
        if "error" in answer:
            raise CommandError(answer["error"])
        return answer["answer"]

    async def answer(self) -> dict[str, Any]:
        """The next line that it tells."""
        assert self._process.stdout is not None
        async with asyncio.timeout(ANSWER_WITHIN_S):
            answer: dict[str, Any] = json.loads(await self._process.stdout.readline())
        return answer


@asynccontextmanager
async def fault_process(host: str, port: int, *, seed: int = 0) -> AsyncIterator[FaultProcess]:
    """A proxy process for the length of a block."""
    words = ["-m", "tests.support.fault_process", "--to", f"{host}:{port}", "--seed", str(seed)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdin=pipe, stdout=pipe, cwd=REPOSITORY
    )
    assert process.stdin is not None
    try:
        proxy = FaultProcess(process)
        proxy.port = (await proxy.answer())["port"]
        yield proxy
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def main(words: Sequence[str]) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="fault_process")
    parser.add_argument("--to", required=True, metavar="HOST:PORT", type=address)
    parser.add_argument("--seed", default=0, type=int)
    options = parser.parse_args(words)
    asyncio.run(run(options.to, options.seed))


if __name__ == "__main__":
    main(sys.argv[1:])
