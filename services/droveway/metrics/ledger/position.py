"""How far USAGE is counted, and by whom: one row, moved by compare-and-set.

All that is counted moves it in the same transaction, and as its first statement: whoever finds it
elsewhere has lost, takes everything back and looks again. So a row counts once, whatever dies. Of
several replicas one writes its name there and makes `beat` grow; the others watch.
"""

from typing import NamedTuple

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from droveway.contracts.jetstream import USAGE
from droveway.metrics.ledger.database import Database
from droveway.metrics.ledger.tables import positions
from droveway.runtime.errors import DrovewayError

_OURS = positions.c.stream == USAGE


class Moved(DrovewayError):
    """The position isn't where it was left: another replica counts, or the ledger is rebuilt."""


class Position(NamedTuple):
    """Where the ledger is."""

    sequence: int
    """All rows up to it are counted."""
    stored_ms: int
    """That row's time by the broker's clock; 0: unknown."""
    summed_from_hour: int
    """Hours before it have their sums already."""
    writer: str
    """The instance that counts; empty: nobody has yet."""
    beat: int
    """Grows while the writer lives."""


async def look(connection: AsyncConnection) -> Position:
    """Where it is now."""
    found = (await connection.execute(select(positions).where(_OURS))).mappings().one()
    return Position(*(found[field] for field in Position._fields))


async def find(database: Database) -> Position:
    """Where it is now; made when it isn't there yet.

    Raises:
        LedgerAway: The database is away.
    """
    async with database.reading() as connection:
        if (await connection.execute(select(positions.c.stream).where(_OURS))).first():
            return await look(connection)
    try:
        async with database.writing() as connection:
            await connection.execute(
                insert(positions).values(stream=USAGE, sequence=0, stored_ms=0)
            )
    except IntegrityError:
        pass  # another replica was faster
    async with database.reading() as connection:
        return await look(connection)


async def take(connection: AsyncConnection, standing: Position, instance: str) -> Position:
    """Becomes the writer in place of one that stood still.

    Raises:
        Moved: It lives.
    """
    same = (_OURS, positions.c.writer == standing.writer, positions.c.beat == standing.beat)
    await _change(
        connection,
        update(positions).where(*same).values(writer=instance, beat=standing.beat + 1),
    )
    return await look(connection)


async def advance(
    connection: AsyncConnection, standing: Position, sequence: int, stored_ms: int
) -> Position:
    """Moves it; the first statement of whatever counts.

    Raises:
        Moved: It isn't where `standing` says, or its writer is another.
    """
    same = (
        _OURS,
        positions.c.writer == standing.writer,
        positions.c.sequence == standing.sequence,
    )
    then = standing._replace(sequence=sequence, stored_ms=stored_ms)
    values = {"sequence": sequence, "stored_ms": stored_ms, "beat": positions.c.beat + 1}
    await _change(connection, update(positions).where(*same).values(values))
    return then


async def hold(connection: AsyncConnection, instance: str) -> None:
    """Lets nobody else write until the transaction ends.

    Raises:
        Moved: `instance` isn't the one that counts.
    """
    same = (_OURS, positions.c.writer == instance)
    await _change(connection, update(positions).where(*same).values(beat=positions.c.beat + 1))


async def leave(connection: AsyncConnection, standing: Position) -> None:
    """Nobody counts any more: who stands by takes over at once.

    Raises:
        Moved: Somebody else does.
    """
    same = (_OURS, positions.c.writer == standing.writer)
    await _change(connection, update(positions).where(*same).values(writer=""))


async def _change(connection: AsyncConnection, statement: object) -> None:
    result = await connection.execute(statement)  # type: ignore[call-overload]
    if result.rowcount != 1:
        raise Moved("the ledger's position was moved by somebody else")
