"""Writes docs/openapi.json, the OpenAPI document that the gateway serves.

`python -m docs.generate_openapi` writes; with `--check` it changes nothing and exits 1 when the
file is stale.
"""

import argparse
import json
import sys
from pathlib import Path

from droveway.gateway.openapi.document import document

REPOSITORY = Path(__file__).resolve().parents[1]
FILE = "docs/openapi.json"


def text() -> str:
    """The whole of docs/openapi.json."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str], root: Path = REPOSITORY) -> int:
    """Writes or checks; the exit code."""
    parser = argparse.ArgumentParser(description=f"Generates {FILE}.")
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 if stale")
    path = root / FILE
    made = text()
    if not parser.parse_args(arguments).check:
        path.write_text(made, encoding="utf-8")
        return 0
    if path.is_file() and path.read_text(encoding="utf-8") == made:
        return 0
    sys.stderr.write(f"{FILE}: not up to date; run `make generate`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
