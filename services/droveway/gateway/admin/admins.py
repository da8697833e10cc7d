"""Who may use the administration's HTTP API: admin keys of the operator's file, by role."""

import hashlib
import hmac
import time

from droveway.contracts.access import Admin, Role
from droveway.contracts.config import Config
from droveway.gateway.auth import RawHeaders, Throttle, client_key
from droveway.gateway.refusal import refuse
from droveway.gateway.trusted_proxies import TrustedProxies

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

        Raises:
            Refusal: 401, 400 for two different keys, 429 for an address that guesses.
        """
        now_s = time.monotonic()
        if self._throttle.exceeded(address, now_s):
            raise refuse("too_many_failed_logins", retry_after_ms=1_000)
        digest = hashlib.sha256(client_key(headers)).digest()
        found = None
        for own, admin in self._admins:  # all of them: how long it takes tells nothing
            if hmac.compare_digest(own, digest):
                found = admin
        if found is None:
            self._throttle.count(address, now_s)
            raise refuse("invalid_api_key")
        return found


def check_role(admin: Admin, needed: Role) -> None:
    """Refuses an admin below a role.

    Raises:
        Refusal: 403.
    """
    if _RANKS[admin.role] < _RANKS[needed]:
        text = f"This needs the role {needed}; the key {admin.id} has the role {admin.role}"
        raise refuse("insufficient_role", text)
