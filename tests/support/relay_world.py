"""Processes with relays over a lossy broker: what callers, doors and pulls do, in virtual time."""

import asyncio
import itertools
import secrets
from collections.abc import Iterator

from droveway.contracts import relay
from droveway.contracts.envelope import new_instance
from droveway.runtime.relay import Receiver, RelayHub, Sender
from tests.support.lossy_bus import LossyBroker, LossyBus

EVENT_BYTES = 6_000
FRAME_BYTES = EVENT_BYTES + 200
STEP_S = 0.05


class Process:
    """One process: its bus, its hub, a beat each half second, and the loop that it shares."""

    def __init__(self, broker: LossyBroker, loop: asyncio.AbstractEventLoop, service: str) -> None:
        self.bus: LossyBus = broker.bus(new_instance(service))
        self.answers: list[Answer] = []
        self.hub = RelayHub(
            self.bus, self._on_cancel, clock=lambda: broker.now_s, later=self.bus.later
        )
        self.dead = False
        self._broker = broker
        loop.run_until_complete(self.hub.listen())
        self.bodies = loop.create_task(self.hub.serve_bodies())
        self._tick()

    @property
    def runs(self) -> bool:
        return not self.dead and not self.bus.frozen

    def kill(self) -> None:
        self.dead = True
        self.bus.die()

    def left(self) -> dict[str, int]:
        """What this process still holds."""
        relays, peers = self.hub._relays, self.hub._peers
        return {
            "senders": len(relays.senders),
            "receivers": len(relays.receivers),
            "lingering": len(relays._lingering),
            "watched": len(peers),
            "links": len(peers._links),
            "probes": len(peers._probes),
            "owed": len(self.hub._beats._owed),
            "unconfirmed": len(self.hub._taken),
            "offers": len(self.hub._bodies._offers),
            "inboxes": self.bus.open_inboxes,
        }

    def _tick(self) -> None:
        self.hub.tick(self._broker.now_s)
        self.bus.later(relay.HEARTBEAT_MS / 1000, self._tick)

    def _on_cancel(self, relay_id: bytes, _reason: str, attempt: int) -> None:
        for answer in self.answers:
            if answer.relay_id == relay_id:
                answer.cancel(attempt)


class Attempt:
    """One caller's try at an answer."""

    def __init__(self, answer: "Answer", caller: Process, number: int) -> None:
        self.caller, self.number = caller, number
        self.origin = relay.Origin(caller.bus.instance, bytes(16), number, "p", "m")
        self.sent: list[bytes] = []
        self.closed = False
        caller.answers.append(answer)
        self.sender: Sender = caller.hub.open_sender(
            answer.relay_id,
            answer.door.bus.instance,
            answer.inbox.subject,
            lambda _reason: self.close(),
        )

    @property
    def live(self) -> bool:
        return not self.closed and self.caller.runs

    def send(self) -> None:
        if not self.live or self.sender.blocked or self.sender.terminated:
            return
        event = b"%d:%d:" % (self.number, len(self.sent)) + bytes(EVENT_BYTES)
        try:
            self.sender.send((event,), None if self.sent else self.origin).send(None)
        except StopIteration:
            self.sent.append(event)

    def complete(self) -> None:
        if self.live and not self.sender.terminated:
            self.sender.complete(relay.Usage(), "stop", b"", None if self.sent else self.origin)
            self.close()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.caller.hub.close_sender(self.sender)


class Answer:
    """One relayed answer at its door, and the attempts at it."""

    def __init__(self, relay_id: bytes, door: Process, caller: Process) -> None:
        self.relay_id, self.door = relay_id, door
        self.receiver: Receiver = door.hub.open_receiver(relay_id)
        self.inbox = door.bus.open_inbox(self._on_payload, lambda: None)
        self.taken: list[relay.Frame] = []
        self.closed = False
        self.attempts = [Attempt(self, caller, 1)]

    def try_again(self, caller: Process) -> None:
        if caller is self.attempts[-1].caller:
            self.attempts[-1].close()  # as a caller does that is given a later attempt
        self.attempts.append(Attempt(self, caller, len(self.attempts) + 1))

    def take(self) -> None:
        if not self.door.runs:
            return
        self.receiver.settle()
        while (frame := self.receiver.take_ready()) is not None:
            self.taken.append(frame)

    def cancel(self, attempt: int) -> None:
        for one in self.attempts:
            if attempt in (0, one.number):
                one.close()

    def close(self) -> None:
        """As a door does: an answer that hasn't ended by its sender is cancelled."""
        if self.closed:
            return
        self.closed = True
        if self.receiver.peer and (self.receiver.was_cut or not self.ended):
            self.door.hub.send_control(self.receiver.peer, relay.Cancel(self.relay_id))
        self.inbox.close()
        self.door.hub.close_receiver(self.receiver)

    @property
    def ended(self) -> bool:
        return bool(self.taken) and not isinstance(self.taken[-1], relay.Chunk)

    def check(self) -> None:
        chunks = [frame for frame in self.taken if isinstance(frame, relay.Chunk)]
        events = [event for chunk in chunks for event in chunk.events]
        assert [frame.seq for frame in self.taken] == list(range(len(self.taken)))
        assert all(isinstance(frame, relay.Chunk) for frame in self.taken[:-1])
        assert self.receiver.held_bytes == 0 or not self.ended
        if events:
            sent = self.attempts[chunks[0].attempt - 1].sent
            assert events == sent[: len(events)]
            if isinstance(self.taken[-1], relay.Completed):
                assert events == sent

    def _on_payload(self, payload: bytes) -> None:
        self.receiver.on_frame(relay.frame_decoder.decode(payload), len(payload))


