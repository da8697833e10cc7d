"""`python -m tests.prove`: measures what the README claims, row by row; exit 1 if one is broken."""

import argparse
import asyncio
import shutil
import signal
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import FrameType

import msgspec
import uvloop

from droveway.cli import nats_server
from droveway.cli.nats_config import NatsServerSettings
from tests.bench import system
from tests.prove.claim import Claim, Result, Run
from tests.prove.registry import CLAIMS, chosen
from tests.prove.report import Report, Row, row, write_tables

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "prove"


def main() -> None:
    """Runs the claims that the command line asks for."""
    options = _options()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        claims = chosen(options.only)
    except ValueError as error:
        sys.exit(f"prove: {error}")
    report = run_all(claims, seed=options.seed, quick=options.quick, folder=BUILD)
    text = msgspec.json.format(msgspec.json.encode(report))
    for path in [BUILD / "report.json", *([options.json] if options.json else [])]:
        path.write_bytes(text)
    if options.write:
        write_tables(report, ROOT)
    sys.exit(not all(one.held for one in report.rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.prove", description=__doc__)
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        help=f"these rows: {', '.join(one.id for one in CLAIMS)}",
    )
    parser.add_argument("--seed", type=int, default=1, help="decides every chance; default 1")
    parser.add_argument("--quick", action="store_true", help="smaller counts, at most 3 minutes")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    parser.add_argument("--write", action="store_true", help="replace the tables of the READMEs")
    options = parser.parse_args()
    if options.write and (options.quick or options.only):
        parser.error("--write takes a whole run: leave --quick and --only out")
    return options


def run_all(claims: list[Claim], *, seed: int, quick: bool, folder: Path) -> Report:
    """Runs claims one after the other and tells each row as it comes."""
    load_before = system.load_average()
    binary = nats_server.find(NatsServerSettings())
    rows = []
    for claim in claims:
        rows.append(prove(claim, seed=seed, quick=quick, folder=folder))
        sys.stdout.write(told(rows[-1]))
        sys.stdout.flush()
    return Report(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        seed=seed,
        quick=quick,
        machine=system.machine(),
        versions={
            "droveway": version("droveway"),
            "nats-server": nats_server.version(binary),
            "nats-py": version("nats-py"),
        },
        load_before=load_before,
        rows=rows,
    )


def prove(claim: Claim, *, seed: int, quick: bool, folder: Path) -> Row:
    """One claim; whatever it raises breaks it, so that the others are still measured."""
    own = folder / claim.id
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True)
    run = Run(claim.id, seed, quick, own)
    began_s = time.monotonic()
    try:
        result = uvloop.run(_within(claim, run))
    except Exception as error:  # noqa: BLE001 - told in its row
        run.blame(f"{type(error).__name__}: {error}")
        result = Result("not measured", False, {})
    return row(claim, result, run.violations, time.monotonic() - began_s)


async def _within(claim: Claim, run: Run) -> Result:
    async with asyncio.timeout(claim.within_s):
        return await claim.run(run)


def told(one: Row) -> str:
    """A row for the terminal, with what was violated below it."""
    verdict = "held" if one.held else "BROKEN"
    head = f"{one.id:<8} {verdict:<6} {one.seconds:6.1f} s  {one.claim}: "
    lines = [f"{head}{one.measured} (bound {one.bound})"]
    lines += [f"           {violation}" for violation in one.violations[:10]]
    return "\n".join((*lines, ""))


def _stop(number: int, _frame: FrameType | None) -> None:
    """Ends the run by unwinding it, so that every process is ended."""
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
