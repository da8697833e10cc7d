"""A limit spread evenly over its window, with so many at once: the generic cell rate algorithm.

State is one time, the *theoretical arrival time* (TAT), when all that was taken has drained away.
Amounts are turned to time by the caller's `unit_ns`, window / limit, so that a new limit keeps the
state. Source: ITU-T I.371 annex A, virtual scheduling.
"""

NS_PER_MS = 1_000_000
MAX_SLACKS = 64
_LATEST_NS = 2**63 - 1
"""In the year 2262: a later time couldn't be written to a snapshot."""


class Gcra:
    """One bucket; times are the log's milliseconds, inside nanoseconds.

    What is refunded may have drained already. How much has is known by the *slacks*: how far TAT
    was ahead at each later charge. A refund larger than one of them would let time be used that
    passed unused, so it is cut to it.
    """

    __slots__ = ("_busy_since_ms", "_slacks", "_tat_ns")

    def __init__(
        self, tat_ns: int = 0, busy_since_ms: int = 0, slacks: list[tuple[int, int]] | None = None
    ) -> None:
        self._tat_ns = tat_ns
        self._busy_since_ms = busy_since_ms
        """Before it the bucket was empty: nothing of then is refunded."""
        self._slacks = [] if slacks is None else slacks
        """(charge's ms, TAT's lead before it in ns): both ascend."""

    def used(self, now_ms: int, unit_ns: int) -> int:
        """What hasn't drained at `now_ms`, rounded up."""
        ahead_ns = self._tat_ns - now_ms * NS_PER_MS
        return -(-ahead_ns // unit_ns) if ahead_ns > 0 else 0

    def add(self, at_ms: int, amount: int, unit_ns: int) -> None:
        """Counts `amount`, which is never negative, at `at_ms`."""
        slack_ns = self._tat_ns - at_ms * NS_PER_MS
        if slack_ns <= 0:
            self._slacks.clear()
            self._busy_since_ms = at_ms
            self._tat_ns = at_ms * NS_PER_MS
        else:
            self._remember(at_ms, slack_ns)
        self._tat_ns = min(_LATEST_NS, self._tat_ns + amount * unit_ns)

    def refund(self, added_ms: int, amount: int, unit_ns: int) -> None:
        """Takes back of what was added at `added_ms`, as far as it hasn't drained."""
        if added_ms < self._busy_since_ms:
            return
        refund_ns = amount * unit_ns
        for index, (at_ms, slack_ns) in enumerate(self._slacks):
            if at_ms > added_ms:
                refund_ns = min(refund_ns, slack_ns)
                self._slacks[index] = (at_ms, slack_ns - refund_ns)
        self._tat_ns -= refund_ns

    def wait_ms(self, now_ms: int, excess: int, unit_ns: int) -> int:
        """Until `excess` of what is used has drained."""
        used = self.used(now_ms, unit_ns)
        drained_ns = self._tat_ns - (used - excess) * unit_ns
        return max(0, -(-drained_ns // NS_PER_MS) - now_ms)

    def reset_ms(self, now_ms: int) -> int:
        """Until nothing is used."""
        return max(0, -(-self._tat_ns // NS_PER_MS) - now_ms)

    def state(self, at_ms: int) -> tuple[int, int, list[tuple[int, int]]] | None:
        """What `__init__` takes; None when nothing is used at `at_ms`."""
        if self._tat_ns <= at_ms * NS_PER_MS:
            return None
        return self._tat_ns, self._busy_since_ms, self._slacks

    def _remember(self, at_ms: int, slack_ns: int) -> None:
        slacks = self._slacks
        while slacks and slacks[-1][1] >= slack_ns:
            slacks.pop()  # the later, smaller one cuts whatever it would have cut
        slacks.append((at_ms, slack_ns))
        if len(slacks) > MAX_SLACKS:
            # Merged to the stricter side: refunds become smaller, never larger.
            slacks[1] = (slacks[1][0], min(slacks[0][1], slacks[1][1]))
            del slacks[0]
