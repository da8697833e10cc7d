"""Several addresses in order of priority, the broken ones left out for a while, with requests.

An address rests after three failures in a row. Droveway does this for all clients at once.
Needs DROVEWAY_URL and _KEY, DROVEWAY_BACKUP_URL and _KEY; the addresses without /v1.
"""

import os
import time
from dataclasses import dataclass
from typing import Any

import requests

FAILURES = 3
REST_S = 30.0


@dataclass
class Address:
    """Where to ask, and how that has gone lately."""

    url: str
    key: str
    failures: int = 0
    rests_until_s: float = 0.0

    def ask(self, body: dict[str, Any]) -> requests.Response:
        """One try; counts."""
        url, headers = f"{self.url}/v1/chat/completions", {"Authorization": f"Bearer {self.key}"}
        try:
            answer = requests.post(url, headers=headers, json=body, timeout=(3, 30))
            if answer.status_code == 429 or answer.status_code >= 500:
                raise requests.HTTPError(f"{self.url}: {answer.status_code}", response=answer)
        except requests.RequestException:
            self.failures += 1
            if self.failures >= FAILURES:
                self.rests_until_s = time.monotonic() + REST_S
            raise
        self.failures = 0
        return answer


def ask(addresses: list[Address], body: dict[str, Any]) -> requests.Response:
    """The first answer; the client's own mistakes (4xx) aren't taken elsewhere."""
    errors = []
    rested = [one for one in addresses if one.rests_until_s <= time.monotonic()]
    for address in rested or addresses:
        try:
            return address.ask(body)
        except requests.RequestException as error:
            errors.append(type(error).__name__)
    raise SystemExit(f"all failed: {', '.join(errors)}")


names = ("DROVEWAY", "DROVEWAY_BACKUP")
places = [Address(os.environ[f"{name}_URL"], os.environ[f"{name}_KEY"]) for name in names]
model = os.environ.get("DROVEWAY_MODEL", "sim-small")
got = ask(places, {"model": model, "messages": [{"role": "user", "content": "Say hello."}]})
print(got.status_code, got.json()["choices"][0]["message"]["content"])
