"""The page on which the document can be read: one file of ours that loads nothing but it."""

import base64
import hashlib
import re
from pathlib import Path

HTML = Path(__file__).with_name("page.html").read_bytes()


def _hashes(element: bytes) -> str:
    inside = re.findall(rb"<%b>(.*?)</%b>" % (element, element), HTML, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(one).digest()).decode() for one in inside]
    return " ".join(f"'sha256-{digest}'" for digest in digests)


_POLICY = "; ".join(
    (
        "default-src 'none'",
        f"script-src {_hashes(b'script')}",
        f"style-src {_hashes(b'style')}",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Only the page's own script and style, known by their hashes, and only the document is fetched."""

HEADERS = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-length", b"%d" % len(HTML)),
    (b"cache-control", b"no-cache"),
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
