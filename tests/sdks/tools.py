"""What the tests of all SDKs ask for: tools, and the type of a structured answer."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Place(BaseModel):
    """What the provider is made to say; no more, as strict schemas want it."""

    model_config = ConfigDict(extra="forbid")

    name: str
    river: bool
    bridges: int


def schema(**properties: str) -> dict[str, Any]:
    """An object whose properties have the given types; all are required."""
    return {
        "type": "object",
        "properties": {key: {"type": kind} for key, kind in properties.items()},
        "required": list(properties),
    }


TOOLS: dict[str, dict[str, Any]] = {
    "get_weather": schema(city="string", days="integer"),
    "get_time": schema(zone="string"),
    "ping": {},
}
"""Names and parameters; `ping` has none."""

CALLS: list[tuple[str, list[str]]] = [
    ("weather?", ["get_weather"]),
    ("both in parallel", ["get_weather", "get_time"]),
    ("no arguments", ["ping"]),
]
"""What is asked, and which tools are offered and then called, in this order."""
CALL_NAMES = ["single", "parallel", "no-arguments"]


def expected_arguments(name: str) -> set[str]:
    """The names of a tool's arguments, all of which a call has."""
    return set(TOOLS[name].get("properties", {}))


class Capital(BaseModel):
    """What a small model can fill in."""

    model_config = ConfigDict(extra="forbid")

    city: str
