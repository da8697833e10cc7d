"""Signs what the model thought, so that thoughts that come back can be told from others."""

import base64
import hashlib
import hmac

_REDACTED = b"redacted"
_SIGNED_BYTES = 32


class Signer:
    """Signs with a key that the seed gives: simulators of one seed know each other's thoughts."""

    def __init__(self, seed: int) -> None:
        self._key = hashlib.blake2b(f"thoughts of {seed}".encode(), digest_size=32).digest()

    def sign(self, thinking: str) -> str:
        """Sign a thought."""
        return base64.b64encode(self._mac(thinking.encode())).decode()

    def redact(self, thinking: str) -> str:
        """Make data of a thought that says nothing to others and shows who made it."""
        blinded = _REDACTED + hashlib.blake2b(thinking.encode(), digest_size=24).digest()
        return base64.b64encode(blinded + self._mac(blinded)).decode()

    def signed(self, thinking: str, signature: str) -> bool:
        """Say whether a thought is as it was."""
        return hmac.compare_digest(self.sign(thinking).encode(), signature.encode())

    def redacted(self, data: str) -> bool:
        """Say whether redacted data is as it was."""
        try:
            raw = base64.b64decode(data, validate=True)
        except ValueError:
            return False
        blinded, mac = raw[:-_SIGNED_BYTES], raw[-_SIGNED_BYTES:]
        return hmac.compare_digest(self._mac(blinded), mac)

    def _mac(self, message: bytes) -> bytes:
        return hmac.digest(self._key, message, "sha256")
