"""A configuration is taken whole or refused with place and advice."""

from pathlib import Path

import pytest

from droveway.contracts.config import Config
from droveway.runtime.config.file import MAX_CONFIG_BYTES, load, parse
from droveway.runtime.errors import SettingsError

GOOD = """
version: 1
providers:
  - id: openai
    base_url: https://api.openai.com/v1
    credentials: [{id: main, api_key: "${OPENAI_API_KEY}"}]
routes:
  - model: gpt-5
    tiers: [{targets: [{provider: openai}]}]
keys:
  - id: k1
    sha256: "0000000000000000000000000000000000000000000000000000000000000000"
"""
SHA = "0" * 64
PROVIDER, ROUTE, KEY = "providers[0]", "routes[0]", "keys[0]"

# What is replaced in the good file, by what, and what the refusal says.
BROKEN: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "tab": ("version: 1", "version:\t- 1\n\t- 2", ("not YAML", "line")),
    "unclosed bracket": ("[{targets: [{provider: openai}]}]", "[{", ("not YAML", "line")),
    "no mapping": (GOOD, "- a\n- b\n", ("expected a mapping with `providers`",)),
    "empty": (GOOD, "", ("expected a mapping",)),
    "key twice": ("keys:", "routes: []\nkeys:", ("'routes' stands twice", "line")),
    "nested key twice": ("    base_url", "    id: x\n    base_url", ("'id' stands twice", "line")),
    "unknown version": ("version: 1", "version: 2", ("$.version", "2")),
    "misspelt top": ("keys:", "kyes:", ("unknown field `kyes`",)),
    "misspelt inside": ("base_url", "baseurl", ("unknown field `baseurl`", f"$.{PROVIDER}")),
    "no providers": ("providers:", "cors: {}\nproviders: []\nx:", ("$.providers", "length >= 1")),
    "no routes": ("routes:", "routes: []\ny:", ("$.routes", "length >= 1")),
    "missing base_url": (
        "    base_url: https://api.openai.com/v1\n", "",
        ("missing required field `base_url`", f"$.{PROVIDER}"),
    ),
    "id with a dot": ("id: openai", "id: open.ai", (f"$.{PROVIDER}.id", "[a-z0-9_-]")),
    "id with a line end": ("id: openai", 'id: "openai\\n"', (f"$.{PROVIDER}.id", "[a-z0-9_-]")),
    "wrong type": ("https://api.openai.com/v1", "[1]", (f"$.{PROVIDER}.base_url", "`str`")),
    "no address": ("https://api.openai.com/v1", "api.openai.com", ("base_url", "https://host/v1")),
    "no host": ("https://api.openai.com/v1", "https:///v1", ("base_url", "https://host/v1")),
    "bad port": ("https://api.openai.com/v1", "https://a:x/v1", ("base_url", "https://host/v1")),
    "bad bracket": ("https://api.openai.com/v1", "https://[a/v1", ("base_url", "is no address")),
    "other scheme": ("https://api.openai.com/v1", "ftp://a/v1", ("base_url", "is no address")),
    "password in the address": (
        "https://api.openai.com/v1", "https://u:p@a/v1", ("base_url", "keys go into credentials"),
    ),
    "plain http": (
        "https://api.openai.com/v1", "http://api.openai.com/v1",
        (f"{PROVIDER}.base_url", "allow_http: true"),
    ),
    "secret in clear text": (
        "${OPENAI_API_KEY}", "sk-abc", (f"{PROVIDER}.credentials[0].api_key", "${NAME}"),
    ),
    "no credentials": (
        '[{id: main, api_key: "${OPENAI_API_KEY}"}]', "[]", (f"{PROVIDER}.credentials", "leave it"),
    ),
    "endless time-out": (
        "    credentials", "    timeouts: {total_s: .inf}\n    credentials",
        (f"$.{PROVIDER}.timeouts.total_s", "<= 86400"),
    ),
    "time-out that is no number": (
        "    credentials", "    timeouts: {idle_s: .nan}\n    credentials",
        (f"$.{PROVIDER}.timeouts.idle_s", "> 0"),
    ),
    "no time": (
        "    credentials", "    timeouts: {connect_s: 0}\n    credentials",
        (f"$.{PROVIDER}.timeouts.connect_s", "> 0"),
    ),
    "unknown provider": (
        "provider: openai", "provider: opnai", (f"{ROUTE}.tiers[0].targets[0].provider", "openai"),
    ),
    "unknown credential": (
        "provider: openai", "provider: openai, credential: x",
        (f"{ROUTE}.tiers[0].targets[0].credential", "known: main"),
    ),
    "weight of nothing": (
        "provider: openai", "provider: openai, weight: 0",
        (f"$.{ROUTE}.tiers[0].targets[0].weight", ">= 1"),
    ),
    "tier without targets": ("[{provider: openai}]", "[]", (f"$.{ROUTE}.tiers[0].targets",)),
    "star inside": ("model: gpt-5", "model: 'g*5'", (f"{ROUTE}.model", "at the end")),
    "route twice": (
        "keys:", "  - {model: gpt-5, tiers: [{targets: [{provider: openai}]}]}\nkeys:",
        ("routes[1].model", "stands twice"),
    ),
    "hash of a wrong length": (SHA, "00", (f"$.{KEY}.sha256", "[0-9a-f]{64}")),
    "hash in capitals": (SHA, "A" * 64, (f"$.{KEY}.sha256", "[0-9a-f]{64}")),
    "key id twice": (
        "  - id: k1", f"  - {{id: k1, sha256: '{'1' * 64}'}}\n  - id: k1", ("keys[1].id", "twice"),
    ),
    "same key twice": (
        "  - id: k1", f"  - {{id: k2, sha256: '{SHA}'}}\n  - id: k1", ("keys[1].sha256", "twice"),
    ),
    "day without a zone": (
        "  - id: k1", "  - id: k1\n    expires: 2027-01-31", (f"{KEY}.expires", "with zone"),
    ),
    "day that isn't one": (
        "  - id: k1", "  - id: k1\n    expires: 2027-02-31T00:00:00Z",
        (f"{KEY}.expires", "2027-01-31T00:00:00Z"),
    ),
    "unknown state": ("  - id: k1", "  - id: k1\n    state: on", (f"$.{KEY}.state",)),
    "models with a star inside": (
        "  - id: k1", "  - id: k1\n    models: ['g*-x']", (f"{KEY}.models[0]", "at the end"),
    ),
    "limit of nothing": (
        "  - id: k1", "  - id: k1\n    limits: [{requests: 0}]", (f"$.{KEY}.limits[0].requests",),
    ),
    "window of two months": (
        "  - id: k1", "  - id: k1\n    limits: [{requests: 1, window_s: 5184000}]",
        (f"$.{KEY}.limits[0].window_s", "<= 2678400"),
    ),
    "limit without a kind": (
        "  - id: k1", "  - id: k1\n    limits: [{window_s: 1}]",
        (f"{KEY}.limits[0]", "limits nothing", "requests, tokens"),
    ),
    "limit twice": (
        "  - id: k1", "  - id: k1\n    limits: [{requests: 1, tokens: 9}, {requests: 2}]",
        (f"{KEY}.limits[1].requests", "keep one"),
    ),
    "limit for models with a star inside": (
        "version: 1", "limits: [{requests: 1, model: 'a*b'}]", ("limits[0].model", "at the end"),
    ),
    "burst of nothing": (
        "  - id: k1", "  - id: k1\n    limits: [{concurrency: 5, burst: 2}]",
        (f"{KEY}.limits[0].burst", "spreads nothing", "exactly one of requests, tokens"),
    ),
    "burst of two kinds": (
        "version: 1", "limits: [{requests: 5, tokens: 50, burst: 2}]",
        ("limits[0].burst", "beside requests and tokens", "an entry for each"),
    ),
    "burst over its limit": (
        "version: 1", "tenants: [{id: t, limits: [{tokens: 50, burst: 51}]}]",
        ("tenants[0].limits[0].burst", "51 at once is more than 50 tokens"),
    ),
    "credential's limit without a kind": (
        "id: main,", "id: main, limits: [{burst: 1}],",
        (f"{PROVIDER}.credentials[0].limits[0]", "limits nothing", "spreads nothing"),
    ),
    "budget of nothing": (
        "  - id: k1", "  - id: k1\n    budgets: [{usd: 0}]", (f"$.{KEY}.budgets[0].usd", "> 0"),
    ),
    "budget twice": (
        "  - id: k1", "  - id: k1\n    budgets: [{usd: 1}, {usd: 2}]",
        (f"{KEY}.budgets[1].period", "each month", "keep one"),
    ),
    "tenant twice": (
        "version: 1", "tenants: [{id: t}, {id: t}]", ("tenants[1].id", "stands twice"),
    ),
    "unknown tenant": (
        "keys:\n  - id: k1", "tenants: [{id: acne}]\nkeys:\n  - id: k1\n    tenant: acme",
        (f"{KEY}.tenant", "'acme' isn't among tenants", "known: acne"),
    ),
    "address that is none": (
        "  - id: k1", "  - id: k1\n    addresses: [10.0.0.300]", (f"{KEY}.addresses[0]",),
    ),
    "network with bits of a host": (
        "  - id: k1", "  - id: k1\n    addresses: [10.0.0.1/8]", (f"{KEY}.addresses[0]",),
    ),
    "origin with a path": (
        "version: 1", "cors: {origins: ['https://a/']}", ("cors.origins[0]", "without a path"),
    ),
    "origin without a host": (
        "version: 1", "cors: {origins: ['https://']}", ("cors.origins[0]", "https://host"),
    ),
    "origin with a bad bracket": (
        "version: 1", "cors: {origins: ['https://[a']}", ("cors.origins[0]", "https://host"),
    ),
    "unknown kind": (
        "    credentials", "    kind: deepseak\n    credentials",
        (f"{PROVIDER}.kind", "'deepseak' isn't known", "deepseek, gemini", "anthropic"),
    ),
    "kind of another dialect": (
        "    credentials", "    kind: deepseek\n    dialect: anthropic\n    credentials",
        (f"{PROVIDER}.kind", "speaks openai, not anthropic", "leave kind out"),
    ),
    "unknown dialect": (
        "    credentials", "    dialect: dify\n    credentials", (f"$.{PROVIDER}.dialect", "dify"),
    ),
    "API version with a space": (
        "    credentials", "    api_version: '2024 10'\n    credentials",
        (f"$.{PROVIDER}.api_version",),
    ),
    "misspelt fact": (
        "version: 1", "models: [{name: a, image: true}]", ("unknown field `image`", "$.models[0]"),
    ),
    "fact of a wrong type": (
        "version: 1", "models: [{name: a, tools: 'no'}]", ("$.models[0].tools",),
    ),
    "model twice": (
        "version: 1", "models: [{name: a}, {name: a}]", ("models[1].name", "stands twice"),
    ),
    "model with a star inside": (
        "version: 1", "models: [{name: 'a*b'}]", ("models[0].name", "at the end"),
    ),
    "alias to nothing": (
        "version: 1", "aliases: {fast: gpt-9}", ("aliases.fast", "no route serves 'gpt-9'"),
    ),
    "alias in a loop": (
        "version: 1", "aliases: {a: b, b: c, c: b}", ("aliases.a", "leads back to itself"),
    ),
    "alias of a route": ("version: 1", "aliases: {gpt-5: gpt-5}", ("aliases.gpt-5", "a route has")),
    "alias with a star inside": (
        "version: 1", "aliases: {'a*b': gpt-5}", ("aliases.a*b", "at the end"),
    ),
    "alias to many": ("version: 1", "aliases: {a: 'gpt-*'}", ("aliases.a", "has no *")),
    "5,000 digits": ("version: 1", "version: " + "9" * 5_000, ("not YAML", "digits")),
    "200,000 brackets": (
        "version: 1", "version: " + "[" * 200_000 + "]" * 200_000, ("not YAML", "64 deep"),
    ),
    "no text": ("version: 1", "version: \x00", ("not YAML",)),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused_with_place_and_advice(
    old: str, new: str, said: tuple[str, ...]
) -> None:
    assert old in GOOD
    with pytest.raises(SettingsError) as caught:
        parse(GOOD.replace(old, new, 1).encode(), "droveway.yaml")
    assert str(caught.value).startswith("droveway.yaml: ")
    for part in said:
        assert part in str(caught.value)
    assert len(str(caught.value)) < 1_000


