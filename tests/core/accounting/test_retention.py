"""What stays of old lines is exactly what the next start would read out of them."""

from hypothesis import given
from hypothesis import strategies as st

from agentd.core.accounting.retention import in_force, standing
from agentd.core.accounting.times import NS_PER_S, from_rfc3339, rfc3339
from agentd.core.types.tokens import id_of

NOW = from_rfc3339("2026-11-25T10:00:00Z")
DIGESTS = [f"{n:02x}" * 32 for n in range(6)]

ACTS = st.lists(
    st.tuples(
        st.sampled_from(["create", "rotate", "revoke", "halt", "resume"]), st.integers(0, 5), st.integers(-9, 9),
        st.sets(st.integers(0, 5), max_size=2),
    ),
    max_size=25,
)  # fmt: skip


def at(days):
    return rfc3339(NOW + days * 86_400 * NS_PER_S)


def line(seq, act):
    what, which, days, others = act
    common = {"seq": seq, "at": at(-40), "agent": "main", "caller": {"uid": 1}, "code": f"token.{what}"}
    if what in ("halt", "resume"):
        name = "" if which == 0 else f"a{which % 2}"
        return common | {"kind": what, "detail": {"scope": "agent" if name else "box", "name": name, "reason": "r"}}
    detail = {"id": id_of(DIGESTS[which])}
    if what != "revoke":
        detail |= {"sha256": DIGESTS[which], "expires": at(days)}
    if what == "rotate":
        detail |= {"replaces": [id_of(DIGESTS[n]) for n in others], "until": at(days // 2)}
    return common | {"kind": "token", "detail": detail}


def after_a_start(lines):
    """What holds when the daemon has read these lines: the gate's own reading of them."""
    from agentd.gate.halts import Halts
    from agentd.gate.tokens import Standing, Tokens

    tokens, halts = Tokens(lambda: ""), Halts.__new__(Halts)
    halts._active = {}
    tokens.restore(entry for entry in lines if entry["kind"] == "token")
    halts.restore(entry for entry in lines if entry["kind"] != "token")
    serving = {(t.id, t.expires_ns) for t in tokens.all() if t.standing(NOW) is Standing.VALID}
    return serving, {(h.scope, h.name, h.seq) for h in halts.active()}


@given(ACTS)
def test_a_start_from_the_kept_lines_is_a_start_from_all(acts):
    made = set()
    lines = []
    for seq, act in enumerate(acts, start=2):
        if act[0] in ("create", "rotate") and act[1] in made:
            continue  # a token is made once: its id is a digest of chance
        made |= {act[1]} if act[0] in ("create", "rotate") else set()
        lines.append(line(seq, act))
    kept = standing(lines, NOW)
    assert after_a_start([entry for entry in lines if entry["seq"] in kept]) == after_a_start(lines)


@given(ACTS, st.integers(0, 27))
def test_nor_does_it_matter_which_lines_are_too_young_to_go(acts, young):
    lines = []
    made = set()
    for seq, act in enumerate(acts, start=2):
        if act[0] in ("create", "rotate") and act[1] in made:
            continue
        made |= {act[1]} if act[0] in ("create", "rotate") else set()
        lines.append(line(seq, act))
    kept = standing(lines, NOW)
    there = [entry for entry in lines if entry["seq"] in kept or entry["seq"] >= young]
    assert after_a_start(there) == after_a_start(lines)


def test_what_is_over_goes():
    lines = [line(2, ("create", 1, -1, ())), line(3, ("halt", 1, 0, ())), line(4, ("resume", 1, 0, ()))]
    assert standing(lines, NOW) == set()


def policy(seq, version, verdict="allow"):
    return {"seq": seq, "kind": "policy", "verdict": verdict, "policy": version}


def test_versions_that_are_named_and_the_one_that_holds_keep_their_newest_line():
    lines = [policy(2, "a"), policy(3, "b"), policy(4, "a"), policy(5, "bad", "deny"), policy(6, "c")]
    assert in_force(lines, {"a"}) == {"a": 4, "c": 6}
    assert in_force(lines, ()) == {"c": 6}
    assert in_force([], {"a"}) == {}
