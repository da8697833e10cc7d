"""The statements that write pages, as text with values by position: made once for a database.

SQLAlchemy's own way of binding costs more than SQLite's inserting, so drivers get plain tuples.
"""

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Table, case, insert, literal_column
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect

from droveway.metrics.ledger import tables
from droveway.metrics.ledger.sums import MAX_SUM

_MOST: ColumnElement[int] = literal_column(str(MAX_SUM))


class Statements(NamedTuple):
    """Each takes tuples in the order of its table's columns."""

    insert_attempts: str
    insert_requests: str
    add_attempt_hours: str
    add_request_hours: str
    add_outcome_hours: str


def statements(dialect: Dialect) -> Statements:
    """For one kind of database."""
    return Statements(
        insert_attempts=str(insert(tables.attempts).compile(dialect=dialect)),
        insert_requests=str(insert(tables.requests).compile(dialect=dialect)),
        add_attempt_hours=_add_to(tables.attempt_hours, dialect),
        add_request_hours=_add_to(tables.request_hours, dialect),
        add_outcome_hours=_add_to(tables.outcome_hours, dialect),
    )


def adding(table: Table, dialect: Dialect) -> Any:
    """Inserts sums, or adds them to what is there."""
    kind = postgresql.insert if dialect.name == "postgresql" else sqlite.insert
    statement = kind(table)
    keys = [column.name for column in table.primary_key]
    more = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=keys,
        set_={
            column.name: case(
                (column > _MOST - more[column.name], _MOST), else_=column + more[column.name]
            )
            for column in table.columns
            if column.name not in keys
        },
    )


def _add_to(table: Table, dialect: Dialect) -> str:
    return str(adding(table, dialect).compile(dialect=dialect))
