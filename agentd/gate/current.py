"""The policy in force, and the only way in which another one takes its place.

    text -> compiled off the loop (parsed, its tests judged) -> kept whole by hash -> line in the record -> swapped, whole

Any step that fails leaves everything as it was. A refused file is recorded once for each distinct text and stays visible as
`fault` until a good one comes. Whoever began work with a `Held` keeps it to the end; nobody sees half of two versions,
since the swap is one assignment. Without any policy `current` is None, and the way refuses everything.

At start the last good version out of the record stands in for a file that is broken or gone: a box that was governed
yesterday is not left without rules, nor without service, because of a typing error made while it was down.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from difflib import unified_diff
from typing import Any

from agentd.core.accounting.times import rfc3339
from agentd.core.policy.change import summarise_change
from agentd.core.policy.leaks import without_leaks
from agentd.core.policy.schema import Policy
from agentd.core.types.errors import PolicyRefused
from agentd.core.types.records import Kind, Line
from agentd.gate.ports import Clock, Ledger

Compile = Callable[[str, str], Policy]
"""(text, source) -> a policy that parsed and whose tests passed. Raises `PolicyRefused`. May take its time: runs in a thread."""

MAX_DIFF_LINES = 400
"""Of a diff so much goes into the line; both versions are kept whole beside it."""

MAX_LINE_CHARS = 300
MAX_RECORDED_FAULTS = 20
"""Of a refused file; `agentctl policy check` shows all."""

log = logging.getLogger("agentd.policy")


@dataclass(frozen=True, slots=True)
class Held:
    """A version in force: the policy, the SHA-256 (hex) of its text, the text, and since when (RFC 3339, UTC)."""

    policy: Policy
    digest: str
    text: str
    loaded_at: str


def digest_of(text: str) -> str:
    """The name of a version: SHA-256 of its text, hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class CurrentPolicy:
    """Holds the version in force and what is wrong with the newest file."""

    def __init__(self, ledger: Ledger, clock: Clock, compile_policy: Compile) -> None:
        """Nothing is in force until `start` or `load`."""
        self._ledger = ledger
        self._clock = clock
        self._compile = compile_policy
        self._turn = asyncio.Lock()
        self._recorded: str | None = None
        self.current: Held | None = None
        self.fault: PolicyRefused | None = None
        self.on_change: Callable[[], None] = lambda: None

    async def load(self, text: str, source: str) -> Held:
        """Put a version in force and give it back.

        Raises `PolicyRefused` (recorded, kept as `fault`) or `RecordUnavailable`; then the one before stays.
        """
        async with self._turn:
            return await self._load(text, source, self.current)

    async def refuse(self, refused: PolicyRefused, text: str = "") -> None:
        """Take note that there is no good file, and why. Raises `RecordUnavailable`; the fault shows all the same."""
        async with self._turn:
            await self._refuse(refused, text, self.current)

    async def start(self, found: str | PolicyRefused, source: str, last_good: str | None = None) -> None:
        """Begin with what stands in the file: its text, or why it cannot be read. `last_good` is the newest accepted text of
        the record. Raises `RecordUnavailable`. Afterwards `current` may be None, and `fault` says why."""
        async with self._turn:
            before = await self._revive(last_good, source)
            try:
                if isinstance(found, PolicyRefused):
                    await self._refuse(found, "", before)
                else:
                    await self._load(found, source, before)
                    return
            except PolicyRefused:
                pass  # recorded and kept as `fault` where it was raised
            if before is not None:
                await self._fall_back(before)
            else:
                log.error("no policy is in force: every call is refused until %s is mended", source)

    async def _load(self, text: str, source: str, before: Held | None) -> Held:
        digest = digest_of(text)
        if self.current is not None and self.current.digest == digest:
            await self._unchanged(self.current)
            return self.current
        try:
            policy = await asyncio.to_thread(self._compile, text, source)
        except PolicyRefused as refused:
            await self._refuse(refused, text, before)
            raise
        at = rfc3339(self._clock.wall_ns())
        held = Held(policy, digest, text, at)
        await self._ledger.keep_policy(digest, text)
        await self._ledger.append(loaded_line(held, before))
        self._put(held)
        return held

    def _put(self, held: Held) -> None:
        self.current, self.fault, self._recorded = held, None, None
        self.on_change()
        log.info("policy %s is in force: %s", held.digest[:12], held.policy.change)

    async def _unchanged(self, held: Held) -> None:
        """The file holds what is in force. Worth a line only if it held something bad in between."""
        if self.fault is None:
            return
        at = rfc3339(self._clock.wall_ns())
        detail = {"message": "the file holds the policy in force again", "source": held.policy.source}
        await self._ledger.append(_line(at, "allow", "policy.restored", held.digest, detail))
        self.fault, self._recorded = None, None

    async def _refuse(self, refused: PolicyRefused, text: str, before: Held | None) -> None:
        self.fault = refused
        for fault in refused.faults[:MAX_RECORDED_FAULTS]:
            log.error("%s:%d:%d: %s (%s)", refused.source, fault.line, fault.column, fault.message, fault.hint)
        digest = digest_of(text or refused.message)
        if digest == self._recorded:
            return
        at = rfc3339(self._clock.wall_ns())
        await self._ledger.append(_line(at, "deny", "policy.refused", digest, _refused_detail(refused, text, before)))
        self._recorded = digest

    async def _revive(self, text: str | None, source: str) -> Held | None:
        """The last good version, if it still is one: what it takes to read a policy may have changed with agentd."""
        if text is None:
            return None
        try:
            policy = await asyncio.to_thread(self._compile, text, source)
        except PolicyRefused as refused:
            log.warning("the last good policy of the record is none any more: %s", refused.message)
            return None
        return Held(policy, digest_of(text), text, rfc3339(self._clock.wall_ns()))

    async def _fall_back(self, held: Held) -> None:
        detail = {
            "message": "the file is refused, so the last good version stays in force",
            "source": held.policy.source,
            "owner": held.policy.owner,
            "change": held.policy.change,
        }
        await self._ledger.append(_line(held.loaded_at, "allow", "policy.last_good", held.digest, detail))
        self.current = held
        log.error("the policy file is refused: the last good version %s stays in force", held.digest[:12])


