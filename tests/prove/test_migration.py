"""The judges of the claim about a migration: what breaks it is found, and what doesn't isn't."""

import random
from typing import Any

import msgspec
import pytest

from droveway.contracts import relay
from droveway.contracts.canary import STEPS, channel_of
from droveway.contracts.config import Canary, Price, RouteTarget
from droveway.contracts.inference import InferenceRequested, user_hash
from droveway.contracts.usage import AttemptRecorded, AttemptTimes
from droveway.simulator.book import Entry, fingerprint
from droveway.simulator.tokens import usage
from tests.contracts.samples import SHORT
from tests.prove.migration_book import (
    Asked,
    Placed,
    placed,
    strays,
    widest_gap,
    wrong_figures,
)
from tests.prove.migration_days import PEAK_PER_S, day, part_of, sample
from tests.support.history import Request

OLD, NEW = "old", "new"
PRICE = Price(input=1.0, output=2.0)
RECORDED = next(one for one in SHORT if isinstance(one, AttemptRecorded))
REQUESTED = next(one for one in SHORT if isinstance(one, InferenceRequested))
USERS = sample(2_000, 100, random.Random(1))


def migrated(users: list[str], **moved: tuple[float, ...]) -> list[Placed]:
    """Each user's first channel by day; `moved` says from where to where some are otherwise."""
    found = []
    for number, percent in enumerate(STEPS):
        for user in users:
            there = part_of(user) < 100 * percent
            if user in moved:
                there = bool(moved[user][number])
            found.append(Placed(Asked(user, number, record()), (NEW if there else OLD,)))
    return found


def record(invoked_s: float = 0.0) -> Request:
    return Request(id="1", client="raw", model="m", stream=False, invoked_s=invoked_s)


def test_users_are_where_the_contract_has_them() -> None:
    canary = Canary(targets=(RouteTarget(provider="p"),), percent=20)
    for user in map(str, range(200)):
        named = user_hash("default", user=user, key_id="")
        request = msgspec.structs.replace(REQUESTED, tenant="default", user=named)
        assert (channel_of(canary, request) == "canary") is (part_of(user) < 2_000)


def test_a_sample_has_the_shares_of_all() -> None:
    for percent in STEPS:
        inside = sum(part_of(user) < 100 * percent for user in USERS)
        assert abs(inside - percent) <= 2


def test_a_day_has_its_peak_and_no_more() -> None:
    times_s = day(3_000)
    busiest = max(sum(at_s <= one < at_s + 1 for one in times_s) for at_s in range(50))
    assert times_s == sorted(times_s)
    assert PEAK_PER_S * 0.9 <= busiest <= PEAK_PER_S + 1


def test_users_who_stay_where_they_belong_are_no_strays() -> None:
    found = migrated(USERS)
    assert strays(found, NEW, STEPS) == []
    assert widest_gap(found, NEW, STEPS) <= 2


def test_a_user_who_leaves_the_canary_or_is_elsewhere_is_a_stray() -> None:
    early = next(user for user in USERS if part_of(user) < 500)
    late = next(user for user in USERS if part_of(user) >= 5_000)
    found = migrated(USERS, **{early: (1, 0, 1, 1), late: (1, 1, 1, 1)})
    assert sorted(strays(found, NEW, STEPS)) == sorted([early, late])


def test_a_user_in_both_channels_at_once_is_a_stray() -> None:
    found = migrated(USERS)
    both = next(one for one in found if one.asked.day == 1 and one.first == OLD)
    assert strays([*found, both._replace(tried=(NEW,))], NEW, STEPS) == [both.asked.user]


def test_a_share_that_differs_is_measured_in_points() -> None:
    everybody = dict.fromkeys(USERS, (1, 1, 1, 1))
    assert widest_gap(migrated(USERS, **everybody), NEW, STEPS) == 95


def entry(number: int, user: str, model: str, begins_s: float, **fields: Any) -> Entry:
    return Entry(
        id=f"req_{number}",
        authorization_present=True,
        key_fingerprint=None,
        header_names=[],
        model=model,
        started_ms=begins_s * 1000,
        user_fingerprint=fingerprint(user),
        **fields,
    )


def test_calls_belong_to_the_request_that_was_asked_last_before() -> None:
    asked = [Asked("u", 0, record(at_s)) for at_s in (10.0, 20.0)]
    entries = [
        entry(3, "u", NEW, 21.5),
        entry(1, "u", OLD, 10.0),
        entry(2, "u", NEW, 11.4),
        entry(4, "v", OLD, 12.0),
    ]
    assert [one.tried for one in placed(asked, entries)] == [(OLD, NEW), (NEW,)]


