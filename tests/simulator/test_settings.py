"""The simulator's settings."""

import pytest

from droveway.simulator.settings import Settings, SettingsError


def test_the_environment_changes_what_it_names() -> None:
    environ = {
        "DROVEWAY_SIMULATOR_PORT": "9",
        "DROVEWAY_SIMULATOR_KEEP_BODIES": "true",
        "DROVEWAY_SIMULATOR_FAULT": "500,times=1",
        "PATH": "/bin",
    }
    changed = Settings(port=9, keep_bodies=True, fault="500,times=1")
    assert Settings.from_environment(environ) == changed


@pytest.mark.parametrize(
    ("field", "text"),
    [("PORT", "99999"), ("BOOK_ENTRIES", "0"), ("FIRST_TOKEN_MS", "soon"), ("FAULT", "explode")],
)
def test_a_wrong_variable_is_named(field: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"DROVEWAY_SIMULATOR_{field}"):
        Settings.from_environment({f"DROVEWAY_SIMULATOR_{field}": text})
