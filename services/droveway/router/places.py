"""Where room may be lacking, and so what a request waits for."""

from collections.abc import Iterable
from typing import NamedTuple

from droveway.router.routes import Candidate


class PlaceKey(NamedTuple):
    """A provider, one of its credentials, or one model under that: as far as is known what lacks.

    A provider's bound on calls is for all its models: who asks for many of them stands in one line.
    """

    provider: str
    """Empty: the client's own limits."""
    credential: str = ""
    model: str = ""


Places = frozenset[PlaceKey]
"""Room at any of them will do."""


def providers_of(candidates: Iterable[Candidate]) -> Places:
    """Their providers, whose callers are busy."""
    return frozenset(PlaceKey(one.target.provider) for one in candidates)


def credentials_of(candidates: Iterable[Candidate]) -> Places:
    """Their credentials, which cool."""
    targets = (one.target for one in candidates)
    return frozenset(PlaceKey(one.provider, one.credential) for one in targets)


def models_of(candidates: Iterable[Candidate]) -> Places:
    """Their models under their credentials, whose limits are full."""
    targets = (one.target for one in candidates)
    return frozenset(PlaceKey(one.provider, one.credential, one.model) for one in targets)


def places_of(candidate: Candidate) -> tuple[PlaceKey, PlaceKey, PlaceKey]:
    """All places that have to have room for it."""
    provider, credential, model = (
        candidate.target.provider, candidate.target.credential, candidate.target.model,
    )  # fmt: skip
    return (
        PlaceKey(provider), PlaceKey(provider, credential), PlaceKey(provider, credential, model),
    )  # fmt: skip


def client_places(key_id: str, model: str) -> Places:
    """A client's own limits, for one model."""
    return frozenset({PlaceKey("", key_id, model)})
