"""The chart's dashboards: byte for byte those of otel/grafana, as Grafana's sidecar takes them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.ops

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "deploy/helm/droveway"
DASHBOARDS = REPOSITORY / "otel/grafana/dashboards"
LARGEST_RELEASE_BYTES = 1_048_576 - 200_000
"""What fits into the secret in which Helm keeps a release, with room for the rest of it."""


def helm(*command: str) -> str:
    outcome = subprocess.run(
        ["helm", *command], cwd=REPOSITORY, capture_output=True, text=True, timeout=50, check=False
    )
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def config_maps(chart: Path, *more: str) -> dict[str, dict[str, Any]]:
    values = str(CHART / "examples/production/values.yaml")
    told = ("--kube-version", "1.30.0", "--values", values, *more)
    rendered = yaml.safe_load_all(helm("template", "droveway", str(chart), *told))
    return {
        one["metadata"]["name"]: one
        for one in rendered
        if one and one["kind"] == "ConfigMap" and "-dashboard-" in one["metadata"]["name"]
    }


def test_each_dashboard_is_a_config_map_for_the_sidecar() -> None:
    found = config_maps(CHART)
    files = {name: text for one in found.values() for name, text in one["data"].items()}
    assert files.keys() == {path.name for path in DASHBOARDS.glob("*.json")}
    for name, text in files.items():
        assert json.loads(text) == json.loads((DASHBOARDS / name).read_text(encoding="utf-8"))
    for one in found.values():
        assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert one["metadata"]["annotations"] == {"grafana_folder": "Droveway"}


def test_none_is_made_unless_asked() -> None:
    assert config_maps(CHART, "--set", "dashboards.enabled=false") == {}


def test_a_packaged_chart_brings_them_along(tmp_path: Path) -> None:
    helm("package", str(CHART), "--destination", str(tmp_path))
    (archive,) = tmp_path.glob("*.tgz")
    assert archive.stat().st_size * 4 / 3 < LARGEST_RELEASE_BYTES
    subprocess.run(["tar", "-xzf", str(archive), "-C", str(tmp_path)], check=True)
    assert config_maps(tmp_path / "droveway").keys() == config_maps(CHART).keys()
