"""Whoever touches the record leaves a trace: each way of tampering, at random places of random chains, is found and named."""

import json
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.accounting import chain as ch
from agentd.core.accounting.canonical import canonical, record_of
from agentd.core.types.records import Kind, Line

AT = "2026-11-25T10:00:00.000000Z"
LEDGER = "ab" * 16
KEY = "public-key"

ALLOW = Line(kind=Kind.DECISION, at=AT, agent="main", verdict="allow", reserved_nusd=5)
DENY = Line(kind=Kind.DECISION, at=AT, agent="main", verdict="deny")
OUTCOME = Line(kind=Kind.OUTCOME, at=AT, agent="main", cost_nusd=3)
START = Line(kind=Kind.START, at=AT)


def sign(message, key=KEY):
    return sha256(key.encode() + message).hexdigest()


def check(key, message, signature):
    return sign(message, key) == signature


class Chain:
    """A chain under construction, as a writer would make it."""

    def __init__(self, key=KEY):
        self.key = key
        self.rows = []
        self.open = []
        self.add(Line(kind=Kind.GENESIS, at=AT, detail={"ledger": LEDGER}))

    @property
    def head(self):
        return ch.Link(self.rows[-1][0], self.rows[-1][2]) if self.rows else ch.ORIGIN

    def add(self, line):
        seq, prev = self.head.seq + 1, self.head.digest
        body = canonical(record_of(line, seq, prev))
        self.rows.append((seq, body, ch.digest_of(body)))
        return seq

    def step(self, what):
        if what == "allow":
            self.open.append(self.add(ALLOW))
        elif what == "outcome" and self.open:
            self.add(replace(OUTCOME, opens=self.open.pop(0)))
        elif what == "checkpoint":
            self.add(self.checkpoint())
        else:
            self.add(DENY if what == "deny" else START)

    def checkpoint(self):
        message = ch.checkpoint_message(LEDGER, self.head.seq + 1, self.head.digest)
        detail = {"ledger": LEDGER, "public": self.key, "signature": self.key and sign(message, self.key)}
        return Line(kind=Kind.CHECKPOINT, at=AT, detail=detail)


def built(steps, key=KEY):
    chain = Chain(key)
    for what in steps:
        chain.step(what)
    return chain


STEPS = st.lists(
    st.sampled_from(["allow", "outcome", "outcome", "deny", "checkpoint", "start"]), min_size=3, max_size=24
)


@st.composite
def touched(draw, *, last=True):
    """A chain and a place in it."""
    chain = built(draw(STEPS))
    return chain, draw(st.integers(1, len(chain.rows) - (0 if last else 1)))


def first(rows, anchors=(), **more):
    report = ch.verify(rows, anchors, **more)
    assert not report.intact
    return report.findings[0]


@given(STEPS)
def test_an_untouched_chain_is_intact(steps):
    chain = built(steps)
    report = ch.verify(chain.rows, [chain.head, ch.Link(1, chain.rows[0][2])], check)
    assert report.intact
    assert report.findings == ()
    assert (report.lines, report.head, report.ledger) == (len(chain.rows), chain.head, LEDGER)
    assert (report.open_count, report.open_lines) == (len(chain.open), tuple(chain.open)[: ch.MAX_OPEN_LISTED])
    seals = [i + 2 for i, what in enumerate(steps) if what == "checkpoint"]
    assert (report.checkpoints, report.signed) == (len(seals), len(seals))
    assert report.vouched_to == (seals[-1] if seals else 0)


