"""One question and its whole answer, with anthropic-python.

The SDK adds /v1/messages to the base URL itself, so the base URL is DROVEWAY_URL without /v1. Its
second major sends the key as Bearer, the first as x-api-key; both are taken.
Needs DROVEWAY_URL (without /v1) and DROVEWAY_KEY.
"""

import os

import anthropic

client = anthropic.Anthropic(
    base_url=os.environ["DROVEWAY_URL"], api_key=os.environ["DROVEWAY_KEY"]
)
print("key is valid, models:", ", ".join(one.id for one in client.models.list()))
message = client.messages.create(
    model=os.environ.get("DROVEWAY_MODEL", "sim-small"),
    max_tokens=1024,
    system="You are a friendly shop assistant.",
    messages=[{"role": "user", "content": "How can I pay?"}],
)
for block in message.content:
    if block.type == "text":
        print(block.text)
print("stop reason:", message.stop_reason)
print("tokens:", message.usage.input_tokens, "in,", message.usage.output_tokens, "out")
