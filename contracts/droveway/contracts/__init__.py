"""The wire: every message that Droveway's services exchange, and nothing else.

Modules in the order in which a request travels: `inference` (door to router), `admission` (router
to limiter), `dispatch` (router to caller), `relay` (caller to door), `usage` (everybody to the
ledger). `envelope` holds what they share, `jetstream` the streams as plain data, `config` the
operator's file, `errors` the one catalogue of codes.
"""
