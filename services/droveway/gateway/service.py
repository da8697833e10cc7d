"""The gateway's wiring."""

import asyncio
import logging
import resource
from typing import NamedTuple

from droveway.gateway.adapters import Adapters
from droveway.gateway.admin.admins import Admins
from droveway.gateway.admin.door import AdminDoor
from droveway.gateway.app import Gateway
from droveway.gateway.auth import Authenticator, KeyForm
from droveway.gateway.doors.client_relays import ClientRelays
from droveway.gateway.doors.count_tokens import CountTokens
from droveway.gateway.doors.http import HttpDoor
from droveway.gateway.doors.inference import Inference
from droveway.gateway.doors.key_rates import KeyRates
from droveway.gateway.doors.key_shares import KeyShares
from droveway.gateway.doors.nats import NatsDoor
from droveway.gateway.doors.stored import StoredDoor
from droveway.gateway.doors.usage import UsageDoor
from droveway.gateway.exposition import ClientMetrics, EdgeMetrics
from droveway.gateway.http_limits import HttpLimits, within_descriptors
from droveway.gateway.journal import Ledgers
from droveway.gateway.prompt_prefix import PromptPrefixes
from droveway.gateway.responses import ResponsesAdapter
from droveway.gateway.server import serving
from droveway.gateway.settings import GatewaySettings
from droveway.gateway.stored_responses import StoredResponses
from droveway.gateway.trusted_proxies import TrustedProxies
from droveway.otel.logs import log_event
from droveway.runtime.addresses import Networks
from droveway.runtime.config.following import follow_config
from droveway.runtime.config.live import LiveConfig
from droveway.runtime.directory import ACCESS_WITHIN_S, Directory
from droveway.runtime.errors import SettingsError
from droveway.runtime.relay import RelayHub
from droveway.runtime.service import Ready, running
from droveway.runtime.spool import SPOOL_DRAIN_S, Spool

log = logging.getLogger(__name__)


class DoorStatistics(NamedTuple):
    """A snapshot for gauges."""

    open_requests: int
    limit: int
    held_bytes: int
    held_bytes_limit: int


async def run(settings: GatewaySettings, stop: asyncio.Event, ready: Ready) -> None:
    """Serves until `stop`, then until open answers have ended or `drain_s` is over."""
    live = LiveConfig(settings.config)
    async with running("gateway", settings) as process:
        spool = Spool(process.bus, settings.spool_rows)
        hub = RelayHub(process.bus)
        metrics = ClientMetrics(
            process.registry, settings.max_models_labels, settings.max_destinations_labels
        )
        live.on_change(metrics.configure)
        proxies = TrustedProxies(settings.trusted_proxies)
        directory = Directory(process.bus, live)
        auth = Authenticator(settings.failed_logins_per_s, _key_form(settings), proxies)
        auth.complete = lambda: directory.loaded
        directory.on_key(auth.take_key)
        directory.on_tenant(auth.take_tenant)
        ledgers = Ledgers(process.telemetry, spool, metrics, process.instance, process.events.tell)
        gateway = Gateway(auth, ledgers)
        admins = Admins(settings.failed_logins_per_s, proxies)
        gateway.admin = AdminDoor(process.bus, directory, admins, settings.admin_changes_per_s)
        live.on_change(gateway.configure)
        gateway.usage = UsageDoor(process.bus, auth, admins, process.registry, _scrapers(settings))
        stored = StoredResponses(process.bus, settings.max_stored_bytes)
        gateway.stored = StoredDoor(stored)
        adapters = Adapters(ResponsesAdapter(stored, keeps=settings.store_responses))
        prefixes = PromptPrefixes()
        live.on_change(prefixes.configure)
        inference = Inference(process.bus, hub, spool, settings, gateway.allows, adapters, prefixes)
        door = HttpDoor(inference, process.tasks, settings.first_comment_s, settings.compat)
        gateway.serve_inference(door, CountTokens(inference, door, gateway))
        relays = ClientRelays(process.bus, settings.client_stall_s)
        rates = KeyRates(process.bus, settings.max_key_requests_per_s)
        shares = KeyShares(process.bus, settings.max_key_open_requests)
        nats_door = NatsDoor(
            process.bus, inference, auth, ledgers, relays,
            process.consumer("client", settings.max_open_requests), rates, shares,
            settings.max_message_bytes,
        )  # fmt: skip
        process.gauges.add("relay", hub.statistics)
        process.gauges.add("stored_responses", stored.statistics)
        process.gauges.add("client_relay", relays.statistics)
        process.gauges.add("nats_door", nats_door.statistics)
        process.gauges.add("key_rate", rates.statistics)
        process.gauges.add("key_share", shares.statistics)
        process.gauges.add("spool", spool.statistics)
        process.gauges.add("auth", auth.statistics)
        process.gauges.add("directory", directory.statistics)
        process.gauges.add(
            "door",
            lambda: DoorStatistics(
                inference.open_requests, settings.max_open_requests,
                inference.held.used_bytes, settings.max_held_bytes,
            ),
        )  # fmt: skip
        process.discovery.facts["open_requests"] = lambda: inference.open_requests
        process.checks["usage"] = lambda: "no row can be recorded" if spool.full else ""
        await hub.listen()
        process.background(hub.run())
        process.background(relays.run())
        process.background(spool.run())
        process.background(directory.run())
        await follow_config(process, live, settings.config_within_s)
        await directory.until_loaded(ACCESS_WITHIN_S)
        try:
            limits = _limits(settings)
            async with serving(gateway, limits, settings.host, settings.port) as server:
                process.registry.register(EdgeMetrics(server.statistics, limits.max_connections))
                await nats_door.listen()
                process.takes_work(ready, server.port)
                await stop.wait()
                process.checks["draining"] = lambda: "shutting down"
                leaving = process.tasks.create_task(nats_door.drain(settings.drain_s))
        except OSError as error:
            where = f"{settings.host}:{settings.port}"
            raise SettingsError(f"DROVEWAY_GATEWAY_PORT: {where}: {error.strerror}") from None
        await leaving
        await spool.drain(SPOOL_DRAIN_S)


def _key_form(settings: GatewaySettings) -> KeyForm:
    prefixes = filter(None, map(str.strip, settings.accepted_key_prefixes.split(",")))
    return KeyForm(settings.key_min_length, tuple(prefix.encode() for prefix in prefixes))


def _scrapers(settings: GatewaySettings) -> Networks:
    try:
        return Networks(filter(None, map(str.strip, settings.metrics_addresses.split(","))))
    except ValueError as error:
        raise SettingsError(f"DROVEWAY_GATEWAY_METRICS_ADDRESSES: {error}") from None


def _limits(settings: GatewaySettings) -> HttpLimits:
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = HttpLimits(
        max_connections=settings.max_connections,
        max_connections_per_address=settings.max_connections_per_address,
        max_body_bytes=settings.max_body_bytes,
        connect_idle_s=settings.connect_idle_s,
        body_base_s=settings.body_base_s,
        body_min_bytes_per_s=settings.body_min_bytes_per_s,
        header_timeout_s=settings.header_timeout_s,
        keep_alive_idle_s=settings.keep_alive_idle_s,
        write_stall_s=settings.write_stall_s,
        drain_s=max(0.001, settings.drain_s),
    )
    limits = within_descriptors(wanted, descriptors)
    if limits.max_connections < wanted.max_connections:
        log_event(
            log,
            "connections_limited",
            level=logging.WARNING,
            max_connections=limits.max_connections,
            descriptors=descriptors,
        )
    return limits
