"""`python -m droveway.router`."""

from droveway.router.service import run
from droveway.router.settings import RouterSettings
from droveway.runtime import service


def main() -> None:
    """Runs the router as this process."""
    service.main("router", RouterSettings, run)


if __name__ == "__main__":
    main()
