"""What to type when the policy file is not in force: a command that works as it is printed, on the file that is watched."""

import shlex
from dataclasses import asdict

from agentd.core.types.errors import PolicyRefused
from agentd.gate.ports_operator import Json

JUDGED = ("tests[", ".models[")
"""Places whose faults `policy check` may not see, because it has neither prices nor tests: those need the daemon."""


def policy_file(refused: PolicyRefused, path: str | None) -> str:
    """The file by its full path, as far as the daemon said it; else as the fault names it."""
    return path or refused.source


def policy_cure(refused: PolicyRefused, path: str | None) -> str:
    """The next step for the first fault of a refused file.

    A file that could not even be read (gone, wrong owner or mode) has no text to check: there the fault's own hint helps.
    """
    first = refused.faults[0]
    file = policy_file(refused, path)
    if path is not None and refused.source == path and not first.where and first.hint:
        return first.hint
    verb = "test" if any(mark in first.where for mark in JUDGED) else "check"
    return f"agentctl policy {verb} {shlex.quote(file)}"


def fault_view(refused: PolicyRefused, path: str | None = None) -> Json:
    """A refused file as data: its path, every fault, and the cure."""
    return {
        "source": refused.source,
        "path": policy_file(refused, path),
        "message": refused.message,
        "faults": [asdict(fault) for fault in refused.faults],
        "cure": policy_cure(refused, path),
    }
