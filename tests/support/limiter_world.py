"""A limiter's pure half with a configuration, a clock to turn and short words for its messages."""

from collections.abc import Iterable
from typing import Any

from droveway.contracts.access import Budget, Key, Limit, Tenant
from droveway.contracts.admission import AdmissionRequested, Admitted, Decision, Denied, Place
from droveway.contracts.config import Config, Credential, Provider, Route, RouteTarget, Tier
from droveway.contracts.limits import Op
from droveway.contracts.prices import ModelPrice, ProviderPrices, Rates
from droveway.contracts.relay import Usage
from droveway.contracts.settlement import Lease, Released, Renewed, Settled
from droveway.limiter.book import Book
from droveway.limiter.decisions import Decisions, DecisionSettings
from droveway.limiter.usage_rows import AttemptUsed

NOW_MS = 1_790_000_000_000
PLACE = Place(provider="p", credential="main", model="m")
OTHER_PLACE = Place(provider="p", credential="spare", model="m")
NANO_PER_TOKEN = 1_000


def config(
    key: Iterable[Limit] = (),
    tenant: Iterable[Limit] = (),
    everybody: Iterable[Limit] = (),
    main: Iterable[Limit] = (),
    spare: Iterable[Limit] = (),
    key_budgets: Iterable[Budget] = (),
    tenant_budgets: Iterable[Budget] = (),
) -> Config:
    """Two keys `a` and `b` of the tenant `t`, and a provider with two credentials."""
    keys = tuple(
        Key(
            id=id_,
            sha256=f"{index:064x}",
            tenant="t",
            limits=tuple(key),
            budgets=tuple(key_budgets),
        )
        for index, id_ in enumerate("ab")
    )
    credentials = (
        Credential(id="main", limits=tuple(main)),
        Credential(id="spare", limits=tuple(spare)),
    )
    target = RouteTarget(provider="p")
    return Config(
        providers=(Provider(id="p", base_url="https://p.test", credentials=credentials),),
        routes=(Route(model="*", tiers=(Tier(targets=(target,)),)),),
        keys=keys,
        tenants=(Tenant(id="t", limits=tuple(tenant), budgets=tuple(tenant_budgets)),),
        limits=tuple(everybody),
    )


def prices(nano_per_token: int = NANO_PER_TOKEN) -> ProviderPrices:
    """Every token of every model costs the same."""
    rate = nano_per_token * 1_000_000
    price = ModelPrice(rates=(Rates(0, rate, rate, rate, rate, rate),), source="config")
    return ProviderPrices(provider="p", models={}, default=price)


class World:
    """One owner; `ops` is its log."""

    def __init__(self, wanted: Config, settings: DecisionSettings | None = None) -> None:
        self.now_ms = NOW_MS
        self.ops: list[tuple[Op, int]] = []
        self.settings = settings or DecisionSettings()
        self.config = wanted
        self.decisions = self.owner(Book())
        self._usage_seq = 0

    @property
    def book(self) -> Book:
        """The owner's."""
        return self.decisions.book

    def owner(self, book: Book) -> Decisions:
        """An owner of that book, which knows configuration and prices."""
        owner = Decisions(book, self.settings)
        owner.configure(self.config)
        owner.price("p", prices())
        return owner

    def take_over(self, book: Book) -> None:
        """Another limiter goes on with that book."""
        self.decisions = self.owner(book)
        self.decisions.extend_leases(self.now_ms)

    def ask(self, number: int, **changed: Any) -> Decision:
        """Asks for `req_<number>`."""
        fields: dict[str, Any] = {
            "router": "router-a",
            "key_id": "a",
            "tenant": "t",
            "model": "m",
            "remaining_ms": 1_000,
            "places": (PLACE,),
            **changed,
        }
        question = AdmissionRequested(request_id=f"req_{number}", **fields)
        decision, ops = self.decisions.decide(question, self.now_ms)
        self._log(ops)
        return decision

    def admitted(self, number: int, **changed: Any) -> Admitted:
        """As `ask`, of what must pass."""
        decision = self.ask(number, **changed)
        assert isinstance(decision, Admitted), decision
        return decision

    def denied(self, number: int, **changed: Any) -> Denied:
        """As `ask`, of what must not."""
        decision = self.ask(number, **changed)
        assert isinstance(decision, Denied), decision
        return decision

    def settle(
        self,
        number: int,
        input_tokens: int = 0,
        output_tokens: int = 0,
        *,
        attempt: int = 1,
        committed: bool = True,
        credential: str = "main",
    ) -> tuple[Op, ...]:
        """The caller's word on an attempt."""
        message = Settled(
            request_id=f"req_{number}",
            attempt_id=attempt_id(number, attempt),
            caller="caller-a",
            provider="p",
            credential=credential,
            model="m",
            usage=Usage(input_tokens, output_tokens),
            committed=committed,
        )
        return self._log(self.decisions.settled(message, self.now_ms))

    def renew(self, number: int, output_tokens: int = 0) -> None:
        """The caller's sign of life."""
        lease = Lease(f"req_{number}", output_tokens)
        self.decisions.renewed(Renewed(caller="caller-a", leases=(lease,)), self.now_ms)

    def release(self, number: int, router: str = "router-a") -> tuple[Op, ...]:
        """The router's word that it has given up."""
        message = Released(request_id=f"req_{number}", router=router)
        return self._log(self.decisions.released(message, self.now_ms))

    def expire(self) -> tuple[Op, ...]:
        """Looks for leases that have run out."""
        return self._log(self.decisions.expire(self.now_ms))

    def fold(self, *rows: AttemptUsed, stored_ms: int | None = None) -> tuple[Op, ...]:
        """The rows stand in USAGE."""
        self._usage_seq += max(1, len(rows))
        stored = self.now_ms if stored_ms is None else stored_ms
        return self._log(self.decisions.fold(self._usage_seq, [(row, stored) for row in rows]))

    def _log(self, ops: tuple[Op, ...]) -> tuple[Op, ...]:
        self.ops += [(op, self.now_ms) for op in ops]
        return ops


def attempt_id(number: int, attempt: int = 1) -> bytes:
    """Of an attempt of `req_<number>`."""
    return (number * 100 + attempt).to_bytes(16, "big")


def row(
    number: int,
    input_tokens: int = 0,
    output_tokens: int = 0,
    *,
    attempt: int = 1,
    committed: bool = True,
    cost_nano: int | None = None,
    key: str = "a",
) -> AttemptUsed:
    """What the limiter reads of an attempt's row."""
    return AttemptUsed(
        attempt_id=attempt_id(number, attempt),
        request_id=f"req_{number}",
        tenant="t",
        key_id=key,
        provider="p",
        credential="main",
        model="m",
        committed=committed,
        usage=Usage(input_tokens, output_tokens),
        cost_nano_usd=cost_nano,
    )


def replayed(ops: Iterable[tuple[Op, int]], remembered_holds: int) -> Book:
    """The book of whoever has only the log."""
    book = Book(remembered_holds)
    for op, at_ms in ops:
        book.apply(op, at_ms)
    return book
