"""A broker in virtual time, without a network: it loses, repeats, delays and reorders messages.

`LossyBus` stands where relays want a bus. All chance comes from one seeded generator, and time only
passes in `LossyBroker.advance`, so that a run is repeated exactly by its seed.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from droveway.contracts.envelope import inbox, service_of
from droveway.runtime.errors import Disconnected

BEAT_S = 1.0
"""Each process sends itself a message this often."""
DEAF_S = 2.0
"""A process that hasn't heard itself for this long says so."""
RECONNECT_S = 1.6
"""A broker that is back finds its processes connected again after at most this long."""

OnPayload = Callable[[bytes], None]


@dataclass
class Weather:
    """How messages fare: probabilities from 0 to 1, and the longest delay in seconds."""

    drop: float = 0.0
    repeat: float = 0.0
    delay_s: float = 0.0


class LossyStatistics(NamedTuple):
    """What relays ask a bus about its connection."""

    connected: bool
    last_beat_s: float
    reconnects: int


@dataclass(order=True)
class _Event:
    due_s: float
    number: int
    bus: "LossyBus" = field(compare=False)
    call: Callable[[], None] = field(compare=False)


class LossyInbox:
    """One reply subject, until closed."""

    def __init__(self, subject: str, close: Callable[[], None]) -> None:
        self.subject = subject
        self._close = close

    def close(self) -> None:
        self._close()


class LossyBroker:
    """Carries messages between its buses as `weather` lets it."""

    def __init__(self, seed: int = 0) -> None:
        self.now_s = 1_000.0
        self.weather = Weather()
        self.up = True
        self.buses: dict[str, LossyBus] = {}
        self._random = random.Random(seed)
        self._events: list[_Event] = []
        self._numbers = itertools.count()

    def bus(self, instance: str) -> "LossyBus":
        """A connected process."""
        bus = LossyBus(self, instance)
        self.buses[instance] = bus
        bus.beat()
        return bus

    def advance(self, seconds: float) -> None:
        """Lets time pass; whatever comes due happens in its order."""
        until_s = self.now_s + seconds
        while self._events and self._events[0].due_s <= until_s:
            event = heapq.heappop(self._events)
            self.now_s = max(self.now_s, event.due_s)
            if event.bus.awake(event.call):
                event.call()
        self.now_s = until_s

    def later(self, delay_s: float, call: Callable[[], None], bus: "LossyBus") -> None:
        """Calls in `delay_s`: unless `bus` has died, and not while it is frozen."""
        heapq.heappush(self._events, _Event(self.now_s + delay_s, next(self._numbers), bus, call))

    def stop(self) -> None:
        """The broker is gone: every process notices at once."""
        self.up = False
        for bus in self.buses.values():
            bus.connected = False

    def start(self, back_after_s: Sequence[float] = ()) -> None:
        """The broker is back: its processes connect again, each when it pleases or is told to."""
        self.up = True
        for bus, told_s in itertools.zip_longest(list(self.buses.values()), back_after_s):
            after_s = self._random.uniform(0, RECONNECT_S) if told_s is None else told_s
            self.later(after_s, bus.reconnect, bus)

    def carry(self, sender: "LossyBus", subject: str, payload: bytes, reply: str) -> None:
        """Brings a message to whoever listens now; a probe without a listener comes back."""
        target = next((one for one in self.buses.values() if one.listens(subject)), None)
        if sender.isolated or (target is not None and target.isolated):
            return
        if target is None:
            if reply:
                self.later(0.001, lambda: sender.nobody(reply), sender)
            return
        copies = 0 if self._random.random() < self.weather.drop else 1
        copies += self._random.random() < self.weather.repeat
        for _ in range(copies):
            delay_s = 0.001 + self._random.uniform(0, self.weather.delay_s)
            self.later(delay_s, lambda: target.receive(subject, payload, reply), target)


class LossyBus:
    """One process's connection."""

    def __init__(self, broker: LossyBroker, instance: str) -> None:
        self.instance = instance
        self.connected = True
        self.isolated = False
        """What it sends and is sent disappears, and nobody is told."""
        self.frozen = False
        self.published = 0
        self._broker = broker
        self._dead = False
        self._beat_at = broker.now_s
        self._reconnects = 0
        self._subscriptions: dict[str, Callable[[bytes, str], None]] = {}
        self._inboxes: dict[str, tuple[OnPayload, Callable[[], None]]] = {}
        self._tokens = itertools.count()
        self._backlog: list[Callable[[], None]] = []

    @property
    def hears_itself(self) -> bool:
        return self._broker.now_s - self._beat_at < DEAF_S

    @property
    def open_inboxes(self) -> int:
        return len(self._inboxes)

    def statistics(self) -> LossyStatistics:
        silent_s = self._broker.now_s - self._beat_at
        return LossyStatistics(self.connected, silent_s, self._reconnects)

    def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        if not self.connected:
            raise Disconnected("there is no connection")
        self.published += 1
        self._broker.carry(self, subject, payload, reply)

    def open_inbox(self, on_payload: OnPayload, on_no_responders: Callable[[], None]) -> LossyInbox:
        token = f"{next(self._tokens):x}"
        subject = inbox(service_of(self.instance), self.instance, token)
        self._inboxes[subject] = (on_payload, on_no_responders)
        return LossyInbox(subject, lambda: self._close_inbox(subject))

    async def subscribe(self, subject: str, on_message: Callable[[bytes, str], None]) -> None:
        self._subscriptions[subject] = on_message

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Calls in this process, in virtual time."""
        self._broker.later(delay_s, call, self)

    def die(self) -> None:
        """As by SIGKILL: nobody listens on its subjects any more."""
        self._dead = True
        self._broker.buses.pop(self.instance, None)

    def freeze(self) -> None:
        """As by SIGSTOP: what comes waits in its socket."""
        self.frozen = True

    def thaw(self) -> None:
        """As by SIGCONT: what was due while it stood still happens now."""
        self.frozen = False
        backlog, self._backlog = self._backlog, []
        for call in backlog:
            self._broker.later(0.0, call, self)

    def awake(self, call: Callable[[], None]) -> bool:
        """Whether `call` may run now; a frozen process notes it for later."""
        if self.frozen and not self._dead:
            self._backlog.append(call)
        return not self.frozen and not self._dead

    def beat(self) -> None:
        """Hears itself through the broker, again and again, as long as there is a way."""
        if self._reachable():
            self._beat_at = self._broker.now_s
        self.later(BEAT_S, self.beat)

    def reconnect(self) -> None:
        if self._broker.up and not self.connected:
            self.connected = True
            self._reconnects += 1
            self._beat_at = self._broker.now_s

    def listens(self, subject: str) -> bool:
        mine = subject.split(".")[2] == self.instance  # one wildcard for all of its inboxes
        return self.connected and (mine or subject in self._subscriptions)

    def receive(self, subject: str, payload: bytes, reply: str) -> None:
        if not self.connected:
            return
        if (on_message := self._subscriptions.get(subject)) is not None:
            on_message(payload, reply)
        elif (entry := self._inboxes.get(subject)) is not None:
            entry[0](payload)

    def nobody(self, reply: str) -> None:
        if (entry := self._inboxes.get(reply)) is not None:
            entry[1]()

    def _reachable(self) -> bool:
        return self.connected and not self.isolated

    def _close_inbox(self, subject: str) -> None:
        self._inboxes.pop(subject, None)
