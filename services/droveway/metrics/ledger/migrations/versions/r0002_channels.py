"""Which channel of its route each row is of: a canary, or what stands beside it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Rows that are there are of no canary."""
    only = sa.text("channel <> ''")
    for table in ("attempts", "requests"):
        op.add_column(table, sa.Column("channel", sa.String(16), nullable=False, server_default=""))
        op.create_index(
            f"{table}_by_channel",
            table,
            ["channel", "stored_ms"],
            sqlite_where=only,
            postgresql_where=only,
        )
