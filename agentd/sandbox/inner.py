"""What sandbox process, zygote and the first process of a call say to each other. Not seen outside."""

from dataclasses import dataclass

from agentd.sandbox.protocol import Profile, Ring, Usage

CAGE = "/.cage"
PYTHON = f"{CAGE}/python"
LIBRARY = f"{CAGE}/lib"
MOUNTED = (PYTHON, f"{LIBRARY}/agentd/sandbox", f"{LIBRARY}/agentd/__init__.py")
"""What a cage takes away before it starts anything: the zygote's own things are nobody else's."""


@dataclass(frozen=True, slots=True)
class Place:
    """A directory that the view must show: the very one that was opened outside, by device and inode."""

    path: str
    device: int
    inode: int


@dataclass(frozen=True, slots=True)
class Settle:
    """The zygote's first message: what it stands in. `uid` and `gid` are those that commands appear with."""

    profile: Profile
    places: tuple[Place, ...]
    uid: int
    gid: int
    caged: bool


@dataclass(frozen=True, slots=True)
class Settled:
    """The zygote is ready; which layers it has tried."""

    rings: tuple[Ring, ...]


@dataclass(frozen=True, slots=True)
class Unsettled:
    """The zygote cannot serve."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """A call's end, from its first process: how the command ended, or why it never began (`code`)."""

    status: int = -1
    signal: int = 0
    usage: Usage = Usage()
    killed_by: str = ""
    program: str = ""
    digest: str = ""
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """A call has ended and its process namespace is empty. `report` None: its first process was killed."""

    id: int
    report: Report | None


TO_ZYGOTE_FIRST: dict[str, type] = {"Settle": Settle}
FROM_ZYGOTE: dict[str, type] = {kind.__name__: kind for kind in (Settled, Unsettled, Finished)}
FROM_CALL: dict[str, type] = {"Report": Report}
