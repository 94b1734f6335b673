"""What parent and sandbox say to each other. Frozen messages, each in a frame of `wire`; sizes are bounded here.

    parent:   Prepare(profile) ->             <- Prepared | Refused
              Run(id, ...) + stdin as body ->  <- Output ... <- Exited | Refused
              Kill(id) ->
    sandbox:  Rings, unasked, once, first

One parent for one sandbox. A message that is malformed ends the connection, and that ends every command. `Refused` never
means that something ran.
"""

import os
from dataclasses import dataclass

MAX_ARGUMENTS = 4096
MAX_TEXT = 2 << 20
"""Bytes of an argument list with its environment, the kernel's own usual bound. One argument may have 128 KiB: the kernel's."""
MAX_PATH = 4096
MAX_NAMES = 256
MAX_RUNS = 64
"""Commands at a time. More are refused, not queued: whoever asks knows better what may wait."""

UNSAFE = "unsafe_no_sandbox"
"""The only name under which a profile without a cage can be had."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one command. Seconds and bytes; 0 in `idle_s`, `cpu_s` or `cpus` means no such bound. `cpus`, a share of
    processors, needs a cgroup."""

    wall_s: float = 120.0
    idle_s: float = 0.0
    cpu_s: float = 0.0
    memory: int = 512 << 20
    tasks: int = 40
    file_bytes: int = 256 << 20
    output_bytes: int = 1 << 20
    open_files: int = 1024
    cpus: float = 0.0

    def __post_init__(self) -> None:
        if min(self.wall_s, self.memory, self.tasks, self.file_bytes, self.output_bytes, self.open_files) <= 0:
            raise ValueError(
                "wall_s, memory, tasks, file_bytes, output_bytes and open_files bound every run and are above 0"
            )
        if min(self.idle_s, self.cpu_s, self.cpus) < 0:
            raise ValueError("no limit is negative")


@dataclass(frozen=True, slots=True)
class Profile:
    """A view: what of the machine is there at all. Paths are absolute; `protected` are names within the workspace that nobody
    in the cage may write, existing or not; `hidden` are patterns (`**/.env`) of what nobody there may read.
    `required` names the rings without which nothing runs."""

    name: str
    workspace: str
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    home: str = "/home/agent"
    tmp_bytes: int = 256 << 20
    required: tuple[str, ...] = ("view", "network", "processes", "seccomp", "landlock")

    def __post_init__(self) -> None:
        for path in (self.workspace, self.home, *self.read, *self.write):
            if not path.startswith("/") or os.path.normpath(path) != path or path == "/" or "\0" in path:
                raise ValueError(f"not an absolute, normal path: {path!r}")
        for name in self.protected:
            if name.startswith("/") or os.path.normpath(name) != name or ".." in name.split("/") or "\0" in name:
                raise ValueError(f"not a name within the workspace: {name!r}")
        if max(map(len, (self.read, self.write, self.protected, self.hidden, self.required))) > MAX_NAMES:
            raise ValueError(f"more than {MAX_NAMES} names in a list")
        if self.tmp_bytes <= 0:
            raise ValueError("tmp_bytes is missing")


@dataclass(frozen=True, slots=True)
class Prepare:
    """Build the view of a profile, or build it again: commands under way in the old one are ended."""

    profile: Profile


@dataclass(frozen=True, slots=True)
class Run:
    """Run a command under a prepared profile. `env` is the whole environment, in pairs. `digest` is the SHA-256 (hex) that
    the program must have; empty: none is demanded. Standard input is the body of the frame, or a pipe as its descriptor."""

    id: int
    profile: str
    argv: tuple[str, ...]
    cwd: str
    env: tuple[tuple[str, str], ...]
    limits: Limits
    digest: str = ""

    def __post_init__(self) -> None:
        texts = [*self.argv, self.cwd, *(f"{name}={value}" for name, value in self.env)]
        if not self.argv or not self.argv[0] or len(texts) > MAX_ARGUMENTS:
            raise ValueError(f"from 1 to {MAX_ARGUMENTS} arguments and variables")
        if any("\0" in text for text in texts) or any("=" in name or not name for name, _ in self.env):
            raise ValueError("arguments hold no NUL, names of variables no '='")
        if sum(len(os.fsencode(text)) + 1 for text in texts) > MAX_TEXT or len(self.cwd) > MAX_PATH:
            raise ValueError(f"arguments and environment together may have {MAX_TEXT} bytes")


@dataclass(frozen=True, slots=True)
class Kill:
    """End a command and all it started. Its `Exited` comes as ever."""

    id: int


@dataclass(frozen=True, slots=True)
class Ring:
    """A layer of the cage: whether this machine has it, and what to do where not."""

    name: str
    held: bool
    detail: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Rings:
    """What this kernel and this process' rights make possible. Sent unasked, first."""

    rings: tuple[Ring, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """The view stands; `rings` is what holds in it, tried and not guessed."""

    profile: str
    rings: tuple[Ring, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing ran. `id` is that of the run, 0 for a profile; `code` is stable."""

    id: int
    profile: str
    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Output:
    """Some output, in the frame's body. `skipped` bytes before it were dropped: beyond the bound only the end is kept."""

    id: int
    stream: int
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a command and all that it waited for used: seconds, bytes, switches."""

    user_s: float = 0.0
    system_s: float = 0.0
    max_rss: int = 0
    blocks_in: int = 0
    blocks_out: int = 0


@dataclass(frozen=True, slots=True)
class Exited:
    """The command has ended, and nothing of it runs any more. `status` is its exit status, or -1; `signal` the one that ended it,
    or 0; `killed_by` empty, or who ended it: wall, idle, cpu, memory, kill, parent, zygote-lost."""

    id: int
    status: int
    signal: int
    usage: Usage
    killed_by: str = ""
    truncated: int = 0
    wall_s: float = 0.0
    program: str = ""
    digest: str = ""


FROM_PARENT: dict[str, type] = {kind.__name__: kind for kind in (Prepare, Run, Kill)}
FROM_SANDBOX: dict[str, type] = {kind.__name__: kind for kind in (Rings, Prepared, Refused, Output, Exited)}
