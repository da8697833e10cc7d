"""Who is asking: the client's key, looked up by its SHA-256; guessing is slowed per address."""

import hashlib
import hmac
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from droveway.contracts.access import Key, Tenant
from droveway.contracts.config import Config
from droveway.gateway.leaking_buckets import LeakingBuckets
from droveway.gateway.refusal import refuse
from droveway.gateway.trusted_proxies import TrustedProxies
from droveway.runtime.access_checks import zoned_time
from droveway.runtime.addresses import Networks, site_of

MAX_KEY_BYTES = 512
RawHeaders = list[tuple[bytes, bytes]]
MAX_ADDRESSES = 10_000
"""Addresses whose failures are counted; beyond it the oldest is forgotten."""
_NOBODYS = bytes(32)
"""Compared with where no key is known, so that this takes as long."""


class KeyForm(NamedTuple):
    """What a string must look like to be looked up at all."""

    min_length: int = 1
    prefixes: tuple[bytes, ...] = ()
    """Empty: any."""

    def fits(self, secret: bytes) -> bool:
        """Whether it may be a key."""
        return len(secret) >= self.min_length and (
            not self.prefixes or secret.startswith(self.prefixes)
        )


_ANY_FORM = KeyForm()


class AuthStatistics(NamedTuple):
    """A snapshot for gauges."""

    accepted: int
    rejected: int
    throttled_addresses: int


class _Secret(NamedTuple):
    """One secret of a key: its present one, or the one before until that time."""

    digest: bytes
    key_id: str
    until: datetime | None = None


class _Known(NamedTuple):
    key: Key
    secrets: tuple[_Secret, ...]
    expires: datetime | None
    addresses: Networks


class Authenticator:
    """Keys in force, by hash and by id; each change of one costs what one costs."""

    def __init__(
        self,
        failed_logins_per_s: int,
        form: KeyForm = _ANY_FORM,
        proxies: TrustedProxies | None = None,
    ) -> None:
        self._form = form
        self._proxies = proxies or TrustedProxies()
        self._secrets: dict[bytes, _Secret] = {}
        self._by_id: dict[str, _Known] = {}
        self._closed_tenants: set[str] = set()
        self._throttle = Throttle(failed_logins_per_s)
        self._accepted = 0
        self._rejected = 0
        self.complete: Callable[[], bool] = lambda: True
        """Whether all keys are known; while not, an unknown one is asked to come again."""

    def configure(self, config: Config) -> None:
        """Takes all keys and tenants of a configuration, and forgets all others."""
        for key_id in [*self._by_id]:
            self.take_key(key_id, None)
        self._closed_tenants.clear()
        for key in config.keys:
            self.take_key(key.id, key)
        for tenant in config.tenants:
            self.take_tenant(tenant.id, tenant)

    def take_key(self, key_id: str, key: Key | None) -> None:
        """A key as it is from now on; None: it is gone, and refused."""
        before = self._by_id.pop(key_id, None)
        for secret in before.secrets if before is not None else ():
            if self._secrets.get(secret.digest) == secret:
                del self._secrets[secret.digest]
        if key is None:
            return
        known = self._by_id[key_id] = _known(key)
        for secret in known.secrets:
            other = self._secrets.get(secret.digest)
            if other is None or (secret.until is None and other.until is not None):
                self._secrets[secret.digest] = secret

    def take_tenant(self, tenant_id: str, tenant: Tenant | None) -> None:
        """A tenant as it is from now on; None: it is gone, and nothing is against its keys."""
        if tenant is not None and tenant.state == "disabled":
            self._closed_tenants.add(tenant_id)
        else:
            self._closed_tenants.discard(tenant_id)

    def authenticate(self, headers: RawHeaders, peer: str) -> Key:
        """The key that a request from the address `peer` carries.

        An address that guesses is refused before anything is hashed, unless the key bears the id
        of a known one: many clients may share the address of one proxy.

        Raises:
            Refusal: 401 with its reason, 403 for a wrong address, 400 for two different keys, 429
                for guessing, 503 while not all keys are known.
        """
        secret = client_key(headers)
        address = self._proxies.client(peer, headers)
        now_s = time.monotonic()
        guessing = self._throttle.exceeded(address, now_s)
        found = None
        if self._form.fits(secret) and not (guessing and _public_id(secret) not in self._by_id):
            found = self._find(secret)
        if found is None:
            self._rejected += 1
            if guessing:
                raise refuse("too_many_failed_logins", retry_after_ms=1_000)
            if not self.complete():
                raise refuse("service_unavailable", "Keys are just being read", retry_after_ms=500)
            self._throttle.count(address, now_s)
            raise refuse("invalid_api_key")
        return self._in_force(found, address)

    def by_id(self, key_id: str) -> Key:
        """The key of that id, for clients whose identity the broker has proven.

        The broker tells no address, so a key that is bound to addresses is refused there.

        Raises:
            Refusal: 401 with its reason, 403 for a key with addresses, 503 while not all keys are
                known.
        """
        known = self._by_id.get(key_id)
        if known is None:
            self._rejected += 1
            if not self.complete():
                raise refuse("service_unavailable", "Keys are just being read", retry_after_ms=500)
            raise refuse("invalid_api_key")
        return self._in_force(known, "")

    def _find(self, secret: bytes) -> _Known | None:
        digest = hashlib.sha256(secret).digest()
        found = self._secrets.get(digest)
        equal = hmac.compare_digest(_NOBODYS if found is None else found.digest, digest)
        if found is None or not equal:
            return None
        if found.until is not None and datetime.now(UTC) >= found.until:
            return None
        return self._by_id[found.key_id]

    def _in_force(self, known: _Known, address: str) -> Key:
        key = known.key
        if key.state == "not_activated":
            raise refuse("key_not_activated")
        if key.state == "disabled":
            raise refuse("key_disabled")
        if known.expires is not None and datetime.now(UTC) >= known.expires:
            raise refuse("key_expired")
        if key.tenant in self._closed_tenants:
            raise refuse("tenant_disabled")
        if known.addresses and address not in known.addresses:
            where = f"the address {address}" if address else "NATS, which tells no address"
            raise refuse("address_not_allowed", f"This API key may not be used from {where}")
        self._accepted += 1
        return key

    def statistics(self) -> AuthStatistics:
        """A snapshot for gauges."""
        return AuthStatistics(
            accepted=self._accepted,
            rejected=self._rejected,
            throttled_addresses=self._throttle.addresses,
        )


