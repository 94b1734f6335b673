"""Which old lines of the record are still needed: what the next start, or a call to come, would read them for.

Lines of calls count as long as a budget or a quota looks back on them, so nothing that is younger than `FLOOR_S` ever goes.
Beside those it is acts that outlive any window: a halt that nobody ended, a token that still serves, the version of the policy
that a line which stays was decided by. An act goes only together with whatever it cancels: were a token's revocation to go
alone, the token would come back.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from agentd.core.accounting.times import from_rfc3339
from agentd.core.types.records import Kind
from agentd.core.types.tokens import id_of

DAY_S = 86_400

FLOOR_S = 32 * DAY_S
"""The longest window of a budget is a month, and a quota looks back no further: lines that are younger always stay."""

STANDING = (Kind.HALT, Kind.RESUME, Kind.TOKEN, Kind.POLICY)
"""Kinds of lines that are read again at a start, however old they are."""

Record = Mapping[str, Any]


def standing(lines: Iterable[Record], now_ns: int) -> set[int]:
    """Numbers of the halt, resume and token lines that still say something; `lines` are all of them, oldest first."""
    known = list(lines)
    halts: dict[tuple[str, str], int] = {}
    for line in known:
        if line["kind"] in (Kind.HALT, Kind.RESUME):
            detail = line.get("detail") or {}
            key = (str(detail.get("scope", "box")), str(detail.get("name", "")))
            halts.pop(key, None)
            if line["kind"] == Kind.HALT:
                halts[key] = int(line["seq"])
    return {*halts.values(), *_tokens([line for line in known if line["kind"] == Kind.TOKEN], now_ns)}


def in_force(lines: Iterable[Record], versions: Collection[str]) -> dict[str, int]:
    """Version -> number of the newest line that put it in force, for these versions and the one that holds now.

    `lines` are all policy lines, oldest first.
    """
    newest: dict[str, int] = {}
    last = None
    for line in lines:
        if line["kind"] == Kind.POLICY and line.get("verdict") == "allow" and line.get("policy"):
            last = str(line["policy"])
            newest[last] = int(line["seq"])
    return {version: seq for version, seq in newest.items() if version in versions or version == last}


def _tokens(lines: list[Record], now_ns: int) -> set[int]:
    """Lines of tokens that serve, and every line about a token whose making is among those."""
    ends: dict[str, int] = {}
    made: dict[int, str] = {}
    about: dict[str, list[int]] = {}
    for line in lines:
        seq, detail = int(line["seq"]), line.get("detail") or {}
        if line.get("code") == "token.revoke":
            ends[str(detail.get("id"))] = 0
            about.setdefault(str(detail.get("id")), []).append(seq)
            continue
        until = from_rfc3339(str(detail["until"])) if detail.get("until") else 0
        for old in map(str, detail.get("replaces") or ()):
            ends[old] = min(ends.get(old, 0), until)
            about.setdefault(old, []).append(seq)
        name = id_of(str(detail["sha256"]))
        ends[name], made[seq] = from_rfc3339(str(detail["expires"])), name
        about.setdefault(name, []).append(seq)
    return _closed_over({name for name, end in ends.items() if end > now_ns}, made, about)


def _closed_over(names: set[str], made: Mapping[int, str], about: Mapping[str, list[int]]) -> set[int]:
    """All lines about these tokens, about those that one of these lines made, and so on."""
    kept: set[int] = set()
    while names:
        lines = {seq for name in names for seq in about[name]} - kept
        kept |= lines
        names = {made[seq] for seq in lines if seq in made}
    return kept
