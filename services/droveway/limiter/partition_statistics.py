"""What is seen of a partition from outside."""

from typing import NamedTuple


class PartitionStatistics(NamedTuple):
    """A snapshot for gauges."""

    owner: bool
    """Whether this process owns it."""
    ready: bool
    sequence: int
    """Of the last batch that it appended or read."""
    lag_s: float
    """For how long a standby knows of batches that it hasn't read."""
    remembered: int
    """Messages that a standby keeps."""
    pending: int
    """Decisions that aren't in the log yet, and answers that wait for them."""
    takeovers: int
    fenced: int
    """Times that somebody else had taken over from it."""
    lost: int
    """Times that it lost the log with the connection."""
    appends: int
    appended_ops: int
    batch_ops: int
    """Of the last append."""
    commit_s: float
    """All appends together, from sending to the answer."""
    doubts: int
    """Appends that were sent again, since no answer came."""
    refused_full: int
    """Messages left undone since too much was pending."""
    unsent: int
    """Answers that couldn't be sent."""
    snapshot_age_s: float
    """Since a snapshot was stored, or seen, by this process."""
