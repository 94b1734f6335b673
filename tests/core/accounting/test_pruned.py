"""A record that was shortened by right verifies; whatever else is missing, replaced or put in shows, and so does a cut that
nobody vouches for."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.accounting import chain as ch
from agentd.core.accounting.pruned import cut_of, kept_detail
from agentd.core.types.records import Kind, Line
from core.accounting.test_chain import AT, KEY, OUTCOME, STEPS, Chain, built, check


class Shortened:
    """A chain with a prune line; `rows` is what a reader finds after the removal, `whole` what there was."""

    def __init__(self, before, after, kept=(), key=KEY, sealed=True):
        self.chain = built(before, key)
        self.to = self.chain.head.seq
        head = self.chain.head.digest
        self.chain.step("checkpoint")
        for what in after:
            self.chain.step(what)
        still = self.families({1, *self.chain.open, *kept, *self.straddling()})
        self.kept = sorted(seq for seq in still if seq <= self.to)
        digests = {seq: digest for seq, _, digest in self.chain.rows}
        detail = {"to": self.to, "head": head, "reason": "old", "kept": kept_detail((s, digests[s]) for s in self.kept)}
        self.line = self.chain.add(Line(kind=Kind.PRUNE, at=AT, caller={"uid": 7}, detail=detail))
        if sealed:
            self.chain.step("checkpoint")
        self.whole = list(self.chain.rows)
        self.rows = [row for row in self.whole if row[0] > self.to or row[0] in self.kept]

    def straddling(self):
        closes = [json.loads(body) for seq, body, _ in self.chain.rows if seq > self.to]
        return [line["opens"] for line in closes if line["kind"] == "outcome" and line["opens"] <= self.to]

    def families(self, still):
        """A decision stays together with what closed it."""
        pairs = {json.loads(body)["opens"]: seq for seq, body, _ in self.chain.rows if json.loads(body)["opens"]}
        return still | {at for pair in pairs.items() if still & set(pair) for at in pair}

    @property
    def cut(self):
        return cut_of(*self.whole[self.line - 1])

    def report(self, rows=None, **more):
        chosen = {"check": check, "trusted": frozenset({KEY})} | more
        return ch.verify(self.rows if rows is None else rows, cut=self.cut, **chosen)


@st.composite
def shortened(draw, **more):
    return Shortened(draw(STEPS), draw(STEPS), draw(st.sets(st.integers(1, 4))), **more)


@given(shortened())
def test_what_was_removed_by_right_is_no_flaw(made):
    report = made.report()
    assert report.intact, report.findings
    assert (report.pruned.to, report.pruned.line, report.pruned.uid) == (made.to, made.line, 7)
    assert (report.pruned.vouched, report.pruned.left) == (True, 0)


@given(shortened(), st.data())
def test_a_removal_that_stopped_anywhere_is_no_flaw_either(made, data):
    """Lines go in order, so those that are left reach up to the cut."""
    gone = data.draw(st.integers(0, made.to))
    rows = [row for row in made.whole if row[0] > gone or row[0] in made.kept]
    report = made.report(rows)
    assert report.intact, report.findings
    assert report.pruned.left == len([row for row in rows if row[0] <= made.to and row[0] not in made.kept])


@given(shortened(), st.data())
def test_a_line_that_should_be_there_and_is_not_is_named(made, data):
    gone = data.draw(st.sampled_from([row[0] for row in made.rows[:-1]]))
    report = made.report([row for row in made.rows if row[0] != gone])
    assert not report.intact
    assert gone in [finding.seq for finding in report.findings] or gone == made.line


@given(shortened(), st.data())
def test_a_hole_in_what_is_left_is_named(made, data):
    loose = [seq for seq in range(1, made.to + 1) if seq not in made.kept]
    if len(loose) > 1:
        gone = data.draw(st.sampled_from(loose[1:]))
        report = made.report([row for row in made.whole if row[0] != gone])
        assert [finding.flaw for finding in report.findings][:1] == [ch.Flaw.MISSING]
        assert report.findings[0].seq == gone


@given(shortened(), st.data())
def test_a_line_put_in_where_lines_are_gone_is_named(made, data):
    loose = [seq for seq in range(1, made.to + 1) if seq not in made.kept]
    if loose:
        seq = data.draw(st.sampled_from(loose))
        body = json.dumps({"seq": seq, "kind": "resume", "prev": "0" * 64, "detail": {}}).encode()
        rows = sorted([*made.rows, (seq, body, ch.digest_of(body))])
        assert not made.report(rows).intact


@given(shortened(), st.data())
def test_a_kept_line_that_was_replaced_is_named(made, data):
    seq = data.draw(st.sampled_from(made.kept))
    body = json.dumps(json.loads(made.whole[seq - 1][1]) | {"agent": "other"}).encode()
    rows = [(seq, body, ch.digest_of(body)) if row[0] == seq else row for row in made.rows]
    report = made.report(rows)
    assert ch.Flaw.UNLINKED in [finding.flaw for finding in report.findings if finding.seq == seq]


@given(shortened(sealed=False))
def test_a_prune_line_that_somebody_without_the_key_wrote_shows(made):
    if made.to > len(made.kept):
        report = made.report()
        assert [(finding.seq, finding.flaw) for finding in report.findings] == [(made.line, ch.Flaw.UNVOUCHED)]
        assert not report.pruned.vouched


def test_nor_does_a_key_of_their_own_help():
    made = Shortened(["deny"] * 4, ["deny"], sealed=False)
    made.chain.key = "another"
    made.chain.step("checkpoint")
    rows = [*made.rows, made.chain.rows[-1]]
    assert [finding.flaw for finding in made.report(rows).findings] == [ch.Flaw.UNVOUCHED]


def test_without_any_key_it_is_said_that_nobody_vouches():
    made = Shortened(["deny"] * 4, ["deny"], key=None)
    report = made.report(trusted=None)
    assert (report.intact, report.pruned.vouched, report.signed) == (True, False, 0)
    assert not made.report().intact, "a key was named, and it vouches for nothing here"


def test_a_cut_that_is_not_in_the_chain_excuses_nothing():
    made = Shortened(["deny"] * 4, ["deny"])
    rows = [row for row in made.rows if row[0] < made.line]
    flaws = [finding.flaw for finding in made.report(rows, trusted=None).findings]
    assert flaws == [ch.Flaw.UNVOUCHED]


def test_the_first_line_that_stayed_must_follow_the_last_that_went():
    made = Shortened(["deny"] * 4, ["deny"])
    other = replace(made.cut, head="ee" * 32)
    report = ch.verify(made.rows, check=check, cut=other)
    assert [(finding.seq, finding.flaw) for finding in report.findings][:1] == [(made.to + 1, ch.Flaw.UNLINKED)]


def test_a_second_cut_speaks_for_the_first():
    chain = Chain()
    for what in ["deny"] * 5:
        chain.step(what)
    lines = {}
    for to in (3, 8):
        while chain.head.seq < to:
            chain.step("deny")
        head = chain.rows[to - 1][2]
        chain.step("checkpoint")
        detail = {"to": to, "head": head, "kept": kept_detail([(1, chain.rows[0][2])])}
        lines[to] = chain.add(Line(kind=Kind.PRUNE, at=AT, detail=detail))
        chain.step("checkpoint")
    cut = cut_of(*chain.rows[lines[8] - 1])
    rows = [row for row in chain.rows if row[0] == 1 or row[0] > 8]
    assert ch.verify(rows, check=check, cut=cut).intact
    assert ch.verify(chain.rows, check=check, cut=cut).intact, "archives put together have every line"
    older = cut_of(*chain.rows[lines[3] - 1])
    assert not ch.verify(rows, check=check, cut=older).intact


def test_an_outcome_whose_decision_is_gone_is_one_only_where_it_may_be():
    made = Shortened(["allow", "outcome", "deny"], ["deny"])
    assert made.report(made.whole[:1] + made.whole[2:]).intact, "left over, its decision went first"
    late = Shortened(["allow", "outcome", "deny"], ["deny"])
    late.chain.add(replace(OUTCOME, opens=2))
    flaws = [finding.flaw for finding in late.report([*late.rows, late.chain.rows[-1]]).findings]
    assert flaws == [ch.Flaw.UNOPENED]


def test_a_head_noted_elsewhere_of_a_line_that_is_gone_is_told_and_no_flaw():
    made = Shortened(["deny"] * 4, ["deny"])
    report = made.report(anchors=[ch.Link(2, "ab" * 32)])
    assert (report.intact, report.uncompared) == (True, (2,))


@pytest.mark.parametrize(
    "change",
    [
        {"to": 99}, {"to": 0}, {"to": "3"}, {"to": None}, {"head": "zz"}, {"head": None}, {"kept": []},
        {"kept": [[2, "aa"]]}, {"kept": [[1, "aa"], [50, "aa"]]}, {"kept": 3}, {"kept": [[1]]}, {"kept": [["x", "y"]]},
    ],
)  # fmt: skip
def test_a_prune_line_that_makes_no_sense_is_none(change):
    record = {"kind": "prune", "at": AT, "detail": {"to": 4, "head": "ab" * 32, "kept": [[1, "cd" * 32]]} | change}
    assert cut_of(9, json.dumps(record).encode(), "") is None


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{}", b'{"kind":"prune"}', b"[" * 100_000])
def test_what_is_no_record_is_no_cut(body):
    assert cut_of(9, body, "") is None
