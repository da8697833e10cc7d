"""News of a request: said once, and again when somebody asks; a broker that is away loses none."""

import logging

from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError

log = logging.getLogger(__name__)


def publish_news(bus: Bus, subject: str, news: bytes) -> None:
    """Sends it if there is a connection; whoever waits for it asks when it doesn't come."""
    try:
        bus.publish(subject, news)
    except BusError as error:
        log_event(log, "news_unsent", level=logging.WARNING, reason=str(error))
