"""What every service does about its configuration: follow file and bucket, and say which it has."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from droveway.contracts.jetstream import CONFIG
from droveway.runtime.config.bucket import ConfigBucket
from droveway.runtime.config.live import LiveConfig
from droveway.runtime.service import Process


async def follow_config(process: Process, live: LiveConfig, within_s: float) -> None:
    """Follows it until the service closes; returns once it is known what operators have applied.

    Call it when all listeners are there and before work is taken: then no work goes by a file in
    whose place something was applied.

    Args:
        process: The service's.
        live: Its configuration.
        within_s: How long the bucket may take; then the file holds until it answers.
    """
    bucket = ConfigBucket(process.bus, live)
    process.events.follow(live)
    process.gauges.add("config", live.statistics)
    process.gauges.add("kv", bucket.statistics, {"bucket": CONFIG})
    process.registry.register(ConfigInfo(process.name, live))
    process.discovery.facts["config"] = lambda: live.version
    process.discovery.facts["config_revision"] = lambda: live.revision
    process.background(live.follow())
    process.background(bucket.run())
    await bucket.until_read(within_s)


class ConfigInfo:
    """`droveway_config_info`: one series, whose labels tell the configuration in force."""

    def __init__(self, service: str, live: LiveConfig) -> None:
        self._service = service
        self._live = live

    def collect(self) -> Iterator[Metric]:
        """What a scrape reads; called by prometheus_client."""
        family = GaugeMetricFamily(
            "droveway_config_info",
            "1, of the configuration in force: its version, and whether it is the file's.",
            labels=["service", "version", "source"],
        )
        family.add_metric([self._service, self._live.version, self._live.source], 1.0)
        yield family

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first scrape."""
        return ()
