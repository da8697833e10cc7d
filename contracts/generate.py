"""Writes what is made from the contracts: JSON Schemas, AsyncAPI and the table of error codes.

`python contracts/generate.py` writes; with `--check` it changes nothing, names each file that
differs and exits 1.
"""

import argparse
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

import asyncapi_document
from droveway.contracts import limits
from droveway.contracts.config import Config
from droveway.contracts.errors import CATALOGUE
from droveway.contracts.json_schema import FILE_TITLE, schema

REPOSITORY = Path(__file__).resolve().parents[1]
SCHEMAS = "contracts/schemas"
FAMILIES = (
    "client", "inference", "admission", "dispatch", "health", "providers", "settlement", "relay",
    "usage", "limits", "comparison", "fill", "reports",
)  # fmt: skip
"""Modules with messages, in the order in which a request meets them."""


def messages() -> Iterator[tuple[str, type[msgspec.Struct]]]:
    """Every message of the wire, with the name of its schema: its tag, or its family and name."""
    for family in FAMILIES:
        module = importlib.import_module(f"droveway.contracts.{family}")
        for value in vars(module).values():
            if not isinstance(value, type) or not issubclass(value, msgspec.Struct):
                continue
            config = value.__struct_config__
            if value.__module__ != module.__name__ or config.tag is None:
                continue
            if value in limits.Op.__args__:  # they travel inside of a batch
                continue
            short = "." not in str(config.tag)
            yield f"{family}.{value.__name__.lower()}" if short else str(config.tag), value


def errors_page() -> str:
    """docs/errors.md."""
    lines = [
        "# Error codes",
        "",
        "Generated from `droveway.contracts.errors` by `make generate`; don't edit.",
        "",
        "Every error body carries one of these codes, its type and a message.",
        "A provider's own rejection keeps the provider's status, type and code.",
        "*Retry* says whether the same request may succeed later; `Retry-After` then says when.",
        "After the first byte of a stream the status is spent, and the error is told in band.",
        "",
        "| code | status | type | retry | cause | what to do |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for entry in CATALOGUE.values():
        cells = (
            f"`{entry.code}`",
            str(entry.status),
            f"`{entry.type}`",
            "yes" if entry.retry else "no",
            entry.cause,
            entry.fix,
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def generated() -> dict[str, str]:
    """Every generated file, by its path in the repository."""
    files = {f"{SCHEMAS}/{name}.json": schema(kind, name) for name, kind in messages()}
    files[f"{SCHEMAS}/config.json"] = schema(Config, FILE_TITLE)
    files["contracts/asyncapi.json"] = asyncapi_document.text(dict(messages()))
    files["docs/errors.md"] = errors_page()
    return files


def differing(root: Path, files: dict[str, str]) -> list[str]:
    """Paths under `root` that are missing, differ, or aren't generated any more."""
    present = {f"{SCHEMAS}/{path.name}" for path in (root / SCHEMAS).glob("*.json")}
    return sorted(
        (present - files.keys())
        | {path for path, text in files.items() if _read(root / path) != text}
    )


def write(root: Path, files: dict[str, str]) -> None:
    """Writes `files` under `root` and removes schemas of messages that are gone."""
    for path in differing(root, files):
        target = root / path
        if path not in files:
            target.unlink()
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(files[path], encoding="utf-8")


def main(arguments: list[str], root: Path = REPOSITORY) -> int:
    """Writes or checks; the exit code."""
    parser = argparse.ArgumentParser(
        description="Generates schemas, contracts/asyncapi.json and docs/errors.md."
    )
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 if stale")
    files = generated()
    if not parser.parse_args(arguments).check:
        write(root, files)
        return 0
    stale = differing(root, files)
    for path in stale:
        sys.stderr.write(f"{path}: not up to date; run `make generate`\n")
    return 1 if stale else 0


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
