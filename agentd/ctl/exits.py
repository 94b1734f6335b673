"""How `agentctl` ends: exit codes, and the one error that carries them. Imported by every command, so it imports little."""

from enum import IntEnum
from typing import IO, Any

import click

from agentd.ctl.text import clean


class Exit(IntEnum):
    """Exit codes; stable, and listed in `agentctl --help`."""

    OK = 0
    FINDING = 1  # asked and answered, and the answer is bad news
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    NOT_FOUND = 5
    INTERRUPTED = 130  # 128 + SIGINT, as shells expect


EXIT_WORDS = {
    Exit.OK: "done",
    Exit.FINDING: "a bad finding: the record is broken, the policy is faulty, the doctor is not content",
    Exit.USAGE: "the command cannot be understood",
    Exit.UNREACHABLE: "agentd is not reachable; the message says where it was looked for and how to start it",
    Exit.REFUSED: "refused or not permitted; the message says what would help",
    Exit.NOT_FOUND: "no such decision, key, agent, version or file",
    Exit.INTERRUPTED: "interrupted",
}
"""The codes in words."""


class CtlError(click.ClickException):
    """Ends the command: a message and a next step on stderr, and a code."""

    def __init__(self, code: Exit, message: str, hint: str = "") -> None:
        """`message` and `hint` may hold text from elsewhere: they are cleaned when shown."""
        super().__init__(message)
        self.exit_code = int(code)  # type: ignore[misc]  # click types it per class; it reads it per instance
        self.hint = hint

    def show(self, file: IO[Any] | None = None) -> None:
        """Write to stderr."""
        click.echo(f"agentctl: {clean(self.message)}", file=file, err=True)
        if self.hint:
            click.echo(f"  {clean(self.hint)}", file=file, err=True)
