"""Who is let in by TCP: token, user and policy must agree; everything else is refused, recorded and bounded."""

import json
import logging
from dataclasses import replace
from typing import Any

import pytest

from agentd.core.accounting.times import NS_PER_S, rfc3339
from agentd.core.policy.schema import Match
from agentd.core.types.callers import Peer
from agentd.core.types.calls import Dialect
from agentd.core.types.records import Line
from agentd.core.types.tokens import Presented, digest_of, id_of
from agentd.gate import ports
from agentd.gate.admission import Admission
from agentd.gate.noise import BURST
from agentd.gate.tokens import Tokens
from builders import NOON, policy
from gate.way import Box, error_of, play

PEER = Peer("agent", 1001, transport="tcp")
GOOD, OTHER = "agentd-" + "g" * 43, "agentd-" + "o" * 43
UNIT = replace(policy().agents["main"], name="unit", match=(Match(unit="x.service"), Match(uid=1001, unit="x.service")))


def line(value: str, agent: str, life_s: int = 3600) -> dict[str, Any]:
    digest = digest_of(value)
    detail = {"id": id_of(digest), "sha256": digest, "expires": rfc3339(NOON + life_s * NS_PER_S)}
    return {"code": "token.create", "agent": agent, "at": rfc3339(NOON), "detail": detail}


class Entrance:
    """An admission over a box, with tokens."""

    def __init__(self, box: Box, *lines: dict[str, Any]) -> None:
        self.tokens = Tokens(lambda: GOOD)
        self.tokens.restore(lines or (line(GOOD, "main"),))
        self.gate = Admission(box.gate._refuser, self.tokens)

    async def shows(self, *values: str, peer: Peer = PEER, dialect: Dialect = Dialect.CHAT) -> Peer | ports.Answer:
        return await self.gate.admit(peer, dialect, Presented(values))

    async def refused(self, *values: str, peer: Peer = PEER, dialect: Dialect = Dialect.CHAT) -> ports.Answer:
        answer = await self.shows(*values, peer=peer, dialect=dialect)
        assert isinstance(answer, ports.Answer)
        return answer


def last(box: Box) -> Line:
    return box.record.lines[-1]


def test_the_right_user_with_the_right_token_is_the_agent_and_goes_the_usual_way() -> None:
    async def scene(box: Box) -> None:
        peer = await Entrance(box).shows(GOOD)
        assert peer == replace(PEER, token=id_of(digest_of(GOOD)), token_agent="main")
        assert isinstance(peer, Peer)
        assert (await box.ask(peer=peer)).status == 200

    box = play(scene)
    decision = box.record.lines[0]
    assert (decision.agent, decision.verdict) == ("main", "allow")
    assert decision.caller is not None
    assert (decision.caller["transport"], decision.caller["token"]) == ("tcp", id_of(digest_of(GOOD)))
    assert (decision.caller["uid"], decision.caller["gid"], decision.caller["pid"]) == (1001, None, None)


def test_without_a_token_not_even_the_right_user_is_anybody() -> None:
    async def scene(box: Box) -> None:
        assert (await box.ask(peer=PEER)).status == 400

    assert last(play(scene)).code == "caller.unknown"


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        ((), "token.missing"),
        ((OTHER,), "token.unknown"),
        (("sk-or-v1-x",), "token.unknown"),
        ((GOOD, OTHER), "token.ambiguous"),
    ],
)
@pytest.mark.parametrize("dialect", list(Dialect))
def test_who_shows_no_valid_token_gets_401_in_his_own_shape(
    shown: tuple[str, ...], code: str, dialect: Dialect
) -> None:
    async def scene(box: Box) -> None:
        answer = await Entrance(box).refused(*shown, dialect=dialect)
        assert answer.status == 401
        assert dict(answer.headers)["X-Agentd-Decision"] == "d-1"
        body = json.loads(answer.body or b"")
        told = body["agentd"] if dialect is Dialect.MESSAGES else body["error"]["metadata"]
        assert told["code"] == code
        assert (body["error"]["type"] == "authentication_error") == (dialect is Dialect.MESSAGES)

    box = play(scene)
    assert (last(box).code, last(box).verdict, last(box).agent) == (code, "deny", None)
    assert GOOD not in repr(box.record.lines)


