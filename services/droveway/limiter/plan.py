"""From the configuration: which counters and budgets a request meets. Cached, since few differ."""

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from droveway.contracts.access import Budget, Key, Limit, Period, Tenant
from droveway.contracts.admission import Place
from droveway.contracts.config import Config
from droveway.contracts.limits import Charge
from droveway.contracts.patterns import covers
from droveway.contracts.prices import ModelPrice, ProviderPrices
from droveway.limiter.counters import (
    CONCURRENCY,
    EVERYBODY,
    KINDS,
    REQUESTS,
    Counter,
    counter_name,
    key_scope,
    parse,
    place_scope,
    tenant_scope,
)
from droveway.runtime.known_prices import KnownPrices

MAX_PLANS = 10_000
"""Of each sort; when there are more all are made anew."""
_NANO = 10**9
_K = TypeVar("_K")
_P = TypeVar("_P")


class Rule:
    """One limit that a request meets."""

    __slots__ = (
        "counter", "kind", "limit", "model", "name", "one", "room", "scope", "unit_ns", "window_ms",
    )  # fmt: skip

    def __init__(self, name: str, limit: int, scope: str, model: str) -> None:
        self.name = name
        self.counter: Counter = parse(name)
        self.kind = self.counter.kind
        self.limit = limit
        self.scope = scope
        """`key`, `tenant`, `model` or `credential`."""
        self.model = model
        self.unit_ns = self.counter.unit_ns
        self.window_ms = self.counter.window_ms
        self.room = self.counter.burst or limit
        """The most at once."""
        self.one = Charge(name, 1)


class BudgetRule(NamedTuple):
    """One budget that a request meets."""

    account: str
    scope: str
    period: Period
    limit_nano: int
    soft_nano: tuple[int, ...]


class Rules(NamedTuple):
    """Limits by what they count."""

    requests: tuple[Rule, ...]
    tokens: tuple[Rule, ...]
    concurrency: tuple[Rule, ...]


class ClientPlan(NamedTuple):
    """What counts for a key's requests for one model, wherever they go."""

    rules: Rules
    by_kind: tuple[tuple[Rule, ...], ...]
    """Of requests and tokens: for the client to see."""
    budgets: tuple[BudgetRule, ...]
    accounts: tuple[str, ...]
    """Those that have a budget."""
    reserves: bool


class PlacePlan(NamedTuple):
    """What counts for attempts at one place, and what they cost."""

    rules: Rules
    target: str
    price: ModelPrice | None
    """None: the price book has nothing of its provider yet."""
    reserves: bool

    @property
    def limited(self) -> bool:
        """Each attempt at it counts somewhere."""
        return self.reserves or bool(self.rules.requests)


