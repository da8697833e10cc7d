"""Why a key or a tenant can't be read or changed."""

from droveway.runtime.errors import DrovewayError


class AccessRefused(DrovewayError):
    """What was asked for can't be done; it is the asker's to correct."""

    code = 78
    """Of a command that ends with it, as for other mistakes of its user."""


class EntryInvalid(AccessRefused):
    """An entry that can't be: the message names the field and what would be right."""


class EntryMissing(AccessRefused):
    """There is no entry of that id in the bucket."""


class EntryExists(AccessRefused):
    """There is one already."""


class TenantInUse(AccessRefused):
    """Keys name the tenant, which is to be deleted."""


class RevisionChanged(AccessRefused):
    """Somebody else has changed the entry since it was read."""


class StoreUnavailable(DrovewayError):
    """The bucket doesn't answer; whether a change was made is told in the message."""
