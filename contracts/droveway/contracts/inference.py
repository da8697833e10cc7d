"""(1) Door to router: one request, and what the router says until an attempt commits.

The door (gateway, later jobs) publishes `InferenceRequested` on `inference.<class>`; one router of
the queue group answers on its inbox with `Accepted` within 250 ms, then `Waiting` every 500 ms, or
with `Refused`. From commit on the caller's frames (`relay`) arrive on the same inbox.
"""

import hashlib
from typing import Annotated

import msgspec

from droveway.contracts.envelope import AttemptId, Bytes, Id, Millis, NoId, RelayId, Text, Tokens
from droveway.contracts.envelope import subject as _subject
from droveway.contracts.errors import Failure

INTERACTIVE = "interactive"
"""The class of a request whose client is waiting for the answer."""
CLASSES = (INTERACTIVE, "async", "batch")
"""The most urgent first: where requests wait for room, later ones go after all earlier ones."""
ACCEPT_WITHIN_MS = 250
"""A door that hears nothing for this long asks once more, with the same request id."""
WAITING_EVERY_MS = 500
"""A router that still works on a request says so this often."""


Ask = Annotated[int, msgspec.Meta(ge=1, le=100)]
"""Publications of one request, counted from 1."""


def inference_subject(priority: str, router: str = "") -> str:
    """`droveway.v1.inference.<class>`; routers listen as a queue group.

    With `router`: `droveway.v1.direct.<class>.<router>`, where that one alone listens.
    """
    return _subject("direct", priority, router) if router else _subject("inference", priority)


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a target must be able to do for this request."""

    tools: bool = False
    images: bool = False
    json_schema: bool = False
    prefill: bool = False
    """The last message is the assistant's, to be continued."""
    continues: bool = False
    """Of it just what is missing has to come: the client has the beginning."""
    audio: bool = False
    """As input or as output."""
    files: bool = False
    logprobs: bool = False
    choices: bool = False
    """More than one answer: `n`."""
    embeddings: bool = False
    """Vectors are asked for; no answer to a chat."""


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """The request body as the client sent it: inline, or to be pulled from the door."""

    size_bytes: Bytes
    inline: bytes = b""
    pull_from: str = ""
    """The door's instance when the body is too large for one message; empty when inline."""
    relay_id: bytes = b""
    """What to pull: 16 bytes; empty when inline."""


UserHash = Annotated[bytes, msgspec.Meta(max_length=16)]
"""16 bytes, or none."""
MAX_AVOIDED = 16
"""Targets that one request leaves out."""


def user_hash(tenant: str, *, user: str = "", key_id: str) -> bytes:
    """Stands for the user behind a key, as the client names them; else for the key itself."""
    who = f"{tenant}\0user\0{user}" if user else f"{tenant}\0key\0{key_id}"
    return hashlib.blake2b(who.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class InferenceRequested(
    msgspec.Struct, frozen=True, kw_only=True, tag="inference.requested.v1", tag_field="t"
):
    """A client wants one answer."""

    request_id: Id
    relay_id: RelayId
    door: Id
    """The instance that holds the client; its control subject takes credit, cancel and resend."""
    traceparent: str
    tenant: Id
    key_id: Id
    dialect: str
    """The dialect of the body and of the answer: `openai.chat`, `anthropic.messages`, ..."""
    api_version: Text = ""
    """The version of the API that the client's request is written for; empty: not said."""
    api_features: Text = ""
    """Features beyond that version, as the client names them (`anthropic-beta`)."""
    model: Text
    stream: bool
    include_usage: bool = False
    """Whether a streaming client asked for the usage event."""
    body: Body
    needs: Needs = Needs()
    input_estimate_tokens: Tokens = 0
    max_output_tokens: Tokens | None = None
    """Of all choices together; None: the client set no bound."""
    choices: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1
    """Answers that are asked for at once."""
    user: UserHash = b""
    """Who is behind the key, hashed: a canary's share of users is always the same users."""
    prefix: UserHash = b""
    """Stands for the beginning of the prompt, which a provider may have cached; empty: none."""
    region: Text = ""
    """Where the client says that it is (`x-droveway-region`); empty: not said."""
    max_queue_ms: Millis | None = None
    """How long it may wait for room in its client's own limits; None: not at all. If told it is
    also the most that it waits for room at a provider."""
    avoid: Annotated[tuple[Text, ...], msgspec.Meta(max_length=MAX_AVOIDED)] = ()
    """Targets (`provider/model`) that broke off this request's answer: others go on with it."""
    goes_on: bool = False
    """Its answer broke off: this is one more attempt at it, whoever was to blame."""
    attempts_left: int = 10
    """The most that its door allows; below it the policy of its route decides."""
    attempts_made: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 0
    """By those who had the request before; attempts are counted on from there."""
    remaining_ms: Millis
    first_token_ms: Millis
    """How long one attempt may take to its first token before the next target is tried."""
    idle_ms: Millis | None = None
    """How long it may be silent then; None: as its target's time-outs say."""
    ask: Ask = 1
    """Which publication of the request this is: its door asks again when no router answers."""
    instead_of: NoId = ""
    """A router that held the request and is dead or has lost it: its hold passes on. Else empty."""


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Where a client stands in one limit."""

    limit: int
    remaining: int
    reset_ms: Millis
    window_ms: Millis


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a client stands in its tightest limit of each kind; None where it has no such limit."""

    requests: Window | None = None
    tokens: Window | None = None
    """Input and output together."""
    input_tokens: Window | None = None
    output_tokens: Window | None = None


def standing_of(news: Standing) -> dict[str, Window | None]:
    """The windows of one message, to be handed on in another."""
    return {
        "requests": news.requests,
        "tokens": news.tokens,
        "input_tokens": news.input_tokens,
        "output_tokens": news.output_tokens,
    }


class Accepted(Standing, frozen=True, kw_only=True, tag="inference.accepted.v1", tag_field="t"):
    """This router owns the request until commit; cancel goes to its control subject."""

    request_id: Id
    router: Id


class Waiting(msgspec.Struct, frozen=True, kw_only=True, tag="inference.waiting.v1", tag_field="t"):
    """The router still works on it: attempt `attempt` runs, or it queues for a target."""

    request_id: Id
    router: Id
    attempt: int = 0


class Held(msgspec.Struct, frozen=True, kw_only=True, tag="inference.held.v1", tag_field="t"):
    """Another router holds the request, so this one doesn't run it: see `admission.Held`."""

    request_id: Id
    router: Id
    holder: Id
    ask: Ask
    """The publication by which the holder has it."""


class TriedTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt that failed before commit, as told to the client: no secret, no address."""

    attempt_id: AttemptId
    target: str
    """`provider/model`."""
    code: str
    status: int = 0
    """The upstream's HTTP status; 0 when there was none."""
    duration_ms: Millis = 0
    channel: NoId = ""
    """`canary` or `stable`, of a route that has a canary; else empty."""


class Refused(Standing, frozen=True, kw_only=True, tag="inference.refused.v1", tag_field="t"):
    """The router's last word: no attempt will commit."""

    request_id: Id
    router: Id
    failure: Failure
    tried: tuple[TriedTarget, ...] = ()
    spent: bool = False
    """Retries were made, or would have been but for their budget: the client's own would multiply
    them."""


request_decoder = msgspec.msgpack.Decoder(InferenceRequested)
