"""The simulator's book."""

from droveway.simulator.book import Book, fingerprint


def _book(limit: int = 10) -> Book:
    ticks = iter(range(1000))
    return Book(limit, lambda: float(next(ticks)))


def test_an_entry_is_open_until_it_is_closed_once() -> None:
    book = _book()
    entry = book.open(True, "sk-1", ["Host", "Authorization"])
    assert (entry.outcome, book.totals.open_requests) == ("open", 1)
    book.close(entry, "client_closed")
    book.close(entry, "answered")
    assert (entry.outcome, entry.ended_ms, entry.client_closed_ms) == ("client_closed", 1.0, 1.0)
    assert (book.totals.open_requests, book.totals.client_closed, book.totals.answered) == (0, 1, 0)


def test_the_key_is_named_but_not_told() -> None:
    entry = _book().open(True, "sk-secret", ["Authorization"])
    assert entry.key_fingerprint == fingerprint("sk-secret")
    assert "secret" not in repr(entry)
    assert entry.header_names == ["authorization"]


def test_a_full_book_forgets_its_oldest_entry_and_body() -> None:
    book = _book(limit=2)
    entries = [book.open(False, None, []) for _ in range(2)]
    book.keep_body(entries[0], b"old")
    entries.append(book.open(False, None, []))
    book.keep_body(entries[0], b"late")
    assert book.entries == entries[1:]
    assert book.find(entries[0].id) is None
    assert book.body(entries[0].id) is None
    assert (book.totals.forgotten_entries, book.totals.open_requests) == (1, 3)


def test_a_reset_keeps_what_is_open() -> None:
    book = _book()
    ended, still_open = book.open(False, None, []), book.open(False, None, [])
    book.close(ended, "answered")
    book.clear()
    assert book.entries == [still_open]
    assert (book.totals.requests, book.totals.open_requests, book.totals.answered) == (1, 1, 0)
    book.close(still_open, "answered")
    assert book.totals.open_requests == 0
