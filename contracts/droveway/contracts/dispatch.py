"""(3) Router to caller: one upstream attempt, and how it stands until commit.

`CallRouted` goes to `dispatch.<pool>`; one caller of the queue group answers the router's inbox
with `Started` or `Busy`, then with `AttemptFailed` or `Committed`. Commit is the first
content-bearing event, or the complete, checked answer of a request that isn't streamed. Before it
the router may try elsewhere; after it the router is out of the path.
"""

import msgspec

from droveway.contracts.configuration import ConfigVersion
from droveway.contracts.envelope import AttemptId, Id, Millis, NoId, RelayId, Text, UnixNs
from droveway.contracts.envelope import subject as _subject
from droveway.contracts.errors import Failure
from droveway.contracts.inference import Body


def dispatch_subject(pool: str) -> str:
    """`droveway.v1.dispatch.<pool>`; callers of the pool listen as a queue group."""
    return _subject("dispatch", pool)


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where one attempt goes: names only, the caller holds address and secret."""

    provider: Id
    credential: Id
    model: Text
    """The name that the provider knows the model by."""


class CallRouted(msgspec.Struct, frozen=True, kw_only=True, tag="call.routed.v1", tag_field="t"):
    """Make this attempt and relay its answer to `answer_to`."""

    attempt_id: AttemptId
    attempt: int
    """1 for the first attempt of a request."""
    request_id: Id
    relay_id: RelayId
    router: Id
    door: Id
    answer_to: str
    """The door's inbox; only an inbox of a door is ever answered."""
    traceparent: str
    """The router's span: parent of the attempt's."""
    tenant: Id
    key_id: Id
    dialect: str
    api_version: Text = ""
    api_features: Text = ""
    model: Text
    """The name that the client asked for."""
    target: Target
    config: ConfigVersion = ""
    """By which configuration the request is routed."""
    channel: NoId = ""
    """`canary` or `stable`, of a route that has a canary; else empty."""
    stream: bool
    include_usage: bool = False
    body: Body
    gathered: bool = False
    """Its client wants it whole, and its provider is asked for a stream."""
    continuable: bool = False
    """Should its stream break off, its route lets another target go on."""
    continues: bool = False
    """As in `Needs`: the body's last message is the beginning of the answer."""
    remaining_ms: Millis
    first_token_ms: Millis
    connect_ms: Millis | None = None
    """None: as its provider's time-outs say."""
    write_ms: Millis | None = None
    idle_ms: Millis | None = None
    lease_ms: Millis = 0
    """As in `Admitted`: the caller renews and settles what is reserved. 0: nothing is."""
    received_ns: UnixNs = 0
    admitted_ns: UnixNs = 0
    routed_ns: UnixNs = 0


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="attempt.started.v1", tag_field="t"):
    """This caller runs the attempt; cancel goes to its control subject."""

    attempt_id: AttemptId
    caller: Id


class Busy(msgspec.Struct, frozen=True, kw_only=True, tag="attempt.busy.v1", tag_field="t"):
    """The caller's bound for the provider is reached: nothing was sent, ask elsewhere."""

    attempt_id: AttemptId
    caller: Id
    in_flight: int


class AttemptFailed(
    msgspec.Struct, frozen=True, kw_only=True, tag="attempt.failed.v1", tag_field="t"
):
    """Nothing was relayed; `failure.elsewhere` says whether another target may help."""

    attempt_id: AttemptId
    caller: Id
    failure: Failure
    status: int = 0
    """The upstream's HTTP status; 0 when there was none."""
    request_sent: bool = False
    """Whether the provider may have begun to work (and to bill)."""


class Committed(
    msgspec.Struct, frozen=True, kw_only=True, tag="attempt.committed.v1", tag_field="t"
):
    """The answer is on its way to the door: the router's part is done."""

    attempt_id: AttemptId
    caller: Id


class Running(msgspec.Struct, frozen=True, kw_only=True, tag="attempt.running.v1", tag_field="t"):
    """To a door: who is at work on its request, when the router has no part in it any more.

    Said by the caller of an attempt whose router is gone before commit: its end, if it fails, is
    then told to the door as well, by `AttemptFailed`. Said by a router that is asked about a
    request which that caller has committed.
    """

    attempt_id: AttemptId
    attempt: int
    caller: Id
    committed: bool = False


AttemptNews = Started | Busy | AttemptFailed | Committed

call_decoder = msgspec.msgpack.Decoder(CallRouted)
news_decoder = msgspec.msgpack.Decoder(AttemptNews)
