"""Who is asking: the client's key, looked up by its SHA-256; guessing is slowed per address."""

import hashlib
import time
from collections import OrderedDict
from datetime import UTC, datetime
from typing import NamedTuple

from droveway.contracts.config import Config, Key
from droveway.gateway.refusal import refuse

MAX_KEY_BYTES = 512
_BURST_S = 5
MAX_ADDRESSES = 10_000
"""Addresses whose failures are counted; beyond it the oldest is forgotten."""
RawHeaders = list[tuple[bytes, bytes]]


class AuthStatistics(NamedTuple):
    """A snapshot for gauges."""

    accepted: int
    rejected: int
    throttled_addresses: int


class Authenticator:
    """The configuration's keys by hash."""

    def __init__(self, failed_logins_per_s: int) -> None:
        self._keys: dict[bytes, Key] = {}
        self._by_id: dict[str, Key] = {}
        self._throttle = Throttle(failed_logins_per_s)
        self._accepted = 0
        self._rejected = 0

    def configure(self, config: Config) -> None:
        """Takes the keys of a new configuration; a key that is gone is refused from now on."""
        self._keys = {bytes.fromhex(key.sha256): key for key in config.keys}
        self._by_id = {key.id: key for key in config.keys}

    def authenticate(self, headers: RawHeaders, address: str) -> Key:
        """The key that the request carries.

        An address that guesses is refused before anything is hashed, unless the key bears the id
        of a known one: many clients may share the address of one proxy.

        Raises:
            Refusal: 401 with its reason, 400 for two different keys, 429 for guessing.
        """
        secret = client_key(headers)
        now_s = time.monotonic()
        guessing = self._throttle.exceeded(address, now_s)
        key = None
        if secret and not (guessing and _public_id(secret) not in self._by_id):
            key = self._keys.get(hashlib.sha256(secret).digest())
        if key is None:
            self._rejected += 1
            if guessing:
                raise refuse("too_many_failed_logins", retry_after_ms=1_000)
            self._throttle.count(address, now_s)
            raise refuse("invalid_api_key")
        return self._in_force(key)

    def by_id(self, key_id: str) -> Key:
        """The key of that id, for clients whose identity the broker has proven.

        Raises:
            Refusal: 401 with its reason.
        """
        key = self._by_id.get(key_id)
        if key is None:
            self._rejected += 1
            raise refuse("invalid_api_key")
        return self._in_force(key)

    def _in_force(self, key: Key) -> Key:
        if key.state == "not_activated":
            raise refuse("key_not_activated")
        if key.state == "disabled":
            raise refuse("key_disabled")
        if key.expires and datetime.now(UTC) >= datetime.fromisoformat(key.expires):
            raise refuse("key_expired")
        self._accepted += 1
        return key

    def statistics(self) -> AuthStatistics:
        """A snapshot for gauges."""
        return AuthStatistics(
            accepted=self._accepted,
            rejected=self._rejected,
            throttled_addresses=self._throttle.addresses,
        )


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
    """Counts failures per address: a leaking bucket of a few seconds' worth, bounded in number.

    When there are too many addresses the one whose last failure is oldest is forgotten.
    """

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    @property
    def addresses(self) -> int:
        """Addresses with recent failures."""
        return len(self._buckets)

    def exceeded(self, address: str, now_s: float) -> bool:
        """Whether the address has failed too often just now."""
        return self._level(address, now_s) > self._per_s * _BURST_S - 1

    def count(self, address: str, now_s: float) -> None:
        """One more failure, at `now_s` of a clock that never steps back."""
        level = self._level(address, now_s)
        self._buckets[address] = (level + 1, now_s)
        self._buckets.move_to_end(address)
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)

    def _level(self, address: str, now_s: float) -> float:
        level, at_s = self._buckets.get(address, (0.0, now_s))
        return max(0.0, level - (now_s - at_s) * self._per_s)


def may_use(key: Key, model: str) -> bool:
    """Whether the key's `models` allow this one."""
    return any(
        model == allowed or (allowed.endswith("*") and model.startswith(allowed[:-1]))
        for allowed in key.models
    )
