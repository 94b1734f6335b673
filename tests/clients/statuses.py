"""Every answer that agentd can give, each brought about by a real daemon, and what one client makes of it, as a cell of the table
in docs/clients.md.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from clients import codex
from clients.connecting import Turn
from clients.counter import Counter
from harness.daemon import REPO, SHIPPED_POLICY, Daemon, discard, start

TABLE = REPO / "docs" / "clients.md"
FIRST, LAST = "<!-- statuses -->", "<!-- end of statuses -->"

ELSEWHERE = """
agents:
  elsewhere:
    owner: ops@example.org
    expires: 2027-06-30
    match: [{ uid: 65533 }]
    default_class: routine
    classes: [routine]
    ceiling: economy
    label: private
"""
"""An agent of another user: whoever is not that user gets nothing with its token."""

TOLD = re.compile(r"agentd: ")
"""How agentd's own words begin."""

WORKS = "[[sim:say it works]]"
LONG = "[[sim:long 60]]"


@dataclass(frozen=True, slots=True)
class Shape:
    """One answer, and how it is brought about: by the prompt, by whose token it is, or by the door that is asked."""

    name: str
    prompt: str = WORKS
    token: str = "main"
    door: str = "good"
    cut_after: int | None = None
    again: bool = False  # whether the client is asked again afterwards: for what could make one write agentd off


SHAPES = (
    Shape("UNAVAILABLE", token="lost", door="lost", again=True),
    Shape("WAIT", "[[sim:fault status:503]]", again=True),
    Shape("DENY", token="halted", door="halted"),
    Shape("BUDGET", token="spent", door="spent", again=True),
    Shape("INVALID", "[[sim:fault status:400]]"),
    Shape("TOO_LARGE", "[[sim:fault type:payload_too_large]]"),
    Shape("NOT_FOUND", door="elsewhere"),
    Shape("UNKNOWN", token="elsewhere"),
    Shape("UNIDENTIFIED", token="revoked", again=True),
    Shape("error in mid-stream", f"{LONG} [[sim:fault error-mid:int]]"),
    Shape("upstream gone in mid-stream", f"{LONG} [[sim:fault cut-mid]]"),
    Shape("agentd gone in mid-stream", f"{LONG} [[sim:slow 20]]", cut_after=1_000),
)
"""Those that make a client wait come first, so that others can use the time."""


FINAL = ("DENY", "BUDGET", "INVALID", "TOO_LARGE", "UNKNOWN")
"""Asking again helps with none of them."""

MOST = {"claude-code": 3, "codex": 3, "nanobot": 4, "openclaw": 12}
"""Posts of one turn, whatever happens, with the settings that `agentctl connect` writes."""


@dataclass(frozen=True, slots=True)
class Place:
    """Doors of daemons, operators' sockets and tokens, by what they are for."""

    doors: dict[str, str]
    tokens: dict[str, str]
    sockets: dict[str, Path]


@contextmanager
def a_place() -> Iterator[Place]:
    """One daemon that works, one that is halted, one whose budget is used up, and one that has lost its record."""
    with ExitStack() as stack:
        agents = _policy("\nagents:\n", ELSEWHERE)
        spent = _policy("window: day, limit: 10.00 }", "window: day, limit: 0.0001 }")
        texts: dict[str, str | Path] = {
            "good": agents,
            "halted": SHIPPED_POLICY,
            "spent": spent,
            "lost": SHIPPED_POLICY,
        }
        running = {name: stack.enter_context(_daemon(text)) for name, text in texts.items()}
        tokens = {name: codex.token(daemon) for name, daemon in running.items()}
        good, lost = running["good"], running["lost"]
        tokens |= {"main": tokens["good"], "elsewhere": codex.token(good, "elsewhere"), "revoked": codex.token(good)}
        for daemon, *done in (
            (good, "agent", "token", "revoke", tokens["revoked"]),
            (running["halted"], "halt", "--reason", "maintenance of the disk"),
        ):
            assert daemon.ctl(*done).returncode == 0
        (lost.state / "ledger.db").rename(lost.state / "elsewhere.db")
        doors = {name: codex.door(daemon) for name, daemon in running.items()}
        sockets = {name: daemon.operator_socket for name, daemon in running.items()}
        yield Place({**doors, "elsewhere": f"{doors['good']}/elsewhere"}, tokens, sockets)


def _policy(old: str, new: str) -> str:
    """The shipped one with a part of it put differently, without its own tests."""
    text = SHIPPED_POLICY.read_text().partition("\ntests:")[0]
    assert text.count(old) == 1
    return text.replace(old, new) + "\n...\n"


@contextmanager
def _daemon(text: str | Path) -> Iterator[Daemon]:
    daemon = start(text, "--tcp", "127.0.0.1:0")
    try:
        yield daemon
    finally:
        discard(daemon)


def cell(counter: Counter, turn: Turn) -> str:
    """What a client made of an answer: `STATUS x POSTS, told`."""
    statuses = "/".join(map(str, sorted(set(counter.statuses))))
    told = "told" if TOLD.search(turn.told) else "not told"
    return f"{statuses} x {len(counter.statuses)}, {told}{'' if turn.status else ', exit 0'}"


def posts(said: str) -> int:
    """How often a client posted, by a cell."""
    return int(said.partition(" x ")[2].partition(",")[0])


def documented(client: str) -> dict[str, str]:
    """A client's column of the table in docs/clients.md, by answer."""
    head, _, *rows = [
        [cell.strip() for cell in line.strip("| \n").split("|")]
        for line in TABLE.read_text().partition(FIRST)[2].partition(LAST)[0].strip().splitlines()
    ]
    column = head.index(client)
    return {row[0]: row[column] for row in rows}
