"""What an operator may turn: `DROVEWAY_LIMITER_<FIELD>`."""

from droveway.limiter.decisions import DecisionSettings
from droveway.runtime.settings import Count, Seconds, ServiceSettings


class LimiterSettings(ServiceSettings, frozen=True, kw_only=True):
    """The limiter's settings."""

    remembered_decisions: Count = 100_000
    """Decisions kept so that a repeated question counts once; the oldest are forgotten first."""
    lease_ms: Count = 10_000
    """What is reserved and not renewed for so long is settled by what is known."""
    unknown_output_tokens: Count = 4_096
    """Reserved for an answer without a bound until enough answers of its model are known."""
    busy_retry_ms: Count = 1_000
    """When to ask again where too many requests run at the same time."""
    expired_at_once: Count = 1_000
    """Leases that have run out are settled so many at a time."""
    max_pending: Count = 10_000
    """Questions decided and not yet in the log; beyond it none is answered, and routers ask
    again."""
    max_batch_bytes: Count = 512 * 1024
    """Of one append, unless one decision alone is larger."""
    ack_within_ms: Count = 250
    """The broker's answer to an append; then the same append is sent again."""
    fresh_ms: Count = 100
    """What changes nothing is answered without an append if one was made so lately."""
    alive_every_ms: Count = 100
    """The owner's sign of life, and how often it looks for leases that have run out."""
    silent_after_ms: Count = 300
    """An owner that isn't heard for this long is replaced by a standby."""
    max_remembered: Count = 10_000
    """Messages that a standby keeps for the case that it takes over; the oldest go first."""
    remember_ms: Count = 1_000
    """How long it keeps them."""
    follow_every_ms: Count = 20
    """How often a standby reads what was appended, at most."""
    max_lag_s: Seconds = 1.0
    """A standby that is further behind isn't ready."""
    page_messages: Count = 256
    """Batches that are read at once."""
    page_bytes: Count = 4 * 1024 * 1024
    """The same in bytes."""
    read_within_s: Seconds = 2.0
    """One answer of JetStream."""
    snapshot_batches: Count = 2_000
    """A standby writes a snapshot after so many batches; the owner, alone, after thrice as many."""
    snapshot_every_s: Seconds = 60.0
    """Or after this long, if something changed."""
    usage_rows: Count = 256
    """Rows of USAGE that are counted at once."""
    usage_bytes: Count = 1024 * 1024
    """The same in bytes."""
    usage_pause_ms: Count = 50
    """Between two reads of USAGE, at least."""
    usage_check_every_s: Seconds = 5.0
    """USAGE is read this often even if nothing was heard of new rows."""
    known_within_s: Seconds = 10.0
    """How long a starting limiter waits for the buckets of keys and of prices."""

    def rules(self, instance: str) -> DecisionSettings:
        """What of it concerns decisions."""
        return DecisionSettings(
            owner=instance,
            remembered_holds=self.remembered_decisions,
            lease_ms=self.lease_ms,
            unknown_output_tokens=self.unknown_output_tokens,
            busy_retry_ms=self.busy_retry_ms,
            expired_per_call=self.expired_at_once,
        )
