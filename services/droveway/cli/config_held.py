"""What `droveway up` says where an applied configuration holds instead of its file."""

from collections.abc import Callable
from pathlib import Path

from droveway.cli.admin_session import run
from droveway.cli.child import Child, Report
from droveway.contracts.config import Config
from droveway.contracts.configuration import version_of
from droveway.runtime.config.entries import Standing
from droveway.runtime.config.store import ConfigStore
from droveway.runtime.errors import DrovewayError


def child(config: Config, data: Path, say: Callable[[str], None]) -> Child:
    """Looks once, and says what the person who wrote the file may not expect."""

    def work(_report: Report) -> int:
        try:
            text = told(run(data, lambda bus: ConfigStore(bus).current()), config)
        except DrovewayError as error:
            text = f"whether a configuration is applied isn't known: {error}"
        if text:
            say(text)
        return 0

    return Child("configuration", work, ends=True)


def told(standing: Standing, config: Config) -> str:
    """Empty where the file says what holds."""
    if standing.unreadable:
        return f"the applied configuration isn't in force: {standing.unreadable}"
    applied = standing.applied
    if applied is None or applied.version == version_of(config):
        return ""
    return (
        f"revision {standing.revision} of the configuration, version {applied.version}, holds "
        "instead of the file: `droveway config diff` shows how they differ, "
        "`droveway config release` ends it"
    )
