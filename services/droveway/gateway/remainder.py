"""What is asked of another target when an answer breaks off: the rest of it, or all of it again."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from droveway.contracts.errors import Failure
from droveway.contracts.inference import MAX_AVOIDED, Body, InferenceRequested
from droveway.contracts.relay import Usage
from droveway.dialects.continuation import continued, is_structured
from droveway.dialects.estimate import body_tokens
from droveway.dialects.joining import Join

MAX_CONTINUATIONS = 2
"""Of one answer."""
_BROKEN_OFF = frozenset(
    {"stream_interrupted", "stream_stalled", "provider_unavailable", "provider_rate_limited"}
    | {"server_shutting_down", "internal_error"}
)
"""Ends for which a target or its caller is to blame."""
_OF_OUR_OWN = frozenset({"server_shutting_down"})
"""Among them the ends for which it is only the caller: another one may ask the same target."""


class Broken(NamedTuple):
    """An answer that broke off, and those that did before it."""

    cause: Failure
    targets: tuple[str, ...]
    """`provider/model` of each."""
    blamed: tuple[str, ...]
    """Those of them that broke off by themselves: they aren't asked again."""
    attempts: int
    """So many were made in all."""
    router: str
    """Who had the request; empty: that isn't known."""
    asks: int
    """Publications in all."""
    used: Usage
    """By all of them."""


def is_to_blame(cause: Failure, *, caller_gone: bool, again: bool = False) -> bool:
    """Whether it is the target that broke off, not the caller that asked it.

    Args:
        cause: How the answer ended.
        caller_gone: Its caller died.
        again: This target's answer to the request broke off before: whatever kills callers twice
            is to be taken for its doing.
    """
    if caller_gone:
        return again
    return cause.code not in _OF_OUR_OWN


class Original(NamedTuple):
    """What was asked first, of which the rest is wanted."""

    request: InferenceRequested
    body: bytes
    carry: Callable[[bytes], Body]
    """Puts a body in a message, or where it can be pulled from."""

    def may_go_on(self, broken: Broken, join: Join | None) -> bool:
        """Whether another target may be asked; nobody can go on with what has a form to keep."""
        cause, request = broken.cause, self.request
        if cause.code not in _BROKEN_OFF or cause.provider_code.startswith("content"):
            return False
        if len(broken.targets) > MAX_CONTINUATIONS or broken.attempts >= request.attempts_left:
            return False
        if not broken.router or not request.stream:
            return bool(broken.router)
        plain = request.choices == 1 and not request.needs.audio and not is_structured(self.body)
        return plain and join is not None and join.can_go_on

    def rest(self, broken: Broken, said: str) -> InferenceRequested:
        """The request for what comes after `said`; for all of it if that is empty."""
        request = msgspec.structs.replace(
            self.request,
            avoid=broken.blamed[-MAX_AVOIDED:],
            goes_on=True,
            attempts_left=self.request.attempts_left - broken.attempts,
            attempts_made=broken.attempts,
            ask=broken.asks + 1,
            instead_of=broken.router,
        )
        if not said:
            return msgspec.structs.replace(request, body=self.carry(self.body))
        spent_tokens = broken.used.output_tokens
        body = continued(self.body, said, spent_tokens)
        bound = request.max_output_tokens
        return msgspec.structs.replace(
            request,
            body=self.carry(body),
            needs=msgspec.structs.replace(request.needs, prefill=True, continues=True),
            input_estimate_tokens=body_tokens(body),
            max_output_tokens=None if bound is None else max(1, bound - spent_tokens),
        )
