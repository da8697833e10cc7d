"""How long requests wait for their first attempt, and which providers can be asked."""

from prometheus_client import CollectorRegistry

from droveway.contracts.config import Config, Credential, Provider
from droveway.contracts.envelope import encode
from droveway.contracts.health import RATE_LIMITED, CredentialHealth, PoolHealth, TargetHealth
from droveway.router.cooldowns import Cooldowns
from droveway.router.exposition import Destinations, QueueWait
from droveway.router.health import TargetsHealth
from droveway.router.providers import Providers
from droveway.router.routes import RoutingTable
from droveway.router.switches import Switches

CONFIG = Config(
    providers=tuple(
        Provider(
            id=name,
            base_url="https://api.test/v1",
            credentials=tuple(Credential(id=one) for one in credentials),
        )
        for name, credentials in (("one", ("main",)), ("two", ("main", "spare")))
    ),
    routes=(),
)


def digest(*cooling: tuple[str, str], wait_ms: int = 9_000) -> bytes:
    return encode(
        PoolHealth(
            caller="caller-1",
            credentials=tuple(
                CredentialHealth(
                    provider=provider, credential=credential, cooldown_ms=wait_ms, why=RATE_LIMITED
                )
                for provider, credential in cooling
            ),
        )
    )


def told(model: str, good: int = 0, failed: int = 0) -> TargetHealth:
    return TargetHealth(
        provider="one", model=model, router="router-2", good=good,
        failed={"provider_timeout": failed},
    )  # fmt: skip


def providers(
    table: RoutingTable | None,
    cooldowns: Cooldowns,
    health: TargetsHealth | None = None,
    switches: Switches | None = None,
) -> Providers:
    health, switches = health or TargetsHealth("router-1"), switches or Switches()
    return Providers("router-1", lambda: table, health, cooldowns, switches)


def up(registry: CollectorRegistry, destination: str) -> float | None:
    return registry.get_sample_value("ai_api_destination_up", {"destination": destination})


def test_a_destination_is_down_while_all_its_credentials_are_spared() -> None:
    registry, cooldowns = CollectorRegistry(), Cooldowns()
    registry.register(Destinations(providers(RoutingTable(CONFIG), cooldowns)))
    assert (up(registry, "one"), up(registry, "two")) == (1, 1)
    cooldowns.on_digest(digest(("one", "main"), ("two", "main")))
    assert (up(registry, "one"), up(registry, "two")) == (0, 1)
    cooldowns.on_digest(digest(("two", "main"), ("two", "spare")))
    assert (up(registry, "one"), up(registry, "two")) == (1, 0)
    cooldowns.on_digest(digest())
    assert (up(registry, "one"), up(registry, "two")) == (1, 1)


def test_a_destination_is_down_while_all_its_tried_targets_are_left_alone() -> None:
    registry, health = CollectorRegistry(), TargetsHealth("router-1")
    registry.register(Destinations(providers(RoutingTable(CONFIG), Cooldowns(), health)))
    health.hear([told("fast", failed=3)])
    assert (up(registry, "one"), up(registry, "two")) == (0, 1)
    health.hear([told("large", good=1)])
    assert up(registry, "one") == 1, "another target of it is well"


def test_a_destination_is_down_while_an_operator_has_switched_it_off() -> None:
    registry, switches = CollectorRegistry(), Switches()
    table = RoutingTable(CONFIG)
    registry.register(
        Destinations(providers(table, Cooldowns(), TargetsHealth("router-1"), switches))
    )
    switches.take("one", b'{"id":"one","state":"disabled"}')
    assert (up(registry, "one"), up(registry, "two")) == (0, 1)
    switches.take("one", b'{"id":"one","disabled_models":["fast"]}')
    assert up(registry, "one") == 1, "what is left of it can be asked"


def test_before_the_configuration_is_read_there_is_no_destination() -> None:
    registry = CollectorRegistry()
    registry.register(Destinations(providers(None, Cooldowns())))
    assert [family.samples for family in registry.collect()] == [[]]


def test_the_wait_is_from_receipt_to_dispatch_and_never_negative() -> None:
    registry = CollectorRegistry()
    waited = QueueWait(registry)
    waited.dispatched("interactive", 1_000_000_000, 1_250_000_000)
    waited.dispatched("interactive", 1_000_000_000, 999_999_999)
    labels = {"class": "interactive"}
    assert registry.get_sample_value("ai_api_queue_wait_seconds_sum", labels) == 0.25
    assert registry.get_sample_value("ai_api_queue_wait_seconds_count", labels) == 2
