"""Yuan for a dollar: the configuration's rate, unless the account has its own."""

from collections.abc import Mapping
from typing import NamedTuple

from droveway.contracts.access import Tenant
from droveway.contracts.config import Config


class Rates(NamedTuple):
    """What dollars are shown as."""

    default: float
    of_tenant: Mapping[str, float]
    """Those that have their own."""

    def nano_cny(self, tenant: str, nano_usd: int) -> int:
        """The same money in nano-yuan."""
        return round(nano_usd * self.yuan(tenant))

    def yuan(self, tenant: str) -> float:
        """For a dollar."""
        return self.of_tenant.get(tenant, self.default)


class LiveRates:
    """The rates in force: the configuration's own, and those of tenants one by one."""

    def __init__(self, config: Config) -> None:
        self._of_tenant: dict[str, float] = {}
        self.now = Rates(config.usd_cny, self._of_tenant)

    def configure(self, config: Config) -> None:
        """Another configuration is in force: its default counts, tenants are told of apart."""
        self.now = Rates(config.usd_cny, self._of_tenant)

    def on_tenant(self, tenant_id: str, tenant: Tenant | None) -> None:
        """A tenant of file or bucket is in force, or none of that id is any more."""
        if tenant is not None and tenant.usd_cny is not None:
            self._of_tenant[tenant_id] = tenant.usd_cny
        else:
            self._of_tenant.pop(tenant_id, None)
