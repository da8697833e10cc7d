"""Fifty requests by ten threads that wait when the gateway says so, with requests.

A window counted in the client knows nothing of other clients with the same key; the gateway's 429
does, and says in `retry-after-ms` when a request will pass.
Needs DROVEWAY_URL (without /v1) and DROVEWAY_KEY.
"""

import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

WORKERS = 10
REQUESTS = 50
TRIES = 10

threads = threading.local()


def session() -> requests.Session:
    """One connection for each thread; a session isn't made to be shared."""
    if not hasattr(threads, "session"):
        threads.session = requests.Session()
        threads.session.headers["Authorization"] = f"Bearer {os.environ['DROVEWAY_KEY']}"
    found: requests.Session = threads.session
    return found


def ask(number: int) -> int:
    """The status of one request, sent again for as long as it is limited."""
    body: dict[str, Any] = {
        "model": os.environ.get("DROVEWAY_MODEL", "sim-small"),
        "messages": [{"role": "user", "content": f"Question {number}"}],
        "max_tokens": 16,
    }
    for _ in range(TRIES):
        answer = session().post(
            f"{os.environ['DROVEWAY_URL']}/v1/chat/completions", json=body, timeout=(10, 60)
        )
        if answer.status_code != 429:
            break
        time.sleep(int(answer.headers.get("retry-after-ms", 1000)) / 1000)
    return answer.status_code


with ThreadPoolExecutor(WORKERS) as pool:
    statuses = Counter(pool.map(ask, range(REQUESTS)))
print(", ".join(f"{count} x {status}" for status, count in sorted(statuses.items())))
