"""What the administration tells besides entries: where a key stands, and who changed what."""

from droveway.gateway.admin import shapes
from droveway.gateway.admin.asked import Answer, Asked, Handler, page_size, read_number
from droveway.gateway.admin.entries import told
from droveway.gateway.admin.keys import Keys
from droveway.runtime.audit_trail import read_trail
from droveway.runtime.bus import Bus
from droveway.runtime.standing import ask_standing

_MAX_NUMBER = 2**53


class Questions:
    """Asks the limiter and the stream AUDIT."""

    def __init__(self, bus: Bus, keys: Keys) -> None:
        self._bus = bus
        self._keys = keys

    def handlers(self) -> dict[str, Handler]:
        """By the names of endpoints."""
        return {"admin.keys.standing": self.standing, "admin.audit": self.audit}

    async def standing(self, asked: Asked) -> Answer:
        """Limits and budgets of a key and its tenant as they count now."""
        key, _ = await self._keys.find(asked.entry_id)
        with told():
            return Answer(await ask_standing(self._bus, key))

    async def audit(self, asked: Asked) -> Answer:
        """Audit events, newest first."""
        size = page_size(asked.query)
        before = read_number(asked.query, "before", 0, _MAX_NUMBER)
        with told():
            found = await read_trail(self._bus, size, before)
        events = tuple(shapes.Event(number=number, event=event) for number, event in found)
        return Answer(shapes.Trail(data=events))
