from tests.support.nats import nats

__all__ = ["nats"]
