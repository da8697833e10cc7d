"""A streamed answer read line by line, with requests.

Needs DROVEWAY_URL (without /v1) and DROVEWAY_KEY.
"""

import json
import os
from typing import Any

import requests

body: dict[str, Any] = {
    "model": os.environ.get("DROVEWAY_MODEL", "sim-small"),
    "messages": [{"role": "user", "content": "Tell a short story."}],
    "stream": True,
}
with requests.post(
    f"{os.environ['DROVEWAY_URL']}/v1/chat/completions",
    headers={"Authorization": f"Bearer {os.environ['DROVEWAY_KEY']}"},
    json=body,
    stream=True,
    timeout=(10, 60),
) as answer:
    if answer.status_code != 200:
        raise SystemExit(f"{answer.status_code}: {answer.json()['error']['message']}")
    whole = False
    for line in answer.iter_lines(delimiter=b"\n"):
        data = line.strip().removeprefix(b"data:").strip() if line.startswith(b"data:") else b""
        if data == b"[DONE]":
            whole = True
        elif data:  # everything else is a comment or the blank line between two events
            event = json.loads(data)
            if event.get("error"):
                raise SystemExit(f"\nthe answer is incomplete: {event['error']['message']}")
            for choice in event["choices"]:
                print(choice["delta"].get("content") or "", end="", flush=True)
print()
if not whole:
    raise SystemExit("the answer is incomplete: it ended without [DONE]")