@given(touched(), st.data())
def test_a_flipped_bit_of_a_line_is_named(case, data):
    chain, seq = case
    _, body, digest = chain.rows[seq - 1]
    bit = data.draw(st.integers(0, len(body) * 8 - 1))
    changed = bytearray(body)
    changed[bit // 8] ^= 1 << bit % 8
    chain.rows[seq - 1] = (seq, bytes(changed), digest)
    finding = first(chain.rows)
    assert (finding.seq, finding.flaw, finding.expected) == (seq, ch.Flaw.ALTERED, digest)
    assert f"Line {seq} " in finding.message


@given(touched(), st.integers(0, 63))
def test_a_flipped_digest_is_named(case, place):
    chain, seq = case
    _, body, digest = chain.rows[seq - 1]
    wrong = digest[:place] + ("1" if digest[place] == "0" else "0") + digest[place + 1 :]
    chain.rows[seq - 1] = (seq, body, wrong)
    assert first(chain.rows).seq == seq


@given(touched())
def test_a_changed_line_with_a_fitting_digest_is_found_at_the_next_or_by_the_anchor(case):
    chain, seq = case
    head = chain.head
    record = json.loads(chain.rows[seq - 1][1]) | {"agent": "mallory"}
    body = canonical(record)
    chain.rows[seq - 1] = (seq, body, ch.digest_of(body))
    finding = first(chain.rows, [head])
    if seq == head.seq:
        assert (finding.seq, finding.flaw) == (seq, ch.Flaw.ANCHOR)
    else:
        assert (finding.seq, finding.flaw) == (seq + 1, ch.Flaw.UNLINKED)
        assert f"line {seq} " in finding.message


@given(touched(last=False))
def test_a_deleted_line_is_named(case):
    chain, seq = case
    del chain.rows[seq - 1]
    finding = first(chain.rows)
    assert (finding.seq, finding.flaw) == (seq, ch.Flaw.MISSING)


@given(touched(last=False), st.data())
def test_swapped_lines_are_named(case, data):
    chain, seq = case
    other = data.draw(st.integers(seq + 1, len(chain.rows)))
    (_, one, one_digest), (_, two, two_digest) = chain.rows[seq - 1], chain.rows[other - 1]
    chain.rows[seq - 1], chain.rows[other - 1] = (seq, two, two_digest), (other, one, one_digest)
    finding = first(chain.rows)
    assert (finding.seq, finding.flaw) == (seq, ch.Flaw.MISNUMBERED)


@given(touched(last=False), st.data())
def test_lines_in_another_order_are_named(case, data):
    chain, seq = case
    moved = chain.rows.pop(seq - 1)
    chain.rows.insert(data.draw(st.integers(seq, len(chain.rows))), moved)
    assert first(chain.rows).seq == seq


@given(touched(), st.data())
def test_an_inserted_line_is_named(case, data):
    chain, seq = case
    place = data.draw(st.integers(seq, len(chain.rows)))
    chain.rows.insert(place, chain.rows[seq - 1])
    finding = first(chain.rows)
    assert (finding.seq, finding.flaw) == (seq, ch.Flaw.DISORDERED)


@given(touched(last=False))
def test_a_cut_off_end_is_named_by_the_anchor(case):
    chain, seq = case
    head = chain.head
    finding = first(chain.rows[:seq], [head])
    assert (finding.seq, finding.flaw) == (seq + 1, ch.Flaw.TRUNCATED)
    assert str(head.seq) in finding.message


@given(touched(last=False), STEPS)
def test_an_old_copy_that_went_on_is_named_by_the_anchor(case, steps):
    chain, seq = case
    head = chain.head
    chain.rows = chain.rows[:seq]
    while chain.head.seq <= head.seq:
        chain.add(replace(START, code="went on"))
    finding = first(chain.rows, [head])
    assert (finding.seq, finding.flaw) == (head.seq, ch.Flaw.ANCHOR)


def forged(rows, seq, **change):
    """Everything from `seq` on, written anew so that it fits itself; signatures cannot be."""
    made, prev = list(rows[: seq - 1]), rows[seq - 2][2]
    for number, body, _ in rows[seq - 1 :]:
        record = json.loads(body) | {"prev": prev} | (change if number == seq else {})
        body = canonical(record)
        prev = ch.digest_of(body)
        made.append((number, body, prev))
    return made


@given(STEPS, st.data())
def test_a_chain_written_anew_from_a_line_on_is_found_at_the_next_checkpoint(steps, data):
    chain = built([*steps, "checkpoint"])
    seal = len(chain.rows)
    seq = data.draw(st.integers(2, seal - 1))
    rows = forged(chain.rows, seq, agent="mallory")
    assert ch.verify(rows).intact, "a chain that fits itself shows nothing without signatures and anchors"
    finding = first(rows, check=check)
    due = next(number for number, body, _ in rows if number > seq and json.loads(body)["kind"] == "checkpoint")
    assert finding.flaw is ch.Flaw.SIGNATURE
    assert finding.seq <= due


def test_a_chain_signed_anew_with_another_key_is_not_vouched_for():
    rows = built(["allow", "checkpoint"], key="mallory").rows
    anybody = ch.verify(rows, (), check)
    assert (anybody.intact, anybody.vouched_to, anybody.keys) == (True, 3, ("mallory",))
    assert ch.verify(rows, (), check, frozenset({KEY})).vouched_to == 0


def test_nothing_is_vouched_for_behind_a_flaw():
    chain = built(["deny", "checkpoint", "deny", "deny", "checkpoint"])
    del chain.rows[3]
    assert ch.verify(chain.rows, (), check).vouched_to == 3


def test_unsigned_checkpoints_and_those_nobody_checks_are_counted_and_not_believed():
    unsigned = ch.verify(built(["checkpoint"], key=None).rows, (), check)
    assert (unsigned.intact, unsigned.checkpoints, unsigned.signed, unsigned.vouched_to) == (True, 1, 0, 0)
    unchecked = ch.verify(built(["checkpoint"]).rows)
    assert (unchecked.intact, unchecked.checkpoints, unchecked.signed, unchecked.vouched_to) == (True, 1, 1, 0)


@pytest.mark.parametrize(
    ("lines", "seq"),
    [
        ([replace(OUTCOME, opens=1)], 2),
        ([replace(OUTCOME, opens=99)], 2),
        ([OUTCOME], 2),
        ([DENY, replace(OUTCOME, opens=2)], 3),
        ([replace(DENY, verdict="ask"), replace(OUTCOME, opens=2)], 3),
        ([ALLOW, replace(OUTCOME, opens=2), replace(OUTCOME, opens=2)], 4),
        ([replace(OUTCOME, opens=3), ALLOW], 2),
    ],
)
def test_an_outcome_closes_one_allowed_decision_once(lines, seq):
    chain = Chain()
    for line in lines:
        chain.add(line)
    finding = first(chain.rows)
    assert (finding.seq, finding.flaw) == (seq, ch.Flaw.UNOPENED)


def test_the_genesis_stands_first_and_nowhere_else():
    assert first([]).flaw is ch.Flaw.MISBEGUN
    twice = Chain()
    twice.add(Line(kind=Kind.GENESIS, at=AT, detail={"ledger": LEDGER}))
    assert (first(twice.rows).seq, first(twice.rows).flaw) == (2, ch.Flaw.MISBEGUN)
    without = canonical(record_of(START, 1, ch.GENESIS_PREV))
    assert first([(1, without, ch.digest_of(without))]).flaw is ch.Flaw.MISBEGUN


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[]", b"1", b'"x"', b"null"])
def test_bytes_that_are_no_record_are_named(body):
    chain = built(["deny"])
    chain.rows.append((3, body, ch.digest_of(body)))
    finding = first(chain.rows)
    assert (finding.seq, finding.flaw) == (3, ch.Flaw.UNREADABLE)


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "outcome", "opens": "2"},
        {"kind": "outcome", "opens": None},
        {"kind": "checkpoint", "detail": 7},
        {"kind": "checkpoint", "detail": {"public": 1, "signature": []}},
        {"kind": "checkpoint", "detail": {"public": "k", "signature": "zz"}},
        {"kind": ["x"]},
        {},
    ],
)
def test_no_record_however_odd_breaks_the_verifier(record):
    chain = built(["deny"])
    body = canonical({"seq": 3, "prev": chain.head.digest} | record)
    chain.rows.append((3, body, ch.digest_of(body)))
    assert ch.verify(chain.rows, (), check).lines == 3


