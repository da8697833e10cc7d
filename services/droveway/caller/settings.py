"""What an operator may turn: `DROVEWAY_CALLER_<FIELD>`."""

from typing import Annotated

import msgspec

from droveway.contracts.envelope import Id
from droveway.runtime.settings import Count, WorkerSettings


class CallerSettings(WorkerSettings, frozen=True, kw_only=True):
    """The caller's settings."""

    pool: Id = "default"
    """Which providers it serves: those whose `pool` has this name."""
    max_answer_bytes: Count = 64 * 1024 * 1024
    """A whole answer, streamed or not; beyond it the attempt fails as `bad_upstream`."""
    after_finish_s: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    """After the last finish reason: how long to wait for usage and the end of the stream."""
    max_cooldown_s: Annotated[float, msgspec.Meta(ge=0, le=600)] = 600.0
    """Longest time for which a provider's 429 may have a credential spared; 0: none is spared."""
    refused_s: Annotated[float, msgspec.Meta(ge=0, le=600)] = 60.0
    """How long a credential is spared whose provider answers 401, 402 or 403; then one attempt
    tries it. 0: it isn't spared."""
    pull_s: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    """How long fetching a large request body from its door may take."""
    spool_rows: Count = 10_000
    """Usage rows that may wait for JetStream; when full, new attempts are refused as `Busy`."""
    ca_file: str = ""
    """PEM file of the authorities trusted for providers; empty: the bundled ones."""
