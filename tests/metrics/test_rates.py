"""Yuan for a dollar, as accounts and the configuration have it now."""

import msgspec

from droveway.contracts.access import Tenant
from droveway.metrics.reports.rates import LiveRates
from tests.support.nats import droveway_config

CONFIG = msgspec.structs.replace(droveway_config("http://127.0.0.1:9/v1"), usd_cny=7.0)


def test_an_accounts_own_rate_holds_while_it_has_one() -> None:
    rates = LiveRates(CONFIG)
    rates.on_tenant("acme", Tenant(id="acme", usd_cny=1.0))
    rates.on_tenant("other", Tenant(id="other"))
    assert (rates.now.yuan("acme"), rates.now.yuan("other"), rates.now.yuan("new")) == (1, 7, 7)
    rates.configure(msgspec.structs.replace(CONFIG, usd_cny=6.0))
    assert (rates.now.yuan("acme"), rates.now.yuan("other")) == (1, 6)
    assert rates.now.nano_cny("acme", 5) == 5
    rates.on_tenant("acme", Tenant(id="acme"))
    assert rates.now.yuan("acme") == 6
    rates.on_tenant("acme", Tenant(id="acme", usd_cny=2.0))
    rates.on_tenant("acme", None)
    assert rates.now.yuan("acme") == 6
