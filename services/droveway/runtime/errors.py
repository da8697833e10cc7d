"""What can go wrong beneath the services.

DrovewayError
├── SettingsError        the environment or the configuration file; exit 78
├── BusError
│   ├── Disconnected     nothing was sent
│   ├── NoResponders     nobody listens on the subject; known at once
│   ├── NoAnswer         sent, and no answer in time
│   ├── Overflow         the bound on unsent bytes is reached; nothing was sent
│   └── JetStreamRefused JetStream's own refusal, with its number
│       └── WrongLastSequence  another message came first
└── RelayCut             the other end of a relay is gone or has given up
"""


class DrovewayError(Exception):
    """Base of what this package raises."""


class SettingsError(DrovewayError):
    """A setting or the configuration is wrong; the message says which and what would be right."""


class BusError(DrovewayError):
    """The bus could not do what was asked."""


class Disconnected(BusError):
    """There is no connection: nothing was sent, and nothing is buffered for later."""


class NoResponders(BusError):
    """Nobody listens on the subject."""


class NoAnswer(BusError):
    """The message went out and no answer came in time."""


class Overflow(BusError):
    """More unsent bytes than allowed: the broker reads too slowly. Nothing was sent."""


class JetStreamRefused(BusError):
    """JetStream refused a request.

    Attributes:
        number: JetStream's `err_code`.
    """

    def __init__(self, description: str, number: int) -> None:
        super().__init__(f"{description} ({number})")
        self.number = number


class WrongLastSequence(JetStreamRefused):
    """The message that was expected to be the last one isn't: nothing was written."""


class RelayCut(DrovewayError):
    """A relay ended without its terminal: the peer is silent, gone, or has cancelled."""
