"""Expressions of the dashboards: PromQL about metrics and labels that exist, with true answers."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import promql_parser
import pytest
import yaml

from grafana import generate
from grafana.model import Dashboard, Panel, concrete
from grafana.questions.overview import OVERVIEW

ROOT = Path(__file__).parents[2]
METRIC_ROW = re.compile(r"^\| `(\w+)` \| (?:counter|gauge|histogram) \|([^|]*)\|", re.MULTILINE)
OF_EVERY_TARGET = {"instance", "job", "service", "le"}
OF_PROMETHEUS = {"up": {"job"}, "ALERTS": {"alertname", "alertstate", "severity"}}

of_each_dashboard = pytest.mark.parametrize(
    "dashboard", generate.DASHBOARDS, ids=lambda dashboard: dashboard.uid
)


class Asked(NamedTuple):
    """One query of a panel, its variables replaced."""

    panel: Panel
    expr: str
    legend: str
    exemplars: bool


def asked(dashboard: Dashboard) -> Iterator[Asked]:
    for item in dashboard.content:
        if isinstance(item, Panel):
            for query in item.queries:
                yield Asked(item, concrete(query.expr), query.legend, query.exemplars)


def metrics() -> dict[str, set[str]]:
    """Labels by name: of the page that a running stack is held against, the registry, the rules."""
    page = (ROOT / "docs/guides/metrics.md").read_text(encoding="utf-8")
    found = {
        name: set(labels.replace(" ", "").split(",")) for name, labels in METRIC_ROW.findall(page)
    }
    registry = yaml.safe_load((ROOT / "otel/conventions.yaml").read_text())["metrics"]
    recorded = {
        rule["record"]: {"slo"}
        for path in (ROOT / "otel/prometheus/rules").glob("*.yaml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if rule.get("record", "").startswith("slo:")
    }
    return (
        found
        | recorded
        | OF_PROMETHEUS
        | {name: set(entry.get("labels", ())) for name, entry in registry.items()}
    )


METRICS = metrics()


def parts(expr: Any) -> Iterator[Any]:
    """An expression and all that is in it."""
    yield expr
    inner = [
        getattr(expr, name, None) for name in ("expr", "lhs", "rhs", "param", "vector_selector")
    ]
    for one in (*inner, *(getattr(expr, "args", None) or ())):
        if isinstance(one, promql_parser.Expr):
            yield from parts(one)


def selectors(expr: str) -> Iterator[tuple[str, set[str]]]:
    """Metric and labels of each selector."""
    for part in parts(promql_parser.parse(expr)):
        if isinstance(part, promql_parser.VectorSelector):
            yield base(str(part.name)), {str(one.name) for one in part.matchers.matchers}


def base(name: str) -> str:
    """The metric that a selector's series belong to."""
    plain = re.sub(r"_(bucket|sum|count)$", "", name)
    return plain if plain in METRICS else name


def kept(expr: str) -> set[str]:
    """Labels that aggregations leave."""
    return {
        str(label)
        for part in parts(promql_parser.parse(expr))
        if isinstance(part, promql_parser.AggregateExpr) and part.modifier is not None
        for label in part.modifier.labels
    }


@of_each_dashboard
def test_every_metric_exists_and_has_the_labels_that_are_asked_of_it(dashboard: Dashboard) -> None:
    wrong = []
    for query in asked(dashboard):
        found = dict(selectors(query.expr))
        assert found, query.panel.title
        wrong += [f"{query.panel.title}: {name}?" for name in found.keys() - METRICS.keys()]
        had = set.union(OF_EVERY_TARGET, *(METRICS.get(name, set()) for name in found))
        used = set.union(kept(query.expr), *found.values())
        wrong += [f"{query.panel.title}: label {label}?" for label in used - had]
    assert wrong == []


@of_each_dashboard
def test_a_legend_names_what_tells_its_series_apart(dashboard: Dashboard) -> None:
    drawn = [one for one in asked(dashboard) if one.panel.kind not in ("table", "heatmap")]
    for query in drawn:
        named = set(re.findall(r"{{(\w+)}}", query.legend))
        assert named == kept(query.expr) - {"le"}, query.panel.title


@of_each_dashboard
def test_a_counter_is_shown_by_its_growth(dashboard: Dashboard) -> None:
    for query in asked(dashboard):
        for part in parts(promql_parser.parse(query.expr)):
            inner = part.expr if isinstance(part, promql_parser.AggregateExpr) else None
            if isinstance(inner, promql_parser.VectorSelector):
                assert not str(inner.name).endswith("_total"), query.panel.title


