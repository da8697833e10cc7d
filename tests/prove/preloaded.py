"""Imported once by the process that all others are forked from: a fork costs no import then."""

from droveway.cli.environment import SIMULATOR
from droveway.cli.processes import SERVICES, preload
from tests.prove.child import die_with_parent

die_with_parent()
preload((*SERVICES, SIMULATOR), telemetry=False)
