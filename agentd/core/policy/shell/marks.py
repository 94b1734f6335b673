"""What is not known of a word stands in it as a mark: one character that no readable command contains.

A word is then one string, static when it holds no mark, and a path with marks can be matched like any other. The marks lie in
Unicode's private area; a command that holds one of them itself is refused as unreadable, so they cannot be forged.
"""

import re

STAR = "\uf8f0"
"""An unquoted `*`: any characters of one name."""

QUERY = "\uf8f1"
"""An unquoted `?` or `[...]`: one character of one name."""

UNKNOWN = "\uf8f2"
"""What an expansion gives: any text, slashes and `..` too."""

HOME = "\uf8f3"
"""An unquoted `~` or `$HOME`: the home directory that is handed in later."""

HERE = "\uf8f4"
"""`$PWD`: the working directory at that point."""

UNDER = "\uf8f5"
"""One or more names below a directory, as `find` hands them on; no `..` among them."""

PIPE = "\uf8f6"
"""A process substitution: a path to a pipe, which is no file."""

MARKS = STAR + QUERY + UNKNOWN + HOME + HERE + UNDER + PIPE
GLOBS = STAR + QUERY

SPOKEN = {STAR: "*", QUERY: "?", UNKNOWN: "…", HOME: "~", HERE: "$PWD", UNDER: "{}", PIPE: "<(…)"}
"""How a mark is shown to a person."""

ANY_MARK = re.compile(f"[{MARKS}]")
ANY_GLOB = re.compile(f"[{GLOBS}]")
RESERVED = re.compile("[\uf8f0-\uf8ff]")


def spoken(text: str) -> str:
    """A marked text as a person may read it."""
    return ANY_MARK.sub(lambda found: SPOKEN[found.group()], text)
