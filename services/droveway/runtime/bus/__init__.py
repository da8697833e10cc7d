"""NATS as the services use it: publish, ask, answer, listen, and follow a bucket.

`client` tames nats-py and is the only module that knows it; `bus` is what services hold, opened by
`connecting`; `watchdog` leaves a connection that is deaf; `kv_watch` follows a bucket, `kv_newest`
one value of it.
"""

from droveway.runtime.bus.bus import Bus, OnPayload
from droveway.runtime.bus.connecting import connect
from droveway.runtime.bus.handles import Inbox, Subscription
from droveway.runtime.bus.jetstream import read_jetstream
from droveway.runtime.bus.kv_newest import KvNewest
from droveway.runtime.bus.kv_watch import KvStatistics, KvWatch, KvWatchSettings
from droveway.runtime.bus.receivers import OnDelivery, OnMessage, OnRaw
from droveway.runtime.bus.settings import BusSettings, BusStatistics
from droveway.runtime.bus.storing import store

__all__ = [
    "Bus",
    "BusSettings",
    "BusStatistics",
    "Inbox",
    "KvNewest",
    "KvStatistics",
    "KvWatch",
    "KvWatchSettings",
    "OnDelivery",
    "OnMessage",
    "OnPayload",
    "OnRaw",
    "Subscription",
    "connect",
    "read_jetstream",
    "store",
]
