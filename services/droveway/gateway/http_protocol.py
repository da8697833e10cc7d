"""From a connection's bytes to the application: framing, the application's task, the next request.

Bytes are cut into messages by `http_head` and `http_body`, then handed to llhttp and uvicorn one
message at a time; bytes of a following request wait until the answer is complete.
"""

import asyncio
import contextvars
import functools
import logging
import traceback
import urllib.parse
from collections.abc import Iterator

import httptools

from droveway.contracts.envelope import new_request_id
from droveway.gateway.connections import Phase
from droveway.gateway.http_answer import Answer, AnswerTransport
from droveway.gateway.http_body import read_body
from droveway.gateway.http_connection import BoundedConnection, Edge
from droveway.gateway.http_head import head_end, read_head, read_target, without_upgrade
from droveway.gateway.http_limits import HttpRefusal, NotHttp, bad_request
from droveway.otel.logs import log_event

logger = logging.getLogger(__name__)

_DISAGREEMENT = "The end of the request is ambiguous; send it with one clear length."


class GatewayProtocol(BoundedConnection):
    """The messages' side of a connection: strict framing around uvicorn's ASGI cycle."""

    def __init__(self, edge: Edge) -> None:
        super().__init__(edge)
        self._searched_bytes = 0
        self._message_complete = False
        self._keep_alive = True
        self._context = contextvars.copy_context()
        self._answer_transport = AnswerTransport(
            self._write, self._finish, lambda: self.transport.is_closing()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Give everything back, and let go of what refers back to this connection."""
        super().connection_lost(exc)
        self._answer_transport.detach()
        self.cycle = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Take bytes as they come, in pieces of any size."""
        if self.phase is Phase.LINGERING:
            self._swallow(data)
            return
        self._incoming = self._incoming + data if self._incoming else data
        self._advance()

    def _advance(self) -> None:
        try:
            while self._incoming and self._step():
                continue
        except NotHttp:
            self._edge.connections.count_refusal("not_http")
            self._incoming = b""
            self.transport.close()
        except HttpRefusal as refusal:
            self._refuse(refusal)
        except httptools.HttpParserError:
            self._refuse(bad_request("The request is not well-formed HTTP/1.1."))

    def _step(self) -> bool:
        if self.phase is Phase.LINGERING or self.transport.is_closing():
            return False
        if self.phase is Phase.BODY:
            return self._take_body()
        if self.phase is not Phase.ANSWER:
            return self._take_head()
        if len(self._incoming) > self._limits.max_pipelined_bytes:
            self.flow.pause_reading()
        return False

    def _take_head(self) -> bool:
        while self._incoming.startswith(b"\r\n"):
            self._incoming = self._incoming[2:]
        end = 0
        if self._incoming not in (b"", b"\r"):
            end = head_end(self._incoming, self._searched_bytes, self._limits)
        if end:
            head, self._incoming = self._incoming[:end], self._incoming[end:]
            self._searched_bytes = 0
            self._begin(head)
            return True
        self._searched_bytes = len(self._incoming)
        if self._peer_finished:
            self.transport.close()
        elif self.phase is not Phase.HEAD:
            self._enter(Phase.HEAD)
        return False

    def _begin(self, head: bytes) -> None:
        self._path = ""
        request = read_head(head, self._limits)
        self._message_complete = False
        self._body = None
        self.parser.feed_data(without_upgrade(head))
        path, query = read_target(request, self.headers)
        self._path = path.decode("latin-1")
        self._body = read_body(request, self.headers, self._limits)
        if self._message_complete is (self._body is not None):
            raise bad_request(_DISAGREEMENT)
        self.scope["http_version"] = request.version
        self.scope["method"] = request.method.decode()
        self.scope["path"] = urllib.parse.unquote(path.decode())
        self.scope["raw_path"] = path
        self.scope["query_string"] = query
        self.scope["state"]["request_id"] = new_request_id()
        self._start_answer()
        self._enter(Phase.BODY if self._body else Phase.ANSWER)

    def _take_body(self) -> bool:
        assert self._body is not None
        taken = self._body.take(self._incoming)
        piece, self._incoming = self._incoming[:taken], self._incoming[taken:]
        self.parser.feed_data(piece)
        if self._body.complete is not self._message_complete:
            raise bad_request(_DISAGREEMENT)
        if self._body.complete:
            self.cycle.more_body = False
            self.cycle.message_event.set()
            self._enter(Phase.ANSWER)
        return True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header field; trailers are dropped, their request is already judged."""
        if self._body is None:
            name = name.lower()
            self.headers.append((name, value))
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True

    def on_headers_complete(self) -> None:
        """Note what the parser forgets as soon as the message is complete."""
        self._keep_alive = self.parser.should_keep_alive()

    def on_message_complete(self) -> None:
        """Note the end of the message as llhttp sees it."""
        self._message_complete = True

    def _start_answer(self) -> None:
        modern = self.scope["http_version"] == "1.1"
        self.cycle = cycle = Answer(
            scope=self.scope,
            transport=self._answer_transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=[(b"date", self._edge.date.value())],
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue and modern,
            keep_alive=self._keep_alive and modern and not self._draining,
            on_response=self._answered,
        )
        if self._body is None:
            cycle.more_body = False
            cycle.message_event.set()
        self._edge.connections.count_request()
        # A context of its own: this may run inside the task of the connection's last request.
        task = self.loop.create_task(cycle.run_asgi(self.app), context=self._context.copy())
        self.tasks.add(task)
        task.add_done_callback(functools.partial(self._application_ended, cycle))

    def _answered(self) -> None:
        if self.phase is Phase.LINGERING or self.transport.is_closing():
            return
        if self._peer_finished and not self._incoming:
            self.transport.close()
            return
        self.flow.resume_reading()
        self._enter(Phase.IDLE)
        self._advance()

    def _application_ended(self, cycle: Answer, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            # Without the exception's message: it may quote the request.
            log_event(
                logger,
                "http_application_failed",
                level=logging.ERROR,
                request_id=cycle.scope["state"]["request_id"],
                raised=list(_raised(failure)),
            )
        if cycle.response_complete or cycle.disconnected:
            return
        if cycle.response_started:
            self.cut()
        else:
            message = "The gateway failed while it served this request; try again."
            self._refuse(HttpRefusal(500, "internal_error", message))


def _raised(failure: BaseException) -> Iterator[str]:
    """Type and place of each exception in a failure, groups opened."""
    if isinstance(failure, BaseExceptionGroup):
        for inner in failure.exceptions:
            yield from _raised(inner)
        return
    frames = traceback.extract_tb(failure.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown"
    yield f"{type(failure).__qualname__} at {place}"
