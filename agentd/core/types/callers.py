"""Who is calling. Every fact here comes from the kernel when the connection is accepted; nothing in a request can set one."""

from dataclasses import dataclass
from typing import Literal

Door = Literal["agent", "operator"]
"""Which socket the connection came in by."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Kernel facts of the process at the other end, taken once at accept.

    `start_ticks` (field 22 of /proc/PID/stat) makes `pid` unambiguous, since pids are reused. A fact that the kernel did
    not give, or that could belong to a later process with the same pid, is None and matches no rule.
    """

    door: Door
    uid: int
    gid: int
    pid: int
    start_ticks: int | None = None
    unit: str | None = None  # systemd unit from the cgroup, "openclaw.service"
    exe: str | None = None  # absolute path of the executable


@dataclass(frozen=True, slots=True)
class Caller:
    """A peer and the agent that policy takes it for. `agent` None is an unknown caller, which gets only a refusal."""

    peer: Peer
    agent: str | None = None
