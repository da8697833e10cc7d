"""What an operator may turn: `DROVEWAY_LIMITER_<FIELD>`."""

from droveway.runtime.settings import Count, ServiceSettings


class LimiterSettings(ServiceSettings, frozen=True, kw_only=True):
    """The limiter's settings."""

    remembered_decisions: Count = 100_000
    """Decisions kept so that a repeated question counts once; the oldest are forgotten first."""
