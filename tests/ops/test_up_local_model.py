"""`droveway up --local-model` as a newcomer types it."""

import sys
from pathlib import Path

import pytest

from droveway.cli import local_model
from tests.support.programs import serving

pytestmark = pytest.mark.ops

COMMAND = Path(sys.executable).with_name("droveway")


@pytest.mark.parametrize("arguments", [[], ["--one-process"]], ids=["processes", "one process"])
def test_up_serves_it_and_the_demo_asks_it(tmp_path: Path, arguments: list[str]) -> None:
    command: list[str | Path] = [
        COMMAND,
        "up",
        "--demo",
        "--local-model",
        "--port",
        "0",
        *arguments,
    ]
    with serving(command, tmp_path, {"DROVEWAY_LOCAL_MODEL_PORT": "0"}) as program:
        children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
        assert len(children) == (3 if arguments else 7)
    text = (tmp_path / "output.txt").read_text()
    assert "  providers local\n" in text
    assert f"model={local_model.MODEL} stream=true" in text
    assert "chunks by local, first after" in text
    assert "output tokens, $0.0000000" in text
    assert text.endswith("stopped\n")
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
