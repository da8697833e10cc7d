"""The connection's own faults: those of nats-py, and credentials that the broker doesn't take."""

import asyncio
import signal
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nkeys

from droveway.cli.nats_config import NatsServerSettings
from droveway.cli.nats_server import write_config
from tests.prove.broker_probe import first_time
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import failed, streams
from tests.prove.member import Member
from tests.prove.plant import Plant, Shape, broker, plant
from tests.support.fault_proxy import FaultProxy
from tests.support.nats import NatsServer
from tests.support.tcp_proxy import address

UNREADY_WITHIN_S = 4.0
TRIES_PER_S = 3.0
GONE_WITHIN_S = 65.0
"""The bus gives up after 60 s."""
_REFUSED_WITHIN_S = 10.0
_EX_CONFIG, _EX_UNAVAILABLE = 78, 69
_TESTS = "tests/runtime/test_nats_py_faults.py"
_THEIRS, _OURS = "nats-py has it", "the bus hasn't"
_ROOT = Path(__file__).parents[2]
_TESTS_WITHIN_S = 120.0


async def _faults_of_nats_py(run: Run) -> Result:
    report = run.folder / "nats_py_faults.xml"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}",
        _TESTS, cwd=_ROOT, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    async with asyncio.timeout(_TESTS_WITHIN_S):
        await process.wait()
    pairs = _pairs(report)
    right = [name for name, sides in pairs.items() if sides == {_THEIRS: True, _OURS: True}]
    wrong = {name: sides for name, sides in pairs.items() if name not in right}
    facts = {"scenarios": sorted(pairs), "wrong": wrong}
    share = 100 * len(right) / max(1, len(pairs))
    return Result(f"{share:.0f} % of {len(pairs)}", bool(pairs) and not wrong, facts)


def _pairs(report: Path) -> dict[str, dict[str, bool]]:
    """By scenario: whether each side behaved as its half of the test says."""
    found: dict[str, dict[str, bool]] = defaultdict(dict)
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.get("name", "")
        side = _THEIRS if _THEIRS in name else _OURS
        scenario = name.replace(side, "").replace("[-", "[").replace("-]", "]").removesuffix("[]")
        found[scenario][side] = not list(case.iter("failure")) and not list(case.iter("error"))
    return found


async def _refused(run: Run) -> Result:
    async with broker(run) as nats, FaultProxy(*address(nats.url), seed=run.seed) as link:
        shape = Shape(links={"router": f"nats://127.0.0.1:{link.port}"})
        async with plant(run, nats, shape) as it:
            with run.history() as history:
                facts = await _one_revocation(it, link)
                got = await asyncio.gather(*streams(it, history, 20, "numbered-5"))
                await it.judge(history)
    facts["failed_afterwards"] = len(failed(got))
    held = (
        facts["unready_s"] is not None
        and facts["unready_s"] <= UNREADY_WITHIN_S
        and facts["log_lines"] == 1
        and facts["tries_per_s"] <= TRIES_PER_S
        and (run.quick or (facts["exit_code"] == _EX_UNAVAILABLE))
        and facts["restart_exit_code"] == _EX_CONFIG
        and not facts["failed_afterwards"]
    )
    gone = "-" if facts["gone_s"] is None else f"{facts['gone_s']:.0f} s"
    measured = (
        f"{facts['unready_s']:.1f} s; {facts['log_lines']}; {facts['tries_per_s']:.1f}; {gone}; "
        f"{facts['restart_exit_code']} in {facts['restart_s']:.1f} s"
    )
    return Result(measured, held, facts)


async def _one_revocation(it: Plant, link: FaultProxy) -> dict[str, Any]:
    """The router's key is revoked while it runs, then when it starts, then it's known again."""
    router = it["router"][0]
    tries = link.statistics.accepted
    began_s = time.monotonic()
    router.struck = True
    _know(it.nats, revoked="router")
    unready_s = await first_time(lambda: _is_unready(router), 15.0)
    gone = await router.child.ended(10.0 if it.run.quick else GONE_WITHIN_S)
    watched_s = time.monotonic() - began_s
    facts = {
        "unready_s": unready_s,
        "log_lines": _lines(router, "bus_refused"),
        "tries_per_s": (link.statistics.accepted - tries) / watched_s,
        "gone_s": watched_s if gone else None,
        "exit_code": router.exit_code,
    }
    await router.kill()
    restarted_s = time.monotonic()
    router.start()
    router.struck = True
    await router.child.ended(_REFUSED_WITHIN_S)
    facts["restart_exit_code"] = router.exit_code
    facts["restart_s"] = time.monotonic() - restarted_s
    await router.kill()
    _know(it.nats)
    await router.restart()
    return facts


def _know(nats: NatsServer, revoked: str = "") -> None:
    """Lets the running server know all users but one."""
    settings = NatsServerSettings()
    config = write_config(nats.folder, int(nats.url.rpartition(":")[2]), settings, nats.key_users)
    if revoked:
        pair = nkeys.from_seed(nats.folder.seed_file(revoked).read_bytes().strip())
        stranger = nkeys.from_seed(nkeys.encode_seed(bytes(32), nkeys.PREFIX_BYTE_USER))
        text, known = config.read_text(), pair.public_key.decode()
        assert known in text
        config.write_text(text.replace(known, stranger.public_key.decode()))
    nats.pause(signal.SIGHUP)


async def _is_unready(member: Member) -> bool:
    try:
        await member.until_ready(0)
    except TimeoutError:
        return True
    return False


def _lines(member: Member, event: str) -> int:
    """How often it has logged an event."""
    return member._log.read_text().count(f'"{event}"')


CLAIMS = (
    Claim(
        id="B17+B18",
        text="faults of nats-py (late PONG, subject that is no UTF-8, closed for good, ...): "
        "scenarios in which nats-py has the fault and our bus hasn't",
        bound="100 %",
        run=_faults_of_nats_py,
    ),
    Claim(
        id="B19",
        text="the broker revokes a router's key: until it is unready; log lines; attempts to "
        "connect per second; until it ends; exit code of one that is started then",
        bound=f"≤ {UNREADY_WITHIN_S:g} s; 1; ≤ {TRIES_PER_S:g}; ≤ {GONE_WITHIN_S:g} s; "
        f"{_EX_CONFIG} in ≤ {_REFUSED_WITHIN_S:g} s",
        run=_refused,
    ),
)
