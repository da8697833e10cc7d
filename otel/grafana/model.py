"""A dashboard as we write it: a question, and panels whose places follow from their order."""

import re
from typing import Literal, NamedTuple

Kind = Literal["timeseries", "stat", "gauge", "table", "heatmap"]


class Query(NamedTuple):
    """One PromQL expression and the name of its series."""

    expr: str
    legend: str
    exemplars: bool = False
    """Show the traces of single requests beside the histogram."""


class Step(NamedTuple):
    """From `value` on the panel has this colour; None is the lowest."""

    color: str
    value: float | None = None


class Panel(NamedTuple):
    """One picture: what it answers, of which series, in which unit."""

    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str
    kind: Kind = "timeseries"
    width: int = 12
    height: int = 8
    steps: tuple[Step, ...] = ()
    minimum: float | None = 0
    maximum: float | None = None
    decimals: int | None = None
    stacked: bool = False


class Row(NamedTuple):
    """A heading over the panels that follow."""

    title: str


class Dashboard(NamedTuple):
    """One question and the panels that answer it."""

    uid: str
    title: str
    description: str
    content: tuple[Row | Panel, ...]
    filters: bool = True
    """Whether destination and model can be chosen."""
    since: str = "now-3h"
    file: str = ""
    """Of the JSON, without suffix; else the uid's."""

    @property
    def file_name(self) -> str:
        """Below `dashboards/`."""
        return f"{self.file or self.uid}.json"


def concrete(expr: str) -> str:
    """An expression that Prometheus itself reads: intervals for `$__…`, all of each choice."""
    expr = re.sub(r"\$__(rate_interval|interval|range)\b", "5m", expr)
    return re.sub(r"\$\w+", ".*", expr)
