"""What can become of a request over the bus, as exceptions.

ClientError
├── NotConnected   no broker, or it refuses the user; nothing was sent
├── NoGateway      no gateway was there; nothing was spent
├── Failed         the gateway answered with an error before anything was delivered
├── Interrupted    the answer was cut; what came, if anything, is a true prefix
└── StreamClosed   a stream was read after its block was left
"""

from collections.abc import Mapping

from droveway.contracts import client
from droveway.runtime.errors import DrovewayError


class ClientError(DrovewayError):
    """Base of what this package raises."""


class NotConnected(ClientError):
    """There is no connection to NATS, or it can't be made: nothing was sent."""


class NoGateway(ClientError):
    """No gateway was there to take it: nothing was spent, and trying again is safe."""


class StreamClosed(ClientError):
    """The block of the stream was left; an answer can only be read inside of it."""


class Failed(ClientError):
    """An error in place of an answer, as HTTP would have told it.

    Attributes:
        status: The HTTP status.
        code: See docs/errors.md; a provider's own code where it rejected the request.
        type: OpenAI's class of error.
        param: The field that is wrong, if it is one.
        message: For people.
        details: What each target did.
        should_retry: Whether the same request may succeed later.
        retry_after_ms: When, if that is known.
        headers: What HTTP would have answered.
    """

    def __init__(self, frame: client.Failed) -> None:
        super().__init__(f"{frame.status} {frame.error.code}: {frame.error.message}")
        self.status = frame.status
        self.code = frame.error.code or ""
        self.type = frame.error.type
        self.param = frame.error.param
        self.message = frame.error.message
        self.details = frame.error.details
        self.should_retry = frame.should_retry
        self.retry_after_ms = frame.retry_after_ms
        self.headers: Mapping[str, str] = frame.headers
        self.request_id = frame.headers.get("x-request-id", "")


class Interrupted(ClientError):
    """An answer that was cut, or never began though the request may have run.

    An `idempotency_key` makes trying again safe where it isn't known whether it ran.

    Attributes:
        code: `stream_interrupted`, `stream_stalled`, `deadline_exceeded`, or a provider's own.
        message: For people.
        text: What the first choice had said; at most `stream.MAX_TEXT_CHARACTERS`.
        usage: Tokens that were spent; None when the gateway couldn't tell any more.
        request_id: For `droveway trace`.
    """

    def __init__(
        self, code: str, message: str, *, text: str, usage: client.Usage | None, request_id: str
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.text = text
        self.usage = usage
        self.request_id = request_id
