"""The JSON that Grafana reads for a dashboard; only what the dashboards here need.

Source: the classic dashboard model, which Grafana 10.4 and newer read from files (2026-11).
"""

import json
from collections.abc import Iterator
from typing import Any

from grafana.model import Dashboard, Kind, Panel, Row, Step

SCHEMA_VERSION = 39
COLUMNS = 24
TAG = "droveway"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
"""The variable, so that a dashboard runs on any Prometheus without an edit."""


def to_json(dashboard: Dashboard) -> str:
    """The dashboard's file, byte for byte."""
    return json.dumps(document(dashboard), indent=1, ensure_ascii=False) + "\n"


def document(dashboard: Dashboard) -> dict[str, Any]:
    """The bare model, as files of a dashboard provider hold it (not the API's wrapped one)."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": [TAG],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": dashboard.since, "to": "now"},
        "annotations": {"list": []},
        "links": [_links()],
        "templating": {"list": list(_variables(dashboard.filters))},
        "panels": list(_placed(dashboard.content)),
    }


def _links() -> dict[str, Any]:
    return {
        "type": "dashboards",
        "title": "Droveway",
        "tags": [TAG],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
    }


def _variables(filters: bool) -> Iterator[dict[str, Any]]:
    yield {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
        "hide": 0,
    }
    if filters:
        yield _choice("destination", "label_values(ai_api_requests_total, destination)")
        chosen = 'ai_api_requests_total{destination=~"$destination"}'
        yield _choice("model", f"label_values({chosen}, model)")


def _choice(label: str, query: str) -> dict[str, Any]:
    return {
        "name": label,
        "label": label.capitalize(),
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": label},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _placed(content: tuple[Row | Panel, ...]) -> Iterator[dict[str, Any]]:
    """Left to right, a new line where the next one has no room."""
    x = y = line_height = 0
    for number, item in enumerate(content, start=1):
        width, height = (COLUMNS, 1) if isinstance(item, Row) else (item.width, item.height)
        if x + width > COLUMNS:
            x, y, line_height = 0, y + line_height, 0
        place = {"x": x, "y": y, "w": width, "h": height}
        drawn = _row(item) if isinstance(item, Row) else _panel(item)
        yield {"id": number, "gridPos": place, **drawn}
        x, line_height = x + width, max(line_height, height)


def _row(row: Row) -> dict[str, Any]:
    return {"type": "row", "title": row.title, "collapsed": False, "panels": []}


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "targets": [_target(panel, number) for number in range(len(panel.queries))],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
        **({"transformations": _columns(panel)} if panel.kind == "table" else {}),
    }


def _target(panel: Panel, number: int) -> dict[str, Any]:
    query = panel.queries[number]
    instant = panel.kind == "table"
    shape = {"table": "table", "heatmap": "heatmap"}.get(panel.kind, "time_series")
    return {
        "refId": chr(ord("A") + number),
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend,
        "format": shape,
        "instant": instant,
        "range": not instant,
        "exemplar": query.exemplars,
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    steps = panel.steps or (Step("green"),)
    told = {"min": panel.minimum, "max": panel.maximum, "decimals": panel.decimals}
    drawn: dict[str, Any] = {}
    if panel.kind == "timeseries":
        drawn = {"color": {"mode": "palette-classic"}, "custom": _lines(panel)}
    elif panel.kind in ("stat", "gauge"):
        drawn = {"color": {"mode": "thresholds"}}
    return {
        "unit": panel.unit,
        **{name: value for name, value in told.items() if value is not None},
        "thresholds": {"mode": "absolute", "steps": [step._asdict() for step in steps]},
        **drawn,
    }


def _lines(panel: Panel) -> dict[str, Any]:
    return {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 30 if panel.stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if panel.steps else "off"},
    }


def _columns(panel: Panel) -> list[dict[str, Any]]:
    values = [f"Value #{chr(ord('A') + number)}" for number in range(len(panel.queries))]
    names = values if len(values) > 1 else ["Value"]
    renamed = {name: query.legend for name, query in zip(names, panel.queries, strict=True)}
    return [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": renamed}},
    ]


_LAST = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_OPTIONS: dict[Kind, dict[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["mean", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": _LAST,
        "colorMode": "value",
        "graphMode": "area",
        "textMode": "auto",
        "justifyMode": "auto",
        "orientation": "auto",
    },
    "gauge": {"reduceOptions": _LAST, "showThresholdLabels": False, "showThresholdMarkers": True},
    "table": {"showHeader": True, "cellHeight": "sm"},
    "heatmap": {
        "calculate": False,
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64},
        "cellGap": 1,
        "yAxis": {"unit": "s"},
        "legend": {"show": False},
        "tooltip": {"mode": "single", "yHistogram": False},
    },
}
