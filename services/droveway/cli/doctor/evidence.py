"""What was learnt, question by question: all that checks look at."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

import msgspec

from droveway.contracts.access import Key, Tenant
from droveway.contracts.admission import BudgetStanding
from droveway.contracts.audit import AuditRecorded
from droveway.contracts.canary import CanaryOrder
from droveway.contracts.config import Config
from droveway.contracts.configuration import version_of
from droveway.contracts.discovery import Stats, name_of
from droveway.contracts.fill import FillTold
from droveway.contracts.providers import ProvidersSeen, ProviderSwitch
from droveway.contracts.reports import ReportMade, StatsMade
from droveway.runtime.config.entries import Standing

SERVICES = ("gateway", "router", "limiter", "caller", "metrics")

T = TypeVar("T")


class Unasked(msgspec.Struct, frozen=True):
    """A question that has no answer."""

    reason: str


class Broker(NamedTuple):
    """The NATS server that took us."""

    address: str
    """Without a user or a password."""
    version: str
    connected_ms: float
    """How long it took until it had."""
    answered_ms: float
    """A message to ourselves and back."""


class LocalFile(NamedTuple):
    """The configuration file of this machine."""

    path: str = ""
    """Empty: there is none."""
    config: Config | None = None
    problem: str = ""
    """Why it can't be read."""


class Machine(NamedTuple):
    """The data folder of `droveway up` and the key files on this machine."""

    folder: str = ""
    """Empty: there is no such folder."""
    free_bytes: int = 0
    total_bytes: int = 0
    exposed: tuple[str, ...] = ()
    """Files with secrets that others on this machine can read."""


class Fill(NamedTuple):
    """How full the streams are, and how clocks stand."""

    told: FillTold
    heard_ms: int
    """By this machine's clock, in Unix milliseconds."""


class Spending(NamedTuple):
    """One budget."""

    whose: str
    """`key k1`, `tenant acme`."""
    standing: BudgetStanding


class Spendings(NamedTuple):
    """The budgets that were asked for."""

    found: Sequence[Spending] = ()
    left_out: int = 0
    """Keys that weren't asked about: there are too many."""


class Evidence(NamedTuple):
    """One look at the system; what stands for an answer that didn't come says why."""

    at: datetime
    broker: Broker | Unasked
    services: Sequence[Stats] | Unasked = ()
    providers: Sequence[ProvidersSeen] | Unasked = ()
    switches: Sequence[ProviderSwitch] | Unasked = ()
    canaries: Sequence[CanaryOrder] | Unasked = ()
    keys: Sequence[Key] | Unasked = ()
    tenants: Sequence[Tenant] | Unasked = ()
    applied: Standing | Unasked = Standing(0, None)
    file: LocalFile = LocalFile()
    budgets: Spendings | Unasked = Spendings()
    missing: Sequence[str] | Unasked = ()
    """Streams that aren't there, of those that an operator may read."""
    fill: Fill | Unasked | None = None
    unpriced: ReportMade | Unasked | None = None
    """By provider and its model, of the last day."""
    requests: StatsMade | Unasked | None = None
    """Of the last hour."""
    changes: Sequence[AuditRecorded] | Unasked = ()
    """The newest first."""
    machine: Machine = Machine()

    @property
    def config(self) -> Config | None:
        """The configuration in force; None where it isn't known here.

        Without an applied one it is this machine's file, unless services tell of another one.
        """
        if isinstance(self.applied, Standing) and self.applied.applied is not None:
            return self.applied.applied.config
        told = versions_of(known(self.services))
        if self.file.config is None or (told and not told & file_versions(self.file.config)):
            return None
        return self.file.config

    @property
    def unasked(self) -> dict[str, str]:
        """What has no answer, with the reason."""
        fields = self._asdict().items()
        return {name: one.reason for name, one in fields if isinstance(one, Unasked)}

    def ago(self, milliseconds: float) -> str:
        """The moment so long ago, in RFC 3339."""
        return stamp(self.at - timedelta(milliseconds=milliseconds))


def known(answer: Sequence[T] | Unasked) -> Sequence[T]:
    """The answer, or nothing."""
    return () if isinstance(answer, Unasked) else answer


def ours(services: Sequence[Stats]) -> Sequence[Stats]:
    """Those of Droveway: others on the same bus answer, too."""
    names = {name_of(service) for service in SERVICES}
    return [one for one in services if one.name in names]


def stamp(moment: datetime) -> str:
    """RFC 3339, UTC, seconds."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def versions_of(services: Sequence[Stats]) -> set[str]:
    """The versions of the configuration that processes tell of; those of old releases don't."""
    return {version for one in ours(services) if (version := one.metadata.get("config", ""))}


def file_versions(config: Config) -> set[str]:
    """A file's version, and that of the same once it is applied: as JSON numbers have one form."""
    applied = msgspec.json.decode(msgspec.json.encode(config), type=Config)
    return {version_of(config), version_of(applied)}
