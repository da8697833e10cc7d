"""What the limiter reads of USAGE: money and tokens of attempts, and of nothing else."""

import msgspec

from droveway.contracts.envelope import AttemptId, Id, NanoUsd, NoId, Text
from droveway.contracts.relay import Usage
from droveway.contracts.usage import AttemptRecorded, RequestRecorded, RowReader


class AttemptUsed(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag=AttemptRecorded.__struct_config__.tag,
    tag_field=AttemptRecorded.__struct_config__.tag_field,
):
    """An attempt's row without what isn't counted here; the rest is passed over unread.

    What goes on into the log is checked as the row's own contract does it.
    """

    attempt_id: AttemptId
    request_id: Id
    tenant: Id
    key_id: Id
    provider: Id
    credential: NoId
    model: Text
    committed: bool = False
    usage: Usage = Usage()
    cost_nano_usd: NanoUsd | None = None


class _OfRequest(
    msgspec.Struct,
    tag=RequestRecorded.__struct_config__.tag,
    tag_field=RequestRecorded.__struct_config__.tag_field,
):
    """A request's row: it isn't about money, so nothing of it is read."""


rows_of = RowReader(msgspec.msgpack.Decoder(AttemptUsed | _OfRequest)).rows_of
