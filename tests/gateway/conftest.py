import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_callback_failed(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What a protocol's callback raises, the loop only logs."""
    yield
    records = [r for r in caplog.get_records("call") if r.name == "asyncio"]
    failures = [r.getMessage() for r in records if r.levelno >= logging.ERROR]
    assert failures == []
