"""A streamed answer, its time to first token and its tokens, with openai-python.

A chunk isn't a token: tokens are counted by the usage chunk, which comes only if asked for.
Needs DROVEWAY_URL (without /v1) and DROVEWAY_KEY.
"""

import os
import time

import openai

client = openai.OpenAI(
    base_url=f"{os.environ['DROVEWAY_URL']}/v1", api_key=os.environ["DROVEWAY_KEY"]
)
started_s = time.monotonic()
first_s = None
usage = None
stream = client.chat.completions.create(
    model=os.environ.get("DROVEWAY_MODEL", "sim-small"),
    messages=[{"role": "user", "content": "Weigh microservices against a monolith."}],
    stream=True,
    stream_options={"include_usage": True},
)
try:
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            if choice.delta.content:
                first_s = first_s or time.monotonic() - started_s
                print(choice.delta.content, end="", flush=True)
except openai.APIError as error:  # also what went wrong after the first chunk
    raise SystemExit(f"\nthe answer is incomplete: {error.code}: {error.message}") from error
print()
print(f"first token after {(first_s or 0) * 1000:.0f} ms,", end=" ")
print(f"all after {(time.monotonic() - started_s) * 1000:.0f} ms")
if usage is not None:
    print("tokens:", usage.prompt_tokens, "in,", usage.completion_tokens, "out")
