"""An operator's stops: the box, one agent, one tier.

A stop is a line of the record before it is an effect, and it is the record that brings it back after a restart, so a
reboot ends no stop. Orders are taken one at a time: the order of the lines is the order of the effects, which is what
makes `restore` right. A stop also cuts what is running: `on_halt` tells whoever holds streams."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from agentd.core.policy.facts import Halt
from agentd.core.types.callers import Peer
from agentd.core.types.records import Kind
from agentd.core.types.verdicts import Answer
from agentd.gate.acts import Act, act_line
from agentd.gate.ports import Clock, Ledger
from agentd.gate.ports_operator import HaltAsk, OperatorRefused

SCOPES = ("box", "agent", "tier")
"""What can be stopped, widest first."""

MAX_REASON = 500
"""Characters of a reason: a sentence for people, not a document."""

HaltListener = Callable[[Halt], None]
"""Called on the event loop when a stop took effect."""


class Halts:
    """The stops that hold now."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        """Nothing is stopped until `restore` or `halt` says so."""
        self._ledger = ledger
        self._clock = clock
        self._active: dict[tuple[str, str], Halt] = {}
        self._listeners: list[HaltListener] = []
        self._order = asyncio.Lock()

    def active(self) -> tuple[Halt, ...]:
        """What is stopped now, oldest order first."""
        return tuple(sorted(self._active.values(), key=lambda halt: halt.seq))

    def on_halt(self, listener: HaltListener) -> Callable[[], None]:
        """Hear of each stop; the answer unsubscribes."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def halt(self, ask: HaltAsk, caller: Peer) -> Halt:
        """Record a stop, then make it hold. A second stop of the same thing replaces its reason.

        Raises `OperatorRefused` for an order that cannot be read, `RecordUnavailable` when it cannot be written down.
        """
        _check(ask)
        async with self._order:
            at_ns = self._clock.wall_ns()
            line = act_line(at_ns, caller, _act(Kind.HALT, "operator.halt", ask))
            receipt = await self._ledger.append(line)
            halt = Halt(scope=ask.scope, name=ask.name, reason=ask.reason, at=line.at, seq=receipt.seq)
            self._active[(ask.scope, ask.name)] = halt
        for listener in tuple(self._listeners):
            listener(halt)
        return halt

    async def resume(self, ask: HaltAsk, caller: Peer) -> Halt:
        """Record the end of a stop, then end it; gives the stop that ended.

        Raises `OperatorRefused` (not found) when nothing of that name is stopped, `RecordUnavailable` as `halt`.
        """
        _check(ask)
        async with self._order:
            halt = self._active.get((ask.scope, ask.name))
            if halt is None:
                raise OperatorRefused(
                    "halt.none",
                    f"{_words(ask)} is not stopped.",
                    _others(self.active()),
                    Answer.NOT_FOUND,
                )
            line = act_line(self._clock.wall_ns(), caller, _act(Kind.RESUME, "operator.resume", ask))
            await self._ledger.append(line)
            del self._active[(ask.scope, ask.name)]
        return halt

    def restore(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Take up what held when the daemon last ran: halt and resume lines of the record, oldest first."""
        for line in lines:
            detail = line.get("detail") or {}
            key = (str(detail.get("scope", "box")), str(detail.get("name", "")))
            if line["kind"] == Kind.RESUME:
                self._active.pop(key, None)
            elif line["kind"] == Kind.HALT:
                reason = str(detail.get("reason", ""))
                self._active[key] = Halt(key[0], key[1], reason, at=str(line["at"]), seq=int(line["seq"]))


def _act(kind: Kind, code: str, ask: HaltAsk) -> Act:
    return Act(kind, code, detail={"scope": ask.scope, "name": ask.name, "reason": ask.reason})


def _check(ask: HaltAsk) -> None:
    if ask.scope not in SCOPES:
        raise OperatorRefused("halt.scope", f"There is nothing called {ask.scope!r} to stop.", "box, agent or tier.")
    if (ask.scope == "box") == bool(ask.name):
        raise OperatorRefused(
            "halt.name", "An agent or a tier is named, the box is not.", "--agent NAME or --tier NAME."
        )
    if not ask.reason.strip():
        raise OperatorRefused("halt.reason", "A stop and its end need a reason.", 'Add --reason "why".')
    if len(ask.reason) > MAX_REASON:
        raise OperatorRefused("halt.reason", f"The reason is longer than {MAX_REASON} characters.", "Shorten it.")


def _words(ask: HaltAsk) -> str:
    return "The box" if ask.scope == "box" else f"The {ask.scope} {ask.name}"


def _others(active: tuple[Halt, ...]) -> str:
    if not active:
        return "Nothing is stopped now."
    return "Stopped now: " + ", ".join(f"{halt.scope} {halt.name}".strip() for halt in active) + "."
