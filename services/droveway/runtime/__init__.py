"""What every service stands on: the bus, relays, life cycle, settings, probes.

Knows no provider, no dialect and no service. Only `bus.client` knows nats-py.
"""
