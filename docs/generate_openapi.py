"""Writes docs/openapi.json, the OpenAPI document that the gateway serves.

`python -m docs.generate_openapi` writes; with `--check` it changes nothing and exits 1 when the
file is stale.
"""

import json
import sys
from pathlib import Path

from docs.generated_file import REPOSITORY, write_or_check
from droveway.gateway.openapi.document import document

FILE = "docs/openapi.json"


def text() -> str:
    """The whole of docs/openapi.json."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str], root: Path = REPOSITORY) -> int:
    """Writes or checks; the exit code."""
    return write_or_check(arguments, root, FILE, text())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