def loaded_line(held: Held, before: Held | None) -> Line:
    """The line that tells of a new version: whose, why, what it widens and narrows, and the diff."""
    policy = held.policy
    change = summarise_change(None if before is None else before.policy, policy)
    detail = {
        "source": policy.source,
        "owner": policy.owner,
        "reviewed": policy.reviewed.isoformat(),
        "change": policy.change,
        "previous": None if before is None else before.digest,
        "widened": list(change.widened),
        "narrowed": list(change.narrowed),
        "diff": "" if before is None else diff(before.text, held.text),
    }
    return _line(held.loaded_at, "allow", "policy.loaded", held.digest, detail)


def _refused_detail(refused: PolicyRefused, text: str, before: Held | None) -> dict[str, Any]:
    return {
        "message": refused.message,
        "hint": refused.hint,
        "source": refused.source,
        "previous": None if before is None else before.digest,
        "faults": [asdict(fault) for fault in refused.faults[:MAX_RECORDED_FAULTS]],
        "diff": diff(before.text, text) if before is not None and text else "",
    }


def diff(old: str, new: str) -> str:
    """A unified diff without file names, bounded, and without secrets: a refused file may be refused for holding one."""
    lines = [
        line[:MAX_LINE_CHARS].rstrip("\n")
        for line in unified_diff(without_leaks(old).splitlines(), without_leaks(new).splitlines(), n=2, lineterm="")
    ][2:]
    more = len(lines) - MAX_DIFF_LINES
    if more > 0:
        lines = [*lines[:MAX_DIFF_LINES], f"... {more} more lines"]
    return "\n".join(lines)


def _line(at: str, verdict: str, code: str, digest: str, detail: dict[str, Any]) -> Line:
    return Line(Kind.POLICY, at, verdict=verdict, code=code, policy=digest, detail=detail)
