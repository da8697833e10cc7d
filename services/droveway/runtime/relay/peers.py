"""The processes that share relays with this one: who is heard, looked for, and dead."""

import logging
from collections.abc import Callable, Collection, KeysView

from droveway.contracts import relay
from droveway.otel.logs import log_event
from droveway.runtime.relay.wire import OpenInbox, Wire

log = logging.getLogger(__name__)

_PROBE_S = relay.PEER_PROBE_MS / 1000
_DEAD_S = relay.PEER_DEAD_MS / 1000
_LATE_S = 2 * relay.HEARTBEAT_MS / 1000
"""A tick that comes this long after the one before: this process stood still."""

OnDead = Callable[[], None]


class Peers:
    """Watches peers by their heartbeats; `bury` is told of each that has died.

    A peer's silence counts only while this process hears: not across a reconnect, not across a time
    when it stood still, and for the first `PEER_DEAD_MS` not while it doesn't even hear itself.
    """

    def __init__(self, bus: Wire, clock: Callable[[], float], bury: Callable[[str], None]) -> None:
        self._bus = bus
        self._clock = clock
        self._bury = bury
        self._heard_at: dict[str, float] = {}
        self._links: dict[str, dict[object, OnDead | None]] = {}
        self._probes: dict[str, OpenInbox] = {}
        self._reconnects = bus.statistics().reconnects
        self._ticked_s = clock()
        self._deaf_since_s: float | None = None
        self.died = 0
        """Peers that were declared dead, ever."""

    def __len__(self) -> int:
        return len(self._heard_at)

    @property
    def linked(self) -> KeysView[str]:
        """Those that get a heartbeat even without a relay."""
        return self._links.keys()

    def watch(self, peer: str) -> None:
        """From now on its silence counts."""
        self._heard_at.setdefault(peer, self._clock())

    def heard(self, peer: str) -> None:
        """The peer lives."""
        if peer in self._heard_at:
            self._heard_at[peer] = self._clock()
        self._close_probe(peer)

    def heard_s(self, peer: str) -> float | None:
        """When it was last heard, by this process's clock; None when nobody watches it."""
        return self._heard_at.get(peer)

    def link(self, peer: str, on_dead: OnDead | None) -> Callable[[], None]:
        """Keeps heartbeats going to `peer`; `on_dead` is called at most once, never after unlink.

        Returns:
            Ends the link.
        """
        key = object()
        links = self._links.setdefault(peer, {})
        links[key] = on_dead
        if on_dead is not None:
            self.watch(peer)

        def unlink() -> None:
            links.pop(key, None)
            if not links and self._links.get(peer) is links:
                del self._links[peer]

        return unlink

    def tick(self, now_s: float) -> None:
        """Looks at this process's own ears first."""
        statistics = self._bus.statistics()
        hears = self._bus.hears_itself
        excused = (
            statistics.reconnects != self._reconnects
            or (hears and self._deaf_since_s is not None)
            or now_s - self._ticked_s > _LATE_S
        )
        if excused:  # others came back with us, or wait to be read: their silence starts anew
            self._heard_at = dict.fromkeys(self._heard_at, now_s)
        if hears:
            self._deaf_since_s = None
        elif self._deaf_since_s is None:
            self._deaf_since_s = now_s - statistics.last_beat_s
        self._reconnects = statistics.reconnects
        self._ticked_s = now_s

    def probe_subject(self, peer: str, now_s: float) -> str:
        """Where a peer that was silent for long is to answer; empty while it wasn't."""
        silence_s = now_s - self._heard_at.get(peer, now_s)
        return self.open_probe(peer) if silence_s > _PROBE_S and not self._is_deaf(now_s) else ""

    def open_probe(self, peer: str) -> str:
        """A reply subject for `peer`: an answer is a sign of life, nobody there is its death."""
        probe = self._probes.get(peer)
        if probe is None:
            probe = self._bus.open_inbox(
                lambda _: self.heard(peer), lambda: self.declare_dead(peer)
            )
            self._probes[peer] = probe
        return probe.subject

    def forget_others(self, watched: Collection[str]) -> None:
        """Stops watching all peers but these and those whose link wants to know."""
        wanted = {peer for peer, links in self._links.items() if any(links.values())}
        for peer in self._heard_at.keys() - wanted - set(watched):
            del self._heard_at[peer]
        for peer in self._probes.keys() - self._heard_at.keys():
            self._close_probe(peer)

    def bury_silent(self, now_s: float) -> None:
        """Declares dead who was silent for too long."""
        if self._is_deaf(now_s):
            return
        for peer, heard_s in list(self._heard_at.items()):
            if now_s - heard_s > _DEAD_S:
                self.declare_dead(peer)

    def declare_dead(self, peer: str) -> None:
        """Ends all that this process has with `peer`, once."""
        self._close_probe(peer)
        if self._heard_at.pop(peer, None) is None:
            return
        self.died += 1
        log_event(log, "peer_dead", level=logging.WARNING, peer=peer)
        self._bury(peer)
        links = self._links.pop(peer, {})
        while links:  # one link's callback may end another
            on_dead = links.pop(next(iter(links)))
            if on_dead is not None:
                on_dead()

    def _is_deaf(self, now_s: float) -> bool:
        """Whether silence says nothing: this process hears nobody, and not for too long yet."""
        return self._deaf_since_s is not None and now_s - self._deaf_since_s <= _DEAD_S

    def _close_probe(self, peer: str) -> None:
        if (probe := self._probes.pop(peer, None)) is not None:
            probe.close()
