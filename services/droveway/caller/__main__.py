"""`python -m droveway.caller`."""

from droveway.caller.service import run
from droveway.caller.settings import CallerSettings
from droveway.runtime import service


def main() -> None:
    """Runs the caller as this process."""
    service.main("caller", CallerSettings, run)


if __name__ == "__main__":
    main()
