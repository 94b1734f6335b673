"""A secret that exists nowhere else, and the hunt for it: in each form in which a program could let it slip."""

import base64
import urllib.parse
from collections.abc import Iterable
from pathlib import Path

CANARY = "sk-or-v1-" + "ca7a57e0" * 8
"""Shaped like a real key, so that whatever recognises keys by their shape is tried too."""


def forms(secret: str = CANARY) -> list[bytes]:
    """The secret as it is, in base64 at each of the three offsets, in hex, and percent-encoded."""
    raw = secret.encode()
    shifted = [base64.b64encode(b"\0" * shift + raw)[4 if shift else 0 : -4] for shift in range(3)]
    quoted = "".join(f"%{byte:02X}" for byte in raw)
    return [raw, *shifted, raw.hex().encode(), quoted.encode(), urllib.parse.quote(secret, safe="").encode()]


def found_in(data: bytes | str, secret: str = CANARY) -> bool:
    """Whether any form of the secret stands in the data."""
    haystack = data.encode(errors="surrogatepass") if isinstance(data, str) else data
    return any(form in haystack for form in forms(secret))


def found_under(folders: Iterable[Path], secret: str = CANARY) -> list[Path]:
    """The files below these folders that hold the secret in any form."""
    files = (
        file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file() and not file.is_symlink()
    )
    return [file for file in files if found_in(file.read_bytes(), secret)]
