"""The processes that share relays with this one: who is heard, looked for, and dead."""

import logging
from collections.abc import Callable, Collection, KeysView

from droveway.contracts import relay
from droveway.otel.logs import log_event
from droveway.runtime.relay.wire import OpenInbox, Wire

log = logging.getLogger(__name__)

_PROBE_S = relay.PEER_PROBE_MS / 1000
_DEAD_S = relay.PEER_DEAD_MS / 1000
_OUTAGE_S = _DEAD_S + 0.75
"""While there is no connection, nobody is dead before this: a broker that was away for 4 s is found
again up to 1.5 s later (`BusSettings.reconnect_cap_s`), yet streams end within 6.5 s."""
_RETURN_S = 2.5
"""After a reconnect nobody is looked for so long: others may still be on their way back."""
_LATE_S = 2 * relay.HEARTBEAT_MS / 1000
"""A tick that comes this long after the one before: this process stood still."""

OnDead = Callable[[], None]


class Peers:
    """Watches peers by their heartbeats; `bury` is told of each that has died.

    A peer's silence counts only while this process hears: not across a reconnect, not across a time
    when it stood still, and for a time (`PEER_DEAD_MS`, without a connection a little longer) not
    while it doesn't even hear itself.
    """

    def __init__(
        self,
        bus: Wire,
        clock: Callable[[], float],
        later: Callable[[float, Callable[[], None]], object],
        bury: Callable[[str], None],
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._later = later
        self._bury = bury
        self._heard_at: dict[str, float] = {}
        self._links: dict[str, dict[object, OnDead | None]] = {}
        self._probes: dict[str, OpenInbox] = {}
        self._reconnects = bus.statistics().reconnects
        self._ticked_s = clock()
        self._deaf_since_s: float | None = None
        """When the connection was lost, or the last own beat where that went missing first."""
        self._connected = True
        self._back_at_s = -_RETURN_S
        """When the connection was last made anew."""
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
        hears = self._bus.hears_itself and statistics.connected
        excused = (
            statistics.reconnects != self._reconnects
            or (hears and self._deaf_since_s is not None)
            or now_s - self._ticked_s > _LATE_S
        )
        if excused:  # others came back with us, or wait to be read: their silence starts anew
            self._heard_at = dict.fromkeys(self._heard_at, now_s)
        if statistics.reconnects != self._reconnects:
            self._back_at_s = now_s
        if hears:
            self._deaf_since_s = None
        elif self._deaf_since_s is None:
            silent_s = statistics.last_beat_s if statistics.connected else 0.0
            self._deaf_since_s = now_s - silent_s
            # Between two ticks, or a tick's length would be missing at one end or the other.
            self._later(_OUTAGE_S - silent_s + 0.001, self._look_again)
        self._connected = statistics.connected
        self._reconnects = statistics.reconnects
        self._ticked_s = now_s

    def probe_subject(self, peer: str, now_s: float) -> str:
        """Where a peer that was silent for long is to answer; empty while it wasn't."""
        silence_s = now_s - self._heard_at.get(peer, now_s)
        return self.open_probe(peer) if silence_s > _PROBE_S and not self._is_deaf(now_s) else ""

    def open_probe(self, peer: str) -> str:
        """A reply subject for `peer`: an answer is a sign of life, nobody there is its death.

        Empty just after a reconnect.
        """
        if self._clock() - self._back_at_s < _RETURN_S:
            return ""
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

    def _look_again(self) -> None:
        now_s = self._clock()
        self.tick(now_s)
        self.bury_silent(now_s)

    def _is_deaf(self, now_s: float) -> bool:
        """Whether silence says nothing: this process hears nobody, and not for too long yet."""
        allowed_s = _DEAD_S if self._connected else _OUTAGE_S
        return self._deaf_since_s is not None and now_s - self._deaf_since_s <= allowed_s

    def _close_probe(self, peer: str) -> None:
        if (probe := self._probes.pop(peer, None)) is not None:
            probe.close()
