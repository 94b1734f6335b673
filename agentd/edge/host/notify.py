"""Talks to the service manager that started agentd, if one did: ready, reloading, stopping, alive.

The protocol is one datagram of NAME=value lines to the socket that NOTIFY_SOCKET names. A message that cannot be sent is
logged and forgotten: serving must not depend on being watched, and a manager that misses the pulse restarts agentd.
"""

import logging
import os
import socket
from collections.abc import Mapping, MutableMapping

from agentd.gate.ports import Clock

log = logging.getLogger("agentd.notify")

US_PER_S = 1_000_000
NS_PER_US = 1_000


class Notifier:
    """`gate.ports.Notify`: `notify(READY="1", STATUS="serving")`. Does nothing where nobody listens."""

    def __init__(self, address: str | None, clock: Clock) -> None:
        """The value of NOTIFY_SOCKET: an absolute path, `@name` in the abstract namespace, or None."""
        self._clock = clock
        self._address = _unix_address(address) if address else None
        self._socket: socket.socket | None = None
        if self._address is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    @classmethod
    def from_environ(cls, clock: Clock, environ: MutableMapping[str, str] = os.environ) -> "Notifier":
        """Take NOTIFY_SOCKET, and take it away: no child of agentd may speak in its name."""
        return cls(environ.pop("NOTIFY_SOCKET", None), clock)

    def __call__(self, **state: str) -> None:
        """Send these assignments in one message. RELOADING=1 gets the time that the manager asks for beside it."""
        if self._socket is None or self._address is None:
            return
        if state.get("RELOADING") == "1":
            state["MONOTONIC_USEC"] = str(self._clock.mono_ns() // NS_PER_US)
        message = "\n".join(f"{name}={_one_line(value)}" for name, value in state.items())
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError as error:
            log.warning("the service manager was not told %s: %s", ", ".join(state), error)

    def close(self) -> None:
        """Give the socket back; later calls do nothing."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def watchdog_interval(environ: Mapping[str, str] = os.environ, pid: int | None = None) -> float | None:
    """Seconds between two signs of life: half of what the manager allows. None where it does not watch this process.

    A value that is no positive number counts as none, with a warning: systemd writes it, nobody types it.
    """
    meant_for = environ.get("WATCHDOG_PID")
    allowed = environ.get("WATCHDOG_USEC")
    if allowed is None or (meant_for is not None and meant_for != str(os.getpid() if pid is None else pid)):
        return None
    if not (allowed.isascii() and allowed.isdigit() and int(allowed) > 0):
        log.warning("WATCHDOG_USEC=%r is no number of microseconds: no signs of life will be sent", allowed)
        return None
    return int(allowed) / US_PER_S / 2


def _unix_address(address: str) -> str | None:
    if address.startswith("@") and len(address) > 1:
        return "\0" + address[1:]
    if address.startswith("/"):
        return address
    log.warning("NOTIFY_SOCKET=%r is no Unix socket: the service manager will hear nothing", address)
    return None


def _one_line(value: str) -> str:
    """A line break would begin an assignment of its own."""
    return " ".join(value.splitlines())
