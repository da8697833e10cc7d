"""A code review by a tool call through the Responses API, and how much of the prompt was cached.

OpenAI's models cache prompts of 1024 tokens and more by themselves: keep what repeats (rules,
tools) first and unchanged. Times aren't in `usage`; they are in the answer's headers.
Needs DROVEWAY_URL (without /v1) and DROVEWAY_KEY.
"""

import json
import os

import openai

RULES = "Review for security, performance, readability and error handling; report each issue."
CODE = "def total(numbers):\n    t = 0\n    for n in numbers:\n        t += n\n    return t\n"
REVIEW = {
    "type": "function",
    "name": "report_issue",
    "description": "Reports one issue of the code.",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {
            "kind": {"type": "string", "enum": ["security", "performance", "readability"]},
            "severity": {"type": "string", "enum": ["high", "medium", "low"]},
            "description": {"type": "string"},
        },
        "required": ["kind", "severity", "description"],
        "additionalProperties": False,
    },
}

client = openai.OpenAI(
    base_url=f"{os.environ['DROVEWAY_URL']}/v1", api_key=os.environ["DROVEWAY_KEY"]
)
raw = client.responses.with_raw_response.create(
    model=os.environ.get("DROVEWAY_MODEL", "sim-small"),
    instructions=RULES,
    input=[{"role": "user", "content": [{"type": "input_text", "text": CODE}]}],
    tools=[REVIEW],
)
response = raw.parse()
for item in response.output:
    if item.type == "function_call":
        print(item.name, json.dumps(json.loads(item.arguments), indent=2))
print(response.output_text)
usage = response.usage
print("tokens:", usage.input_tokens, "in,", usage.output_tokens, "out")
print("cached:", usage.input_tokens_details.cached_tokens, "of the input")
print("duration:", raw.headers["openai-processing-ms"], "ms")