def _known(key: Key) -> _Known:
    secrets = [_Secret(bytes.fromhex(key.sha256), key.id)]
    if key.previous_sha256:
        until = zoned_time(key.previous_until)
        secrets.append(_Secret(bytes.fromhex(key.previous_sha256), key.id, until))
    expires = zoned_time(key.expires) if key.expires else None
    return _Known(key, tuple(secrets), expires, _networks(key.addresses))


_NO_NETWORKS = Networks()


def _networks(texts: tuple[str, ...]) -> Networks:
    """Most keys have none, and share it."""
    return Networks(texts) if texts else _NO_NETWORKS


def client_key(headers: RawHeaders) -> bytes:
    """The one key of a request, blanks trimmed; empty when there is none that could be valid.

    Raises:
        Refusal: `Authorization` and `x-api-key` carry different keys.
    """
    bearers = [value for name, value in headers if name == b"authorization"]
    plain = [value.strip() for name, value in headers if name == b"x-api-key"]
    if len(bearers) > 1 or len(plain) > 1:
        return b""
    key = plain[0] if plain else b""
    if bearers:
        scheme, _, token = bearers[0].strip().partition(b" ")
        token = token.strip() if scheme.lower() == b"bearer" else b""
        if key and token and token != key:
            raise refuse("conflicting_credentials")
        key = token or key if scheme.lower() == b"bearer" else b""
    return key if len(key) <= MAX_KEY_BYTES else b""


def _public_id(secret: bytes) -> str:
    """The id that a key of ours bears in clear: `dw_<environment>_<id>_…`; else empty."""
    parts = secret.split(b"_", 3)
    return parts[2].decode("latin-1") if len(parts) == 4 else ""


class Throttle:
    """Counts failures per address.

    An IPv6 host has 64 bits of addresses to itself, so these count as one.
    """

    def __init__(self, per_s: int) -> None:
        self._buckets = LeakingBuckets(per_s, MAX_ADDRESSES)

    @property
    def addresses(self) -> int:
        """Addresses with recent failures."""
        return len(self._buckets)

    def exceeded(self, address: str, now_s: float) -> bool:
        """Whether the address has failed too often just now."""
        return bool(self._buckets) and self._buckets.excess(site_of(address), now_s) > 0

    def count(self, address: str, now_s: float) -> None:
        """One more failure, at `now_s` of a clock that never steps back."""
        self._buckets.count(site_of(address), now_s)


def may_use(key: Key, model: str) -> bool:
    """Whether the key's `models` allow this one."""
    return any(
        model == allowed or (allowed.endswith("*") and model.startswith(allowed[:-1]))
        for allowed in key.models
    )
