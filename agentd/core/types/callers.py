"""Who is calling. Facts come from the kernel when the connection is accepted. Over TCP the kernel knows less, so there a token
must name the agent as well; nothing else in a request can say who asks."""

from dataclasses import dataclass
from typing import Literal

Door = Literal["agent", "operator"]
"""Which socket the connection came in by."""

Transport = Literal["unix", "tcp"]
"""How it came in: by a Unix socket, whose peer the kernel knows as a process, or by loopback TCP: there it knows a user."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Kernel facts of the process at the other end, taken once at accept.

    `start_ticks` (field 22 of /proc/PID/stat) makes `pid` unambiguous, since pids are reused. A fact that the kernel did
    not give, or that could belong to a later process with the same pid, is None and matches no rule. Over TCP only `uid` is
    known, and `token`, `token_agent` are set once a valid token was shown: such a peer can be that agent or nobody.
    """

    door: Door
    uid: int
    gid: int | None = None
    pid: int | None = None
    start_ticks: int | None = None
    unit: str | None = None  # systemd unit from the cgroup, "openclaw.service"
    exe: str | None = None  # absolute path of the executable
    transport: Transport = "unix"
    token: str | None = None  # id of the token that was shown, "t-0123456789ab"
    token_agent: str | None = None  # whose token it is


@dataclass(frozen=True, slots=True)
class Caller:
    """A peer and the agent that policy takes it for. `agent` None is an unknown caller, which gets only a refusal."""

    peer: Peer
    agent: str | None = None
