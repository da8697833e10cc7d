"""What the administration's HTTP API has: one table for the door and for the OpenAPI document."""

from typing import Any, NamedTuple

import msgspec

from droveway.contracts.access import Role
from droveway.contracts.admission import StandingReported
from droveway.gateway.admin import provider_shapes, shapes

ROOT = "/admin/v1/"
PAGE = ("after", "limit", "tenant")
TRAIL = ("before", "limit")
"""What may stand in the query of a list."""
MAX_PAGE = 1_000
DEFAULT_PAGE = 100


class Endpoint(NamedTuple):
    """One method of one path."""

    name: str
    """As spans and the document name it."""
    method: str
    path: str
    """Below `ROOT`; `{id}` stands for an id."""
    role: Role
    """Who may, and those above."""
    summary: str
    answer: type[msgspec.Struct]
    body: type[msgspec.Struct] | None = None
    status: int = 200
    query: tuple[str, ...] = ()
    of_revision: bool = False
    """It changes an entry and wants `If-Match`."""

    @property
    def template(self) -> str:
        """The whole path."""
        return ROOT + self.path


def _entries(
    noun: str, seen: type[msgspec.Struct], made: type[msgspec.Struct], many: type[msgspec.Struct],
    new: type[msgspec.Struct], change: type[msgspec.Struct], role: Role,
) -> tuple[Endpoint, ...]:  # fmt: skip
    name, path, one = f"admin.{noun}s", f"{noun}s", f"{noun}s/{{id}}"
    page = PAGE if noun == "key" else PAGE[:2]
    rows: tuple[tuple[Any, ...], ...] = (
        (f"{name}.list", "GET", path, "viewer", f"All {noun}s", many, None, 200, page),
        (f"{name}.create", "POST", path, role, f"Make a {noun}", made, new, 201),
        (f"{name}.get", "GET", one, "viewer", f"One {noun}", seen),
        (f"{name}.change", "PATCH", one, role, f"Change a {noun}", seen, change, 200, (), True),
        (f"{name}.delete", "DELETE", one, "admin", f"Remove a {noun}", shapes.Deleted, None, 200,
         (), True),
        (f"{name}.limits.get", "GET", f"{one}/limits", "viewer", f"Limits of a {noun}",
         shapes.Limits),
        (f"{name}.limits.put", "PUT", f"{one}/limits", role, f"Replace all limits of a {noun}",
         shapes.Limits, shapes.Limits, 200, (), True),
        (f"{name}.budgets.get", "GET", f"{one}/budgets", "viewer", f"Budgets of a {noun}",
         shapes.Budgets),
        (f"{name}.budgets.put", "PUT", f"{one}/budgets", "admin",
         f"Replace all budgets of a {noun}", shapes.Budgets, shapes.Budgets, 200, (), True),
        (f"{name}.credit", "POST", f"{one}/credit", "admin", f"Add to the credit of a {noun}",
         shapes.Budgets, shapes.Credit, 200, (), True),
    )  # fmt: skip
    return tuple(Endpoint(*row) for row in rows)


ENDPOINTS: tuple[Endpoint, ...] = (
    *_entries(
        "key", shapes.KeySeen, shapes.KeyMade, shapes.KeyList, shapes.NewKey, shapes.KeyChange,
        "operator",
    ),
    *_entries(
        "tenant", shapes.TenantSeen, shapes.TenantSeen, shapes.TenantList, shapes.NewTenant,
        shapes.TenantChange, "admin",
    ),
    Endpoint(
        "admin.keys.rotate", "POST", "keys/{id}/rotate", "operator", "Give a key a new secret",
        shapes.KeyMade, shapes.Rotation, of_revision=True,
    ),
    Endpoint(
        "admin.keys.standing", "GET", "keys/{id}/standing", "viewer",
        "Where a key and its tenant stand, as the limiter counts now", StandingReported,
    ),
    Endpoint(
        "admin.audit", "GET", "audit", "operator", "Who changed what", shapes.Trail, query=TRAIL
    ),
    Endpoint(
        "admin.providers.list", "GET", "providers", "viewer",
        "All providers: what is off, and how their targets fare", provider_shapes.ProviderList,
    ),
    Endpoint(
        "admin.providers.get", "GET", "providers/{id}", "viewer", "One provider",
        provider_shapes.ProviderSeen,
    ),
    Endpoint(
        "admin.providers.change", "PATCH", "providers/{id}", "operator",
        "Switch a provider or models of it off or on", provider_shapes.ProviderSeen,
        provider_shapes.ProviderChange, of_revision=True,
    ),
    Endpoint(
        "admin.providers.reset", "POST", "providers/{id}/reset", "operator",
        "Close breakers and end cooldowns of a provider", provider_shapes.ProviderReset,
        provider_shapes.ResetAsked,
    ),
)  # fmt: skip
