"""nats-py made fit for a gateway; the only module that knows it.

nats-py 2.16 (pinned) hands each message to a queue and a task, buffers while disconnected, and can
be left deaf while it says that it's connected. This subclass dispatches in the read loop, writes
once per loop turn, sends nothing while disconnected, and reconnects where nats-py would stop.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from nats import errors as nats_errors
from nats.aio.client import Client, Server
from nats.aio.subscription import Subscription

from droveway.runtime.backoff import full_jitter_s
from droveway.runtime.errors import Disconnected, Overflow

Receive = Callable[[bytes, bytes, bytes, bytes | None], None]
"""(subject, reply, payload, raw headers); runs in the read loop, must not raise or block."""

MAX_SUBJECTS_BYTES = 512
"""Subject and reply of one message; the server cuts connections over `max_control_line`."""


class DirectClient(Client):
    """A nats-py client whose subscriptions are plain callbacks and whose publishes never wait."""

    def __init__(self, max_unsent_bytes: int) -> None:
        super().__init__()
        self.max_unsent_bytes = max_unsent_bytes
        self._direct: dict[int, Receive] = {}
        self._flush_scheduled = False
        self._unwritten_bytes = 0
        self.malformed = 0

    async def subscribe_direct(self, subject: str, queue: str, receive: Receive) -> int:
        """Subscribes with a callback that runs in the read loop; renewed on each reconnect."""
        self._sid += 1
        sid = self._sid
        self._direct[sid] = receive
        sub = Subscription(self, sid, subject, queue=queue)
        self._subs[sid] = sub
        await self._send_subscribe(sub)
        return sid

    def unsubscribe_direct(self, sid: int) -> None:
        """Leaves a subject; messages that the server had sent before are still dispatched."""
        if self._subs.pop(sid, None) is not None and self._status == Client.CONNECTED:
            self._pending.append(b"UNSUB %d\r\n" % sid)
            self._schedule_flush()

    def publish_now(
        self,
        subject: str,
        payload: bytes,
        reply: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        """Hands a message to this loop turn's one write.

        Raises:
            Disconnected: There is no connection.
            Overflow: Too many bytes wait for the broker.
        """
        if self._status != Client.CONNECTED:
            raise Disconnected("no connection to NATS")
        if self._is_overflowing():
            raise Overflow(f"over {self.max_unsent_bytes} bytes wait for the broker to read them")
        if len(subject) + len(reply) > MAX_SUBJECTS_BYTES:
            raise Overflow(f"subject and reply exceed {MAX_SUBJECTS_BYTES} bytes")
        if headers is None:
            head = f"PUB {subject} {reply} {len(payload)}\r\n".encode()
        else:
            head, payload = _with_headers(subject, reply, payload, headers)
        if len(payload) > self._max_payload:
            raise Overflow(f"{len(payload)} bytes exceed max_payload {self._max_payload}")
        self._pending.append(b"".join((head, payload, b"\r\n")))
        self._pending_data_size += len(payload) + len(head)
        self._schedule_flush()

    def unsent_bytes(self) -> int:
        """Bytes that the kernel hasn't taken yet."""
        writer = getattr(self._transport, "_io_writer", None)
        waiting: int = writer.transport.get_write_buffer_size() if writer is not None else 0
        return waiting + self._pending_data_size

    def _is_overflowing(self) -> bool:
        # The transport is only asked when what it held after the last write would be too much.
        if self._unwritten_bytes + self._pending_data_size <= self.max_unsent_bytes:
            return False
        unsent_bytes = self.unsent_bytes()
        self._unwritten_bytes = unsent_bytes - self._pending_data_size
        return unsent_bytes > self.max_unsent_bytes

    def _schedule_flush(self) -> None:
        if not self._flush_scheduled:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush_now)

    def _flush_now(self) -> None:
        self._flush_scheduled = False
        if self._status != Client.CONNECTED or self._transport is None or not self._pending:
            return
        pending, self._pending, self._pending_data_size = self._pending, [], 0
        self._transport.writelines(pending)
        self._unwritten_bytes = self.unsent_bytes()

    def abort(self) -> None:
        """Drops the connection, if there is one, without waiting for a peer that may be frozen."""
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        receive = self._direct.get(sid)
        if receive is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        self.stats["in_msgs"] += 1
        self.stats["in_bytes"] += len(data)
        receive(bytes(subject), bytes(reply), bytes(data), headers)

    def _build_message(self, sid: int, subject: Any, reply: Any, data: Any, headers: Any) -> Any:
        try:
            return super()._build_message(sid, subject, reply, data, headers)
        except UnicodeDecodeError:  # nats-py's read loop would end here, silently
            self.malformed += 1
            return None

    async def _process_pong(self) -> None:
        # nats-py sets a result on a waiter that may have timed out, which ends its read loop.
        if self._pongs:
            waiter = self._pongs.pop(0)
            if not waiter.done():
                waiter.set_result(True)
        self._pongs_received += 1
        self._pings_outstanding = 0

    async def _read_loop(self) -> None:
        mine = asyncio.current_task()
        await super()._read_loop()
        if self._reading_task is mine and self.is_connected:
            await self._process_op_err(nats_errors.StaleConnectionError())

    async def _process_err(self, err_msg: str) -> None:
        if "permissions violation" in err_msg.lower():
            await super()._process_err(err_msg)
            return
        # nats-py closes for good on any other -ERR; a reconnect is right, with back-off.
        self._err = nats_errors.Error(f"nats: {err_msg}")
        await self._error_cb(self._err)
        if self.is_connecting:
            await super()._process_err(err_msg)
        else:
            await self._process_op_err(self._err)

    async def _attempt_reconnect(self) -> None:
        self.abort()  # close() would wait for bytes that a frozen peer never takes
        self._pending, self._pending_data_size, self._unwritten_bytes = [], 0, 0
        await super()._attempt_reconnect()


def _with_headers(
    subject: str, reply: str, payload: bytes, headers: dict[str, str]
) -> tuple[bytes, bytes]:
    """The HPUB line and the block that follows it; header values are our own, never a client's."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    block = f"NATS/1.0\r\n{lines}\r\n".encode()
    size = len(block) + len(payload)
    return f"HPUB {subject} {reply} {len(block)} {size}\r\n".encode(), block + payload


def pick_server(servers: list[Server], _info: dict[str, Any]) -> tuple[Server, float]:
    """Any server, after a jittered wait in seconds: a restarted broker isn't stormed."""
    server = random.choice(servers)  # noqa: S311
    return server, full_jitter_s(server.reconnects, base_s=0.1, cap_s=1.0)
