"""Blocking calls in the event loop, made loud: a call that can wait for a disk, a lock or a peer, reached from agentd's own
code while a loop runs in that thread, raises `BlockingError`.

Let through: the kernel's own tables (/proc, /sys), which are answered from memory; and short hand-over locks, which a
writer thread and the loop share on purpose and whose contention depends on luck.
"""

import os
from collections.abc import Callable
from typing import Any

from blockbuster import BlockBuster

MEMORY = ("/proc/", "/sys/")
LOCKS = ("threading.Lock.acquire", "threading.Lock.acquire_lock")


def guard() -> BlockBuster:
    """The guard over the package, not yet active."""
    made = BlockBuster("agentd")
    for name in LOCKS:
        made.functions.pop(name, None)
    for function in made.functions.values():
        function.can_block_predicate = _or_memory(function.can_block_predicate)
    return made


def _or_memory(before: Callable[..., bool]) -> Callable[..., bool]:
    def let_through(*args: Any, **kwargs: Any) -> bool:
        return (bool(args) and _names_memory(args[0])) or before(*args, **kwargs)

    return let_through


def _names_memory(subject: Any) -> bool:
    """Whether a path, a descriptor or an open file stands for one of the kernel's tables."""
    named = subject if isinstance(subject, str | bytes | os.PathLike) else getattr(subject, "name", subject)
    if isinstance(named, int):
        try:
            named = os.readlink(f"/proc/self/fd/{named}")
        except OSError:
            return False
    return isinstance(named, str | bytes | os.PathLike) and os.fsdecode(named).startswith(MEMORY)
