"""The router's wiring."""

import asyncio

from droveway.contracts import inference
from droveway.contracts.config import Config
from droveway.contracts.health import HEALTH_OF_ALL
from droveway.router.handlers import Router
from droveway.router.owned import OwnedRequests
from droveway.router.routes import RoutingTable
from droveway.router.settings import RouterSettings
from droveway.runtime.config_file import LiveConfig
from droveway.runtime.consumer import on_message
from droveway.runtime.service import Ready, running
from droveway.runtime.spool import SPOOL_DRAIN_S, Spool


async def run(settings: RouterSettings, stop: asyncio.Event, ready: Ready) -> None:
    """Routes until `stop`, then until what it owns has committed or `drain_s` is over."""
    live = LiveConfig(settings.config)
    async with running("router", settings) as process:
        owned = OwnedRequests(process.bus)
        spool = Spool(process.bus, settings.spool_rows)
        router = Router(process.bus, owned, spool, process.telemetry, settings)

        def configure(config: Config) -> None:
            router.table = RoutingTable(config)

        live.on_change(configure)
        consumer = process.consumer("inference", settings.max_in_flight)
        process.gauges.add("router", owned.statistics)
        process.gauges.add("cooldowns", router.cooldowns.statistics)
        process.gauges.add("spool", spool.statistics)
        process.checks["usage"] = lambda: "no row can be recorded" if spool.full else ""
        process.gauges.add("relay", owned.hub.statistics)
        process.gauges.add("config", live.statistics)
        await owned.hub.listen()
        process.background(owned.hub.run())
        process.background(owned.sign())
        process.background(spool.run())
        process.background(owned.stall.run())
        process.background(live.follow())
        receive = on_message(consumer, inference.request_decoder, router.route, router.refuse_full)
        for_any = inference.inference_subject(inference.INTERACTIVE)
        for_this = inference.inference_subject(inference.INTERACTIVE, process.instance)
        await process.bus.subscribe(HEALTH_OF_ALL, router.cooldowns.on_digest)
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
