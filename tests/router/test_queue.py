"""Whose turn it is: nobody is lost, nobody starves, a long line takes nothing from a short one."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from droveway.router.places import Places
from droveway.router.queue import QUANTUM_TOKENS, Bounds, Entry, FairQueue
from tests.support.turns import places

ANYWHERE = places("a")
TENANTS = st.sampled_from(["t1", "t2", "t3", "t4"])
TOKENS = st.integers(1, 12_000)
PLACES = st.sampled_from([places("a"), places("b"), places("a", "b")])
WIDE = Bounds(10_000, 10**9)


def at_a(wanted: Places) -> bool:
    return not wanted.isdisjoint(places("a"))


def always(_places: Places) -> bool:
    return True


def drained(queue: FairQueue) -> list[Entry]:
    found = []
    while (entry := queue.take(always)) is not None:
        queue.settled(entry)
        found.append(entry)
    return found


@given(st.lists(st.tuples(TENANTS, st.integers(0, 2), TOKENS, PLACES), max_size=60), st.data())
def test_each_request_goes_once_and_the_bounds_hold(
    asked: list[tuple[str, int, int, Places]], data: st.DataObject
) -> None:
    bounds = Bounds(data.draw(st.integers(1, 20)), data.draw(st.integers(1, 40_000)))
    queue = FairQueue(bounds, 3)
    inside: set[Entry] = set()
    seen: list[Entry] = []
    for one in asked:
        entry = Entry(*one)
        gone = queue.push(entry)
        inside.add(entry)
        assert set(gone) <= inside
        inside -= set(gone)
        assert len(queue) == len(inside) <= bounds.requests
        assert queue.tokens == sum(each.tokens for each in inside) <= bounds.tokens
        match data.draw(st.sampled_from(["stay", "take", "try", "leave"])):
            case "take" if (taken := queue.take(always)) is not None:
                queue.settled(taken)
                inside.remove(taken)
                seen.append(taken)
            case "try" if (taken := queue.take(always)) is not None:
                queue.put_back(taken)
            case "leave" if inside:
                left = data.draw(st.sampled_from(sorted(inside, key=lambda each: each.number)))
                assert queue.discard(left)
                assert not queue.discard(left)
                inside.remove(left)
    rest = drained(queue)
    assert set(rest) == inside
    assert len(rest) == len(inside)
    assert not set(rest) & set(seen)
    assert (len(queue), queue.tokens, sum(queue.depths)) == (0, 0, 0)


@given(st.lists(st.tuples(TENANTS, TOKENS), min_size=1, max_size=120), st.randoms())
def test_while_both_wait_no_tenant_gets_more_than_another_but_for_a_turn(
    asked: list[tuple[str, int]], dice: random.Random
) -> None:
    """The bound of Shreedhar and Varghese: a quantum and twice the largest request."""
    queue = FairQueue(WIDE, 1)
    left: Counter[str] = Counter()
    for tenant, tokens in asked:
        queue.push(Entry(tenant, 0, tokens, ANYWHERE))
        left[tenant] += 1
    bound = QUANTUM_TOKENS + 2 * max(tokens for _, tokens in asked)
    served: Counter[str] = Counter()
    while (entry := queue.take(always)) is not None:
        if dice.random() < 0.3:
            queue.put_back(entry)  # called in vain: that costs nobody anything
            assert queue.take(always) is entry
        queue.settled(entry)
        served[entry.tenant] += entry.tokens
        left[entry.tenant] -= 1
        busy = [served[tenant] for tenant in left if left[tenant] > 0]
        assert not busy or max(busy) - min(busy) <= bound


@given(st.lists(st.tuples(TENANTS, st.integers(0, 2), TOKENS), max_size=60))
def test_a_more_urgent_class_goes_first_and_a_tenants_own_requests_keep_their_order(
    asked: list[tuple[str, int, int]],
) -> None:
    queue = FairQueue(WIDE, 3)
    for tenant, priority, tokens in asked:
        queue.push(Entry(tenant, priority, tokens, ANYWHERE))
    order = drained(queue)
    assert [one.priority for one in order] == sorted(one.priority for one in order)
    for flow in {(one.tenant, one.priority) for one in order}:
        numbers = [one.number for one in order if (one.tenant, one.priority) == flow]
        assert numbers == sorted(numbers)


@given(st.lists(st.tuples(TENANTS, TOKENS, PLACES), max_size=40))
def test_room_at_one_place_calls_nobody_who_waits_for_another(
    asked: list[tuple[str, int, Places]],
) -> None:
    queue = FairQueue(WIDE, 1)
    for tenant, tokens, where in asked:
        queue.push(Entry(tenant, 0, tokens, where))
    called = []
    while (entry := queue.take(at_a)) is not None:
        called.append(entry)
    assert all(not entry.places.isdisjoint(places("a")) for entry in called)
    assert all(entry.places == places("b") for entry in drained(queue))


def test_who_found_no_room_stands_first_again_and_is_not_charged() -> None:
    queue = FairQueue(WIDE, 1)
    big = Entry("t1", 0, 100_000, ANYWHERE)
    queue.push(big)
    for _ in range(3):
        queue.push(Entry("t2", 0, 1, ANYWHERE))
    first = [queue.take(always) for _ in range(4)]
    assert first[-1] is big, "it saves up while the small ones go"
    for _ in range(5):
        queue.put_back(big)
        assert queue.take(always) is big
    queue.put_back(big)
    late = Entry("t2", 0, 1, ANYWHERE)
    queue.push(late)
    assert [queue.take(always), queue.take(always)] == [late, big], "as if it hadn't been called"


def test_a_tenant_that_comes_late_is_next_when_it_asks_for_no_more_than_others() -> None:
    queue = FairQueue(WIDE, 1)
    for _ in range(100):
        queue.push(Entry("noisy", 0, 50, ANYWHERE))
    for _ in range(10):
        queue.take(always)
    quiet = Entry("quiet", 0, 50, ANYWHERE)
    queue.push(quiet)
    assert queue.take(always) is quiet


def test_a_full_queue_cuts_the_longest_line_and_spares_the_others() -> None:
    queue = FairQueue(Bounds(10, 10**9), 1)
    noisy = [Entry("noisy", 0, 10, ANYWHERE) for _ in range(10)]
    for entry in noisy:
        assert queue.push(entry) == []
    extra = Entry("noisy", 0, 10, ANYWHERE)
    assert queue.push(extra) == [extra]
    assert queue.push(Entry("quiet", 0, 10, ANYWHERE)) == [noisy[-1]], "its newest"
    assert queue.push(Entry("quiet", 0, 10, ANYWHERE)) == [noisy[-2]]


def test_a_full_queue_cuts_the_least_urgent_class_first() -> None:
    queue = FairQueue(Bounds(2, 10**9), 3)
    batch, interactive = Entry("t1", 2, 1, ANYWHERE), Entry("t2", 0, 1_000, ANYWHERE)
    queue.push(batch)
    queue.push(interactive)
    assert queue.push(Entry("t2", 0, 1_000, ANYWHERE)) == [batch]
    late = Entry("t3", 2, 1, ANYWHERE)
    assert queue.push(late) == [late]


def test_a_request_that_is_too_large_for_the_others_takes_nobodys_place() -> None:
    queue = FairQueue(Bounds(10, 100), 1)
    small = [Entry("t1", 0, 30, ANYWHERE) for _ in range(3)]
    for entry in small:
        queue.push(entry)
    large = Entry("t2", 0, 1_000, ANYWHERE)
    assert queue.push(large) == [large]
    assert drained(queue) == small
    assert queue.push(large) == [], "alone it fits, whatever its size"
