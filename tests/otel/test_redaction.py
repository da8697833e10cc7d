import io
import logging

import pytest

from droveway.otel.logs import configure, log_event
from droveway.otel.redaction import redact

CANARY = "Canary7Canary7Canary7Canary7"
LOGGER = logging.getLogger("library")


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {CANARY}",
        f"authorization: Basic {CANARY}==",
        f"{{'authorization': 'Bearer {CANARY}'}}",
        f'{{"authorization": "Bearer {CANARY}"}}',
        f'{{\\"Authorization\\":\\"{CANARY}\\"}}',
        f"[(b'authorization', b'Bearer {CANARY}'), (b'host', b'x')]",
        f"Proxy-Authorization={CANARY}",
        f"x-api-key: {CANARY}",
        f"{{'X-API-Key': '{CANARY}'}}",
        f"x-goog-api-key: {CANARY}",
        f"api_key={CANARY}",
        f"sent bearer {CANARY}",
        f"Bearer%20{CANARY}",
        f"cookie: session={CANARY}; other={CANARY}",
        f"key dw_{CANARY} is unknown",
        f"body\\ndw_{CANARY}",
        f"%20dw_live_{CANARY}",
        f"Incorrect API key provided: sk-{CANARY}",
        f"\\nsk-ant-api03-{CANARY}",
        f"sk-proj-{CANARY}",
        f"app-{CANARY}",
        f"AIza{CANARY}",
        f"GET /v1/models?key={CANARY}&x=1",
        f"query_string=b'x=1&key={CANARY}'",
        f"https://h/?access_token={CANARY}#top",
        f"nats://user:{CANARY}@host:4222",
        f"postgresql://:{CANARY}@host/db",
        "seed SU" + "CANARY7" * 8,
    ],
)
def test_a_secret_is_masked_and_its_neighbours_stay(text: str) -> None:
    masked = redact(text)
    assert "Canary" not in masked
    assert "CANARY" not in masked
    assert "[redacted]" in masked


@pytest.mark.parametrize(
    "text",
    [
        "request",
        "POST /v1/chat/completions?stream=true",
        "input_tokens: 12, key_id=key_1, monkey business",
        "authorization failed for tenant acme",
        "risk-averse disk-full task-12",
        "http://127.0.0.1:4318/v1/traces",
        "droveway_requests gpt-4.1-mini",
        "SUMMARY of SAMPLES",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_no_canary_gets_through_the_pipeline_in_any_form() -> None:
    stream = io.StringIO()
    pipeline = configure("gateway", stream=stream)
    headers = {"Authorization": [f"Token {CANARY}"], b"x-api-key": CANARY.encode(), "host": "h"}
    log_event(LOGGER, "fields", headers=str(headers), authorization=CANARY, api_key=CANARY)
    log_event(LOGGER, "nested", request={"headers": headers, "url": f"/x?key={CANARY}"})
    pairs = [(b"authorization", CANARY.encode()), ("X-Api-Key", CANARY), (b"host", b"h")]
    log_event(LOGGER, "pairs", raw=pairs, one=pairs[0])
    LOGGER.warning("headers %r", {"Authorization": f"Bearer {CANARY}"})
    LOGGER.warning({b"x-api-key": CANARY})
    try:
        raise ConnectionError(f"http://user:{CANARY}@proxy")
    except ConnectionError as error:
        LOGGER.exception("failed")
        log_event(LOGGER, "failed", error=error)
    pipeline.close()
    assert len(stream.getvalue().splitlines()) == 7
    assert CANARY not in stream.getvalue()


def test_a_hostile_text_is_masked_in_linear_time() -> None:
    for text in ("authorization" * 5_000, "://" * 20_000, "key " * 16_000, "bearer " * 9_000):
        assert redact(text) is not None
