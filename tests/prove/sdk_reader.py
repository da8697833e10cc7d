"""Reads streams with openai-python; run by an SDK's own environment, told apart by JSON.

    python sdk_reader.py <base URL> <key> <model> <count>

Prints `reading` once each stream has told something, then one line of JSON: what each was given
and what it raised.
"""

import asyncio
import json
import sys

import openai


async def main(url: str, key: str, model: str, count: int) -> None:
    """Reads all to their ends."""
    began = asyncio.Semaphore(0)
    async with openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0, timeout=60) as client:
        tasks = [asyncio.ensure_future(_read(client, model, began)) for _ in range(count)]
        for _ in tasks:
            await began.acquire()
        print("reading", flush=True)
        print(json.dumps(await asyncio.gather(*tasks)), flush=True)


async def _read(
    client: openai.AsyncOpenAI, model: str, began: asyncio.Semaphore
) -> dict[str, object]:
    said: list[str] = []
    finish = exception = ""
    try:
        stream = await client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "hello"}], stream=True
        )
        async for chunk in stream:
            for choice in chunk.choices:
                if choice.delta.content:
                    said.append(choice.delta.content)
                    if len(said) == 1:
                        began.release()
                finish = choice.finish_reason or finish
    except Exception as error:  # noqa: BLE001 - which it is, is what is asked
        exception = type(error).__name__
    began.release()
    return {"text": "".join(said), "finish_reason": finish, "exception": exception}


if __name__ == "__main__":
    address, secret, name, number = sys.argv[1:]
    asyncio.run(main(address, secret, name, int(number)))
