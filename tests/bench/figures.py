"""What a run finds: figures by target, as Markdown and as JSON."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

import msgspec

Rounds = dict[str, list[float]]
"""One value per round, by what was measured."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table."""

    name: str
    target: str = ""
    """What performance asks of Droveway; empty: nothing, it's there to be compared."""
    slower: float = 0
    """How many times as long known work of this kind takes here as where the target was set."""
    values: dict[str, float]
    """By what was measured; a median over the rounds."""
    digits: int = 0
    by_service: dict[str, dict[str, float]] = {}
    """The same figure split by service."""
    rounds: Rounds = {}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run."""

    date: str
    machine: str
    versions: list[str]
    load_before: float
    """Load average of the last minute before the run: above 0.5 others were at work."""
    rounds: int
    targets: list[str]
    figures: list[Figure]
    notes: list[str]


def median_of(
    name: str,
    rounds: Rounds,
    *,
    target: str = "",
    slower: float = 0,
    digits: int = 0,
    by_service: dict[str, dict[str, float]] | None = None,
) -> Figure:
    """A figure from one value per round."""
    values = {who: statistics.median(each) for who, each in rounds.items() if each}
    return Figure(
        name=name,
        target=target,
        slower=slower,
        values=values,
        digits=digits,
        by_service=by_service or {},
        rounds=rounds,
    )


def split_cpu(cpu_us: Mapping[str, float], count: int) -> dict[str, float]:
    """CPU time of each service per answer or chunk."""
    return {name: total / max(1, count) for name, total in cpu_us.items()}


def times(rate: Figure, name: str, target: str) -> Figure:
    """Droveway's rate over each other gateway's, round by round."""
    ours = rate.rounds.get("droveway", [])
    values = {
        who: statistics.median(one / other for one, other in zip(ours, theirs, strict=False))
        for who, theirs in rate.rounds.items()
        if who not in ("droveway", "direct") and ours and theirs
    }
    return Figure(name=name, target=target, values=values, digits=2)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all don't exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


def markdown(report: Report) -> str:
    """The table, what it was measured on, and the costs by service."""
    versions = ", ".join(report.versions)
    lines = [
        f"Measured {report.date} on {report.machine}; {versions}. Load generator and mock provider "
        f"share the machine. {report.rounds} interleaved rounds, medians; load average before: "
        f"{report.load_before:.2f}.",
        "",
        _row(("figure", "target", "droveway, by the yardstick", *report.targets)),
        _row(["---"] * (3 + len(report.targets))),
    ]
    for figure in report.figures:
        cells = [_cell(figure, who) for who in report.targets]
        lines.append(_row((figure.name, figure.target, _scaled(figure), *cells)))
    split = [figure for figure in report.figures if figure.by_service]
    if split:
        lines += ["", "By service:", ""]
    for figure in split:
        for who, parts in figure.by_service.items():
            told = ", ".join(f"{name} {part:.{figure.digits}f}" for name, part in parts.items())
            lines.append(f"- {figure.name}, {who}: {told}")
    if report.notes:
        lines += ["", *(f"- {note}" for note in report.notes)]
    return "\n".join((*lines, ""))


def _scaled(figure: Figure) -> str:
    """What it would be where the target was set."""
    value = figure.values.get("droveway")
    if value is None or not figure.slower:
        return ""
    return f"{value / figure.slower:,.{figure.digits}f}"


def _cell(figure: Figure, who: str) -> str:
    value = figure.values.get(who)
    return "" if value is None else f"{value:,.{figure.digits}f}"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
