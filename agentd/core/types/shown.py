r"""Names and words of others, as a person may see them: one line, and nothing that a terminal or an eye takes for something else.

A name of a file is bytes. Where they are no UTF-8 Python keeps them as lone surrogates; here such a byte shows as `\xff`.
A backslash shows doubled, so that two different names never look alike.
"""

import unicodedata

UNSAFE = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
"""Unicode categories that no terminal gets as they are: controls, formats (direction marks, zero-width letters, tags), private
and unassigned ones, surrogates, separators of lines."""

_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
"""Letters by their kind, and yet nothing is seen of them."""

_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\"}
_RAW_BYTES = range(0xDC80, 0xDD00)
"""What `surrogateescape` makes of the bytes 0x80 to 0xff."""


def shown(text: str, most: int = 240) -> str:
    """The text, escaped; cut in the middle to about `most` characters, with a mark where."""
    clean = "".join(map(_char, text))
    if len(clean) <= most:
        return clean
    half = most // 2
    return f"{clean[:half]} … {clean[-half:]}"


def _char(char: str) -> str:
    code = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    if code in _RAW_BYTES:
        return f"\\x{code - 0xDC00:02x}"
    if not _unseen(char, code):
        return char
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _unseen(char: str, code: int) -> bool:
    kind = unicodedata.category(char)
    if 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF:  # these choose between forms of the letter before
        return True
    return kind in UNSAFE or char in _BLANK or (kind == "Zs" and char != " ")
