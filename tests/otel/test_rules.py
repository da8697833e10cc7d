"""Recording and alerting rules: whole, about what exists, shown to fire and to be silent."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from tests.support.monitoring import PROMETHEUS, REPOSITORY, RULES, alerts, hastened, rules_of

RUNBOOKS = "https://github.com/droveway/droveway/blob/main/deploy/runbooks"
TESTS = sorted((PROMETHEUS / "tests").glob("*.yaml"))
CONFIGS = ("prometheus.yaml", "compose.yaml", "history.yaml")
OF_PROMETHEUS = {"up"}
NAMED_BY_THE_SEED = {
    "APILatencyHigh": "warning",
    "APILatencyCritical": "critical",
    "APIErrorRateHigh": "warning",
    "APIErrorRateCritical": "critical",
    "RateLimitApproaching": "warning",
    "APICostHigh": "warning",
    "ProviderUnavailable": "critical",
    "ProviderLatencySpike": "warning",
}

of_each_file = pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)


def exposed() -> set[str]:
    """Names of the page that a running stack is held against, and of the registry."""
    page = (REPOSITORY / "docs/guides/metrics.md").read_text(encoding="utf-8")
    registry = yaml.safe_load((REPOSITORY / "otel/conventions.yaml").read_text())["metrics"]
    return {*re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE), *registry}


def recorded() -> dict[str, dict[str, Any]]:
    return {rule["record"]: rule for path in RULES for rule in rules_of(path) if "record" in rule}


def selectors(expr: str) -> Iterator[str]:
    """The metric names of an expression; the parser refuses what is no PromQL."""
    pretty = promql_parser.parse(expr).prettify()
    without_texts = re.sub(r'"[^"]*"|\{[^}]*\}', "", pretty)
    without_labels = re.sub(r"\b(by|on|ignoring|without|group_\w+) \([^)]*\)", "", without_texts)
    yield from re.findall(r"\b(?:\w+:[\w:]+|(?:ai_api|droveway)_\w+|up)\b", without_labels)


def family(name: str) -> str:
    """A histogram is one metric, whichever of its series is asked for."""
    return re.sub(r"_(bucket|sum|count)$", "", name)


def unit_tests() -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in TESTS:
        for one in yaml.safe_load(path.read_text())["tests"]:
            yield path, one


@of_each_file
def test_rules_are_about_metrics_that_exist(path: Path) -> None:
    known = exposed() | recorded().keys() | OF_PROMETHEUS
    missing = {
        name
        for rule in rules_of(path)
        for name in selectors(str(rule["expr"]))
        if name not in known and family(name) not in known
    }
    assert missing == set()


def test_every_threshold_is_read_by_a_rule() -> None:
    thresholds = {name for name in recorded() if name.startswith("droveway:threshold:")}
    read = {
        name for path in RULES for rule in rules_of(path) for name in selectors(str(rule["expr"]))
    }
    assert thresholds
    assert thresholds - read == set()


def test_an_objective_in_seconds_is_a_bound_of_its_histogram() -> None:
    registry = yaml.safe_load((REPOSITORY / "otel/conventions.yaml").read_text())["metrics"]
    text = (PROMETHEUS / "rules/slo.yaml").read_text()
    asked = set(re.findall(r'(\w+)_bucket\{le="([\d.]+)"\}', text))
    assert {name for name, _le in asked} == {
        "ai_api_time_to_first_token_seconds",
        "ai_api_overhead_seconds",
    }
    assert [one for one in asked if float(one[1]) not in registry[one[0]]["buckets"]] == []


def test_an_alert_says_how_bad_it_is_what_it_means_and_where_to_read_on() -> None:
    for name, rule in alerts().items():
        assert rule["labels"].keys() == {"severity", "area"}, name
        assert rule["labels"]["severity"] in ("warning", "critical"), name
        told = rule["annotations"]
        assert told.keys() == {"summary", "description", "runbook_url"}, name
        assert told["runbook_url"] == f"{RUNBOOKS}/{name}.md"
        assert told["description"].endswith((".", ".{{ end }}")), name
        assert "$value" not in told["description"] or re.search(
            r"\{\{ \$value \| (humanize\w*|printf \"%\.\df\") \}\}", told["description"]
        ), f"{name}: a bare number has too many digits"


def test_the_guide_lists_every_alert() -> None:
    guide = (REPOSITORY / "docs/guides/alerts.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(\w+)\]\(\S+/runbooks/(\w+)\.md\) \| (\w+) \|", guide, re.MULTILINE)
    assert [name for name, page, _severity in rows if name != page] == []
    assert {name: severity for name, _page, severity in rows} == {
        name: rule["labels"]["severity"] for name, rule in alerts().items()
    }


def test_the_alerts_that_users_know_by_name_are_there() -> None:
    found = alerts()
    assert {
        name: found[name]["labels"]["severity"] for name in NAMED_BY_THE_SEED
    } == NAMED_BY_THE_SEED


def test_every_alert_is_shown_to_fire_and_to_be_silent() -> None:
    fired, silent_in = set(), dict.fromkeys(TESTS, 0)
    for path, one in unit_tests():
        fired |= {
            told["alertname"] for told in one.get("alert_rule_test", ()) if told["exp_alerts"]
        }
        for asked in one.get("promql_expr_test", ()):
            silent_in[path] += "ALERTS" in asked["expr"] and not asked["exp_samples"]
    assert fired == alerts().keys()
    named = {
        rule["alert"]: path.stem for path in RULES for rule in rules_of(path) if "alert" in rule
    }
    assert {path.stem for path, count in silent_in.items() if count < 2} & {
        *named.values()
    } == set()


def test_every_file_of_rules_is_tested() -> None:
    read = {
        (path.parent / name).resolve()
        for path in TESTS
        for name in yaml.safe_load(path.read_text())["rule_files"]
    }
    assert read == set(RULES)


def test_hastened_rules_differ_in_their_durations_only() -> None:
    text = "interval: 30s\nexpr: sum(rate(a_total[5m] offset 1h)) > 5\nfor: 2m"
    shorter = "interval: 1000ms\nexpr: sum(rate(a_total[10000ms] offset 120000ms)) > 5\nfor: 4000ms"
    assert hastened(text, 30) == shorter


@pytest.mark.ops
def test_prometheus_takes_the_configurations_and_all_rules() -> None:
    for name in CONFIGS:
        outcome = promtool("check", "config", str(PROMETHEUS / name))
        assert "FAILED" not in outcome, outcome
    assert f"SUCCESS: {len(RULES)} rule files found" in promtool(
        "check", "config", str(PROMETHEUS / "prometheus.yaml")
    )
    promtool("check", "rules", "--lint-fatal", *map(str, RULES))


@pytest.mark.ops
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_rules_do_what_their_tests_say(path: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", str(path))


@pytest.mark.ops
def test_promtool_sees_a_rule_that_does_something_else(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "rules").mkdir()
    for path in RULES:
        text = path.read_text().replace(
            "sum(increase(ai_api_cost_total[1h]))", "increase(ai_api_cost_total[1h])"
        )
        (tmp_path / "rules" / path.name).write_text(text)
    copy = tmp_path / "tests/money.yaml"
    copy.write_text((PROMETHEUS / "tests/money.yaml").read_text())
    outcome = subprocess.run(
        ["promtool", "test", "rules", str(copy)], capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 1
    assert "APICostHigh" in outcome.stdout + outcome.stderr


def promtool(*arguments: str) -> str:
    outcome = subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, timeout=50, check=False
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout + outcome.stderr
