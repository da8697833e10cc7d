"""Questions about providers as routers and callers hear them: decoded, and only of who may ask."""

import logging

from droveway.contracts.envelope import MALFORMED, is_inbox_of
from droveway.contracts.providers import ProvidersAsked, ProvidersReset, question_decoder
from droveway.runtime.rare_log import RareLog

_bad_question = RareLog(logging.getLogger(__name__), "bad_question")

_ASKERS = frozenset({"gateway", "operator"})


def question_of(payload: bytes, reply: str) -> ProvidersAsked | ProvidersReset | None:
    """The question; None for what is none, and for whoever may not ask."""
    try:
        question = question_decoder.decode(payload)
    except MALFORMED as error:
        _bad_question.warn(reason=str(error)[:200])
        return None
    return question if is_inbox_of(reply, _ASKERS) else None
