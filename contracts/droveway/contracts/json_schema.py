"""JSON Schemas of contracts: for editors, and for whoever isn't Python."""

import json
from typing import Any

import msgspec

FILE_TITLE = "droveway.yaml"
"""Of the operator's file."""


def schema(kind: Any, title: str) -> str:
    """A type's JSON Schema (2020-12) as text, the same for the same type."""
    (reference,), components = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **reference,
        "$defs": dict(sorted(components.items())),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
