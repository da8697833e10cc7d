"""Several questions at once over one connection pool, with openai-python's async client.

Needs DROVEWAY_URL (without /v1) and DROVEWAY_KEY.
"""

import asyncio
import os

import openai

AT_ONCE = 4
TOPICS = ("transformers", "attention", "tokenizers", "embeddings", "beam search", "sampling")


async def explain(client: openai.AsyncOpenAI, slots: asyncio.Semaphore, topic: str) -> str:
    """One answer; no more than `AT_ONCE` requests run at a time."""
    async with slots:
        answer = await client.chat.completions.create(
            model=os.environ.get("DROVEWAY_MODEL", "sim-small"),
            messages=[{"role": "user", "content": f"Explain {topic} in one sentence."}],
        )
    return answer.choices[0].message.content or ""


async def main() -> None:
    """Prints the answers in the order of the questions."""
    slots = asyncio.Semaphore(AT_ONCE)
    async with openai.AsyncOpenAI(
        base_url=f"{os.environ['DROVEWAY_URL']}/v1", api_key=os.environ["DROVEWAY_KEY"]
    ) as client:
        answers = await asyncio.gather(*(explain(client, slots, topic) for topic in TOPICS))
    for topic, said in zip(TOPICS, answers, strict=True):
        print(f"{topic}: {said}")


asyncio.run(main())
