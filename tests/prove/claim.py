"""What a row of the table is, and what a claim is given to measure itself."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.checker import STREAMS, Evidence, check
from tests.support.history import History


class Result(NamedTuple):
    """What was measured: numbers and units only, since all languages share them."""

    measured: str
    held: bool
    facts: dict[str, Any]
    """Everything that was counted, for the JSON."""


@dataclass(frozen=True)
class Claim:
    """One promise that is counted.

    Args:
        id: The number in the fault matrix (B) or the table of promises (D).
        text: What is claimed, in words; `chinese.TEXTS` has the same for the Chinese README.
        bound: When it holds: numbers and units, in the order of the text.
        run: Measures it.
        within_s: How long that may take.
    """

    id: str
    text: str
    bound: str
    run: Callable[["Run"], Awaitable[Result]]
    within_s: float = 300.0


@dataclass
class Run:
    """One run of one claim: its seed, its size, its folder, and what it found broken."""

    id: str
    seed: int
    quick: bool
    folder: Path
    violations: list[str] = field(default_factory=list)

    def count(self, full: int, quick: int) -> int:
        """How often something is done."""
        return quick if self.quick else full

    def random(self, name: str = "") -> random.Random:
        """Chances that the seed decides, a sequence for each name."""
        return random.Random(f"{self.seed}/{self.id}/{name}")

    def history(self, name: str = "history") -> History:
        """A history that is kept; to be used as a context manager."""
        return History(self.folder / f"{name}.jsonl", seed=self.seed)

    def judge(self, evidence: Evidence, *more: str) -> list[str]:
        """Checks the invariants of streams and those named; a violation breaks the claim."""
        found = check(evidence, (*STREAMS, *more))
        self.violations += found
        return found

    def blame(self, violation: str) -> None:
        """Something went wrong that no claim allows."""
        self.violations.append(violation)
