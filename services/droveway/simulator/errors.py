"""How a request is refused, before a dialect puts it into its own words."""


class ApiError(Exception):
    """The request ends with this status; a dialect fills in what isn't said here."""

    def __init__(
        self,
        status: int,
        message: str | None = None,
        *,
        kind: str | None = None,
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message or f"status {status}")
        self.status = status
        self.message = message
        """What was wrong; none: what the dialect says of this status."""
        self.kind = kind
        """The dialect's type of the error; none: the one of this status."""
        self.code = code
        self.param = param