@given(STEPS, st.data())
def test_verifying_from_the_middle_finds_the_same_as_from_the_start(steps, data):
    chain = built(steps)
    cut = data.draw(st.integers(1, len(chain.rows)))
    verifier = ch.Verifier(check=check, start=ch.Link(cut, chain.rows[cut - 1][2]))
    assert all(verifier.feed(*row) is None for row in chain.rows[cut:])
    assert verifier.finish().intact
    assert verifier.finish().head == chain.head


def test_a_flaw_does_not_drag_others_along():
    chain = built(["deny"] * 9)
    seq, body, digest = chain.rows[4]
    chain.rows[4] = (seq, body.replace(b"main", b"niam"), digest)
    del chain.rows[7]
    assert [(finding.seq, finding.flaw) for finding in ch.verify(chain.rows).findings] == [
        (5, ch.Flaw.ALTERED),
        (8, ch.Flaw.MISSING),
    ]


def test_many_flaws_are_counted_and_a_hundred_kept():
    rows = [(seq, body, "0" * 64) for seq, body, _ in built(["deny"] * 150).rows]
    report = ch.verify(rows)
    assert (report.found, len(report.findings)) == (151, ch.MAX_FINDINGS)
    verifier = ch.Verifier()
    assert all(verifier.feed(*row) for row in rows), "each is told, also those that are no longer kept"
