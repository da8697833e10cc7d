"""`droveway top`: what rows of the last seconds add up to, on any terminal."""

import asyncio
import io
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from droveway.cli import top
from droveway.cli.cost import Costs
from droveway.cli.top_durations import Durations
from droveway.cli.top_picture import Line, Percentiles, Picture, picture
from droveway.cli.top_view import Size, view
from droveway.cli.top_window import MAX_NAMES, OTHER, SLICES, Window
from droveway.contracts import discovery
from droveway.contracts.relay import Usage
from droveway.contracts.usage import RequestTimes
from tests.support.nats import NatsServer, serving
from tests.support.rows import attempt_row, request_row
from tests.support.waiting import until

COSTS = Costs(None)
NOW_MS = 1_790_000_000_000


def counted(window: Window, dimension: Any, now_ms: int = NOW_MS) -> dict[str, int]:
    return {name: sums.requests for name, sums in window.totals(now_ms).by[dimension].items()}


def test_percentiles_are_at_most_one_percent_off() -> None:
    dice = random.Random(1)
    values = [dice.lognormvariate(6, 1.5) for _ in range(10_000)]
    parts = [Durations() for _ in range(10)]
    for at, value in enumerate(values):
        parts[at % 10].add(value)
    whole = Durations()
    for part in parts:
        whole.merge(part)
    values.sort()
    for share in (0.01, 0.5, 0.95, 0.99, 1.0):
        true = values[max(0, round(share * len(values)) - 1)]
        assert whole.percentile(share) == pytest.approx(true, rel=0.0101)


def test_durations_beyond_the_scale_count_at_its_ends() -> None:
    durations = Durations()
    for value in (0.0, -1.0, 1e300):
        durations.add(value)
    assert len(durations.counts) == 2
    assert Durations().percentile(0.5) is None


def test_a_window_adds_up_requests_attempts_and_money() -> None:
    window = Window(60, COSTS)
    row = request_row(
        model="fast", attempts=2, times=RequestTimes(first_frame_us=100_000, ended_us=400_000)
    )
    failed = attempt_row(row, provider="other", outcome="failed", usage=Usage(), asked_model="fast")
    own = attempt_row(row, attempt=2, asked_model="fast")
    for one in (failed, own, row, own, row):
        window.take(one, NOW_MS)
    window.take(request_row(model="fast", outcome="failed", stream=False), NOW_MS)
    window.take(request_row(model="slow", outcome="cancelled"), NOW_MS)
    totals = window.totals(NOW_MS)
    assert (totals.all.requests, totals.all.failed, totals.all.cancelled) == (3, 1, 1)
    assert totals.all.success == 0.5
    assert totals.all.cost_nano == 60_000, "once, though it was stored twice"
    assert counted(window, "model") == {"fast": 2, "slow": 1}
    assert counted(window, "provider") == {"other": 1, "openai": 1}
    assert counted(window, "key") == {"default/k1": 3}
    assert totals.by["model"]["fast"].output_tokens == 5
    assert totals.by["provider"]["other"].success == 0.0
    assert totals.all.first.count == 1
    assert totals.all.first.percentile(0.5) == pytest.approx(100, rel=0.011)


def test_what_is_older_than_the_window_is_forgotten() -> None:
    window = Window(60, COSTS)
    for age_s in (90, 30, 0):
        window.take(request_row(), NOW_MS - age_s * 1000)
    assert window.totals(NOW_MS).all.requests == 2
    assert window.totals(NOW_MS + 45_000).all.requests == 1
    assert window.totals(NOW_MS + 600_000).all.requests == 0


def test_a_window_has_bounded_memory() -> None:
    window = Window(60, COSTS)
    for at in range(MAX_NAMES + 50):
        window.take(request_row(model=f"m{at}"), NOW_MS)
    for at in range(200):
        window.take(request_row(), NOW_MS + at * 10_000)
    found = counted(window, "model", NOW_MS)
    assert len(window._slices) == SLICES
    assert len(found) <= MAX_NAMES + 1
    fresh = Window(60, COSTS)
    for at in range(MAX_NAMES + 50):
        fresh.take(request_row(model=f"m{at}"), NOW_MS)
    assert counted(fresh, "model")[OTHER] == 50


