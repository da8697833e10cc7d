"""nats-py made fit for a gateway; the only module that knows it.

nats-py 2.16 (pinned) hands each message to a queue and a task, buffers while disconnected, and can
be left deaf, stuck or closed for good (tests/runtime/test_nats_py_faults.py shows each case). This
subclass dispatches in the read loop, writes once per loop turn, sends nothing while disconnected,
never waits for a peer that may be frozen, and reconnects where nats-py would stop.
"""

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nats import errors as nats_errors
from nats.aio.client import Client, Server, Srv
from nats.aio.subscription import Subscription

from droveway.runtime.backoff import full_jitter_s
from droveway.runtime.bus.wire import with_headers
from droveway.runtime.errors import Disconnected, Overflow

Receive = Callable[[bytes, bytes, bytes, bytes | None], None]
"""(subject, reply, payload, raw headers); runs in the read loop, must not raise or block."""

MAX_SUBJECTS_BYTES = 512
"""Subject and reply of one message; the server cuts connections over `max_control_line`."""
LATE_MESSAGES_S = 5.0
"""How long after leaving a subject messages are dispatched that the server had sent before."""
_PING = b"PING\r\n"
_RETRIED = (OSError, nats_errors.Error, asyncio.TimeoutError)


class DirectClient(Client):
    """A nats-py client whose subscriptions are plain callbacks and whose publishes never wait."""

    def __init__(
        self, max_unsent_bytes: int, tls: Callable[[], ssl.SSLContext] | None = None
    ) -> None:
        super().__init__()
        self.max_unsent_bytes = max_unsent_bytes
        self.malformed = 0
        self.connected_at_s = 0.0
        """The monotonic second at which the broker last took us."""
        self._tls = tls
        self._direct: dict[int, Receive] = {}
        self._flush_scheduled = False
        self._unwritten_bytes = 0

    # What the bus uses

    async def subscribe_direct(self, subject: str, queue: str, receive: Receive) -> int:
        """Subscribes with a callback that runs in the read loop; renewed on each reconnect."""
        self._sid += 1
        sub = Subscription(self, self._sid, subject, queue=queue)
        self._direct[self._sid] = receive
        self._subs[self._sid] = sub
        if self._status == Client.CONNECTED:
            await self._send_subscribe(sub)
        return sub._id  # noqa: SLF001

    def unsubscribe_direct(self, sid: int) -> None:
        """Leaves a subject; messages that the server had sent before are still dispatched."""
        if self._subs.pop(sid, None) is None:
            return
        asyncio.get_running_loop().call_later(LATE_MESSAGES_S, self._direct.pop, sid, None)
        if self._status == Client.CONNECTED:
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
            Overflow: Too many bytes wait for the broker, or the message is too big for it.
        """
        if self._status != Client.CONNECTED:
            raise Disconnected("no connection to NATS")
        if (
            self._unwritten_bytes + self._pending_data_size > self.max_unsent_bytes
            and self._is_overflowing()
        ):
            raise Overflow(f"over {self.max_unsent_bytes} bytes wait for the broker to read them")
        if len(subject) + len(reply) > MAX_SUBJECTS_BYTES:
            raise Overflow(f"subject and reply exceed {MAX_SUBJECTS_BYTES} bytes")
        if headers is None:
            head = f"PUB {subject} {reply} {len(payload)}\r\n".encode()
        else:
            head, payload = with_headers(subject, reply, payload, headers)
        if len(payload) > self._max_payload:
            raise Overflow(f"{len(payload)} bytes exceed max_payload {self._max_payload}")
        self._pending.append(b"".join((head, payload, b"\r\n")))
        self._pending_data_size += len(payload) + len(head)
        if not self._flush_scheduled:
            self._schedule_flush()

    def ping_now(self, on_pong: Callable[[], None]) -> None:
        """Asks the broker for a sign of life, behind what was published before.

        Raises:
            Disconnected: There is no connection.
        """
        if self._status != Client.CONNECTED or self._transport is None:
            raise Disconnected("no connection to NATS")
        self._flush_now()
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        pong.add_done_callback(lambda _pong: on_pong())
        self._pongs.append(pong)
        self._transport.write(_PING)

    @property
    def server_version(self) -> str:
        """Of the broker that took us last; empty before."""
        return str(self._server_info.get("version", ""))

    def unsent_bytes(self) -> int:
        """Bytes that the kernel hasn't taken yet."""
        writer = getattr(self._transport, "_io_writer", None)
        waiting: int = writer.transport.get_write_buffer_size() if writer is not None else 0
        return waiting + self._pending_data_size

    def abort(self) -> None:
        """Drops the connection, if there is one, without waiting for a peer that may be frozen."""
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()

    async def close_within(self, limit_s: float) -> None:
        """Closes for good; what a frozen broker hasn't read by then is dropped."""
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await self.close()
        finally:
            self.abort()

    # Writing: once per loop turn, never waiting

    def _is_overflowing(self) -> bool:
        # The transport is only asked when what it held after the last write would be too much.
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

    async def _flush_pending(self, force_flush: bool = False) -> None:
        # nats-py's flusher waits until a frozen peer reads, and a bounded queue waits for it.
        self._schedule_flush()

    async def _send_ping(self, future: "asyncio.Future[bool] | None" = None) -> None:
        # nats-py's ping overtakes what was published before it.
        assert self._transport is not None
        self._flush_now()
        self._pongs.append(future or asyncio.get_running_loop().create_future())
        self._transport.write(_PING)

    # Reading: no message ends the read loop

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        self.stats["in_msgs"] += 1
        self.stats["in_bytes"] += len(data)
        receive = self._direct.get(sid)
        if receive is not None:
            receive(subject, reply, data, headers)

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
        error = nats_errors.Error(f"nats: {err_msg}")
        await self._error_cb(error)
        if "permissions violation" not in err_msg.lower():
            # nats-py closes for good on most -ERR; a reconnect is right, with back-off.
            self._err = error
            await self._process_op_err(error)

    # Connecting: again and again, leaving nothing behind

    async def _attempt_reconnect(self) -> None:
        self._drop_connection()  # close() would wait for bytes that a frozen peer never takes
        await super()._attempt_reconnect()

    async def _connect_to_server(self, s: Srv) -> None:
        self._drop_connection()  # nats-py forgets the socket of an attempt that failed half-way
        await super()._connect_to_server(s)

    def _drop_connection(self) -> None:
        self.abort()
        for task in (self._reading_task, self._ping_interval_task, self._flusher_task):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        self._pending, self._pending_data_size, self._unwritten_bytes = [], 0, 0

    async def _process_connect_init(self) -> None:
        if self._user_credentials is not None and not _holds_jwt(str(self._user_credentials)):
            raise nats_errors.Error(NO_JWT)  # nats-py would read for ever
        try:
            await super()._process_connect_init()
        except _RETRIED:
            raise
        except Exception as error:  # a seed that is none, say: nats-py would stop trying, silently
            raise nats_errors.Error(f"{type(error).__name__}: {error}") from error
        self.connected_at_s = time.monotonic()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if initial_connection and not info.get("tls_required"):
            assert self._current_server is not None
            if self._tls is not None or self._current_server.uri.scheme == "tls":
                raise nats_errors.Error(NO_TLS)  # nats-py would go on in the clear
        await super()._process_info(info, initial_connection)

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """Made anew for each connection, so that renewed certificates are taken up."""
        return self._tls() if self._tls is not None else super().ssl_context


NO_JWT = "the credentials file holds no user JWT"
NO_TLS = "the server speaks no TLS, and tls:// or TLS files were asked for"


def _holds_jwt(path: str) -> bool:
    return b"BEGIN NATS USER JWT" in Path(path).read_bytes()


def picker(
    base_s: float, cap_s: float
) -> Callable[[list[Server], dict[str, Any]], tuple[Server, float]]:
    """Picks any server, after a jittered wait in seconds: a restarted broker isn't stormed."""

    def pick(servers: list[Server], _info: dict[str, Any]) -> tuple[Server, float]:
        server = random.choice(servers)  # noqa: S311
        return server, full_jitter_s(server.reconnects, base_s=base_s, cap_s=cap_s)

    return pick
