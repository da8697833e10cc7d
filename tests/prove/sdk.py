"""openai-python as a client, in the environment that `make test-sdks` uses too."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from tests.prove.plant import Plant

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".cache" / "sdk-openai3" / "bin" / "python"
_LINE_BYTES = 64 * 1024 * 1024
_WITHIN_S = 60.0


class Seen(msgspec.Struct):
    """One stream as the SDK's user saw it."""

    text: str
    finish_reason: str
    exception: str
    """Class of what was raised; empty: nothing."""


class Readers:
    """A process whose streams run."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def until_reading(self) -> None:
        """Waits until each stream has told something."""
        line = await self._line()
        assert line == b"reading\n", line

    async def results(self) -> list[Seen]:
        """What each stream's reader saw, once all have ended."""
        return msgspec.json.decode(await self._line(), type=list[Seen])

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        async with asyncio.timeout(_WITHIN_S):
            return await self._process.stdout.readline()


@asynccontextmanager
async def streaming(plant: Plant, count: int, model: str) -> AsyncIterator[Readers]:
    """So many streams through the SDK for the length of a block.

    Raises:
        FileNotFoundError: The SDK's environment isn't there; `make prove` makes it.
    """
    program = Path(__file__).with_name("sdk_reader.py")
    url = f"http://127.0.0.1:{plant.port}/v1"
    process = await asyncio.create_subprocess_exec(
        PYTHON, program, url, plant.key, model, str(count),
        stdout=asyncio.subprocess.PIPE, limit=_LINE_BYTES,
    )  # fmt: skip
    try:
        yield Readers(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