def stats(service: str, **told: str) -> discovery.Stats:
    return discovery.Stats(
        name=f"droveway-{service}", id=f"{service}-0123456789ab", version="1.2.3",
        started="2026-09-21T13:00:00.000Z", endpoints=(), metadata={"unready": "", **told},
    )  # fmt: skip


def test_services_tell_what_rows_do_not() -> None:
    found = picture(
        Window(60, COSTS).totals(NOW_MS),
        [
            stats("gateway", open_requests="3"),
            stats("gateway", open_requests="4", unready="shutting down"),
            stats("limiter", owner="true"),
            stats("metrics", usage_lag_rows="12"),
            stats("caller", owner="yes", open_requests="1.5"),
        ],
        NOW_MS,
    )
    assert found.in_flight == 7
    assert [one.owner for one in found.services] == [False, False, True, False, False]
    text = drawn(found, Size(120, None))
    for words in ("shutting down", "decides over limits", "12 rows behind", "4 requests open"):
        assert words in text
    assert picture(Window(1, COSTS).totals(NOW_MS), [], NOW_MS).in_flight is None


def drawn(found: Picture, size: Size) -> str:
    console = Console(width=size.columns, height=size.rows, file=io.StringIO())
    console.print(view(found, size))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def busy() -> Picture:
    none = Percentiles(1.0, 20.0, 12_345.6)
    lines = tuple(
        Line(
            name=f"provider-{at}/some-long-model-name-{at}" * (1 + at % 2), requests=9, per_s=1.5,
            success=0.9951, failed=1, cancelled=0, total_ms=none, first_token_ms=none,
            tokens_per_s=12_345.6, input_tokens=1, output_tokens=1, usd_per_h=1_234.5678,
        )
        for at in range(40)
    )  # fmt: skip
    empty = picture(Window(60, COSTS).totals(NOW_MS), [stats("router") for _ in range(9)], NOW_MS)
    return msgspec.structs.replace(empty, models=lines, providers=lines[:2], keys=lines)


@pytest.mark.parametrize("columns", [40, 60, 80, 110, 200])
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    text = drawn(busy(), Size(columns, 40))
    assert max(map(len, text.splitlines())) <= columns
    assert "p95 ms" in text
    assert "$/h" in text


@pytest.mark.parametrize("rows", [24, 40, 60])
def test_a_picture_is_no_higher_than_the_terminal(rows: int) -> None:
    lines = drawn(busy(), Size(120, rows)).splitlines()
    assert rows - 12 <= len(lines) <= rows
    assert sum("and " in line and " more" in line for line in lines) >= 2, "of 40 models and keys"


def test_names_do_not_steer_the_terminal() -> None:
    window = Window(60, COSTS)
    window.take(request_row(model="\x1b]0;title\x07[red]"), NOW_MS)
    found = picture(window.totals(NOW_MS), [stats("router", unready="\x1b[2J")], NOW_MS)
    text = drawn(found, Size(120, None))
    assert "\x1b" not in text
    assert "?]0;title?[red]" in text


async def test_a_terminal_gets_a_new_picture_each_time(nats: NatsServer) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, height=40, color_system=None)
    async with nats.bus("operator") as bus:
        task = asyncio.create_task(top.show(bus, top.Wish(every_s=0.2), COSTS, console))
        await until(lambda: screen.getvalue().count("requests/s") >= 2)
        task.cancel()
        await asyncio.wait([task])
    assert screen.getvalue().endswith("\x1b[?25h\x1b[?1049l"), "the screen is given back"


def test_the_command_prints_one_picture_and_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from droveway.cli.main import main; main()", "top", "--once"]
    with serving(tmp_path / "data") as server:
        ended = subprocess.run(
            [*command, "--data", str(server.folder.path)], capture_output=True, text=True,
            timeout=20, check=False, env={**os.environ, "DROVEWAY_CONFIG": "/nonexistent"},
        )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "0.0 requests/s" in ended.stdout
    assert "nobody answers" in ended.stdout


def test_counting_a_row_is_cheap() -> None:
    window, row = Window(60, COSTS), request_row()
    rows = [attempt_row(row) for _ in range(2_000)]
    began_s = time.thread_time()
    for one in rows:
        window.take(one, NOW_MS)
    assert time.thread_time() - began_s < 0.4, "200 microseconds a row would be too much"