class Pulled:
    """One body at a door, pulled by a caller; `beside` another that pulls the same body."""

    def __init__(
        self, door: Process, caller: Process, size_bytes: int, beside: "Pulled | None" = None
    ) -> None:
        self.door, self.caller, self.size_bytes = door, caller, size_bytes
        self.relay_id: bytes = beside.relay_id if beside else door.hub.offer(bytes(size_bytes))
        self.pull_id = secrets.token_bytes(16)
        self.receiver = caller.hub.open_receiver(self.pull_id, door.bus.instance)
        self.inbox = caller.bus.open_inbox(self._on_payload, lambda: None)
        self.frames: list[relay.Frame] = []
        self.closed = False
        self.loses_all = False

    def ask(self) -> None:
        if self.receiver.next_seq == 0 and self.caller.runs and not self.closed:
            me = self.caller.bus.instance
            pull = relay.Pull(self.relay_id, self.inbox.subject, me, self.pull_id)
            self.caller.hub.send_control(self.door.bus.instance, pull)

    def take(self) -> None:
        if not self.caller.runs:
            return
        self.receiver.settle()
        while (frame := self.receiver.take_ready()) is not None:
            self.frames.append(frame)

    def close(self) -> None:
        self.closed = True
        self.inbox.close()
        self.caller.hub.close_receiver(self.receiver)
        self.door.hub.withdraw(self.relay_id)

    @property
    def ended(self) -> bool:
        return bool(self.frames) and not isinstance(self.frames[-1], relay.Chunk)

    def check(self) -> None:
        assert [frame.seq for frame in self.frames] == list(range(len(self.frames)))
        assert all(isinstance(frame, relay.Chunk) for frame in self.frames[:-1])
        if self.ended and isinstance(self.frames[-1], relay.Completed):
            chunks = [frame for frame in self.frames if isinstance(frame, relay.Chunk)]
            assert sum(len(event) for one in chunks for event in one.events) == self.size_bytes

    def _on_payload(self, payload: bytes) -> None:
        if not self.loses_all:
            self.receiver.on_frame(relay.frame_decoder.decode(payload), len(payload))


class World:
    """Two callers and two doors under one broker."""

    def __init__(self, seed: int = 0) -> None:
        self.broker = LossyBroker(seed)
        self.loop = asyncio.new_event_loop()
        self.callers = [Process(self.broker, self.loop, "caller") for _ in range(2)]
        self.doors = [Process(self.broker, self.loop, "gateway") for _ in range(2)]
        self.answers: list[Answer] = []
        self.pulls: list[Pulled] = []
        self._ids: Iterator[int] = itertools.count(1)

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def processes(self) -> list[Process]:
        return [*self.callers, *self.doors]

    @property
    def relays(self) -> "list[Answer | Pulled]":
        return [*self.answers, *self.pulls]

    def answer(self, which: int) -> Answer:
        relay_id = next(self._ids).to_bytes(16, "big")
        answer = Answer(relay_id, *self.pair(which))
        self.answers.append(answer)
        return answer

    def pair(self, which: int) -> tuple[Process, Process]:
        """A door and a caller."""
        return self.doors[which & 1], self.callers[which >> 1 & 1]

    def mend(self) -> None:
        """The broker and all processes that live are back."""
        if not self.broker.up:
            self.broker.start()
        for process in self.processes:
            process.bus.isolated = False
            if process.bus.frozen:
                process.bus.thaw()

    def pass_time(self, seconds: float) -> None:
        """In small steps, so that bodies are sent on as credit comes."""
        until_s = self.broker.now_s + seconds
        while self.broker.now_s < until_s:
            self.broker.advance(min(STEP_S, until_s - self.broker.now_s + 1e-9))
            self.turn_loop()

    def turn_loop(self) -> None:
        for _ in range(3):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def end(self) -> None:
        for process in self.processes:
            process.bodies.cancel()
        self.turn_loop()
        self.loop.close()
