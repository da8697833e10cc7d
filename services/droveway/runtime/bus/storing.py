"""Writes one message to a stream and waits until the broker has it."""

from droveway.runtime.bus.bus import Bus
from droveway.runtime.bus.jetstream import read_jetstream


async def store(
    bus: Bus,
    subject: str,
    payload: bytes,
    timeout_s: float,
    *,
    expected: int | None = None,
    headers: dict[str, str] | None = None,
) -> int:
    """The sequence at which the message stands.

    Args:
        bus: Where to.
        subject: One that a stream keeps, a bucket's keys among them.
        payload: The message.
        timeout_s: For the broker's answer.
        expected: The sequence of the subject's last message, 0 for none: written only behind it.
        headers: Further ones for JetStream.

    Raises:
        WrongLastSequence: Another message stands behind `expected`.
        JetStreamRefused: The stream refuses for another reason.
        NoAnswer: It isn't known whether it was written.
        BusError: It wasn't.
    """
    told = {} if expected is None else {"Nats-Expected-Last-Subject-Sequence": str(expected)}
    answer = await bus.request(subject, payload, timeout_s, told | (headers or {}) or None)
    return int(read_jetstream(answer)["seq"])
