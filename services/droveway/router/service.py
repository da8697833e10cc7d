"""The router's wiring."""

import asyncio
import random

from droveway.contracts import inference
from droveway.contracts.config import Config
from droveway.contracts.health import HEALTH_OF_ALL
from droveway.contracts.jetstream import PRICES, ROUTING
from droveway.contracts.providers import providers_subject
from droveway.router.cooldowns import Cooldowns
from droveway.router.costs import Costs
from droveway.router.exposition import Destinations, QueueDepth, QueueWait
from droveway.router.handlers import Router
from droveway.router.health import TargetsHealth
from droveway.router.means import Means
from droveway.router.owned import OwnedRequests
from droveway.router.provider_desk import ProviderDesk
from droveway.router.providers import Providers
from droveway.router.queue import Bounds
from droveway.router.retry import Budget
from droveway.router.settings import RouterSettings
from droveway.router.settlement_news import SettlementNews
from droveway.router.switches import Switches
from droveway.router.waiting import WaitingRoom
from droveway.runtime.canary_orders import CanaryOrders
from droveway.runtime.config.following import follow_config
from droveway.runtime.config.live import LiveConfig
from droveway.runtime.consumer import on_message
from droveway.runtime.routing_orders import RoutingOrders
from droveway.runtime.service import Ready, running
from droveway.runtime.spool import SPOOL_DRAIN_S, Spool


async def run(settings: RouterSettings, stop: asyncio.Event, ready: Ready) -> None:
    """Routes until `stop`, then until what it owns has committed or `drain_s` is over."""
    live = LiveConfig(settings.config)
    async with running("router", settings) as process:
        owned = OwnedRequests(process.bus)
        spool = Spool(process.bus, settings.spool_rows)
        means = Means(
            process.bus,
            owned,
            spool,
            process.telemetry,
            settings,
            QueueWait(process.registry),
            Cooldowns(),
            TargetsHealth(process.instance, process.events.tell),
            Budget(),
            random.Random(),  # noqa: S311 - weights, not secrets
            Switches(),
            WaitingRoom(Bounds(settings.queue_requests, settings.queue_tokens)),
            Costs(process.bus),
        )
        process.registry.register(QueueDepth(means.waiting))
        router = Router(means)
        providers = Providers(
            process.instance, lambda: router.table, means.health, means.cooldowns, means.switches
        )
        process.registry.register(Destinations(providers))
        orders = RoutingOrders(process.bus)
        means.switches.follow(orders)

        def configure(config: Config) -> None:
            router.configure(canaries.applied(config), live.version)

        canaries = CanaryOrders(orders, lambda: configure(live.current))
        live.on_change(configure)
        consumer = process.consumer("inference", settings.max_in_flight)
        process.gauges.add("router", owned.statistics)
        process.gauges.add("cooldowns", means.cooldowns.statistics)
        process.gauges.add("health", means.health.statistics)
        process.gauges.add("retry_budget", means.budget.statistics)
        process.gauges.add("queue", means.waiting.statistics)
        process.gauges.add("spool", spool.statistics)
        process.checks["usage"] = lambda: "no row can be recorded" if spool.full else ""
        process.gauges.add("relay", owned.hub.statistics)
        process.gauges.add("kv", orders.statistics, {"bucket": ROUTING})
        process.gauges.add("kv", means.costs.kv_statistics, {"bucket": PRICES})
        process.gauges.add("costs", means.costs.statistics)
        owned.hub.on_room = means.waiting.room
        settlements = SettlementNews(process.bus, means.waiting.settled)
        means.waiting.on_credential_full = settlements.want
        process.background(settlements.run())
        await owned.hub.listen()
        process.background(owned.hub.run())
        process.background(owned.sign())
        process.background(spool.run())
        process.background(owned.stall.run())
        process.background(orders.run())
        process.background(means.costs.run())
        await follow_config(process, live, settings.config_within_s)
        await orders.until_loaded(settings.orders_within_s)
        if any(route.strategy == "cheapest" for route in live.current.routes):
            await means.costs.until_loaded(settings.prices_within_s)
        receive = on_message(consumer, inference.request_decoder, router.route, router.refuse_full)
        for_any = inference.inference_subject(inference.INTERACTIVE)
        for_this = inference.inference_subject(inference.INTERACTIVE, process.instance)
        means.cooldowns.on_targets(means.health.hear)
        await process.bus.subscribe(HEALTH_OF_ALL, means.cooldowns.on_digest)
        await process.bus.subscribe(
            providers_subject(), ProviderDesk(process.bus, providers).on_question
        )
        subscriptions = [
            await process.bus.subscribe(for_any, receive, queue="router"),
            await process.bus.subscribe(for_this, receive),
        ]
        process.takes_work(ready, 0)
        await stop.wait()
        for subscription in subscriptions:
            subscription.close()
        await process.bus.settle()  # what was on its way here has come: no message is lost
        await consumer.drain(settings.drain_s)
        await spool.drain(SPOOL_DRAIN_S)
