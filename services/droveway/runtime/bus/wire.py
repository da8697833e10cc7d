"""The one line of the NATS protocol that is written by hand besides `PUB`."""


def with_headers(
    subject: str, reply: str, payload: bytes, headers: dict[str, str]
) -> tuple[bytes, bytes]:
    """The HPUB line and the block that follows it; header values are our own, never a client's."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    block = f"NATS/1.0\r\n{lines}\r\n".encode()
    size = len(block) + len(payload)
    return f"HPUB {subject} {reply} {len(block)} {size}\r\n".encode(), block + payload
