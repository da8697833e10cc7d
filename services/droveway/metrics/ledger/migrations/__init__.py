"""The ledger's schema as steps, which Alembic applies in their order."""
