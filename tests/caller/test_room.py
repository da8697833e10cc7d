"""Routers that found a provider full hear of each call that ends, and only they."""

from droveway.caller.room import MAX_TOLD, RoomNews
from droveway.contracts.relay import Room


def news() -> tuple[RoomNews, list[tuple[str, Room]]]:
    said: list[tuple[str, Room]] = []
    return RoomNews(lambda router, room: said.append((router, room))), said


def test_only_those_who_were_refused_are_told() -> None:
    room, said = news()
    room.freed("p", 3)
    assert said == []
    room.refused("p", "router-a")
    room.refused("p", "router-b")
    room.refused("q", "router-c")
    room.freed("p", 3)
    assert said == [("router-a", Room("p", 3)), ("router-b", Room("p", 3))]


def test_each_end_is_told_but_not_while_there_is_no_room() -> None:
    room, said = news()
    room.refused("p", "router-a")
    room.freed("p", 0)
    assert said == []
    room.freed("p", 1)
    room.freed("p", 2)
    assert [one.free for _, one in said] == [1, 2]


def test_of_very_many_routers_the_latest_are_told() -> None:
    room, said = news()
    for number in range(MAX_TOLD + 1):
        room.refused("p", f"router-{number}")
    room.freed("p", 1)
    assert len(said) == MAX_TOLD
    assert said[0][0] == "router-1"