@of_each_dashboard
def test_quantiles_are_of_buckets_that_were_added_up(dashboard: Dashboard) -> None:
    for query in asked(dashboard):
        for part in parts(promql_parser.parse(query.expr)):
            if isinstance(part, promql_parser.Call) and part.func.name == "histogram_quantile":
                assert isinstance(part.args[1], promql_parser.AggregateExpr), query.panel.title


def test_traces_stand_beside_the_latencies_that_have_them() -> None:
    with_traces = {
        name
        for dashboard in generate.DASHBOARDS
        for query in asked(dashboard)
        if query.exemplars
        for name, _labels in selectors(query.expr)
    }
    assert with_traces == {"ai_api_request_duration_seconds", "ai_api_time_to_first_token_seconds"}


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.ops
def test_prometheus_itself_reads_every_expression(tmp_path: Path) -> None:
    groups = [
        {
            "name": dashboard.uid,
            "rules": [
                {"record": f"panel:{number}", "expr": query.expr}
                for number, query in enumerate(asked(dashboard))
            ],
        }
        for dashboard in generate.DASHBOARDS
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": groups}))
    outcome = promtool("check", "rules", str(file))
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


REQUESTS = 'ai_api_requests_total{destination="a",model="m",'
TOKENS = 'ai_api_tokens_total{destination="a",model="m",'
BUCKET = 'ai_api_request_duration_seconds_bucket{destination="a",model="m",'
SERIES = {
    # Per minute: 170 good, 10 broken, 20 bad ones of two kinds, 50 that left.
    f'{REQUESTS}status="200",instance="x"}}': "0+100x90",
    f'{REQUESTS}status="200",instance="y"}}': "0+70x90",
    f'{REQUESTS}status="502",instance="x"}}': "0+10x90",
    f'{REQUESTS}status="429",instance="x"}}': "0+15x90",
    f'{REQUESTS}status="400",instance="y"}}': "0+5x90",
    f'{REQUESTS}status="499",instance="y"}}': "0+50x90",
    f'{TOKENS}type="input"}}': "0+900x90",
    f'{TOKENS}type="output"}}': "0+100x90",
    f'{TOKENS}type="cache_read"}}': "0+800x90",
    'ai_api_cost_total{destination="a",model="m"}': "0+0.5x90",
    'ai_api_cost_total{destination="b",model="n"}': "0+0.25x90",
    f'{BUCKET}instance="x",le="0.1"}}': "0+60x90",
    f'{BUCKET}instance="x",le="1"}}': "0+60x90",
    f'{BUCKET}instance="x",le="+Inf"}}': "0+60x90",
    f'{BUCKET}instance="y",le="0.1"}}': "0+0x90",
    f'{BUCKET}instance="y",le="1"}}': "0+60x90",
    f'{BUCKET}instance="y",le="+Inf"}}': "0+60x90",
}
TRUE = {
    "P50": 100.0,
    "P95": 910.0,
    "P99": 982.0,
    "4xx错误率": 8.0,
    "5xx错误率": 4.0,
    "RPM": 250.0,
    "TPM": 1000.0,
    "$/小时": 45.0,
    "成功率": 85.0,
}


def evaluated(folder: Path, series: dict[str, str], expected: dict[str, float]) -> str:
    """What promtool has to say against the overview's values after 80 minutes; empty: nothing."""
    tests = [
        {
            "expr": f"round({query.expr}, 0.0001)",
            "eval_time": "80m",
            "exp_samples": (
                [{"labels": "{}", "value": expected[query.legend]}]
                if query.legend in expected
                else []
            ),
        }
        for query in asked(OVERVIEW)
    ]
    given = [{"series": name, "values": values} for name, values in series.items()]
    case = {"interval": "1m", "input_series": given, "promql_expr_test": tests}
    file = folder / "overview_test.yaml"
    file.write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": [case]}))
    outcome = promtool("test", "rules", str(file))
    return "" if outcome.returncode == 0 else outcome.stdout + outcome.stderr


@pytest.mark.ops
def test_the_overview_shows_what_is_true(tmp_path: Path) -> None:
    assert evaluated(tmp_path, SERIES, TRUE) == ""


@pytest.mark.ops
def test_no_error_is_shown_as_none_and_not_as_no_data(tmp_path: Path) -> None:
    good = {name: values for name, values in SERIES.items() if 'status="200"' in name}
    expected = {"RPM": 170.0, "成功率": 100.0, "4xx错误率": 0.0, "5xx错误率": 0.0}
    assert evaluated(tmp_path, good, expected) == ""
