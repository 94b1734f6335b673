"""Tokens out of the record's lines: made, replaced, revoked, expired; the same whether they were done now or read again."""

from typing import Any

import pytest

from agentd.core.accounting.times import NS_PER_S, rfc3339
from agentd.core.types.tokens import digest_of, id_of
from agentd.gate.tokens import Standing, Tokens
from builders import NOON

DAY = 86_400 * NS_PER_S
ONE, TWO = "agentd-" + "1" * 43, "agentd-" + "2" * 43


def made(value: str, agent: str = "main", code: str = "token.create", **more: Any) -> dict[str, Any]:
    digest = digest_of(value)
    detail = {"id": id_of(digest), "sha256": digest, "expires": rfc3339(NOON + 90 * DAY), **more}
    return {"code": code, "agent": agent, "at": rfc3339(NOON), "caller": {"uid": 1000}, "detail": detail}


def revoked(value: str) -> dict[str, Any]:
    return {"code": "token.revoke", "agent": "main", "at": rfc3339(NOON), "detail": {"id": id_of(digest_of(value))}}


def tokens(*lines: dict[str, Any]) -> Tokens:
    book = Tokens(lambda: ONE)
    book.restore(lines)
    return book


def test_one_is_found_by_what_was_shown_alone() -> None:
    book = tokens(made(ONE))
    found = book.find(ONE)
    assert found is not None
    assert (found.agent, found.by_uid, found.standing(NOON)) == ("main", 1000, Standing.VALID)
    for other in (TWO, "", ONE[:-1], ONE + " ", digest_of(ONE), id_of(digest_of(ONE)), "\udcff"):
        assert book.find(other) is None


def test_a_digest_that_begins_alike_is_another_one() -> None:
    """The name holds a piece of the digest; the rest decides."""
    line = made(ONE)
    line["detail"]["sha256"] = line["detail"]["sha256"][:-1] + "x"
    assert tokens(line).find(ONE) is None


@pytest.mark.parametrize(("at", "standing"), [(90 * DAY - 1000, Standing.VALID), (90 * DAY, Standing.EXPIRED)])
def test_it_expires(at: int, standing: Standing) -> None:
    found = tokens(made(ONE)).find(ONE)
    assert found is not None
    assert found.standing(NOON + at) is standing


def test_it_is_revoked_and_stays_so() -> None:
    book = tokens(made(ONE), made(TWO), revoked(ONE))
    standings = [token.standing(NOON) for token in book.all()]
    assert standings == [Standing.REVOKED, Standing.VALID]
    assert [token.id for token in book.live("main", NOON)] == [id_of(digest_of(TWO))]


def test_the_revocation_of_a_token_that_no_line_tells_of_changes_nothing() -> None:
    assert tokens(revoked(ONE)).all() == []


def test_a_replaced_one_serves_through_its_grace() -> None:
    until = NOON + 900 * NS_PER_S
    book = tokens(made(ONE), made(TWO, code="token.rotate", replaces=[id_of(digest_of(ONE))], until=rfc3339(until)))
    old, new = book.find(ONE), book.find(TWO)
    assert old is not None
    assert new is not None
    assert old.replaced
    assert (old.standing(until - 1000), old.standing(until)) == (Standing.VALID, Standing.EXPIRED)
    assert new.standing(until) is Standing.VALID


def test_a_grace_makes_no_token_live_longer() -> None:
    late = rfc3339(NOON + 200 * DAY)
    book = tokens(made(ONE), made(TWO, code="token.rotate", replaces=[id_of(digest_of(ONE))], until=late))
    old = book.find(ONE)
    assert old is not None
    assert old.standing(NOON + 90 * DAY) is Standing.EXPIRED


def test_an_agents_tokens_are_its_own() -> None:
    book = tokens(made(ONE, "main"), made(TWO, "other"))
    assert [token.agent for token in book.live("other", NOON)] == ["other"]


def test_misuse_is_counted() -> None:
    book = tokens(made(ONE))
    token = book.all()[0]
    book.misused(token, 7, "then")
    book.misused(token, 8, "now")
    assert book.misuse is not None
    assert (book.misuse.count, book.misuse.uid, book.misuse.at) == (2, 8, "now")
