"""`python -m tests.bench`: starts everything, measures, prints a table, leaves nothing behind."""

import argparse
import os
import signal
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import FrameType

import msgspec

from droveway.cli import nats_server
from droveway.cli.nats_config import NatsServerSettings
from tests.bench import peers, system, yardstick
from tests.bench.children import Children, RunFailed
from tests.bench.figures import Figure, Report, markdown
from tests.bench.measures import MEASURES, NOT_QUICK
from tests.bench.targets import direct, droveway
from tests.bench.world import World

_LIMITS_S = (225.0, 180.0)
"""For all measures once everything is up, and for each peer in addition."""
_QUICK_LIMITS_S = (35.0, 30.0)
_QUIET_LOAD = 0.5


def main() -> None:
    """Runs the measures that the command line asks for."""
    options = _options()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        report = _run(options)
    except RunFailed as error:
        sys.exit(f"bench: {error}")
    text = markdown(report)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    if options.markdown:
        options.markdown.write_text(f"# Benchmarks\n\n{text}", encoding="utf-8")
    sys.stdout.write(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, at most 40 s")
    parser.add_argument(
        "--only", action="append", choices=MEASURES, help="one measure; may be repeated"
    )
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; default 3")
    parser.add_argument(
        "--peers",
        default=os.environ.get("BENCH_PEERS", ""),
        help="litellm,portkey: measured too; default: the variable BENCH_PEERS",
    )
    parser.add_argument(
        "--no-one-process", action="store_true", help="leave out `up --one-process`"
    )
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    parser.add_argument("--markdown", type=Path, help="also write the table to this file")
    return parser.parse_args()


def _run(options: argparse.Namespace) -> Report:
    names = [name for name in options.peers.split(",") if name]
    limit_s, more_s = _QUICK_LIMITS_S if options.quick else _LIMITS_S
    load_before = system.load_average()
    with tempfile.TemporaryDirectory(prefix="droveway-bench-") as folder, Children() as children:
        world = World(
            children,
            yardstick.messages(children, Path(folder)),
            rounds=1 if options.quick else options.rounds,
            scale=0.5 if options.quick else 1.0,
        )
        if load_before > _QUIET_LOAD:
            world.note(f"the load average was {load_before:.2f} before: others were at work")
        _start(
            world, Path(folder), names, one_process=not (options.quick or options.no_one_process)
        )
        world.begin(limit_s + more_s * len(names))
        figures = _measured(world, options.only, quick=options.quick)
        return Report(
            date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            machine=system.machine(),
            versions=[*_versions(), *peers.versions(names)],
            load_before=load_before,
            rounds=world.rounds,
            targets=[target.name for target in world.targets],
            figures=figures,
            notes=world.notes,
        )


def _start(world: World, folder: Path, names: list[str], *, one_process: bool) -> None:
    """The mock, a sink for traces, Droveway in both forms, and the peers asked for."""
    world.upstream_pid, upstream = world.children.upstream()
    _, sink = world.children.upstream()
    world.targets.append(direct(upstream))
    for together in (False, True) if one_process else (False,):
        own = folder / ("one" if together else "five")
        own.mkdir()
        deployed = droveway(world.children, own, upstream, sink, one_process=together)
        world.deployed = world.deployed or deployed
        world.targets.append(deployed.target)
    for name in names:
        world.targets += peers.start(name, world.children, folder, upstream)


def _measured(world: World, only: list[str] | None, *, quick: bool) -> list[Figure]:
    figures: list[Figure] = []
    for name, measure in MEASURES.items():
        if only is None and quick and name in NOT_QUICK:
            continue
        if only is None or name in only:
            sys.stderr.write(f"{name} …\n")
            figures += measure(world)
    return figures


def _versions() -> list[str]:
    server = nats_server.version(nats_server.find(NatsServerSettings()))
    return [f"Droveway {version('droveway')}", f"nats-server {server}"]


def _stop(number: int, _frame: FrameType | None) -> None:
    """Ends the run by unwinding it, so that every child is ended."""
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
