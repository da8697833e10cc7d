"""A port that a server finds free again after it was down: the system gives it to nobody else."""

import random

from droveway.cli import ports

BELOW_EPHEMERAL = range(20_000, 32_768)
"""What is asked for as port 0, and each outgoing connection, gets one from above these."""


def steady_port() -> int:
    """A port of this machine that is free and stays so while its server is killed and restarted."""
    while not ports.is_free(port := random.choice(BELOW_EPHEMERAL)):
        pass
    return port
