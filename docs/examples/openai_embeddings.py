"""Vectors of many texts in requests of bounded size, and the nearest of them (openai-python).

Needs DROVEWAY_URL (without /v1) and DROVEWAY_KEY.
"""

import math
import os

import openai

PER_REQUEST = 256
TEXTS = ["How do I return a shirt?", "Where is my parcel?", "Which sizes are there?"]

client = openai.OpenAI(
    base_url=f"{os.environ['DROVEWAY_URL']}/v1", api_key=os.environ["DROVEWAY_KEY"]
)


def vectors(texts: list[str]) -> list[list[float]]:
    """One vector per text, in their order; the SDK asks for base64, which is smaller than JSON."""
    found: list[list[float]] = []
    for start in range(0, len(texts), PER_REQUEST):
        answer = client.embeddings.create(
            model=os.environ.get("DROVEWAY_MODEL", "sim-embedding"),
            input=texts[start : start + PER_REQUEST],
        )
        found += [one.embedding for one in answer.data]
    return found


def cosine(left: list[float], right: list[float]) -> float:
    """How alike two vectors are, from -1 to 1."""
    product = sum(one * other for one, other in zip(left, right, strict=True))
    return product / (math.hypot(*left) * math.hypot(*right))


question, *known = vectors(["Can I send it back?", *TEXTS])
likeness = {text: cosine(question, one) for text, one in zip(TEXTS, known, strict=True)}
for text in sorted(TEXTS, key=likeness.__getitem__, reverse=True):
    print(f"{likeness[text]:+.3f}  {text}")
