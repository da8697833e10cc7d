"""Metrics: what happened, from the rows of USAGE.

Consumes `AttemptRecorded` and `RequestRecorded` from the stream USAGE as the durable consumer
`metrics`; serves tokens, cost and upstream outcomes as Prometheus text; builds the spans of failed
and slow requests that weren't sampled. Owns the price list; its SQL ledger is to come.
"""
