"""Settings come from the environment, whole and checked; an error names the variable."""

import pytest

from droveway.caller.settings import CallerSettings
from droveway.limiter.settings import LimiterSettings
from droveway.runtime.errors import SettingsError
from droveway.runtime.settings import SHARED, DrainingSettings, read


def test_defaults_hold_where_nothing_is_set() -> None:
    assert read(LimiterSettings, "limiter", {}) == LimiterSettings()


GOOD = {
    "own": ({"DROVEWAY_CALLER_POOL": "gpu"}, "pool", "gpu"),
    "number": ({"DROVEWAY_CALLER_SPOOL_ROWS": "5"}, "spool_rows", 5),
    "seconds": ({"DROVEWAY_CALLER_PULL_S": "2.5"}, "pull_s", 2.5),
    "shared": ({"DROVEWAY_NATS_URL": "nats://a,nats://b"}, "nats_url", "nats://a,nats://b"),
    "own before shared": (
        {"DROVEWAY_NATS_URL": "nats://a", "DROVEWAY_CALLER_NATS_URL": "nats://b"},
        "nats_url",
        "nats://b",
    ),
    "not shared": ({"DROVEWAY_POOL": "gpu"}, "pool", "default"),
    "a port is each service's own": ({"DROVEWAY_ADMIN_PORT": "9000"}, "admin_port", 0),
    "another's": ({"DROVEWAY_LIMITER_NATS_URL": "nats://x"}, "nats_url", "nats://127.0.0.1:4222"),
    "zero": ({"DROVEWAY_DRAIN_S": "0"}, "drain_s", 0.0),
}


@pytest.mark.parametrize(("environment", "field", "value"), GOOD.values(), ids=GOOD)
def test_a_variable_sets_its_field(environment: dict[str, str], field: str, value: object) -> None:
    assert getattr(read(CallerSettings, "caller", environment), field) == value


BAD = {
    "DROVEWAY_CALLER_ADMIN_PORT": "70000",
    "DROVEWAY_CALLER_MAX_IN_FLIGHT": "many",
    "DROVEWAY_CALLER_SPOOL_ROWS": "0",
    "DROVEWAY_CALLER_PULL_S": "-1",
    "DROVEWAY_CALLER_POOL": "not.an.id",
    "DROVEWAY_DRAIN_S": "soon",
    "DROVEWAY_CALLER_DRAIN_S": "nan",
}


@pytest.mark.parametrize(("name", "value"), BAD.items(), ids=BAD)
def test_an_error_names_the_variable_and_its_value(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(CallerSettings, "caller", {name: value})
    assert str(caught.value).startswith(f"{name}={value!r}: Expected ")


def test_shared_fields_are_fields_of_services() -> None:
    assert set(SHARED) <= set(DrainingSettings.__struct_fields__)
