"""Time-outs, retries and what each error means, with anthropic-python.

The SDK itself tries again on connection errors, 408, 409, 429 and 5xx and waits as Retry-After
says. With a loop of one's own (`2 ** attempt + 1` waits 2, 3, 5 s) set `max_retries=0`.
Needs DROVEWAY_URL (without /v1) and DROVEWAY_KEY.
"""

import os

import anthropic

client = anthropic.Anthropic(
    base_url=os.environ["DROVEWAY_URL"],
    api_key=os.environ["DROVEWAY_KEY"].strip(),
    timeout=60.0,
    max_retries=3,
)


def ask(question: str) -> str:
    """An answer, or what to do about having none."""
    try:
        message = client.messages.create(
            model=os.environ.get("DROVEWAY_MODEL", "sim-small"),
            max_tokens=1024,
            messages=[{"role": "user", "content": question}],
        )
    except anthropic.AuthenticationError:
        return "check the key"
    except anthropic.NotFoundError:
        return "check the model, and that the base URL has no /v1"
    except anthropic.BadRequestError as error:
        return f"correct the request: {error.message}"
    except anthropic.RateLimitError as error:
        return f"slow down, retry after {error.response.headers.get('retry-after')} s"
    except anthropic.APIConnectionError:
        return "no connection: is the base URL right?"
    except anthropic.APIStatusError as error:
        return f"{error.status_code}, request {error.request_id}"
    return "".join(block.text for block in message.content if block.type == "text")


print(ask("Say hello."))
