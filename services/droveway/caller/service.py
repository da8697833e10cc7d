"""The caller's wiring."""

import asyncio
import functools
import logging

from droveway.caller.cooldown_events import CooldownEvents
from droveway.caller.credential_limits import CredentialLimits
from droveway.caller.handlers import Caller
from droveway.caller.health import HealthDigests
from droveway.caller.leases import Leases
from droveway.caller.outcomes import Outcomes
from droveway.caller.resets import Resets
from droveway.caller.settings import CallerSettings
from droveway.caller.upstreams import Upstreams, check_credentials
from droveway.contracts import dispatch, health
from droveway.contracts.config import Config
from droveway.contracts.events import ConfigRefused
from droveway.contracts.providers import providers_subject
from droveway.otel.logs import log_event
from droveway.runtime.config_file import LiveConfig
from droveway.runtime.consumer import on_message
from droveway.runtime.errors import SettingsError
from droveway.runtime.heard_health import HeardHealth
from droveway.runtime.service import Process, Ready, running
from droveway.runtime.spool import SPOOL_DRAIN_S, Spool

log = logging.getLogger(__name__)

RETIRE_EVERY_S = 5.0
"""How often to look whether a replaced provider's last call has ended."""


async def run(settings: CallerSettings, stop: asyncio.Event, ready: Ready) -> None:
    """Calls until `stop`, then until running answers have ended or `drain_s` is over."""
    live = LiveConfig(settings.config)
    check_credentials(live.current, settings.pool)
    async with (
        running("caller", settings) as process,
        Upstreams(settings.pool, settings.ca_file) as upstreams,
    ):
        await upstreams.configure(live.current)
        spool = Spool(process.bus, settings.spool_rows)
        leases = Leases(process.bus)
        heard = HeardHealth(but=process.instance)
        limits = CredentialLimits(settings.max_cooldown_s, settings.refused_s, heard)
        outcomes = Outcomes()
        caller = Caller(
            process.bus, upstreams, limits, spool, leases, outcomes, process.telemetry, settings
        )
        changed = asyncio.Event()

        def on_change(config: Config) -> None:
            check_credentials(config, settings.pool)
            outcomes.slow_s = config.health.slow_s
            changed.set()

        live.on_change(on_change)
        process.events.follow(live)
        changed.clear()
        consumer = process.consumer("dispatch", settings.max_in_flight)
        process.gauges.add("caller", caller.statistics)
        process.gauges.add("relay", caller.hub.statistics)
        process.gauges.add("spool", spool.statistics)
        process.gauges.add("leases", leases.statistics)
        process.gauges.add("config", live.statistics)
        await caller.hub.listen()
        process.background(caller.hub.run())
        process.background(caller.stall.run())
        process.background(spool.run())
        process.background(leases.run())
        process.background(live.follow())
        process.background(_reconfigure(process, live, upstreams, limits, changed))
        digests = HealthDigests(process.bus, settings.pool, limits, outcomes)
        digests.on_digest = CooldownEvents(process.events).take
        process.background(digests.run())
        await process.bus.subscribe(health.health_subject(settings.pool), heard.on_digest)
        await process.bus.subscribe(providers_subject(), Resets(process.bus, limits).on_question)
        subscription = await process.bus.subscribe(
            dispatch.dispatch_subject(settings.pool),
            on_message(consumer, dispatch.call_decoder, caller.call, caller.refuse_full),
            queue="caller",
        )
        _show_upstreams(process, upstreams, limits)
        process.takes_work(ready, 0)
        await stop.wait()
        subscription.close()
        await process.bus.settle()  # what was on its way here has come: no message is lost
        await consumer.drain(settings.drain_s)
        await spool.drain(SPOOL_DRAIN_S)


async def _reconfigure(
    process: Process,
    live: LiveConfig,
    upstreams: Upstreams,
    limits: CredentialLimits,
    changed: asyncio.Event,
) -> None:
    """Adopts new providers; what can't be opened leaves the old ones in force."""
    while True:
        try:
            async with asyncio.timeout(RETIRE_EVERY_S if upstreams.retired else None):
                await changed.wait()
        except TimeoutError:
            await upstreams.close_retired()
            continue
        changed.clear()
        try:
            await upstreams.configure(live.current)
        except SettingsError as error:
            log_event(log, "config_reload_failed", level=logging.ERROR, reason=str(error))
            process.events.tell(ConfigRefused(findings=1))
        limits.keep(
            (upstream.provider.id, credential)
            for upstream in upstreams.all()
            for credential in upstream.secrets
        )
        _show_upstreams(process, upstreams, limits)


def _show_upstreams(process: Process, upstreams: Upstreams, limits: CredentialLimits) -> None:
    for upstream in upstreams.all():
        provider = upstream.provider.id
        process.gauges.replace("upstream", upstream.statistics, {"destination": provider})
        for credential in upstream.secrets:
            process.gauges.replace(
                "credential",
                functools.partial(limits.statistics, (provider, credential)),
                {"destination": provider, "credential": credential},
            )
