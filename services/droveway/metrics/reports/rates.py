"""Yuan for a dollar: the configuration's rate, unless the account has its own."""

from collections.abc import Mapping
from typing import NamedTuple

from droveway.contracts.config import Config


class Rates(NamedTuple):
    """What dollars are shown as."""

    default: float
    of_tenant: Mapping[str, float]
    """Those that have their own."""

    def nano_cny(self, tenant: str, nano_usd: int) -> int:
        """The same money in nano-yuan."""
        return round(nano_usd * self.of_tenant.get(tenant, self.default))


def rates_of(config: Config) -> Rates:
    """The rates of a configuration, or of one with the stored tenants beside the file's."""
    own = {one.id: one.usd_cny for one in config.tenants if one.usd_cny is not None}
    return Rates(config.usd_cny, own)
