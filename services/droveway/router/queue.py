"""Who goes next when there is room: the most urgent class first, then tenants by turns, by tokens.

Pure: deficit round robin over tenants, one round per class. A tenant that sends more only makes its
own line longer, and when the queue is full it is that line which is cut.
Source: Shreedhar and Varghese, "Efficient Fair Queueing Using Deficit Round-Robin", 1996; McKenney,
"Stochastic Fairness Queueing", 1990 (whose line is cut).
"""

from bisect import insort
from collections.abc import Callable
from typing import NamedTuple

from droveway.router.places import Places

QUANTUM_TOKENS = 1
"""What a tenant saves up in its turn; as turns without a request cost nothing here, the finest."""


class Bounds(NamedTuple):
    """How much may wait; when it is full the newest of whoever has most waiting is refused."""

    requests: int
    tokens: int


class Entry:
    """One request that waits: whose, how urgent, how large, and for what."""

    __slots__ = ("flow", "number", "places", "priority", "saved", "tenant", "tokens")

    def __init__(self, tenant: str, priority: int, tokens: int, places: Places) -> None:
        self.tenant = tenant
        self.priority = priority
        """0 is the most urgent class."""
        self.tokens = max(1, tokens)
        self.places = places
        """Room at any of them will do."""
        self.number = 0
        """Its place in its tenant's line; kept when it comes back without having found room."""
        self.flow: _Flow | None = None
        """Its tenant's, while it is called."""
        self.saved: list[tuple[_Flow, int]] = []
        """What tenants saved up until it was called."""


Fits = Callable[[Places], bool]
"""Whether room has been found at one of these places."""


class _Flow:
    """One tenant's requests of one class; those for the same places stand behind each other."""

    __slots__ = ("deficit_tokens", "lines", "tokens")

    def __init__(self) -> None:
        self.deficit_tokens = 0
        self.tokens = 0
        self.lines: dict[Places, list[Entry]] = {}

    def head(self, fits: Fits) -> Entry | None:
        """The one that came first of those that fit."""
        heads = (line[0] for places, line in self.lines.items() if fits(places))
        return min(heads, key=_number, default=None)

    def newest(self) -> Entry:
        """The one that came last."""
        return max((line[-1] for line in self.lines.values()), key=_number)

    def add(self, entry: Entry) -> None:
        insort(self.lines.setdefault(entry.places, []), entry, key=_number)
        self.tokens += entry.tokens

    def remove(self, entry: Entry) -> bool:
        """Whether it was here."""
        line = self.lines.get(entry.places, [])
        if entry not in line:
            return False
        line.remove(entry)
        self.tokens -= entry.tokens
        if not line:
            del self.lines[entry.places]
        return True


