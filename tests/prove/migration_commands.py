"""`droveway canary` as an operator types it, beside a running plant."""

import asyncio
import os
import sys
from typing import Any, NamedTuple

import msgspec

from tests.prove.claim import Run
from tests.support.nats import NatsServer

_COMMAND = (sys.executable, "-c", "from droveway.cli.main import main; main()")
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR")
_COUNTED_WITHIN_S = 30.0


class CommandFailed(Exception):
    """A command ended with another code than 0; the message has what it said."""


class Comparison(NamedTuple):
    """What `droveway canary compare` says."""

    whole: dict[str, Any]
    table: str


async def droveway(run: Run, nats: NatsServer, *words: str) -> str:
    """Types a command where the configuration lies; returns its standard output.

    Raises:
        CommandFailed: It did.
    """
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *_COMMAND, *words, "--data", str(nats.folder.path),
        cwd=run.folder, env={**environment, "COLUMNS": "160"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    if process.returncode:
        raise CommandFailed(f"droveway {' '.join(words)}: {errors.decode()}")
    return output.decode()


async def comparison(run: Run, nats: NatsServer, route: str, attempts: int) -> Comparison:
    """The comparison once the ledger has all attempts, or after a while; its table is kept, too."""
    until_s = asyncio.get_running_loop().time() + _COUNTED_WITHIN_S
    while True:
        text = await droveway(run, nats, "canary", "compare", route, "--format", "json")
        whole = msgspec.json.decode(text)
        counted = sum(line["attempts"] for line in whole["channels"])
        if counted >= attempts or asyncio.get_running_loop().time() > until_s:
            break
    table = await droveway(run, nats, "canary", "compare", route)
    (run.folder / "comparison.txt").write_text(table, encoding="utf-8")
    return Comparison(whole, table)
