"""The caller's wiring."""

import asyncio
import functools

from droveway.caller.cooldown_events import CooldownEvents
from droveway.caller.credential_limits import CredentialLimits
from droveway.caller.handlers import Caller
from droveway.caller.health import HealthDigests
from droveway.caller.leases import Leases
from droveway.caller.outcomes import Outcomes
from droveway.caller.resets import Resets
from droveway.caller.secret_files import SecretFiles
from droveway.caller.settings import CallerSettings
from droveway.caller.upstreams import Upstreams
from droveway.contracts import dispatch, health
from droveway.contracts.config import Config
from droveway.contracts.providers import providers_subject
from droveway.runtime.config.following import follow_config
from droveway.runtime.config.live import LiveConfig
from droveway.runtime.consumer import on_message
from droveway.runtime.heard_health import HeardHealth
from droveway.runtime.service import Process, Ready, running
from droveway.runtime.spool import SPOOL_DRAIN_S, Spool

RETIRE_EVERY_S = 5.0
"""How often to look whether a replaced provider's last call has ended."""


async def run(settings: CallerSettings, stop: asyncio.Event, ready: Ready) -> None:
    """Calls until `stop`, then until running answers have ended or `drain_s` is over."""
    live = LiveConfig(settings.config)
    upstreams = Upstreams(settings.pool, settings.ca_file)
    live.on_change(lambda config: upstreams.configure(config, live.version))
    async with running("caller", settings) as process, upstreams:
        spool = Spool(process.bus, settings.spool_rows)
        leases = Leases(process.bus)
        heard = HeardHealth(but=process.instance)
        limits = CredentialLimits(settings.max_cooldown_s, settings.refused_s, heard)
        outcomes = Outcomes()
        caller = Caller(
            process.bus, upstreams, limits, spool, leases, outcomes, process.telemetry, settings
        )

        def renewed() -> None:
            limits.keep(
                (upstream.provider.id, credential)
                for upstream in upstreams.all()
                for credential in upstream.secrets
            )

        files = SecretFiles(upstreams, renewed)

        def on_change(config: Config) -> None:
            outcomes.slow_s = config.health.slow_s
            renewed()
            files.configure()
            _show_upstreams(process, upstreams, limits)

        live.on_change(on_change)
        consumer = process.consumer("dispatch", settings.max_in_flight)
        process.gauges.add("caller", caller.statistics)
        process.gauges.add("relay", caller.hub.statistics)
        process.gauges.add("spool", spool.statistics)
        process.gauges.add("leases", leases.statistics)
        process.gauges.add("adoption", upstreams.statistics)
        process.gauges.add("secret", files.statistics)
        await caller.hub.listen()
        process.background(caller.hub.run())
        process.background(caller.stall.run())
        process.background(spool.run())
        process.background(leases.run())
        process.background(files.run())
        process.background(_close_retired(upstreams))
        digests = HealthDigests(process.bus, settings.pool, limits, outcomes)
        digests.on_digest = CooldownEvents(process.events).take
        process.background(digests.run())
        await process.bus.subscribe(health.health_subject(settings.pool), heard.on_digest)
        await process.bus.subscribe(providers_subject(), Resets(process.bus, limits).on_question)
        await follow_config(process, live, settings.config_within_s)
        subscription = await process.bus.subscribe(
            dispatch.dispatch_subject(settings.pool),
            on_message(consumer, dispatch.call_decoder, caller.call, caller.refuse_full),
            queue="caller",
        )
        process.takes_work(ready, 0)
        await stop.wait()
        subscription.close()
        await process.bus.settle()  # what was on its way here has come: no message is lost
        await consumer.drain(settings.drain_s)
        await spool.drain(SPOOL_DRAIN_S)


async def _close_retired(upstreams: Upstreams) -> None:
    while True:
        await asyncio.sleep(RETIRE_EVERY_S)
        await upstreams.close_retired()


def _show_upstreams(process: Process, upstreams: Upstreams, limits: CredentialLimits) -> None:
    present = upstreams.all()
    process.gauges.replace(
        "upstream", [({"destination": one.provider.id}, one.statistics) for one in present]
    )
    keys = [(one.provider.id, credential) for one in present for credential in one.secrets]
    process.gauges.replace(
        "credential",
        [
            (
                {"destination": key[0], "credential": key[1]},
                functools.partial(limits.statistics, key),
            )
            for key in keys
        ],
    )
