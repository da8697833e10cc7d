"""Run the simulator until SIGTERM or SIGINT."""

import asyncio
import logging
import os
import signal
import sys

import uvloop

from droveway.simulator.server import Running, run
from droveway.simulator.settings import Settings, SettingsError

EX_CONFIG = 78

_log = logging.getLogger("droveway.simulator")


def main() -> None:
    """Read the settings from the environment and serve; exit 78 if a variable is wrong."""
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        sys.exit(EX_CONFIG)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    uvloop.run(_until_signal(settings))


async def _until_signal(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(settings, ready=_announce, stop=stop)
    _log.info("simulator.stopped")


def _announce(server: Running) -> None:
    _log.info("simulator.ready url=%s", server.url)


if __name__ == "__main__":
    main()
