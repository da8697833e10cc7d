"""Commands as they are typed, beside services that run in the test's own loop."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from droveway.cli.main import main


class Outcome:
    """What a command has left."""

    def __init__(self, code: int, stdout: str, stderr: str) -> None:
        self.code, self.stdout, self.stderr = code, stdout, stderr

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


class Commands:
    """Runs them in a thread, with the data folder of a test's broker."""

    def __init__(self, data: Path, capture: pytest.CaptureFixture[str]) -> None:
        self._data = data
        self._capture = capture

    async def __call__(self, *words: str) -> Outcome:
        self._capture.readouterr()
        code = await asyncio.to_thread(self._run, [*words, "--data", str(self._data)])
        output = self._capture.readouterr()
        return Outcome(code, output.out, output.err)

    def _run(self, words: list[str]) -> int:
        try:
            main(words)
        except SystemExit as exit_:
            return int(exit_.code or 0)
        return 0
