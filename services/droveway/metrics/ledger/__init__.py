"""The ledger: rows of USAGE in SQL, each once, with what they cost; sums by the hour.

SQLite in a file, or PostgreSQL by URL. The stream's position stands in the same transaction as the
rows behind it, so the tables can be emptied and made again from the stream at any time.
"""
