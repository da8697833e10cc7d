"""Runs the samples of docs/examples as their readers would, in the SDK's own environment."""

import asyncio
import os
import sys
from pathlib import Path

from tests.sdks.server import Droveway

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
WITHIN_S = 30


async def run(server: Droveway, name: str, **variables: str) -> str:
    """What a sample prints; it must succeed."""
    environment = {
        **os.environ,
        "DROVEWAY_URL": server.url,
        "DROVEWAY_KEY": server.key,
        "PYTHONDONTWRITEBYTECODE": "",  # each run would compile the whole SDK anew
        "PYTHONWARNINGS": "error::DeprecationWarning",
        **variables,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, EXAMPLES / name,
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(WITHIN_S):
        out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert errors == b"", errors.decode()
    return out.decode()
