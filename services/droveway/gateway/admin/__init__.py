"""The administration's HTTP API: tenants, keys, limits, budgets, credit, standing and audit trail.

`endpoints` says what there is, `door` serves it; `entries` and `questions` do it. Who may is in
`admins`. It isn't there unless the operator's file names an admin.
"""
