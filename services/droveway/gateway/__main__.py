"""`python -m droveway.gateway`."""

from droveway.gateway.service import run
from droveway.gateway.settings import GatewaySettings
from droveway.runtime import service


def main() -> None:
    """Runs the gateway as this process."""
    service.main("gateway", GatewaySettings, run)


if __name__ == "__main__":
    main()
