"""The load of the articles for Locust: 50 users, 512 tokens in, about 200 tokens out, streamed.

Locust has an environment of its own; see the README beside this file. Time to first token and
time per stream are told as requests of the types `first token` and `stream`.
"""

import json
import os
import time

from locust import HttpUser, constant, task  # type: ignore[import-not-found]

TOKENS_IN = 512
TOKENS_OUT = 200
MODEL = os.environ.get("BENCH_MODEL", "gpt-4o-mini")
KEY = os.environ["BENCH_KEY"]
_WORD = "weather "  # one token in the tokenizers of the GPT family


class Reader(HttpUser):  # type: ignore[misc]
    """Asks, reads the stream to its end, asks again."""

    wait_time = constant(0)

    @task  # type: ignore[untyped-decorator]
    def stream(self) -> None:
        """One streamed completion."""
        body = {
            "model": MODEL,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": TOKENS_OUT,
            "messages": [{"role": "user", "content": _WORD * TOKENS_IN}],
        }
        began_s = time.perf_counter()
        with self.client.post(
            "/v1/chat/completions",
            json=body,
            headers={"authorization": f"Bearer {KEY}"},
            stream=True,
            catch_response=True,
            name="chat completion",
        ) as response:
            if response.status_code != 200:
                response.failure(f"{response.status_code}: {response.text[:200]}")
                return
            tokens, done = 0, False
            for line in response.iter_lines():
                if not line.startswith(b"data: "):
                    continue
                if line == b"data: [DONE]":
                    done = True
                    break
                choices = json.loads(line[6:]).get("choices") or [{}]
                if choices[0].get("delta", {}).get("content"):
                    tokens += 1
                    if tokens == 1:
                        self._tell("first token", began_s, 0)
            if not done:
                response.failure("the stream ended without [DONE]")
                return
            self._tell("stream", began_s, tokens)

    def _tell(self, kind: str, began_s: float, tokens: int) -> None:
        """Reports a duration of its own; the tokens count as its length."""
        self.environment.events.request.fire(
            request_type=kind,
            name=MODEL,
            response_time=(time.perf_counter() - began_s) * 1000,
            response_length=tokens,
            exception=None,
            context={},
        )
