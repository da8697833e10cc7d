"""A second gateway or provider for when the first one is down, with openai-python.

Droveway does this behind one address (several targets in a route), and for each request it tries a
target only once. Between two addresses only what another server could do better is tried there: a
wrong request or key would be as wrong at the second.
Needs DROVEWAY_URL and DROVEWAY_KEY, DROVEWAY_BACKUP_URL and DROVEWAY_BACKUP_KEY; URLs without /v1.
"""

import os

import openai

ELSEWHERE = (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError)


def client_of(prefix: str) -> openai.OpenAI:
    """A client that gives up soon, since there is another one."""
    return openai.OpenAI(
        base_url=f"{os.environ[prefix + '_URL']}/v1",
        api_key=os.environ[prefix + "_KEY"],
        max_retries=0,
        timeout=30.0,
    )


def ask(clients: dict[str, openai.OpenAI], question: str) -> str:
    """The first answer that comes, in the order of the clients."""
    failed = []
    for name, client in clients.items():
        try:
            answer = client.chat.completions.create(
                model=os.environ.get("DROVEWAY_MODEL", "sim-small"),
                messages=[{"role": "user", "content": question}],
            )
        except ELSEWHERE as error:
            failed.append(f"{name}: {type(error).__name__}")
            continue
        return f"{name}: {answer.choices[0].message.content}"
    raise SystemExit(f"all failed: {', '.join(failed)}")


print(ask({"first": client_of("DROVEWAY"), "backup": client_of("DROVEWAY_BACKUP")}, "Hello?"))
