"""The rows as a table in both READMEs, and as JSON with the machine that they were measured on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from tests.prove import chinese
from tests.prove.claim import Claim, Result

START, END = "<!-- prove:start -->", "<!-- prove:end -->"
READMES = ("README.md", "README.zh-CN.md")
_INTRODUCTION = (
    "`make prove` on {machine}, nats-server {nats}, {date}, seed {seed}; "
    "[docs/promises.md](docs/promises.md) says what each row means. **Bold**: not held."
)
_HEAD = ("claim", "bound", "measured")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One claim as it came out."""

    id: str
    claim: str
    bound: str
    measured: str
    held: bool
    seconds: float
    violations: list[str]
    facts: dict[str, Any]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run."""

    date: str
    seed: int
    quick: bool
    machine: str
    versions: dict[str, str]
    load_before: float
    rows: list[Row]


def row(claim: Claim, result: Result, violations: Sequence[str], seconds: float) -> Row:
    """A claim holds if its measure is within the bound and nothing else went wrong."""
    return Row(
        id=claim.id,
        claim=claim.text,
        bound=claim.bound,
        measured=result.measured,
        held=result.held and not violations,
        seconds=round(seconds, 1),
        violations=list(violations),
        facts=result.facts,
    )


def table(report: Report, name: str) -> str:
    """What stands between the markers of a README."""
    is_chinese = name == READMES[1]
    head = chinese.HEAD if is_chinese else _HEAD
    introduction = chinese.INTRODUCTION if is_chinese else _INTRODUCTION
    told = introduction.format(
        machine=report.machine,
        nats=report.versions["nats-server"],
        date=report.date[:10],
        seed=report.seed,
    )
    lines = [told, "", _line(["", *head]), _line(["---"] * 4)]
    for one in report.rows:
        text = chinese.TEXTS[one.id] if is_chinese else one.claim
        measured = one.measured if one.held else f"**{one.measured}**"
        lines.append(_line((one.id, text, one.bound, measured)))
    return "\n".join((*lines, ""))


def write_tables(report: Report, folder: Path) -> None:
    """Replaces the tables of both READMEs.

    Raises:
        ValueError: A README has no markers.
    """
    for name in READMES:
        path = folder / name
        before, start, rest = path.read_text(encoding="utf-8").partition(START)
        _, end, after = rest.partition(END)
        if not start or not end:
            raise ValueError(f"{name} needs the lines {START} and {END}, in this order")
        text = f"{before}{start}\n{table(report, name)}{end}{after}"
        path.write_text(text, encoding="utf-8")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
