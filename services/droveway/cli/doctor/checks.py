"""All checks, in the order in which one would ask."""

from collections.abc import Callable, Iterator

from droveway.cli.doctor.check_broker import check_answers, check_clocks, check_connection
from droveway.cli.doctor.check_clients import check_budgets, check_keys, check_tenants
from droveway.cli.doctor.check_config import check_adoption, check_file
from droveway.cli.doctor.check_machine import check_disk, check_secrets
from droveway.cli.doctor.check_requests import check_failures, check_prices
from droveway.cli.doctor.check_routes import check_canaries, check_routes
from droveway.cli.doctor.check_services import (
    check_handlers,
    check_ledger,
    check_owner,
    check_presence,
    check_versions,
)
from droveway.cli.doctor.check_streams import check_fill, check_streams_are_there
from droveway.cli.doctor.check_targets import (
    check_credentials,
    check_providers,
    check_switches,
    check_targets,
)
from droveway.cli.doctor.evidence import Evidence
from droveway.cli.doctor.finding import Finding, ordered

Check = Callable[[Evidence], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    check_connection,
    check_streams_are_there,
    check_presence,
    check_owner,
    check_routes,
    check_providers,
    check_targets,
    check_credentials,
    check_failures,
    check_fill,
    check_disk,
    check_keys,
    check_budgets,
    check_canaries,
    check_adoption,
    check_file,
    check_versions,
    check_ledger,
    check_prices,
    check_clocks,
    check_secrets,
    check_switches,
    check_tenants,
    check_handlers,
    check_answers,
)


def diagnose(evidence: Evidence) -> list[Finding]:
    """Everything that is found, the worst first."""
    return ordered(found for check in CHECKS for found in check(evidence))
