"""Writes the dashboards from the questions that they answer.

`python -m grafana.generate` in the repository's root writes; with `--check` it changes nothing,
names each file that differs and exits 1.
"""

import argparse
import sys
from pathlib import Path

from grafana.document import to_json
from grafana.model import Dashboard
from grafana.questions.clients import CLIENTS
from grafana.questions.costs import COSTS
from grafana.questions.health import HEALTH
from grafana.questions.overview import OVERVIEW
from grafana.questions.providers import PROVIDERS
from grafana.questions.waiting import WAITING

FOLDER = Path(__file__).parent / "dashboards"
DASHBOARDS: tuple[Dashboard, ...] = (OVERVIEW, CLIENTS, PROVIDERS, COSTS, WAITING, HEALTH)


def main(arguments: list[str], folder: Path = FOLDER) -> int:
    """Has the dashboards, and no others, in `folder`.

    Returns: The exit code: 1 when they were only compared and differ.
    """
    parser = argparse.ArgumentParser(description="Generates otel/grafana/dashboards.")
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 if stale")
    wanted = {one.file_name: to_json(one) for one in DASHBOARDS}
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    stale = sorted(name for name in wanted | there if wanted.get(name) != there.get(name))
    if not parser.parse_args(arguments).check:
        _write(folder, stale, wanted)
        return 0
    for name in stale:
        sys.stderr.write(f"otel/grafana/dashboards/{name}: not up to date; run `make generate`\n")
    return 1 if stale else 0


def _write(folder: Path, stale: list[str], wanted: dict[str, str]) -> None:
    for name in stale:
        if name in wanted:
            (folder / name).write_text(wanted[name], encoding="utf-8")
        else:
            (folder / name).unlink()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