def test_an_expired_and_a_revoked_one_are_named_and_refused() -> None:
    async def scene(box: Box) -> None:
        entrance = Entrance(box, line(GOOD, "main", life_s=0), line(OTHER, "main"))
        assert (await entrance.refused(GOOD)).status == 401
        assert last(box).code == "token.expired"
        entrance.tokens.learn({"code": "token.revoke", "detail": {"id": id_of(digest_of(OTHER))}})
        assert (await entrance.refused(OTHER)).status == 401
        assert last(box).code == "token.revoked"
        assert (last(box).detail or {})["token_agent"] == "main"

    play(scene)


def test_a_stolen_token_is_refused_recorded_counted_and_shouted(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(box: Box) -> None:
        entrance = Entrance(box)
        with caplog.at_level(logging.ERROR):
            answer = await entrance.refused(GOOD, peer=replace(PEER, uid=65534))
        assert (answer.status, error_of(answer)["code"]) == (400, "token.wrong_uid")
        assert entrance.tokens.misuse is not None
        assert entrance.tokens.misuse.uid == 65534

    box = play(scene)
    stolen = last(box)
    assert (stolen.code, stolen.agent, (stolen.caller or {})["uid"]) == ("token.wrong_uid", None, 65534)
    assert (stolen.detail or {})["token"] == id_of(digest_of(GOOD))
    assert "used by uid 65534" in caplog.text
    assert GOOD not in caplog.text + repr(box.record.lines)


def test_an_entry_that_asks_for_more_than_the_user_does_not_hold_over_tcp() -> None:
    by = policy(agents={**policy().agents, "unit": UNIT})

    async def scene(box: Box) -> None:
        await Entrance(box, line(GOOD, "unit")).refused(GOOD)
        assert last(box).code == "token.wrong_uid"

    play(scene, by)


def test_a_token_makes_nobody_another_agent_of_the_same_user() -> None:
    both = policy(agents={**policy().agents, "second": replace(policy().agents["main"], name="second")})

    async def scene(box: Box) -> None:
        peer = await Entrance(box, line(GOOD, "second")).shows(GOOD)
        assert isinstance(peer, Peer)
        await box.ask(peer=peer)
        assert box.record.lines[0].agent == "second"

    play(scene, both)


def test_a_token_of_an_agent_that_policy_no_longer_has() -> None:
    async def scene(box: Box) -> None:
        entrance = Entrance(box, line(GOOD, "gone"))
        assert (await entrance.refused(GOOD)).status == 400
        assert last(box).code == "token.no_agent"
        assert entrance.tokens.misuse is None

    play(scene)


def test_without_a_policy_the_way_itself_refuses() -> None:
    async def scene(box: Box) -> None:
        box.policies.current = None
        peer = await Entrance(box).shows(GOOD)
        assert isinstance(peer, Peer)
        assert (await box.ask(peer=peer)).status == 503

    play(scene)


def test_noise_is_bounded_and_a_theft_in_it_is_still_written_down() -> None:
    async def scene(box: Box) -> None:
        entrance, thief = Entrance(box), replace(PEER, uid=65534)
        answers = [await entrance.refused(peer=thief) for _ in range(BURST + 30)]
        assert {answer.status for answer in answers} == {401}
        assert dict(answers[-1].headers)["X-Agentd-Decision"] == f"d-{BURST}"
        assert len(box.record.lines) == BURST
        await entrance.refused(GOOD, peer=thief)
        assert last(box).code == "token.wrong_uid"
        box.clock.now = NOON + 61 * NS_PER_S
        await entrance.refused(peer=thief)
        assert (last(box).detail or {})["unrecorded_before"] == 30

    play(scene)


def test_bytes_of_a_stranger_that_are_no_request_are_bounded_too() -> None:
    async def scene(box: Box) -> None:
        for _ in range(BURST + 5):
            assert (await box.gate.refuse(PEER, Dialect.CHAT, "request.bad_http", "no")).status == 400
        assert len(box.record.lines) == BURST

    play(scene)


def test_a_web_page_is_turned_away_and_recorded() -> None:
    async def scene(box: Box) -> None:
        answer = await Entrance(box).gate.turn_away(PEER, Dialect.CHAT, "request.bad_host", "not here")
        assert (answer.status, error_of(answer)["code"]) == (400, "request.bad_host")

    assert last(play(scene)).code == "request.bad_host"


def test_what_cannot_be_recorded_is_refused_as_that() -> None:
    async def scene(box: Box) -> None:
        box.record.broken = True
        assert (await Entrance(box).refused()).status == 503

    play(scene)