def test_going_on_elsewhere_needs_an_elsewhere() -> None:
    text = GOOD.replace("  - model: gpt-5\n", "  - model: gpt-5\n    midstream: continue\n")
    with pytest.raises(SettingsError, match="midstream: 'continue' needs a second target"):
        parse(text.encode(), "f")


def test_all_findings_are_told_at_once() -> None:
    text = GOOD.replace("https://api.openai.com/v1", "ftp://x").replace("gpt-5", "'a*b'")
    with pytest.raises(SettingsError) as caught:
        parse(text.encode(), "f")
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        f"{PROVIDER}.base_url", f"{ROUTE}.model",
    ]  # fmt: skip


def test_no_refusal_repeats_a_secret() -> None:
    with pytest.raises(SettingsError) as caught:
        parse(GOOD.replace("${OPENAI_API_KEY}", "sk-very-secret").encode(), "f")
    assert "sk-very-secret" not in str(caught.value)


def test_what_is_no_utf8_is_refused() -> None:
    with pytest.raises(SettingsError, match="not YAML"):
        parse(b"version: \xff\xfe1", "f")


def test_a_missing_file_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"No such file.*DROVEWAY_CONFIG"):
        load(str(tmp_path / "missing.yaml"))


def test_a_file_over_the_bound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_bytes(b"#" * (MAX_CONFIG_BYTES + 1))
    with pytest.raises(SettingsError, match="over 8388608 bytes"):
        load(str(path))


