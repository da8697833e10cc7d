"""`python -m droveway.limiter`."""

from droveway.limiter.service import run
from droveway.limiter.settings import LimiterSettings
from droveway.runtime import service


def main() -> None:
    """Runs the limiter as this process."""
    service.main("limiter", LimiterSettings, run)


if __name__ == "__main__":
    main()
