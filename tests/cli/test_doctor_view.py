"""What `droveway doctor` prints, its exit codes, and that no secret is in them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from droveway.cli.doctor.evidence import Broker, Evidence, Unasked
from droveway.cli.doctor.finding import (
    Finding,
    broken,
    exit_code,
    named,
    note,
    ordered,
    warning,
)
from droveway.cli.doctor.view import MOST_SHOWN, as_json, lines
from droveway.contracts.audit import AuditRecorded, Author

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
BROKER = Broker("nats.internal:4222", "2.14.0", 3.0, 0.4)
BROKEN = broken("a", "it is down", "start it", "2026-11-23T11:58:00Z")
WARNING, NOTE = warning("b", "it is late", "look"), note("c", "it is off", "switch it on")
SECRET = "dw_live_k1_0123456789abcdef"


def printed(*findings: Finding, **fields: Any) -> list[str]:
    evidence = Evidence(at=NOW, **{"broker": BROKER, **fields})
    return [line.plain for line in lines(evidence, findings)]


@pytest.mark.parametrize(
    ("findings", "blind", "strict", "code"),
    [
        ((), False, True, 0),
        ((NOTE,), False, True, 0),
        ((WARNING,), False, False, 0),
        ((WARNING, NOTE), False, True, 1),
        ((BROKEN, WARNING), False, True, 2),
        ((BROKEN,), True, False, 3),
    ],
    ids=["well", "note", "warning", "strict", "broken", "blind"],
)
def test_exit_codes_are_those_of_monitoring_plugins(
    findings: tuple[Finding, ...], blind: bool, strict: bool, code: int
) -> None:
    assert exit_code(findings, blind=blind, strict=strict) == code


def test_the_worst_comes_first() -> None:
    assert ordered([NOTE, WARNING, BROKEN]) == [BROKEN, WARNING, NOTE]


def test_a_finding_is_two_lines_with_what_since_when_and_what_to_do() -> None:
    verdict, first, advice, *_ = printed(BROKEN, WARNING)
    assert verdict == "1 broken, 1 warning"
    assert first == "broken    it is down (for 2m)"
    assert advice.strip() == "start it"


def test_notes_alone_are_well() -> None:
    assert printed(NOTE)[0] == "all is well"


def test_more_than_a_screen_is_counted() -> None:
    shown = printed(*[WARNING] * (MOST_SHOWN + 7))
    assert sum("it is late" in line for line in shown) == MOST_SHOWN
    assert any(line.startswith("and 7 more") for line in shown)


def test_the_last_changes_stand_below() -> None:
    change = AuditRecorded(
        id="aud_1", at="2026-11-23T11:59:30Z", by=Author(via="operator", id="ann\x1b[2J"),
        action="provider.disabled", target="provider.openai", reason="too dear",
    )  # fmt: skip
    last = printed(changes=[change])[-1].strip()
    assert last == "30s ago: provider.disabled of provider.openai by operator ann?[2J: too dear"


def test_no_secret_and_no_control_character_is_ever_said() -> None:
    found = warning("x", f"nats://user:{SECRET}@host refuses \x1b[2J{SECRET}", SECRET)
    assert SECRET not in f"{found}"
    assert "\x1b" not in found.what


def test_words_are_bounded() -> None:
    assert len(warning("x", "w" * 10_000, "").what) == 300
    assert named(f"k{number}" for number in range(9)) == "k0, k1, k2, k3, k4 and 4 more"


def test_programs_get_all_of_it() -> None:
    evidence = Evidence(at=NOW, broker=BROKER, fill=Unasked("silence"))
    told = as_json(evidence, [BROKEN, NOTE], 2)
    assert (told["verdict"], told["exit_code"], told["not_asked"]) == ("broken", 2, ["fill"])
    assert [one["code"] for one in told["findings"]] == ["a", "c"]
    assert told["findings"][0]["since"] == "2026-11-23T11:58:00Z"
    assert as_json(evidence, [NOTE], 0)["verdict"] == "well"
