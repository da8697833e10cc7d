"""The limiter's wiring."""

import asyncio

from droveway.contracts import admission
from droveway.limiter.decisions import Decisions
from droveway.limiter.handlers import Questions
from droveway.limiter.settings import LimiterSettings
from droveway.runtime.config_file import LiveConfig
from droveway.runtime.service import Ready, running

PARTITION = 0


async def run(settings: LimiterSettings, stop: asyncio.Event, ready: Ready) -> None:
    """Decides until `stop`."""
    live = LiveConfig(settings.config)
    decisions = Decisions(settings.remembered_decisions)
    live.on_change(decisions.configure)
    async with running("limiter", settings) as process:
        questions = Questions(process.bus, decisions)
        process.gauges.add("limiter", decisions.statistics)
        process.gauges.add("admission", questions.statistics)
        process.gauges.add("config", live.statistics)
        process.background(live.follow())
        # A decision awaits nothing, so it is made in the read loop: in order, without a task.
        subscription = await process.bus.subscribe(
            admission.admission_subject(PARTITION), questions.on_message, queue="limiter"
        )
        process.takes_work(ready, 0)
        await stop.wait()
        subscription.close()
        await process.bus.settle()  # what was on its way here has come: no message is lost