@pytest.mark.parametrize(
    "change",
    [
        ("https://api.openai.com/v1", "http://127.0.0.1:8000/v1"),
        ("https://api.openai.com/v1", "http://[::1]:8000/v1"),
        ("https://api.openai.com/v1", "http://ollama:11434/v1\n    allow_http: true"),
        ("${OPENAI_API_KEY}", "file:/run/secrets/openai"),
        ('[{id: main, api_key: "${OPENAI_API_KEY}"}]', "[{}]"),
        ("model: gpt-5", "model: '*'"),
        ("  - id: k1", "  - id: k1\n    expires: 2027-01-31T00:00:00Z"),
        ("    credentials", "    kind: azure\n    api_version: 2024-10-21\n    credentials"),
        ("    credentials", "    dialect: anthropic\n    credentials"),
        ("version: 1", "models: [{name: 'gpt-5*', sampling: true, dropped: []}]"),
        ("version: 1", "aliases: {fast: quick, quick: gpt-5, 'gpt-5-*': gpt-5}"),
        ("version: 1", "cors: {origins: ['https://app.example.com:8443', '*']}"),
        ("  - id: k1", "  - id: k1\n    limits: [{requests: 9, burst: 9, window_s: 2678400}]"),
        ("  - id: k1", "  - id: k1\n    limits: [{tokens: 9, concurrency: 2, burst: 2}]"),
        ("  - id: k1", "  - id: k1\n    addresses: [10.0.0.0/8, 2001:db8::1]\n    tenant: acme"),
        ("version: 1", "tenants: [{id: acme, budgets: [{usd: 1}, {usd: 9, period: total}]}]"),
    ],
    ids=lambda change: change[1].strip()[:40],
)
def test_what_is_right_is_taken(change: tuple[str, str]) -> None:
    assert isinstance(parse(GOOD.replace(*change).encode(), "f"), Config)