class FairQueue:
    """Bounded by requests and by tokens."""

    def __init__(self, bounds: Bounds, classes: int) -> None:
        self._bounds = bounds
        self._rounds: list[dict[str, _Flow]] = [{} for _ in range(classes)]
        """By class: tenants in the order of their turns."""
        self._numbers = 0
        self._depths = [0] * classes
        self.tokens = 0

    def __len__(self) -> int:
        return sum(self._depths)

    @property
    def depths(self) -> tuple[int, ...]:
        """Requests that wait, by class."""
        return tuple(self._depths)

    def push(self, entry: Entry) -> list[Entry]:
        """Takes one more at the end of its tenant's line; returns those that must go for it.

        That may be `entry` itself: where nobody less urgent waits, and no tenant has more waiting.
        """
        entry.tokens = min(entry.tokens, self._bounds.tokens)
        victims: list[Entry] = []
        while not self._has_room(entry):
            victim = self._victim(entry)
            if victim is entry:
                for other in victims:
                    self._link(other)
                    self._count(other, 1)
                return [entry]
            self.discard(victim)
            victims.append(victim)
        self._numbers += 1
        entry.number = self._numbers
        self._link(entry)
        self._count(entry, 1)
        return victims

    def take(self, fits: Fits) -> Entry | None:
        """The next that fits, charged to its tenant; None: nobody waits for such room.

        It counts as waiting until it is put back and discarded, or `settled`.
        """
        for flows in self._rounds:
            turns = [(name, flow, flow.head(fits)) for name, flow in flows.items()]
            waiting = [(name, flow, entry) for name, flow, entry in turns if entry is not None]
            if waiting:
                return self._take(flows, waiting)
        return None

    def put_back(self, entry: Entry) -> None:
        """It has found no room after all: all is as if it hadn't been called."""
        assert entry.flow is not None, "it was taken"
        for flow, saved_tokens in entry.saved:
            flow.deficit_tokens -= saved_tokens
        entry.flow.deficit_tokens += entry.tokens
        flow, entry.flow, entry.saved = entry.flow, None, []
        self._link(entry, flow)

    def settled(self, entry: Entry) -> None:
        """One that was taken doesn't come back."""
        entry.flow, entry.saved = None, []
        self._count(entry, -1)

    def discard(self, entry: Entry) -> bool:
        """Whether it waited; it doesn't any more."""
        waited = self._unlink(entry)
        if waited:
            self._count(entry, -1)
        return waited

    def _take(self, flows: dict[str, _Flow], waiting: list[tuple[str, _Flow, Entry]]) -> Entry:
        """Goes round as often as it takes until somebody's savings suffice, all at once."""
        turns = [_turns(flow, entry) for _, flow, entry in waiting]
        rounds = min(turns)
        chosen = turns.index(rounds)
        saved = [
            (flow, QUANTUM_TOKENS * (rounds + (index < chosen)))
            for index, (_, flow, _) in enumerate(waiting)
        ]
        for flow, saved_tokens in saved:
            flow.deficit_tokens += saved_tokens
        for name in list(flows):
            if name == waiting[chosen][0]:
                break
            flows[name] = flows.pop(name)  # had its turn
        _, flow, entry = waiting[chosen]
        flow.deficit_tokens -= entry.tokens
        entry.flow, entry.saved = flow, saved
        self._unlink(entry)
        return entry

    def _link(self, entry: Entry, flow: _Flow | None = None) -> None:
        """A tenant that hasn't waited goes first among those who have saved up as much."""
        flows = self._rounds[entry.priority]
        if entry.tenant not in flows:
            others = [*flows.items()]
            flows.clear()
            flows[entry.tenant] = flow or _Flow()
            flows.update(others)
        flows[entry.tenant].add(entry)

    def _unlink(self, entry: Entry) -> bool:
        flows = self._rounds[entry.priority]
        flow = flows.get(entry.tenant)
        if flow is None or not flow.remove(entry):
            return False
        if not flow.lines:
            del flows[entry.tenant]  # and what it has saved up: who doesn't wait saves nothing
        return True

    def _count(self, entry: Entry, sign: int) -> None:
        self._depths[entry.priority] += sign
        self.tokens += sign * entry.tokens

    def _has_room(self, entry: Entry) -> bool:
        fits = self.tokens + entry.tokens <= self._bounds.tokens
        return fits and len(self) < self._bounds.requests

    def _victim(self, entry: Entry) -> Entry:
        """The newest of the least urgent class's longest line."""
        lowest = max((n for n, flows in enumerate(self._rounds) if flows), default=entry.priority)
        flows = self._rounds[lowest]
        if lowest < entry.priority or not flows:
            return entry
        longest = max(flows, key=lambda name: flows[name].tokens)
        own = flows.get(entry.tenant) if lowest == entry.priority else None
        after = entry.tokens + (own.tokens if own is not None else 0)
        if lowest == entry.priority and after >= flows[longest].tokens:
            return entry
        return flows[longest].newest()


def _turns(flow: _Flow, entry: Entry) -> int:
    """How many turns it must save up for."""
    return max(0, -((flow.deficit_tokens - entry.tokens) // QUANTUM_TOKENS))


def _number(entry: Entry) -> int:
    return entry.number
