"""Events on the bus: their bytes, who tells them, and what a reader makes of strange ones."""

import msgspec
import pytest

from droveway.contracts import events
from droveway.contracts.envelope import MALFORMED
from droveway.contracts.permissions import USERS
from tests.contracts.samples import CALLER, GATEWAY, LIMITER, REQUEST

AT_MS = 1_790_000_000_000
_HEAD = f'"at_ms":{AT_MS},"instance":'
GOLDEN: dict[bytes, events.Event] = {
    f'{{"t":"request.refused.v1",{_HEAD}"{GATEWAY}","unsaid":7,"request_id":"{REQUEST}",'
    '"protocol":"http","operation":"chat.completions","tenant":"acme","key_id":"k1",'
    '"model":"gpt-5","status":429,"code":"rate_limit_exceeded"}'.encode(): events.RequestRefused(
        at_ms=AT_MS, instance=GATEWAY, unsaid=7, request_id=REQUEST, protocol="http",
        operation="chat.completions", tenant="acme", key_id="k1", model="gpt-5", status=429,
        code="rate_limit_exceeded",
    ),
    f'{{"t":"budget.crossed.v1",{_HEAD}"{LIMITER}","scope":"key","id":"k1","period":"month",'
    '"period_start_ms":1789000000000,"soft_nano":640000,"limit_nano":2000000,'
    '"spent_nano":747000}'.encode(): events.BudgetCrossed(
        at_ms=AT_MS, instance=LIMITER, scope="key", id="k1", period="month",
        period_start_ms=1_789_000_000_000, soft_nano=640_000, limit_nano=2_000_000,
        spent_nano=747_000,
    ),
    f'{{"t":"cooldown.began.v1",{_HEAD}"{CALLER}","provider":"openai","credential":"main",'
    '"why":"rate_limited","for_ms":2000}'.encode(): events.CooldownBegan(
        at_ms=AT_MS, instance=CALLER, provider="openai", credential="main", why="rate_limited",
        for_ms=2_000,
    ),
    b'{"t":"cooldown.ended.v1","provider":"openai","credential":"main"}': events.CooldownEnded(
        provider="openai", credential="main"
    ),
    b'{"t":"target.opened.v1","provider":"openai","model":"gpt-5","why":"slow"}': (
        events.TargetOpened(provider="openai", model="gpt-5", why="slow")
    ),
    b'{"t":"target.closed.v1","provider":"openai","model":"gpt-5"}': events.TargetClosed(
        provider="openai", model="gpt-5"
    ),
    b'{"t":"config.adopted.v1"}': events.ConfigAdopted(),
    b'{"t":"config.refused.v1","findings":2}': events.ConfigRefused(findings=2),
    b'{"t":"owner.changed.v1","partition":0,"sequence":8}': events.OwnerChanged(
        partition=0, sequence=8
    ),
    b'{"t":"ledger.behind.v1","rows":12000}': events.LedgerBehind(rows=12_000),
    b'{"t":"ledger.caught_up.v1"}': events.LedgerCaughtUp(),
    b'{"t":"canary.rolled_back.v1","route":"gpt-*","reason":"worse"}': events.CanaryRolledBack(
        route="gpt-*", reason="worse"
    ),
}  # fmt: skip


@pytest.mark.parametrize("data", GOLDEN)
def test_an_event_has_these_bytes_and_is_read_from_them(data: bytes) -> None:
    assert events.encode_json(GOLDEN[data]) == data
    assert events.event_decoder.decode(data) == GOLDEN[data]


def test_every_event_is_told_by_somebody_and_has_its_bytes_here() -> None:
    told = {kind for kinds in events.OF_SERVICES.values() for kind in kinds}
    assert told == {type(event) for event in GOLDEN.values()} == set(events.Event.__args__)


@pytest.mark.parametrize("data", GOLDEN)
def test_a_later_field_is_ignored(data: bytes) -> None:
    later = msgspec.json.decode(data) | {"added_later": {"deep": [1, None]}}
    assert events.event_decoder.decode(msgspec.json.encode(later)) == GOLDEN[data]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xff", b"{}", b"[]", b'{"t":"budget.crossed.v9"}', b'{"t":"config.refused.v1"}',
        b'{"t":"config.refused.v1","findings":-1}', b'{"t":"owner.changed.v1","partition":"x"}',
        b'{"t":"cooldown.ended.v1","provider":"a.b","credential":"*"}', b"[" * 200_000,
        b'{"t":"config.adopted.v1","x":' + b"[" * 200_000,
    ],
    ids=lambda data: repr(data[:30]),
)  # fmt: skip
def test_strange_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(MALFORMED):
        events.event_decoder.decode(data)


@pytest.mark.parametrize("service", events.OF_SERVICES)
def test_a_service_speaks_under_its_own_name_only(service: str) -> None:
    (user,) = [one for one in USERS if one.name == service]
    assert [one for one in user.publish if ".events." in one] == [events.events_subject(service)]


def test_only_operators_hear_events() -> None:
    assert [user.name for user in USERS if events.ANY in user.subscribe] == ["operator"]


def test_a_name_says_what_happened() -> None:
    assert events.name_of(events.BudgetCrossed) == "budget.crossed"
