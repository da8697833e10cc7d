"""Asks each model a few times and shows latency, tokens and errors, with requests.

Needs DROVEWAY_URL (without /v1) and DROVEWAY_KEY; DROVEWAY_MODELS are names with commas between.
"""

import os
import statistics
import time
from collections import Counter
from typing import Any

import requests

COUNT = 5
ERRORS = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 429: "RateLimit",
          500: "InternalError", 502: "BadGateway", 503: "ServiceUnavailable",
          504: "GatewayTimeout"}  # fmt: skip

session = requests.Session()  # keeps the connection, so that only the first request opens one
session.headers["Authorization"] = f"Bearer {os.environ['DROVEWAY_KEY']}"


def probe(model: str, question: str) -> tuple[float, int, str]:
    """Milliseconds, tokens and the kind of error (empty: none) of one request."""
    message = {"role": "user", "content": question}
    body: dict[str, Any] = {"model": model, "messages": [message], "max_tokens": 1000}
    started_s = time.perf_counter()
    tokens, error = 0, ""
    try:
        answer = session.post(
            f"{os.environ['DROVEWAY_URL']}/v1/chat/completions", json=body, timeout=(10, 60)
        )
        if answer.status_code == 200:
            tokens = answer.json()["usage"]["total_tokens"]
        else:
            error = ERRORS.get(answer.status_code, f"HTTP_{answer.status_code}")
    except requests.Timeout:
        error = "Timeout"
    except requests.ConnectionError:
        error = "ConnectionError"
    return (time.perf_counter() - started_s) * 1000, tokens, error


for model in os.environ.get("DROVEWAY_MODELS", "sim-small,sim-large").split(","):
    results = [probe(model, f"Probe {number}: say hello.") for number in range(COUNT)]
    times_ms = [took_ms for took_ms, _, _ in results]
    p95_ms = statistics.quantiles(times_ms, n=20, method="inclusive")[18]
    errors = Counter(error for _, _, error in results if error)
    print(f"{model}: p50 {statistics.median(times_ms):.0f} ms, p95 {p95_ms:.0f} ms,", end=" ")
    print(f"{sum(tokens for _, tokens, _ in results)} tokens, errors {dict(errors)}")
