"""What we tell the official NATS chart: a server accepts it together with the generated users."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from droveway.cli import nats_server
from droveway.cli.data_folder import DataFolder
from droveway.cli.nats_config import NatsServerSettings, Place, server_config
from droveway.cli.nats_users import ensure_users

pytestmark = pytest.mark.ops

VALUES = Path(__file__).parents[2] / "deploy/values/nats.yaml"


def as_the_chart_writes_it(config: dict[str, object]) -> str:
    """The chart's rules: `<< x >>` loses its quotes, a key `$include` becomes the directive."""
    text = json.dumps(config)
    text = re.sub(r'"<< (\S+) >>"', r"\1", text)
    return re.sub(r'"\$include": "([^"]+)",?', r"include \1;", text)


def test_a_server_accepts_the_users_that_are_cut_out_of_the_generated_configuration(
    tmp_path: Path,
) -> None:
    settings = NatsServerSettings()
    place = Place(listen="127.0.0.1:0", store_dir=str(tmp_path))
    generated = server_config(ensure_users(DataFolder(tmp_path / "state")), place, settings)
    command = re.search(r"sed -n '/(.+)/,\$p'", VALUES.read_text())
    assert command, "the comment says how to cut the users out"
    users = re.search(f"(?ms){command[1]}.*", generated)
    assert users
    (tmp_path / "droveway.conf").write_text(users[0])
    merge = yaml.safe_load(VALUES.read_text())["config"]["merge"]
    (tmp_path / "nats.conf").write_text(as_the_chart_writes_it(merge))
    server = [str(nats_server.find(settings)), "-t", "-c", str(tmp_path / "nats.conf")]
    outcome = subprocess.run(server, capture_output=True, text=True, timeout=20, check=False)
    assert outcome.returncode == 0, outcome.stderr
    for name in ("max_payload", "max_pending", "max_control_line"):
        wanted = getattr(settings, f"{name}_bytes")
        assert in_bytes(merge[name]) == wanted, name


def in_bytes(text: str) -> int:
    match = re.fullmatch(r"<< (\d+)([KM])B >>", text)
    assert match, text
    return int(match[1]) * {"K": 1024, "M": 1024 * 1024}[match[2]]
