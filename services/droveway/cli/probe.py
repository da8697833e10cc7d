"""`droveway probe`: real requests through a gateway as a client sends them, once or on a schedule.

They are requests like any other: limited, recorded, paid. A key of the probe's own tells them
apart in rows, reports and budgets.
"""

import asyncio
import math
import re
import sys
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
import msgspec

from droveway.cli import terminal
from droveway.cli.cost import own_config
from droveway.cli.data_folder import DataFolder
from droveway.cli.probe_report import line, outcome, summary
from droveway.cli.probe_request import Question, Result, ask
from droveway.runtime.errors import DrovewayError, SettingsError
from droveway.runtime.price_resolver import PriceResolver

_EVERY = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class ProbeFailed(DrovewayError):
    """Requests weren't answered as they should; scripts see exit code 1."""

    code = 1


class Wish(NamedTuple):
    """What the command line says."""

    models: tuple[str, ...]
    times: int
    """Requests to each model, per round."""
    url: str
    key: str
    every: str
    prompt: str
    max_tokens: int
    limit_s: float
    json: bool


def run(wish: Wish, data: Path) -> None:
    """Asks each model as often as wished, one request after the other, and prints what came.

    Raises:
        SettingsError: Address, key or interval are missing or wrong.
        ProbeFailed: A request failed.
    """
    every_s = seconds(wish.every) if wish.every else None
    headers = {"authorization": f"Bearer {key_of(wish.key, data)}", "user-agent": "droveway-probe"}
    probe = _Probe(wish, base_url(wish.url), headers, PriceResolver(own_config(data)))
    try:
        asyncio.run(probe.rounds(every_s))
    except KeyboardInterrupt:
        sys.stderr.write("\n")
    if probe.failed:
        raise ProbeFailed(f"{probe.failed} of {probe.asked} requests failed")


def seconds(text: str) -> float:
    """`30s`, `5m`, `2h`, `1d`.

    Raises:
        SettingsError: It has another form, or is 0.
    """
    match = _EVERY.fullmatch(text)
    if match is None or not int(match[1]):
        raise SettingsError(f"--every {text[:20]!r}: expected a number with s, m, h or d, like 5m")
    return float(int(match[1]) * _SECONDS[match[2]])


def base_url(text: str) -> str:
    """The gateway's `/v1/`, also when the address was given without it.

    Raises:
        SettingsError: It is no address of a web server.
    """
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError("--url: expected http://host:port or https://host, with or without /v1")
    if parts.username or parts.query or parts.fragment:
        raise SettingsError("--url: expected no user, query or fragment; the key has an option")
    return text.strip().rstrip("/").removesuffix("/v1") + "/v1/"


def key_of(given: str, data: Path) -> str:
    """The key as given, else the first one of a `droveway up` on this machine.

    Raises:
        SettingsError: There is none, or it can't stand in a header.
    """
    if not given.strip() and not (data / "key").is_file():
        raise SettingsError(
            f"no key: set DROVEWAY_KEY (`droveway keys new --tenant probe` makes one); "
            f"{data / 'key'} of a `droveway up` isn't there either"
        )
    key = given.strip() or DataFolder(data).first_key()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise SettingsError("--key: expected printable ASCII without blanks")
    return key


class _Probe:
    """Rounds of requests, and how many failed since the first."""

    def __init__(
        self, wish: Wish, url: str, headers: dict[str, str], prices: PriceResolver
    ) -> None:
        self.asked = self.failed = 0
        self._console = terminal.console()
        self._wish = wish
        self._url = url
        self._headers = headers
        self._prices = prices

    async def rounds(self, every_s: float | None) -> None:
        """One round; with an interval one after the other, until cancelled."""
        due_s = time.monotonic()
        while True:
            await self._round()
            if every_s is None:
                return
            late_s = time.monotonic() - due_s
            due_s += every_s * max(1, math.ceil(late_s / every_s))
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    async def _round(self) -> None:
        """Over connections of its own, as a client that comes anew has them."""
        results: list[tuple[Result, int]] = []
        async with httpx.AsyncClient(base_url=self._url, headers=self._headers) as client:
            for model in self._wish.models * self._wish.times:
                results += [await self._ask(client, model)]
        for model in self._wish.models:
            self._print(summary(model, [one for one in results if one[0].model == model]))

    async def _ask(self, client: httpx.AsyncClient, model: str) -> tuple[Result, int]:
        wish = self._wish
        result = await ask(client, Question(model, wish.prompt, wish.max_tokens, wish.limit_s))
        price = self._prices.price(result.provider, result.provider_model or model)
        nano_usd = price.cost_nano_usd(result.usage)
        self.asked += 1
        self.failed += bool(result.error)
        self._print(outcome(result, nano_usd, price.source))
        return result, nano_usd

    def _print(self, told: dict[str, object]) -> None:
        text = msgspec.json.encode(told).decode() if self._wish.json else line(told)
        self._console.print(text, markup=False)
