"""One question and its whole answer, with openai-python.

Needs DROVEWAY_URL (without /v1) and DROVEWAY_KEY.
"""

import os

import openai

client = openai.OpenAI(
    base_url=f"{os.environ['DROVEWAY_URL']}/v1", api_key=os.environ["DROVEWAY_KEY"]
)
answer = client.chat.completions.create(
    model=os.environ.get("DROVEWAY_MODEL", "sim-small"),
    messages=[
        {"role": "system", "content": "You write short, tested Python."},
        {"role": "user", "content": "Sort a list with quicksort."},
    ],
    max_completion_tokens=500,
)
print(answer.choices[0].message.content)
print("finish reason:", answer.choices[0].finish_reason)
print("tokens:", answer.usage.prompt_tokens, "in,", answer.usage.completion_tokens, "out")
