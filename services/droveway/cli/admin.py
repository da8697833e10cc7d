"""`droveway admin`: keys of the administration's HTTP API, and the audit trail."""

import sys
from pathlib import Path

import yaml
from rich.console import Console

from droveway.cli.admin_session import print_json, run, say, struct_of, table
from droveway.cli.config import compact
from droveway.contracts.access import Admin
from droveway.contracts.audit import AuditRecorded
from droveway.runtime.api_key import hash_key, make_key
from droveway.runtime.audit_trail import read_trail

ENVIRONMENT = "admin"
"""Stands in the text of an admin's key, so that nobody takes it for a client's."""


def key(admin_id: str, role: str) -> None:
    """Prints a new admin key, which is stored nowhere, and its entry for the configuration file.

    Raises:
        EntryInvalid: The id or the role has a form that isn't allowed.
    """
    secret = make_key(ENVIRONMENT)
    admin = struct_of(Admin, {"id": admin_id, "sha256": hash_key(secret), "role": role})
    say("The admin's key; it is shown once and stored nowhere:")
    sys.stdout.write(f"{secret}\n")
    say("Its entry for the configuration file:")
    sys.stderr.write(yaml.safe_dump({"admins": [compact(admin)]}, sort_keys=False))


def audit(data: Path, limit: int, console: Console | None) -> None:
    """Prints the newest audit events, newest first; as JSON where there is no console.

    Raises:
        DrovewayError: The trail can't be read.
    """
    found = run(data, lambda bus: read_trail(bus, limit))
    if console is None:
        print_json([event for _, event in found])
        return
    titles = ("number", "when", "who", "via", "what", "of", "outcome", "reason")
    console.print(table(titles, (_row(number, event) for number, event in found)))


def _row(number: int, event: AuditRecorded) -> tuple[str, ...]:
    who = event.by.id if not event.by.role else f"{event.by.id} ({event.by.role})"
    return (
        str(number), event.at, who, event.by.via, event.action, event.target, event.outcome,
        event.reason,
    )  # fmt: skip
