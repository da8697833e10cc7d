"""Questions about what was used and what it cost, answered from the ledger's tables.

`desk` hears them and answers; `report`, `stats` and `bill` are the three kinds. Sums come from the
hours, which stand for months; what only rows tell (percentiles, single errors) from the rows of
the last days. Nothing is written here.
"""
