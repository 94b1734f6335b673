"""The operator's keys: listed, set, deleted. Each act is a line of the record before it is done, by name and never by value;
an act that then fails is a second line, so that the record claims nothing that did not happen."""

import re

from agentd.core.types.callers import Peer
from agentd.core.types.errors import KeyUnavailable
from agentd.core.types.records import Kind
from agentd.core.types.verdicts import Answer
from agentd.gate.acts import Act, act_line
from agentd.gate.desk.rooms import Desk
from agentd.gate.ports_operator import Json, OperatorRefused

KEY_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
"""A key's name goes into commands, lines and messages; no secret of a known kind fits this by accident."""

MAX_KEY = 4096
"""Characters of a key: the longest in use are below 300."""


class KeyDesk:
    """Keys, as an operator handles them."""

    def __init__(self, desk: Desk) -> None:
        """Take the rooms."""
        self._desk = desk

    def listing(self) -> Json:
        """Every key that is in use or wanted, who wants it, and how the keyring is."""
        code, sentence = self._desk.keys.health()
        names = set(self._desk.keys.names())
        rows = [
            {"name": name, "in_use": name in names, "upstreams": self._wanting(name)}
            for name in sorted(names | self._wanted())
        ]
        return {"keys": rows, "keyring": {"code": code, "sentence": sentence}}

    async def store(self, peer: Peer, name: str, value: str) -> Json:
        """Store a key and put it in use; an upstream that waits for it serves from now on. One that its upstream says is of
        the wrong kind is not stored."""
        _key_name(name)
        if not value.strip() or len(value) > MAX_KEY:
            raise OperatorRefused(
                "key.value", f"The value of key {name} is empty or longer than {MAX_KEY} characters.", "Paste it again."
            )
        await self._desk.try_key(name, value.strip())
        known = name in self._desk.keys.names()
        await self._record(peer, Act(Kind.KEY, "key.set", detail={"name": name, "replaces": known}))
        await self._key_act(peer, "set", name, value)
        return {"name": name, "replaced": known, "upstreams": self._wanting(name)}

    async def forget(self, peer: Peer, name: str) -> Json:
        """Forget a key, in the keyring and here. One that is out of use may still be in the keyring: a deletion that failed
        there can be done again, and an old key of no upstream can go."""
        _key_name(name)
        await self._record(peer, Act(Kind.KEY, "key.delete", detail={"name": name}))
        await self._key_act(peer, "delete", name, "")
        return {"name": name, "upstreams": self._wanting(name)}

    async def _key_act(self, peer: Peer, act: str, name: str, value: str) -> None:
        """Do what was recorded; a failure is recorded too, so that the record does not claim what did not happen."""
        keys = self._desk.keys
        try:
            await (keys.set(name, value) if act == "set" else keys.delete(name))
            self._desk.key_changed()
        except KeyUnavailable as failed:
            detail = {"name": name, "act": act, "failure": failed.code}
            await self._record(peer, Act(Kind.KEY, "key.failed", verdict="deny", detail=detail))
            if failed.code == "key.unknown":
                hint = "agentctl key list"
                raise OperatorRefused("key.none", f"There is no key {name}.", hint, Answer.NOT_FOUND) from None
            raise OperatorRefused(failed.code, failed.message, failed.hint, Answer.UNAVAILABLE) from None

    def _wanting(self, key: str) -> list[str]:
        held = self._desk.policies.current
        return [name for name, upstream in held.policy.upstreams.items() if upstream.key == key] if held else []

    def _wanted(self) -> set[str]:
        held = self._desk.policies.current
        return {upstream.key for upstream in held.policy.upstreams.values() if upstream.key} if held else set()

    async def _record(self, peer: Peer, act: Act) -> None:
        await self._desk.ledger.append(act_line(self._desk.clock.wall_ns(), peer, act))


def _key_name(name: str) -> None:
    if not KEY_NAME.fullmatch(name):
        hint = "A name is like openrouter: small letters, digits, - and _. The value is asked for, never an argument."
        raise OperatorRefused("key.name", "That is no name for a key.", hint)
