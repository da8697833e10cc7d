"""Whole answers with a limit on the time of each, with aiohttp.

Needs DROVEWAY_URL (without /v1) and DROVEWAY_KEY.
"""

import asyncio
import os

import aiohttp

QUESTIONS = ("What is a queue?", "What is a stream?", "What is a subject?")


async def ask(session: aiohttp.ClientSession, question: str) -> str:
    """The answer, or why there's none."""
    body = {
        "model": os.environ.get("DROVEWAY_MODEL", "sim-small"),
        "messages": [{"role": "user", "content": question}],
    }
    try:
        async with session.post("/v1/chat/completions", json=body) as answer:
            told = await answer.json()
    except TimeoutError:
        return "no answer in time"
    if answer.status != 200:
        return f"{answer.status} {told['error']['code']}: {told['error']['message']}"
    return str(told["choices"][0]["message"]["content"])


async def main() -> None:
    """Asks all questions at once over one session."""
    async with aiohttp.ClientSession(
        os.environ["DROVEWAY_URL"],
        headers={"Authorization": f"Bearer {os.environ['DROVEWAY_KEY']}"},
        timeout=aiohttp.ClientTimeout(total=60, sock_connect=10),
    ) as session:
        answers = await asyncio.gather(*(ask(session, question) for question in QUESTIONS))
    for question, said in zip(QUESTIONS, answers, strict=True):
        print(f"{question} {said}")


asyncio.run(main())
