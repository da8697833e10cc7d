"""A streamed answer with anthropic-python's async client.

Needs DROVEWAY_URL (without /v1) and DROVEWAY_KEY.
"""

import asyncio
import os

import anthropic


async def main() -> None:
    """Prints pieces as they come, then what the SDK has put together."""
    question = {"role": "user", "content": "Write a haiku about queues."}
    model = os.environ.get("DROVEWAY_MODEL", "sim-small")
    async with (
        anthropic.AsyncAnthropic(
            base_url=os.environ["DROVEWAY_URL"], api_key=os.environ["DROVEWAY_KEY"]
        ) as client,
        client.messages.stream(model=model, max_tokens=1024, messages=[question]) as stream,
    ):
        async for text in stream.text_stream:
            print(text, end="", flush=True)
        message = await stream.get_final_message()
    print()
    print("stop reason:", message.stop_reason)
    print("tokens:", message.usage.input_tokens, "in,", message.usage.output_tokens, "out")


asyncio.run(main())
