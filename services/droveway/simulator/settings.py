"""What an operator may turn, read once from `DROVEWAY_SIMULATOR_<FIELD>`."""

from collections.abc import Mapping
from typing import Annotated, Self

import msgspec

from droveway.simulator.faults import FaultError, parse_faults

PREFIX = "DROVEWAY_SIMULATOR_"

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Millis = Annotated[float, msgspec.Meta(ge=0, le=3_600_000)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=600)]


class SettingsError(ValueError):
    """A variable holds what the simulator can't use; the message names it."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The simulator's settings; every bound says what happens when it is reached."""

    host: str = "127.0.0.1"
    """Address to listen on; loopback, since the simulator accepts nearly any key."""
    port: Port = 8090
    """TCP port to listen on; 0 lets the system choose."""
    seed: int = 1
    """Same seed and same last user message: same answer."""
    first_token_ms: Millis = 120.0
    """Time from the request's last byte to the first token."""
    token_interval_ms: Millis = 12.0
    """Time between two tokens of a stream; a whole answer waits for the sum."""
    answer_tokens: Count = 32
    """Length of an answer whose length nobody asked for."""
    max_answer_tokens: Count = 100_000
    """Longest answer; a longer one is cut here with finish reason `length`."""
    max_choices: Count = 8
    """Largest `n`; beyond it the request is refused with 400."""
    max_body_bytes: Count = 33_554_432
    """Largest request body; beyond it the request is refused with 413."""
    max_open_requests: Count = 1000
    """Requests answered at a time; beyond it a request is refused with 503."""
    book_entries: Count = 1000
    """Entries in the book; beyond it the oldest is forgotten and counted as such."""
    keep_bodies: bool = False
    """Keep request bodies in the book; off, since prompts are private."""
    kept_body_bytes: Count = 65_536
    """Bytes kept of each body; the rest of a longer one is not kept."""
    prefix_blocks: Count = 16_384
    """Remembered prompt blocks of 128 tokens; beyond it the least recently used is forgotten."""
    fail_first_counters: Count = 1024
    """Counters of `times=n` faults; beyond it the least recently used starts anew."""
    fault: str = ""
    """Fault for requests that name none, in the grammar of `faults`; empty: none."""
    drain_s: Seconds = 1.0
    """How long open answers may go on after a stop; then they are cut."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read the fields that the environment names and keep the defaults of the others.

        Raises:
            SettingsError: a variable isn't of its field's type, range or grammar.
        """
        given: dict[str, object] = {}
        for field in msgspec.structs.fields(cls):
            variable = PREFIX + field.name.upper()
            if variable in environ:
                given[field.name] = _read(variable, environ[variable], field.type)
        settings = msgspec.convert(given, cls)
        try:
            parse_faults(settings.fault)
        except FaultError as error:
            raise SettingsError(f"{PREFIX}FAULT: {error}") from error
        return settings


def _read(variable: str, text: str, field_type: object) -> object:
    try:
        value: object = msgspec.convert(text, field_type, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{variable}={text!r}: {error}") from error
    return value
