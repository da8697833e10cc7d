"""Answers that are good for a moment: who asks too often asks only this process."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from droveway.runtime.reports import ReportUnavailable

FRESH_S = 1.0
MAX_ASKERS = 1_000
"""Beyond it the one that hasn't asked for longest is forgotten."""

Ask = Callable[[], Awaitable[bytes]]


class _Asker:
    """One asker's last answer; its next question waits for the one that is being answered."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.question = ""
        self.answer = b""
        self.until_s = 0.0


class KeptAnswers:
    """The last answer of each asker."""

    def __init__(
        self, within_s: float, fresh_s: float = FRESH_S, max_askers: int = MAX_ASKERS
    ) -> None:
        self._within_s = within_s
        self._fresh_s = fresh_s
        self._max_askers = max_askers
        self._askers: OrderedDict[str, _Asker] = OrderedDict()

    async def get(self, asker: str, question: str, ask: Ask) -> bytes:
        """The answer that is known, or a new one by `ask`.

        Raises:
            ReportUnavailable: There is none in time.
        """
        one = self._askers.setdefault(asker, _Asker())
        self._askers.move_to_end(asker)
        if len(self._askers) > self._max_askers:
            self._askers.popitem(last=False)
        try:
            async with asyncio.timeout(self._within_s), one.lock:
                if question != one.question or time.monotonic() >= one.until_s:
                    one.answer = await ask()
                    one.question = question
                    one.until_s = time.monotonic() + self._fresh_s
                return one.answer
        except TimeoutError:
            raise ReportUnavailable(f"no answer within {self._within_s:g} s") from None
