"""Runs the samples of docs/examples as their readers would; knows nothing of Droveway's code."""

import asyncio
import os
from pathlib import Path
from typing import NamedTuple

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
WITHIN_S = 30


class Ran(NamedTuple):
    """A sample's end."""

    status: int
    out: str
    errors: str


async def run(program: str | Path, name: str, variables: dict[str, str]) -> Ran:
    """Runs a sample by that program."""
    process = await asyncio.create_subprocess_exec(
        program, EXAMPLES / name,
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(WITHIN_S):
        out, errors = await process.communicate()
    assert process.returncode is not None
    return Ran(process.returncode, out.decode().strip(), errors.decode())
