"""What attempts are made with: what all requests share, and what one request's route wants."""

import random
from collections.abc import Callable
from typing import NamedTuple

from droveway.contracts.config import Retry
from droveway.otel.setup import Telemetry
from droveway.router.cooldowns import Cooldowns
from droveway.router.costs import Costs
from droveway.router.exposition import QueueWait
from droveway.router.health import TargetsHealth
from droveway.router.owned import OwnedRequests
from droveway.router.retry import Budget
from droveway.router.routes import Candidate, FallbackCase, Manner
from droveway.router.settings import RouterSettings
from droveway.router.switches import Switches
from droveway.router.waiting import WaitingRoom
from droveway.runtime.bus import Bus
from droveway.runtime.spool import Spool


class Means(NamedTuple):
    """What all requests' attempts are made with."""

    bus: Bus
    owned: OwnedRequests
    spool: Spool
    telemetry: Telemetry
    settings: RouterSettings
    queue_wait: QueueWait
    cooldowns: Cooldowns
    health: TargetsHealth
    budget: Budget
    dice: random.Random
    switches: Switches
    waiting: WaitingRoom
    costs: Costs


class Plan(NamedTuple):
    """How one request's route wants it tried."""

    policy: Retry
    fallbacks: Callable[[FallbackCase], list[Candidate]]
    """Targets of other models, for a case."""
    manner: Manner = Manner()
