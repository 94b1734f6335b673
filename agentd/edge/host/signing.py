"""The key that signs the record's checkpoints.

It is made once, by agentd itself, and lives in the keyring beside the others: whoever can write the database cannot
forge a checkpoint without it. Whoever holds the uid of the daemon, or root, can. Verifying needs only the public half,
which the record states and an auditor should have noted elsewhere.
"""

import logging

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agentd.core.types.errors import KeyUnavailable
from agentd.edge.host.keys import SIGNING_KEY, KeyRing

log = logging.getLogger("agentd.keys")


class Signer:
    """Signs with Ed25519. Shows its public half only."""

    __slots__ = ("_key", "public_hex")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        """Take the private key."""
        self._key = key
        self.public_hex = key.public_key().public_bytes_raw().hex()

    def sign(self, data: bytes) -> bytes:
        """The 64 bytes of the signature over `data`."""
        return self._key.sign(data)

    def __repr__(self) -> str:
        """The public half."""
        return f"Signer({self.public_hex})"


async def load_signer(keys: KeyRing) -> Signer | None:
    """The signer from the keyring, made at the first start; None without a keyring: then checkpoints are unsigned.

    A stored key that cannot be read is left alone, and nothing is signed: a new one would hide that something is wrong.
    """
    try:
        secret = await keys.read_or_create(SIGNING_KEY, _new_key)
    except KeyUnavailable as error:
        log.warning("checkpoints will not be signed: %s", error)
        return None
    try:
        return Signer(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret.reveal())))
    except ValueError:  # neither hex nor 32 bytes; the text of the error could quote it
        log.error("checkpoints will not be signed: %r is damaged. Restore it, or remove it and restart", secret)
        return None


def _new_key() -> str:
    return Ed25519PrivateKey.generate().private_bytes_raw().hex()
