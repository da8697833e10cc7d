"""What the long rows are built of: a seeded plan, what clients saw, a slope with its doubt."""

import random
from pathlib import Path

import pytest

from droveway.simulator.faults import parse_model_faults
from tests.prove.memory_slope import PER_REQUESTS, slope
from tests.prove.streams_clients import gathered
from tests.prove.streams_plan import CUTS, FAULTS, LONGEST, SHORTEST, draw
from tests.support.checker import Evidence, check
from tests.support.history import History


def test_a_plan_is_drawn_from_its_seed() -> None:
    one, same, other = (
        draw(random.Random(seed), 50, [1, 2], faulty=0.5, leaving=0.5) for seed in (1, 1, 2)
    )
    assert one == same != other
    assert {ask.port for ask in one} == {1, 2}
    assert 0 < sum(ask.leave_after_s is not None for ask in one) < 50


def test_every_fault_of_a_plan_is_known_to_the_simulator_and_keeps_its_length() -> None:
    asks = draw(random.Random(3), 500, [1], faulty=1.0)
    history = History()
    for ask in asks:
        faults = parse_model_faults(ask.model)
        expected = history.invoke("raw", ask.model, stream=True).expected_tokens
        assert expected == faults.numbers["numbered"]
        assert SHORTEST <= expected <= LONGEST
        assert not any(faults.numbers.get(name, 0) >= expected for name in CUTS)
    assert all(any(name in ask.model for ask in asks) for name in FAULTS)


def test_a_client_that_leaves_at_the_last_moment_has_no_outcome(tmp_path: Path) -> None:
    with History(tmp_path / "raw.jsonl") as seen:
        record = seen.invoke("raw", "numbered-1", stream=True)
        record.status, record.body, record.tokens = 200, "left", ["t0 "]
        record.terminals = ["done"]
        seen.add(record)
    history = History()
    gathered(history, [tmp_path / "raw.jsonl"])
    assert [one.terminal for one in history.requests] == ["none"]
    assert check(Evidence(history)) == []


def test_a_straight_line_has_its_slope_without_doubt() -> None:
    requests = [1_000.0 * number for number in range(24)]
    found = slope(requests, [50 + 2 * one / PER_REQUESTS for one in requests])
    assert found.mib == pytest.approx(2)
    assert found.plus_minus < 1e-6


def test_noise_is_told_as_doubt_that_holds_the_true_slope() -> None:
    rng = random.Random(5)
    requests = [4_000.0 * number for number in range(24)]
    found = slope(requests, [50 + one / PER_REQUESTS + rng.gauss(0, 0.3) for one in requests])
    assert abs(found.mib - 1) < found.plus_minus < 1


def test_few_samples_tell_no_slope() -> None:
    with pytest.raises(ValueError, match="11 samples"):
        slope([float(one) for one in range(11)], [1.0] * 11)
