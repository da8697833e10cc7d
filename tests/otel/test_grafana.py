"""Dashboards and provisioning: as generated, whole, and in the shape that Grafana reads."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana import generate
from grafana.document import COLUMNS, SOURCE
from grafana.questions.overview import OVERVIEW

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "otel" / "grafana"
FILES = sorted((FOLDER / "dashboards").glob("*.json"))


def documents() -> dict[str, dict[str, Any]]:
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in FILES}


def test_the_dashboards_are_what_the_generator_writes(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0, capsys.readouterr().err
    assert {path.name for path in FILES} == {one.file_name for one in generate.DASHBOARDS}


def test_a_check_names_what_differs_and_a_run_mends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate.main([], tmp_path) == 0
    assert generate.main(["--check"], tmp_path) == 0
    (tmp_path / OVERVIEW.file_name).write_text("{}")
    (tmp_path / "old.json").write_text("{}")
    assert generate.main(["--check"], tmp_path) == 1
    told = capsys.readouterr().err
    assert OVERVIEW.file_name in told
    assert "old.json" in told
    assert generate.main([], tmp_path) == 0
    assert generate.main(["--check"], tmp_path) == 0
    assert not (tmp_path / "old.json").exists()


def test_dashboards_have_unique_addresses_and_titles() -> None:
    uids = [one["uid"] for one in documents().values()]
    titles = [one["title"] for one in documents().values()]
    assert len(set(uids)) == len(uids) == len(set(titles))
    assert all(re.fullmatch(r"[a-z0-9-]{1,40}", uid) for uid in uids)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_holds_the_bare_model(path: Path) -> None:
    model = json.loads(path.read_text(encoding="utf-8"))
    assert "dashboard" not in model, "that is the HTTP API's form, which a provider can't read"
    assert "id" not in model
    assert 36 <= model["schemaVersion"] <= 42
    assert model["description"].endswith(".")
    (links,) = model["links"]
    assert set(links["tags"]) <= set(model["tags"]), "no way from one dashboard to the others"
    assert [one["name"] for one in model["templating"]["list"]][:1] == ["datasource"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_panel_is_told_in_words_and_units(path: Path) -> None:
    for panel in panels(path):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        values = [step["value"] for step in steps]
        assert values[0] is None
        assert values[1:] == sorted(values[1:])
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_panel_lies_over_another(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    ids = set()
    for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= COLUMNS
        assert not cells & taken, panel["title"]
        assert panel["id"] not in ids
        taken |= cells
        ids.add(panel["id"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_datasource_is_written_down(path: Path) -> None:
    named = list(values_of(json.loads(path.read_text(encoding="utf-8")), "datasource"))
    assert named
    assert all(one == SOURCE for one in named)


def panels(path: Path) -> Iterator[dict[str, Any]]:
    for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
        if panel["type"] != "row":
            yield panel


def values_of(tree: Any, key: str) -> Iterator[Any]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name == key:
                yield value
            else:
                yield from values_of(value, key)
    elif isinstance(tree, list):
        for value in tree:
            yield from values_of(value, key)


TUTORIAL = [
    ("请求延迟 P50/P95/P99", "timeseries", (0, 0, 12, 8), "ms", [None, 500, 2000]),
    ("错误率追踪", "timeseries", (12, 0, 12, 8), "percent", [None, 1, 5]),
    ("请求量 (RPM)", "stat", (0, 8, 6, 4), "none", [None]),
    ("Token消耗 (TPM)", "stat", (6, 8, 6, 4), "none", [None]),
    ("当前成本 ($/小时)", "stat", (12, 8, 6, 4), "currencyUSD", [None]),
    ("成功率", "gauge", (18, 8, 6, 4), "percent", [None, 95, 99]),
]


def test_the_six_panels_of_the_tutorial_stand_where_it_puts_them() -> None:
    model = documents()[OVERVIEW.file_name]
    assert (model["title"], model["uid"]) == ("AI API 监控大盘", "holysheep-ai-monitor")
    shown = [
        (
            panel["title"],
            panel["type"],
            tuple(panel["gridPos"][side] for side in "xywh"),
            panel["fieldConfig"]["defaults"]["unit"],
            [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]],
        )
        for panel in model["panels"]
    ]
    assert shown == TUTORIAL
    cost, rate = (model["panels"][place]["fieldConfig"]["defaults"] for place in (4, 5))
    assert cost["decimals"] == 4
    assert (rate["min"], rate["max"]) == (0, 100)
    colors = [step["color"] for step in rate["thresholds"]["steps"]]
    assert colors == ["red", "yellow", "green"]


def provisioned(kind: str) -> dict[str, Any]:
    (path,) = (FOLDER / "provisioning" / kind).iterdir()
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert document.pop("apiVersion") == 1
    (entries,) = document.values()
    assert set(document) == {"datasources" if kind == "datasources" else "providers"}
    return {entry["name"]: entry for entry in entries}


def test_the_datasources_are_those_of_the_compose_file() -> None:
    sources = provisioned("datasources")
    hosts = {name: one["url"] for name, one in sources.items()}
    assert hosts == {
        "Prometheus": "http://prometheus:9090",
        "Jaeger": "http://jaeger:16686",
        "Prometheus, 90 days": "http://prometheus:9091",
    }
    assert [name for name, one in sources.items() if one.get("isDefault")] == ["Prometheus"]
    assert len({one["uid"] for one in sources.values()}) == len(sources)
    inside, outside = sources["Prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert {inside["name"], outside["name"]} == {"trace_id"}
    assert inside["datasourceUid"] == sources["Jaeger"]["uid"]
    assert outside["url"] == "$JAEGER_URL/trace/$${__value.raw}"


def test_the_provider_reads_the_folder_that_is_mounted() -> None:
    provider = provisioned("dashboards")["droveway"]
    assert provider["type"] == "file"
    assert provider["options"] == {"path": "/etc/grafana/dashboards"}
    assert provider["allowUiUpdates"] is False


@pytest.mark.parametrize("filters", [True, False])
def test_choices_are_shown_where_expressions_use_them(filters: bool) -> None:
    for dashboard in generate.DASHBOARDS:
        if dashboard.filters is filters:
            text = json.dumps(documents()[dashboard.file_name]["panels"])
            assert ("$destination" in text) is filters, dashboard.uid
