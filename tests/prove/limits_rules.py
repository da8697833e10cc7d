"""Whose limits the claims strain: many keys, every kind of limit, short windows.

The rules are read from the configuration alone: nothing here is the limiter's.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec

from droveway.contracts.access import Key, Limit, Tenant
from droveway.contracts.config import Config, Credential, Provider
from tests.prove.limits_plan import FREE, Customer

COMMON, SCARCE = "common", "scarce"
"""Models: of the second there is little for everybody."""
PLACES = (("p", "main"), ("p", "spare"))
KINDS = ("requests", "tokens", "input_tokens", "output_tokens", "concurrency")
PLENTY = 10**9
_ALONE = "alone"
"""The tenant of keys that only have limits of their own."""

Some = Callable[[int, int], int]


class Rule(NamedTuple):
    """One limit that a request meets."""

    counter: str
    """As the limiter's log names it (contracts/limits.py)."""
    kind: str
    limit: int
    window_ms: int
    burst: int

    def amount(self, input_tokens: int, output_tokens: int) -> int:
        """What a request with so many tokens takes of it."""
        by_kind = {"input_tokens": input_tokens, "output_tokens": output_tokens}
        by_kind["tokens"] = input_tokens + output_tokens
        return by_kind.get(self.kind, 1)


class Rules:
    """Which limits each request of a configuration meets."""

    def __init__(self, config: Config) -> None:
        self._keys = {key.id: key for key in config.keys}
        self._tenants = {tenant.id: tenant for tenant in config.tenants}
        self._limits = config.limits
        self._credentials = {
            f"{provider.id}/{credential.id}": credential.limits
            for provider in config.providers
            for credential in provider.credentials
        }
        self._known: dict[tuple[str, str, str], tuple[Rule, ...]] = {}

    def of(self, customer: Customer, model: str, place: int) -> tuple[Rule, ...]:
        """All that a request for `model` meets, at the place of that index; -1: at none."""
        target = "/".join(PLACES[place]) if place >= 0 else ""
        named = (customer.key_id, model, target)
        found = self._known.get(named)
        if found is None:
            found = self._known[named] = tuple(self._found(customer, model, target))
        return found

    def limits(self) -> dict[str, int]:
        """Of every counter."""
        found: dict[str, int] = {}
        for key in self._keys.values():
            customer = Customer(key.id, key.tenant)
            for target in ("", *self._credentials):
                for model in (COMMON, SCARCE):
                    rules = self._found(customer, model, target)
                    found |= {rule.counter: rule.limit for rule in rules}
        return found

    def _found(self, customer: Customer, model: str, target: str) -> Iterator[Rule]:
        key, tenant = self._keys[customer.key_id], self._tenants.get(customer.tenant)
        yield from _rules(f"k:{key.id}", key.limits, model)
        yield from _rules(f"t:{customer.tenant}", tenant.limits if tenant else (), model)
        yield from _rules("m", self._limits, model)
        if target:
            yield from _rules(f"c:{target}", self._credentials[target], model)


def _rules(scope: str, limits: Iterable[Limit], model: str) -> Iterator[Rule]:
    for limit in limits:
        if limit.model != "*" and not model.startswith(limit.model.removesuffix("*")):
            continue
        suffix = "" if limit.model == "*" else f"|{limit.model}"
        for kind in KINDS:
            if (number := getattr(limit, kind)) is not None:
                window_ms = 0 if kind == "concurrency" else round(limit.window_s * 1000)
                burst = 0 if kind == "concurrency" else min(limit.burst or 0, number)
                rate = f":{burst}/{number}" if burst else ""
                name = f"{scope}|{kind}|{window_ms}{rate}{suffix}"
                yield Rule(name, kind, number, window_ms, burst)


def configured(base: Config, rng: random.Random, scale: float = 1.0) -> Config:
    """`base` with more keys; `scale` says how much larger their limits are."""

    def some(low: int, high: int) -> int:
        return max(1, round(rng.randint(low, high) * scale))

    keys = [Key(id=FREE, sha256=_digest(0), limits=(Limit(requests=PLENTY),))]
    for number, (limits, tenant) in enumerate(_keys(rng, some), 1):
        key_id = f"key-{number}"
        keys.append(Key(id=key_id, sha256=_digest(number), tenant=tenant, limits=limits))
    credentials = (
        Credential(id="main", limits=(Limit(requests=some(200, 300), window_s=1),)),
        Credential(id="spare", limits=(Limit(requests=some(100, 150), window_s=1, burst=20),)),
    )
    provider = Provider(id="p", base_url="http://127.0.0.1:9/v1", credentials=credentials)
    return msgspec.structs.replace(
        base,
        providers=(*base.providers, provider),
        keys=(*base.keys, *keys),
        tenants=(*base.tenants, *_tenants(some)),
        limits=(Limit(requests=some(250, 350), window_s=1, model=f"{SCARCE}*"),),
    )


def customers(config: Config) -> tuple[Customer, ...]:
    """The keys that `configured` made, each fourth one with places, the free one first."""
    made = [key for key in config.keys if key.id == FREE or key.id.startswith("key-")]
    return tuple(Customer(key.id, key.tenant, index % 4 == 3) for index, key in enumerate(made))


def _keys(rng: random.Random, some: Some) -> Iterator[tuple[tuple[Limit, ...], str]]:
    """Limits and tenant of each key."""
    for number in range(40):
        window_s = rng.choice((0.5, 1.0, 2.0))
        yield (Limit(requests=some(5, 50), window_s=window_s),), f"team-{number % 8}"
    for _ in range(10):
        short = Limit(requests=some(5, 10), window_s=0.5)
        yield (short, Limit(requests=some(15, 30), window_s=2.0)), _ALONE
        yield (Limit(requests=some(20, 60), window_s=1.0, burst=some(3, 8)),), _ALONE
        yield (Limit(tokens=some(2_000, 5_000), window_s=1.0),), _ALONE
        both = Limit(input_tokens=some(2_000, 3_000), output_tokens=some(800, 1_500), window_s=2.0)
        yield (both,), _ALONE
        yield (Limit(concurrency=some(2, 4)), Limit(requests=some(40, 60), window_s=1)), _ALONE
        by_model = Limit(requests=some(5, 10), window_s=1.0, model=SCARCE)
        yield (by_model, Limit(requests=some(40, 60), window_s=2.0)), _ALONE


def _tenants(some: Some) -> tuple[Tenant, ...]:
    limits: tuple[tuple[Limit, ...], ...] = (
        (Limit(requests=some(150, 250), window_s=1),),
        (Limit(tokens=some(6_000, 9_000), window_s=2),),
        (Limit(concurrency=some(5, 7)), Limit(requests=some(80, 120), window_s=0.5)),
        (Limit(requests=some(60, 90), window_s=1, burst=some(8, 12)),),
        *[()] * 4,
    )
    teams = (Tenant(id=f"team-{number}", limits=one) for number, one in enumerate(limits))
    return (*teams, Tenant(id=_ALONE))


def _digest(number: int) -> str:
    return f"{number:064x}"
