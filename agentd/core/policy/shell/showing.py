"""How a command is shown to a person: one line, nothing in it that a terminal or an eye could take for something else."""

import unicodedata

MAX_CHARS = 200
"""So much of a command is quoted; the whole stands in the record."""

_HIDDEN = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
"""Controls, formatting (direction marks, zero-width letters), private characters, surrogates, separators of lines."""

_BLANK = frozenset("\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0\u034f\u2800")
"""Letters by their kind that show nothing. Variation selectors and blanks other than the space are told by range and kind."""


def shown(text: str, most: int = MAX_CHARS) -> str:
    """A text with every character that does not show itself escaped, shortened in the middle."""
    clean = text if text.isascii() and text.isprintable() else "".join(map(_char, text))
    if len(clean) <= most:
        return clean
    half = most // 2
    return f"{clean[:half]} … {clean[-half:]}"


def _char(char: str) -> str:
    code = ord(char)
    if char == "\n":
        return "\\n"
    if char == "\t":
        return "\\t"
    kind = unicodedata.category(char)
    variant = 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF
    if kind in _HIDDEN or char in _BLANK or variant or (kind == "Zs" and char != " "):
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return char
