"""Seeded text: the same seed and the same question give the same pieces, one a token."""

import hashlib
import re

import msgspec

from droveway.simulator.examples import example

_VOCABULARY = (
    "the a slow quick river drove cart gate road stone field market bridge night morning "
    "rain wind lamp wheel rope dog horse sheep herd fold hill valley path moves waits turns "
    "finds keeps opens closes counts carries follows and but so then over under past along "
    "near far old new grey green bright quiet early late first last every each many two three"
)
WORDS = _VOCABULARY.split()
PIECE_CHARS = 4

_COUNT_TO = re.compile(r"\bcount (?:up )?to (\d{1,6})\b", re.IGNORECASE)


def numbered(count: int) -> list[str]:
    """Pieces that tell a loss, a double or a swap: `t0 `, `t1 `, ..."""
    return [f"t{index} " for index in range(count)]


def after(pieces: list[str], said: str) -> list[str]:
    """What is left to say of a text that begins with `said`; all of one that doesn't."""
    if not said or not "".join(pieces).startswith(said):
        return pieces
    left: list[str] = []
    at = len(said)
    for piece in pieces:
        if piece[at:]:
            left.append(piece[at:])
        at = max(0, at - len(piece))
    return left


def natural_tokens(question: str, default: int) -> int:
    """Say how long the answer wants to be: as far as `count to <n>` asks, else the default."""
    match = _COUNT_TO.search(question)
    return int(match[1]) if match else default


def prose(key: str, question: str, tokens: int) -> list[str]:
    """Count upwards if the question asks for it, else say seeded words."""
    if _COUNT_TO.search(question):
        return _spaced([str(number) for number in range(1, tokens + 1)])
    picks = hashlib.shake_128(f"{key}\n{question}".encode()).digest(tokens)
    return _spaced([WORDS[pick % len(WORDS)] for pick in picks])


def json_pieces(key: str, schema: dict[str, object]) -> list[str]:
    """Valid JSON of a schema, in pieces of four characters."""
    text = msgspec.json.encode(example(schema, key)).decode()
    return [text[start : start + PIECE_CHARS] for start in range(0, len(text), PIECE_CHARS)]


def _spaced(words: list[str]) -> list[str]:
    return [word if index == 0 else f" {word}" for index, word in enumerate(words)]
