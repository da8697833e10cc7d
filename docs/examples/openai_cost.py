"""What a conversation costs, from the usage of its answers (openai-python).

Input, cached input and output have prices of their own; one price times all tokens is wrong by a
factor. Each turn sends the whole history again. Dollars and yuan differ by an exchange rate.
Needs DROVEWAY_URL (without /v1) and DROVEWAY_KEY.
"""

import os
from decimal import Decimal
from typing import Any

import openai

USD_PER_MTOK = {"input": Decimal("2.00"), "cached": Decimal("0.50"), "output": Decimal("8.00")}
CNY_PER_USD = Decimal("7.3")

client = openai.OpenAI(
    base_url=f"{os.environ['DROVEWAY_URL']}/v1", api_key=os.environ["DROVEWAY_KEY"]
)


def cost_usd(usage: Any) -> Decimal:
    """The price of one answer; cached tokens are a part of the prompt's."""
    details = usage.prompt_tokens_details
    cached: int = (details.cached_tokens or 0) if details else 0
    tokens = {"input": usage.prompt_tokens - cached, "cached": cached}
    tokens["output"] = usage.completion_tokens
    return sum((tokens[kind] * USD_PER_MTOK[kind] for kind in tokens), Decimal(0)) / 1_000_000


messages: list[Any] = [{"role": "system", "content": "You answer customers of a shoe shop."}]
total_usd = Decimal(0)
for question in ("Which sizes do you have?", "And in blue?", "How do I pay?"):
    messages.append({"role": "user", "content": question})
    answer = client.chat.completions.create(
        model=os.environ.get("DROVEWAY_MODEL", "sim-small"), messages=messages
    )
    messages.append({"role": "assistant", "content": answer.choices[0].message.content})
    total_usd += cost_usd(answer.usage)
    print(answer.usage.prompt_tokens, "in,", answer.usage.completion_tokens, "out")
print(f"${total_usd:.6f} = ¥{total_usd * CNY_PER_USD:.6f}")
