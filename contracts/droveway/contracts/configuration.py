"""The configuration that operators apply while the system runs: an entry in the bucket `config`.

Where there is an entry it holds for all services, instead of the file that each was started with.
Its revisions are the history: the broker keeps the newest 64. Secrets stay references in it.
"""

import hashlib
from typing import Annotated

import msgspec

from droveway.contracts.config import Config
from droveway.contracts.envelope import Text

ENTRY = "current"
"""The one name in the bucket."""
MAX_APPLIED_BYTES = 768 * 1024
"""Of the entry as stored: it travels in one message."""

ConfigVersion = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{12})?$(?!\n)")]
"""12 hexadecimal digits, or none where it isn't known."""


class AppliedConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One revision, in JSON."""

    config: Config
    version: ConfigVersion
    """`version_of` the configuration."""
    at: str
    """RFC 3339, UTC."""
    by: Text
    reason: Text = ""
    of: int = 0
    """The revision that it brings back; 0: none."""


encode_applied = msgspec.json.Encoder().encode
applied_decoder = msgspec.json.Decoder(AppliedConfig)


def version_of(config: Config) -> ConfigVersion:
    """The same in every process that has the same configuration, however its file is written."""
    return hashlib.sha256(msgspec.json.encode(config, order="sorted")).hexdigest()[:12]
