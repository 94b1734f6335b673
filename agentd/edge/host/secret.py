"""A secret in memory, that cannot be shown by accident.

Whatever prints, formats, copies or pickles a `Secret` gets its name, or an error. The value comes out through `reveal`
alone, so one search of the sources finds every place that handles a key.

This is a guard against accidents. Python can neither wipe a string nor keep it out of swap: whoever reads the memory of
the process reads its keys. `limits.harden_process` keeps other processes of the same uid from doing that.
"""

from typing import Never


class Secret:
    """A named value. `repr`, `str` and `format` give `[key NAME]`; comparing goes by identity."""

    __slots__ = ("_value", "name")

    def __init__(self, name: str, value: str) -> None:
        """Take the name it may be called by, and the value that must not be shown."""
        self.name = name
        self._value = value

    def reveal(self) -> str:
        """The value, for the one place that sends or signs with it."""
        return self._value

    def __repr__(self) -> str:
        """The name."""
        return f"[key {self.name}]"

    def __format__(self, spec: str) -> str:
        """The name, padded as any text would be."""
        return format(repr(self), spec)

    def __reduce_ex__(self, protocol: object) -> Never:
        """Refuse to be pickled or copied: either would make a second, unguarded value."""
        raise TypeError(f"{self!r} can be neither pickled nor copied")
