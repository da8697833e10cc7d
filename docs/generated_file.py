"""One generated file: written, or only compared with what would be written."""

import argparse
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def write_or_check(arguments: list[str], root: Path, file: str, text: str) -> int:
    """Has `text` in `file` below `root`; with `--check` nothing is changed.

    Returns: The exit code: 1 when it was only compared and is stale.
    """
    parser = argparse.ArgumentParser(description=f"Generates {file}.")
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 if stale")
    path = root / file
    if not parser.parse_args(arguments).check:
        path.write_text(text, encoding="utf-8")
        return 0
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(f"{file}: not up to date; run `make generate`\n")
    return 1
