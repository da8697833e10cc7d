"""`python -m droveway.metrics`."""

from droveway.metrics.service import run
from droveway.metrics.settings import MetricsSettings
from droveway.runtime import service


def main() -> None:
    """Runs the metrics service as this process."""
    service.main("metrics", MetricsSettings, run)


if __name__ == "__main__":
    main()
