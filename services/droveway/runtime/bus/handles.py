"""What a service holds of the bus while it listens."""

from collections.abc import Callable

from droveway.runtime.bus.client import DirectClient
from droveway.runtime.meter import Meter


class Inbox:
    """One reply subject of this process, until closed."""

    __slots__ = ("_close", "subject")

    def __init__(self, subject: str, close: Callable[[], None]) -> None:
        self.subject = subject
        self._close = close

    def close(self) -> None:
        """Stops listening; late messages are dropped."""
        self._close()


class Subscription:
    """One subject that this process listens on, until closed."""

    __slots__ = ("_client", "_sid", "meter", "open", "queue", "subject")

    def __init__(
        self, client: DirectClient, sid: int, subject: str, queue: str, meter: Meter
    ) -> None:
        self._client = client
        self._sid = sid
        self.subject = subject
        self.queue = queue
        self.meter = meter
        self.open = True

    def close(self) -> None:
        """Leaves the subject (and its queue group); what is on its way is still handled."""
        self.open = False
        self._client.unsubscribe_direct(self._sid)
