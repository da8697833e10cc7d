import json
from typing import Any

import pytest

from droveway.gateway.doors.responses_views import (
    Page,
    deleted_body,
    input_items,
    input_items_body,
    read_page,
    record,
    response_body,
)
from droveway.gateway.refusal import Refusal
from droveway.gateway.stored_responses import Record

ID = "resp_" + "0" * 32
MADE = "0" * 32 + "i"


def kept(count: int) -> Record:
    items = [{"role": "user", "content": str(number)} for number in range(count)]
    return record(ID, {"model": "m", "input": items}, b'{"id": "a"}', [], [])


def listed(count: int, **page: Any) -> tuple[list[str], bool]:
    body = json.loads(input_items_body(kept(count), Page(**page)))
    ids = [item["id"] for item in body["data"]]
    assert body["object"] == "list"
    assert (body["first_id"], body["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))
    return [item["content"][0]["text"] for item in body["data"]], body["has_more"]


def test_a_record_holds_the_conversation_with_its_answer() -> None:
    user, answer = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
    made = record(
        ID, {"model": "m", "input": "a", "metadata": {}}, b'{"id": "x"}', [user], [answer]
    )
    assert made.messages == [user, answer]
    assert response_body(made) == b'{"id": "x"}', "the response stays as it was sent"
    assert made.input_items == [
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "a"}],
            "type": "message",
            "id": f"msg_{MADE}0000",
            "status": "completed",
        }
    ]


def test_items_keep_their_ids_or_get_some() -> None:
    given: list[dict[str, Any]] = [
        {"type": "function_call", "id": "fc_own", "call_id": "c"},
        {"type": "function_call_output", "call_id": "c", "output": "1"},
        {"type": "reasoning", "summary": []},
        {"role": "assistant", "content": "a"},
    ]
    made = input_items(ID, given)
    assert [item["id"] for item in made] == [
        "fc_own", f"fco_{MADE}0001", f"rs_{MADE}0002", f"msg_{MADE}0003",
    ]  # fmt: skip
    assert made[3]["content"] == [{"type": "output_text", "text": "a"}]
    assert "id" not in given[1]
    assert input_items(ID, None) == []


def test_the_newest_items_come_first() -> None:
    assert listed(3) == (["2", "1", "0"], False)
    assert listed(3, order="asc") == (["0", "1", "2"], False)
    assert listed(0) == ([], False)


def test_pages_follow_each_other_without_gap_or_repeat() -> None:
    record_ = kept(5)
    seen: list[str] = []
    after, more = "", True
    while more:
        body = json.loads(input_items_body(record_, Page(2, "asc", after)))
        seen += [item["content"][0]["text"] for item in body["data"]]
        after, more = body["last_id"], body["has_more"]
    assert seen == ["0", "1", "2", "3", "4"]


def test_an_unknown_place_is_refused() -> None:
    with pytest.raises(Refusal) as caught:
        input_items_body(kept(1), Page(after="msg_other"))
    assert caught.value.failure.param == "after"


@pytest.mark.parametrize(
    ("query", "page"),
    [
        (b"", Page(20, "desc", "")),
        (b"limit=100&order=asc&after=msg_1&include%5B%5D=x", Page(100, "asc", "msg_1")),
        (b"limit=1&other=%ff", Page(1, "desc", "")),
    ],
)
def test_a_query_names_a_page(query: bytes, page: Page) -> None:
    assert read_page(query) == page


@pytest.mark.parametrize(
    ("query", "param"),
    [
        (b"limit=0", "limit"), (b"limit=101", "limit"), (b"limit=ten", "limit"),
        (b"limit=%C2%B2", "limit"), (b"limit=-1", "limit"), (b"limit=" + b"9" * 5000, "limit"),
        (b"order=up", "order"), (b"&".join([b"a=1"] * 40), None),
    ],
)  # fmt: skip
def test_any_other_query_is_refused(query: bytes, param: str | None) -> None:
    with pytest.raises(Refusal) as caught:
        read_page(query)
    assert caught.value.failure.code == "invalid_request"
    assert caught.value.failure.param == param


def test_a_deleted_response_is_confirmed() -> None:
    assert json.loads(deleted_body(ID)) == {"id": ID, "object": "response", "deleted": True}