class Plans:
    """The plans of one configuration."""

    def __init__(self) -> None:
        self._default_limits: tuple[Limit, ...] = ()
        self._keys: dict[str, Key] = {}
        self._tenants: dict[str, Tenant] = {}
        self._limits: tuple[Limit, ...] = ()
        self._credentials: dict[tuple[str, str], tuple[Limit, ...]] = {}
        self._prices = KnownPrices()
        self._clients: dict[tuple[str, str], ClientPlan] = {}
        """Of those whose limits are for any model."""
        self._by_model: dict[tuple[str, str, str], ClientPlan] = {}
        self._places: dict[tuple[str, str, str], PlacePlan] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def configure(self, config: Config) -> None:
        """Takes a new configuration; what was counted stands under the same names."""
        self._keys = {key.id: key for key in config.keys}
        self._tenants = {tenant.id: tenant for tenant in config.tenants}
        self._prices.configure(config)
        self._limits = config.limits
        self._default_limits = config.default_limits
        self._credentials = {
            (provider.id, credential.id): credential.limits
            for provider in config.providers
            for credential in provider.credentials
        }
        self._clients.clear()
        self._by_model.clear()
        self._places.clear()

    def price(self, provider: str, prices: ProviderPrices | None) -> None:
        """Takes a provider's prices; None: there are none any more."""
        self._prices.take(provider, prices)
        self._places.clear()

    @property
    def priced(self) -> bool:
        """Whether the price book has come."""
        return bool(self._prices)

    def price_of(self, provider: str, model: str) -> ModelPrice | None:
        """What a model costs at a provider; None: its prices haven't come."""
        return self._prices.find(provider, model)

    def client(self, key_id: str, tenant: str, model: str) -> ClientPlan | None:
        """What counts for one key and model; None: the key isn't known."""
        plan = self._clients.get((key_id, tenant))
        if plan is None:
            plan = self._by_model.get((key_id, tenant, model))
        if plan is None and key_id in self._keys:
            plan = self._client(key_id, tenant, model)
            if all(rule.model == "*" for rule in self._client_rules(key_id, tenant, None)):
                _keep(self._clients, (key_id, tenant), plan)
            else:
                _keep(self._by_model, (key_id, tenant, model), plan)
        return plan

    def place(self, place: Place) -> PlacePlan:
        """What counts at one place."""
        named = (place.provider, place.credential, place.model)
        plan = self._places.get(named)
        if plan is None:
            plan = self._place(place)
            _keep(self._places, named, plan)
        return plan

    def budgets(self, key_id: str, tenant: str) -> tuple[BudgetRule, ...]:
        """Those of a key and of its tenant."""
        found: list[BudgetRule] = []
        if (key := self._keys.get(key_id)) is not None:
            found += _budget_rules(key_scope(key_id), "key", key.budgets)
        if (owner := self._tenants.get(tenant)) is not None:
            found += _budget_rules(tenant_scope(tenant), "tenant", owner.budgets)
        return tuple(found)

    def everything(self, key_id: str, tenant: str) -> tuple[Rule, ...]:
        """All limits of a key, its tenant and everybody, whatever the model."""
        return _merged(self._client_rules(key_id, tenant, None))

    def _client(self, key_id: str, tenant: str, model: str) -> ClientPlan:
        merged = _merged(self._client_rules(key_id, tenant, model))
        rules = _split(merged)
        budgets = self.budgets(key_id, tenant)
        return ClientPlan(
            rules=rules,
            by_kind=tuple(
                tuple(rule for rule in merged if rule.kind == kind) for kind in range(CONCURRENCY)
            ),
            budgets=budgets,
            accounts=tuple(dict.fromkeys(budget.account for budget in budgets)),
            reserves=bool(rules.tokens or rules.concurrency or budgets),
        )

    def _client_rules(self, key_id: str, tenant: str, model: str | None) -> Iterable[Rule]:
        key = self._keys.get(key_id)
        limits = self._default_limits if key is None or not key.limits else key.limits
        yield from _rules(key_scope(key_id), "key", limits, model)
        if (owner := self._tenants.get(tenant)) is not None:
            yield from _rules(tenant_scope(tenant), "tenant", owner.limits, model)
        yield from _rules(EVERYBODY, "model", self._limits, model)

    def _place(self, place: Place) -> PlacePlan:
        target = f"{place.provider}/{place.credential}"
        limits = self._credentials.get((place.provider, place.credential), ())
        rules = _split(_merged(_rules(place_scope(target), "credential", limits, place.model)))
        price = self.price_of(place.provider, place.model)
        return PlacePlan(rules, target, price, bool(rules.tokens or rules.concurrency))


def _keep(plans: dict[_K, _P], named: _K, plan: _P) -> None:
    if len(plans) >= MAX_PLANS:
        plans.clear()
    plans[named] = plan


def _rules(scope: str, word: str, limits: Iterable[Limit], model: str | None) -> Iterable[Rule]:
    for limit in limits:
        if model is not None and not covers(limit.model, model):
            continue
        window_ms = round(limit.window_s * 1000)
        for kind, field in enumerate(KINDS):
            if number := getattr(limit, field):
                burst = 0 if kind == CONCURRENCY else min(limit.burst or 0, number)
                name = counter_name(scope, kind, window_ms, limit.model, burst, number)
                yield Rule(name, number, word, limit.model)


def _merged(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """One rule for each counter: the tightest, so that nothing is counted twice."""
    tightest: dict[str, Rule] = {}
    for rule in rules:
        known = tightest.get(rule.counter.base)
        if known is None or (rule.limit, rule.room) < (known.limit, known.room):
            tightest[rule.counter.base] = rule
    return tuple(tightest.values())


def _split(rules: tuple[Rule, ...]) -> Rules:
    return Rules(
        requests=tuple(rule for rule in rules if rule.kind == REQUESTS),
        tokens=tuple(rule for rule in rules if REQUESTS < rule.kind < CONCURRENCY),
        concurrency=tuple(rule for rule in rules if rule.kind == CONCURRENCY),
    )


def _budget_rules(account: str, scope: str, budgets: tuple[Budget, ...]) -> Iterable[BudgetRule]:
    for budget in budgets:
        limit_nano = round(budget.usd * _NANO)
        soft = tuple(round(limit_nano * share) for share in budget.soft)
        yield BudgetRule(account, scope, budget.period, limit_nano, soft)
