"""The running server as the tests know it, and its provider's book."""

import json
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

SEEN_WITHIN_S = 5.0
POLL_S = 0.01

DIALECTS = ("openai", "anthropic")
"""What the gateway speaks to the provider."""


def routed(model: str, dialect: str) -> str:
    """The name under which a model is served by a provider of that dialect."""
    return model if dialect == "openai" else f"{dialect}/{model}"


@dataclass(frozen=True)
class Droveway:
    """What `tests.sdks.serve` tells."""

    url: str
    key: str
    keys: dict[str, str]
    simulator_url: str
    max_body_bytes: int
    listed: list[str]
    local_model: str
    """The real model's name."""


class Book:
    """Requests as the provider saw them."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/book"

    def clear(self) -> None:
        """Forgets everything, also which faults have struck already."""
        with urllib.request.urlopen(urllib.request.Request(self._url, method="DELETE")):
            pass

    def entries(self) -> list[dict[str, Any]]:
        """All requests, oldest first."""
        entries: list[dict[str, Any]] = self._read(self._url)["entries"]
        return entries

    def last(self) -> dict[str, Any]:
        """The body of the newest request."""
        return self.body(self.entries()[-1])

    def body(self, entry: dict[str, Any]) -> dict[str, Any]:
        """A request's own body."""
        body: dict[str, Any] = json.loads(self._read(f"{self._url}/{entry['id']}")["body"])
        return body

    def dialects(self) -> list[str]:
        """The dialect of each request."""
        return [entry["dialect"] for entry in self.entries()]

    @staticmethod
    def output_tokens(entry: dict[str, Any]) -> int:
        """What the provider counted as its answer."""
        usage = entry["anthropic_usage"] or entry["usage"]
        return int(usage.get("output_tokens") or usage["completion_tokens"])

    def wait_for(self, outcome: str) -> dict[str, Any]:
        """The first entry with that outcome."""
        until_s = time.monotonic() + SEEN_WITHIN_S
        while time.monotonic() < until_s:
            for entry in self.entries():
                if entry["outcome"] == outcome:
                    return entry
            time.sleep(POLL_S)  # another process's state can't be awaited otherwise
        raise AssertionError(f"no request is {outcome}: {self.entries()}")

    def _read(self, url: str) -> dict[str, Any]:
        with urllib.request.urlopen(url) as answer:
            read: dict[str, Any] = json.load(answer)
        return read
