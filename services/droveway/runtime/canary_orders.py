"""Canaries' orders as a process follows them, and whether one fits the configuration in force."""

import logging
from collections.abc import Callable, Mapping

import msgspec

from droveway.contracts.canary import (
    PREFIX,
    CanaryOrder,
    digest_of,
    entry_of,
    order_decoder,
    with_orders,
)
from droveway.contracts.config import Config
from droveway.contracts.envelope import MALFORMED
from droveway.otel.logs import log_event
from droveway.runtime.config.routes import canary_findings
from droveway.runtime.routing_orders import RoutingOrders

log = logging.getLogger(__name__)


class CanaryOrders:
    """Orders by route; `on_change` is called after each change, in the loop, and mustn't raise."""

    def __init__(self, orders: RoutingOrders, on_change: Callable[[], None]) -> None:
        self.present: dict[str, CanaryOrder] = {}
        self._names: dict[str, str] = {}
        self._on_change = on_change
        orders.listen(PREFIX, self._take)

    def applied(self, config: Config) -> Config:
        """The configuration with its canaries as they are in force."""
        return applied(config, self.present)

    def _take(self, name: str, value: bytes | None) -> None:
        if value is None:
            self.present.pop(self._names.pop(name, ""), None)
        else:
            try:
                order = order_decoder.decode(value)
            except MALFORMED as error:  # the order before stays in force
                log_event(
                    log, "canary_order_unreadable", level=logging.ERROR,
                    entry=name[:80], reason=str(error)[:200],
                )  # fmt: skip
                return
            if entry_of(order.route) != PREFIX + name:
                log_event(
                    log, "canary_order_unreadable", level=logging.ERROR,
                    entry=name[:80], reason="its name isn't that of its route",
                )  # fmt: skip
                return
            self._names[name] = order.route
            self.present[order.route] = order
        self._on_change()


def applied(config: Config, orders: Mapping[str, CanaryOrder]) -> Config:
    """The same of any orders; one whose targets aren't configured any more is left out."""
    routes = {route.model: route for route in config.routes}
    fitting = {}
    for name, order in orders.items():
        route = routes.get(name)
        if route is None or order.file != digest_of(route.canary):
            continue  # the file has changed since
        tried = msgspec.structs.replace(route, canary=order.canary)
        findings = [*canary_findings("canary", tried, config)]
        if findings and order.state == "running":
            log_event(
                log, "canary_order_unfit", level=logging.ERROR, route=name, reason=findings[0]
            )
            continue
        fitting[name] = order
    return with_orders(config, fitting)