def book() -> list[Entry]:
    told = usage(b"x" * 40, 0, 0, 10)
    good = [
        entry(number, "u", NEW, 0.0, ended_ms=100.0, status=200, outcome="answered", usage=told)
        for number in range(9)
    ]
    return [*good, entry(9, "u", NEW, 0.0, ended_ms=100.0, status=500, outcome="refused")]


def rows_of(took_us: int) -> list[AttemptRecorded]:
    """Of nine calls that were answered and one that was refused."""
    (spent,) = {one.usage for one in book() if one.usage}
    usage_ = relay.Usage(spent.prompt_tokens, spent.completion_tokens)
    done = msgspec.structs.replace(
        RECORDED, outcome="completed", times=AttemptTimes(ended_us=took_us), usage=usage_
    )
    failed = msgspec.structs.replace(RECORDED, outcome="failed", usage=relay.Usage())
    return [*[done] * 9, failed]


def line_of(entries: list[Entry], **changed: Any) -> dict[str, Any]:
    inputs = sum(one.usage.prompt_tokens for one in entries if one.usage)
    return {
        "channel": "canary",
        "requests": 9,
        "attempts": 10,
        "attempts_completed": 9,
        "attempts_cancelled": 0,
        "success_rate": 0.9,
        "errors": {"provider_unavailable": 1},
        "input_tokens": inputs,
        "output_tokens": 90,
        "estimated_tokens": 0,
        "cost_usd": f"{(inputs + 180) / 1_000_000:.6f}",
        **{f"total_p{rank}_us": 105_000 for rank in (50, 95, 99)},
        "projected_month_usd": None,
        **changed,
    }


def test_a_comparison_that_says_what_the_book_says_is_right() -> None:
    assert [*wrong_figures({}, line_of(book()), book(), rows_of(105_000), PRICE)] == []


def test_an_attempt_that_we_took_back_is_nobodys_failure() -> None:
    taken = msgspec.structs.replace(RECORDED, outcome="cancelled", usage=relay.Usage())
    line, rows = line_of(book(), attempts=11, attempts_cancelled=1), [*rows_of(105_000), taken]
    for entries in (book(), [*book(), book()[0]]):  # never seen, or answered
        assert [*wrong_figures({}, line, entries, rows, PRICE)] == []


def test_rows_that_the_book_does_not_have_are_told() -> None:
    more = [*book(), book()[0]]
    found = [*wrong_figures({}, line_of(book()), more, rows_of(105_000), PRICE)]
    assert len(found) == 4
    assert "rows have 10 calls, the book 11" in found[0]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("attempts", 11, "attempts is 11, by the rows 10"),
        ("attempts_completed", 8, "attempts_completed is 8, by the rows 9"),
        ("success_rate", 0.91, "success_rate is 0.91, by the rows 0.9"),
        ("errors", {}, "errors is 0, by the rows 1"),
        ("input_tokens", 1, "input_tokens is 1"),
        ("output_tokens", 91, "output_tokens is 91, by the rows 90"),
        ("estimated_tokens", 5, "estimated_tokens is 5, by the rows 0"),
        ("cost_usd", "0.000001", "cost_usd is 0.000001"),
        ("total_p99_us", 105_001, "p99 is 105001 us, by the rows 105000 us"),
    ],
)
def test_each_figure_that_differs_is_told(name: str, value: Any, said: str) -> None:
    entries, rows = book(), rows_of(105_000)
    (told,) = wrong_figures({}, line_of(entries, **{name: value}), entries, rows, PRICE)
    assert said in told


@pytest.mark.parametrize("took_ms", [80, 130])
def test_a_median_that_the_provider_did_not_have_is_told(took_ms: int) -> None:
    took_us = took_ms * 1000
    times = {f"total_p{rank}_us": took_us for rank in (50, 95, 99)}
    found = [*wrong_figures({}, line_of(book(), **times), book(), rows_of(took_us), PRICE)]
    assert f"p50 is {took_ms} ms, by the book 100 ms" in found[0]
    assert len(found) == (3 if took_ms < 100 else 1), "later ranks may be as late as they were"


def test_a_month_is_the_pace_of_what_both_had_for_all_of_its_days() -> None:
    entries = book()
    whole = {
        "since": "2026-11-23T06:00:00Z",
        "until": "2026-11-23T06:10:00Z",
        "channels": [{"requests": 9}, {"requests": 9}],
    }
    usd = float(line_of(entries)["cost_usd"]) * 2 * 30 * 24 * 6
    right = line_of(entries, projected_month_usd=f"{usd:.6f}")
    rows = rows_of(105_000)
    assert [*wrong_figures(whole, right, entries, rows, PRICE)] == []
    half = line_of(entries, projected_month_usd=f"{usd / 2:.6f}")
    (told,) = wrong_figures(whole, half, entries, rows, PRICE)
    assert "a month is" in told
