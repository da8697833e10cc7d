"""Time-outs, retries and what each error means, with openai-python.

The SDK itself tries again on connection errors, 408, 409, 429 and 5xx, waits as Retry-After says,
and obeys `x-should-retry: false`; a loop of one's own around it multiplies the tries. There is no
class for 503: it is an InternalServerError whose status_code is 503.
Needs DROVEWAY_URL (without /v1) and DROVEWAY_KEY.
"""

import os

import openai

client = openai.OpenAI(
    base_url=f"{os.environ['DROVEWAY_URL']}/v1",
    api_key=os.environ["DROVEWAY_KEY"].strip(),  # a pasted blank is a common cause of 401
    timeout=60.0,
    max_retries=3,
)


def ask(question: str) -> str:
    """An answer, or what to do about having none."""
    try:
        answer = client.chat.completions.create(
            model=os.environ.get("DROVEWAY_MODEL", "sim-small"),
            messages=[{"role": "user", "content": question}],
        )
    except openai.AuthenticationError as error:
        return f"check the key: {error.code}"
    except openai.NotFoundError as error:
        return f"check the model and the base URL: {error.code}"
    except openai.BadRequestError as error:
        return f"correct {error.param or 'the request'}: {error.message}"
    except openai.RateLimitError as error:
        return f"slow down, retry after {error.response.headers.get('retry-after')} s"
    except openai.APITimeoutError:
        return "raise the time-out, or stream"
    except openai.APIConnectionError:
        return "no connection: is the base URL right?"
    except openai.APIStatusError as error:
        return f"{error.status_code} {error.code}, request {error.request_id}"
    return answer.choices[0].message.content or ""


print(ask("Say hello."))
