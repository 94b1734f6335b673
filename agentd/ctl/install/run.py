"""Runs the system's own programs for `agentctl install` and `uninstall`: the one place of the operator's command that does.

Always a list of arguments, never a shell; an environment of its own, so that nothing of the caller's (PYTHONPATH, LD_PRELOAD
through sudo -E, a foreign locale) has a say in what root installs; and a clock, so that nothing hangs unseen.
"""

import os
import shlex
import subprocess
from collections.abc import Sequence
from typing import Protocol

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

KEPT = ("HOME", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE")
"""What a download may need of the caller's environment; PIP_* comes on top."""

CLOCK_S = 900.0
"""Seconds for one program. The longest is the download of the locked packages over a slow line."""

SHOWN_LINES = 15
"""Last lines of a program's output that an error repeats: what went wrong stands at the end."""


class CommandFailed(Exception):
    """A program ended badly, or not at all. The text names it and repeats the end of what it wrote."""

    def __init__(self, argv: Sequence[str], why: str, output: str) -> None:
        """`why`: how it ended; `output`: all that it wrote."""
        self.output = output
        lines = output.strip().splitlines()[-SHOWN_LINES:]
        super().__init__("\n".join([f"{shlex.join(argv)}: {why}", *(f"    {line}" for line in lines)]))


class Commands(Protocol):
    """Runs programs; tests put a recorder here."""

    def __call__(self, *argv: str) -> str:
        """What it wrote, stdout and stderr together. Raises `CommandFailed`."""
        ...


def run(*argv: str) -> str:
    """`Commands`, for real."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(),
            cwd="/",
            timeout=CLOCK_S,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        output = (late.output or b"").decode(errors="replace")
        raise CommandFailed(argv, f"not done after {CLOCK_S:.0f} s, so it was ended", output) from None
    except OSError as error:
        raise CommandFailed(argv, f"cannot be started: {error.strerror}", "") from None
    output = done.stdout.decode(errors="replace")
    if done.returncode:
        raise CommandFailed(argv, f"ended with status {done.returncode}", output)
    return output


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith("PIP_")}
    return {"PATH": PATH, "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", **kept}
