"""Retries by urllib3 with growing waits, with requests.

Retry-After of a 429 or 503 is obeyed. A request that timed out while it was being read isn't sent
again: the answer may have been made, and billed.
Needs DROVEWAY_URL (without /v1) and DROVEWAY_KEY.
"""

import os

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

POLICY = Retry(
    total=3,
    read=False,
    backoff_factor=0.5,
    backoff_max=60,
    backoff_jitter=0.5,
    status_forcelist=(429, 500, 502, 503, 504),
    allowed_methods=("GET", "POST"),
    raise_on_status=False,
)

session = requests.Session()
session.headers["Authorization"] = f"Bearer {os.environ['DROVEWAY_KEY']}"
for scheme in ("http://", "https://"):
    session.mount(scheme, HTTPAdapter(max_retries=POLICY))

answer = session.post(
    f"{os.environ['DROVEWAY_URL']}/v1/chat/completions",
    json={
        "model": os.environ.get("DROVEWAY_MODEL", "sim-small"),
        "messages": [{"role": "user", "content": "Say hello."}],
    },
    timeout=(10, 60),  # seconds to connect, and between two reads
)
if answer.status_code != 200:
    error = answer.json()["error"]
    raise SystemExit(f"{answer.status_code} {error['code']}: {error['message']}")
print(answer.json()["choices"][0]["message"]["content"])
print("tries:", len(answer.raw.retries.history) + 1)
