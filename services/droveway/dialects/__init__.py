"""Dialects of the APIs that Droveway speaks: pure functions between bytes and facts.

Nothing here knows a clock, a socket or a service; gateway, caller and jobs import it.
"""
