"""The bytes on the wire are these, and stay these until a tag gets its next version.

A deliberate change before the first release: take the lines that the failing test prints.
"""

from pathlib import Path

import msgspec
import pytest

from droveway.contracts.envelope import encode
from tests.contracts.samples import FULL, SHORT, decoder_of, name_of

GOLDEN = Path(__file__).with_name("golden")
SAMPLES = [
    *(pytest.param("short", message, id=f"{name_of(message)}-short") for message in SHORT),
    *(pytest.param("full", message, id=f"{name_of(message)}-full") for message in FULL),
]


def dump(data: bytes) -> str:
    """Hex beside its characters, 16 bytes a line."""
    lines = []
    for start in range(0, len(data), 16):
        part = data[start : start + 16]
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
        lines.append(f"{part.hex(' '):<47}  {shown}".rstrip())
    return "\n".join(lines) + "\n"


def undump(text: str) -> bytes:
    return b"".join(bytes.fromhex(line[:47]) for line in text.splitlines())


@pytest.mark.parametrize(("size", "message"), SAMPLES)
def test_a_message_has_its_golden_bytes(size: str, message: msgspec.Struct) -> None:
    path = GOLDEN / f"{name_of(message)}.{size}.txt"
    assert dump(encode(message)) == path.read_text(encoding="utf-8"), path.name


@pytest.mark.parametrize(("size", "message"), SAMPLES)
def test_golden_bytes_are_read_as_the_message(size: str, message: msgspec.Struct) -> None:
    golden = undump((GOLDEN / f"{name_of(message)}.{size}.txt").read_text(encoding="utf-8"))
    assert decoder_of(message).decode(golden) == message


def test_every_golden_file_has_its_message() -> None:
    expected = {f"{name_of(message)}.short.txt" for message in SHORT}
    expected |= {f"{name_of(message)}.full.txt" for message in FULL}
    assert {path.name for path in GOLDEN.iterdir()} == expected


@pytest.mark.parametrize("message", FULL, ids=name_of)
def test_a_full_sample_leaves_no_field_at_its_default(message: msgspec.Struct) -> None:
    fields = msgspec.structs.fields(message)
    at_default = [
        field.name
        for field in fields
        if not field.required and getattr(message, field.name) == field.default
    ]
    assert at_default == []
