"""What JetStream's answers say: API errors, statuses and headers."""

from typing import Any

import msgspec

from droveway.runtime.errors import JetStreamRefused, WrongLastSequence

_WRONG_LAST_SEQUENCE = frozenset({10071, 10164})
_STATUS = slice(len(b"NATS/1.0 "), len(b"NATS/1.0 503"))


def read_jetstream(data: bytes) -> Any:
    """A JetStream API answer or publish acknowledgement.

    Raises:
        WrongLastSequence: The expected last sequence isn't the last one.
        JetStreamRefused: It is another error.
    """
    answer = msgspec.json.decode(data)
    if error := answer.get("error"):
        description, number = error.get("description", "refused"), error.get("err_code", 0)
        if number in _WRONG_LAST_SEQUENCE:
            raise WrongLastSequence(description, number)
        raise JetStreamRefused(description, number)
    return answer


def status_of(headers: bytes | None) -> int:
    """The status of a message's header line; 0 when it has none."""
    digits = headers[_STATUS] if headers is not None else b""
    return int(digits) if digits.isdigit() else 0


def fields_of(headers: bytes) -> dict[str, str]:
    """A message's header fields by lower-case name; of two of a name the last, the server's."""
    lines = headers.decode("utf-8", "replace").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {name.strip().lower(): text.strip() for name, _, text in pairs}
