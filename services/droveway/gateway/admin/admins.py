"""Who may use the administration's HTTP API: admin keys of the operator's file, by role."""

import hashlib
import hmac
import time

from droveway.contracts.access import Admin, Role
from droveway.contracts.config import Config
from droveway.gateway.auth import RawHeaders, Throttle, client_key
from droveway.gateway.refusal import refuse
from droveway.gateway.trusted_proxies import TrustedProxies
from droveway.runtime.api_key import KeyFormatError, parse_key

MIN_SECRET_BYTES = 20
"""A shorter string opens nothing, whatever the file says: it could be guessed, and the hash of the
empty one comes of a variable that wasn't set."""
_RANKS: dict[Role, int] = {"viewer": 0, "operator": 1, "admin": 2}


class Admins:
    """The admins of the configuration in force."""

    def __init__(self, failed_logins_per_s: int, proxies: TrustedProxies) -> None:
        self._admins: tuple[tuple[bytes, Admin], ...] = ()
        self._proxies = proxies
        self._throttle = Throttle(failed_logins_per_s)

    def __bool__(self) -> bool:
        return bool(self._admins)

    def configure(self, config: Config) -> None:
        """Takes the admins of a new configuration; one that is gone is refused from now on."""
        self._admins = tuple((bytes.fromhex(one.sha256), one) for one in config.admins)

    def address(self, headers: RawHeaders, peer: str) -> str:
        """The client's address, as far as proxies are trusted."""
        return self._proxies.client(peer, headers)

    def authenticate(self, headers: RawHeaders, address: str) -> Admin:
        """The admin whose key a request carries.

        From an address that guesses only a key of our own form is looked at: that one can't be
        guessed, and who shares a proxy's address with a guesser can still revoke keys.

        Raises:
            Refusal: 401, 400 for two different keys, 429 for an address that guesses.
        """
        found = self.recognise(headers, address)
        if found is None:
            if self._throttle.exceeded(address, time.monotonic()):
                raise refuse("too_many_failed_logins", retry_after_ms=1_000)
            self.failed(address)
            raise refuse("invalid_api_key")
        return found

    def recognise(self, headers: RawHeaders, address: str) -> Admin | None:
        """As `authenticate`, where the key may as well be a client's: None, and nothing counted.

        Raises:
            Refusal: 400 for two different keys.
        """
        secret = client_key(headers)
        guessing = self._throttle.exceeded(address, time.monotonic())
        if len(secret) < MIN_SECRET_BYTES or (guessing and not _is_ours(secret)):
            return None
        return self._find(secret)

    def failed(self, address: str) -> None:
        """One more key from there that is nobody's."""
        self._throttle.count(address, time.monotonic())

    def _find(self, secret: bytes) -> Admin | None:
        digest = hashlib.sha256(secret).digest()
        found = None
        for own, admin in self._admins:  # all of them: how long it takes tells nothing
            if hmac.compare_digest(own, digest):
                found = admin
        return found


def _is_ours(secret: bytes) -> bool:
    try:
        parse_key(secret.decode("latin-1"))
    except KeyFormatError:
        return False
    return True


def check_role(admin: Admin, needed: Role) -> None:
    """Refuses an admin below a role.

    Raises:
        Refusal: 403.
    """
    if _RANKS[admin.role] < _RANKS[needed]:
        text = f"This needs the role {needed}; the key {admin.id} has the role {admin.role}"
        raise refuse("insufficient_role", text)
