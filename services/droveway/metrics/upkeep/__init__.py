"""What an operator does to the ledger while the service counts: look, rebuild, re-price, check.

Each works from the command line on the database itself. The position's row is the lock: what
changes something touches it first, as the service's writer does.
"""
