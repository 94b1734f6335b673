"""Rows of `logs` as lines for people: decisions in columns, everything else as a sentence."""

from collections.abc import Iterable
from typing import Any

from agentd.ctl.text import cell, clean, columns
from agentd.ctl.words import moment, money

Json = dict[str, Any]

HEADS = ("time (UTC)", "id", "agent", "class", "verdict", "tier", "model", "tokens", "cost", "ms", "code")

LEAST = (19, 6, 8, 14, 7, 8, 28, 11, 9, 6, 0)
"""Widths that rows keep to, so that those that come later (`-f`) stand under those that are there."""

RIGHT = frozenset({7, 8, 9})

SPARE = ("ms", "tokens", "agent", "model", "tier")
"""Columns that a narrow terminal goes without; `explain` has them all."""

SHORT = 12
"""Digits of a digest for people."""


def lines(rows: Iterable[Json], *, head: bool, width: int | None = None) -> list[str]:
    """All rows, decisions aligned with each other; `head` puts the headings above. A `width` leaves out columns that a
    terminal has no room for, the least telling first."""
    kept = list(rows)
    decisions = [decision_cells(row) for row in kept if row.get("kind") == "decision"]
    aligned = _aligned([list(HEADS), *decisions], width)
    told = iter(aligned[1:])
    body = [next(told) if row.get("kind") == "decision" else sentence(row) for row in kept]
    return ([aligned[0]] if head and kept else []) + body


def _aligned(table: list[list[str]], width: int | None) -> list[str]:
    aligned = _without(table, ())
    for count in range(1, len(SPARE) + 1):
        if width is None or max(map(len, aligned)) <= width:
            break
        aligned = _without(table, SPARE[:count])
    return aligned


def _without(table: list[list[str]], left_out: tuple[str, ...]) -> list[str]:
    shown = [at for at, head in enumerate(HEADS) if head not in left_out]
    right = frozenset(place for place, at in enumerate(shown) if at in RIGHT)
    return columns([[row[at] for at in shown] for row in table], [LEAST[at] for at in shown], right)


def decision_cells(row: Json) -> list[str]:
    """A decision's columns."""
    return [
        cell(text)
        for text in (
            moment(row.get("at")),
            f"d-{row.get('seq')}",
            row.get("agent"),
            row.get("class"),
            _verdict(row),
            row.get("tier"),
            row.get("model"),
            _tokens(row.get("tokens")),
            money(row.get("cost_nusd")),
            row.get("upstream_ms"),
            _code(row),
        )
    ]


def sentence(row: Json) -> str:
    """A line that is no decision, in words."""
    if row.get("kind") == "gap":
        return clean(f"... {row.get('missed')} lines were not shown: this reader was too slow; see agentctl logs")
    words = WORDS.get(str(row.get("kind")), _other)(row, row.get("detail") or {})
    return f"{cell(moment(row.get('at'))):<{LEAST[0]}}  {clean(words)}"


def _verdict(row: Json) -> str:
    if row.get("verdict") == "allow" and row.get("outcome") is None:
        return "open"
    return str(row.get("verdict") or "")


def _code(row: Json) -> str:
    ending = row.get("status")
    return f"{row.get('code')} ({ending})" if ending not in (None, "done") else str(row.get("code") or "")


def _tokens(tokens: Json | None) -> str | None:
    """In and out: `12034+512`."""
    if not tokens or (tokens.get("prompt") is None and tokens.get("completion") is None):
        return None
    return f"{tokens.get('prompt') or 0}+{tokens.get('completion') or 0}"


def _by(row: Json) -> str:
    caller = row.get("caller") or {}
    return f" by uid {caller['uid']}" if caller.get("uid") is not None else ""


def _policy(row: Json, detail: Json) -> str:
    digest = str(row.get("policy") or detail.get("digest") or "")[:SHORT]
    if row.get("verdict") == "deny":
        faults = detail.get("faults") or []
        first = f": {faults[0] if isinstance(faults[0], str) else faults[0].get('message')}" if faults else ""
        return f"policy {digest} refused, nothing changed{first}"
    if row.get("code") in ("policy.restored", "policy.last_good"):
        return f"policy {digest} stays in force: {detail.get('message')}"
    return (
        f"policy {digest} in force: {detail.get('change') or 'no change noted'} ({detail.get('owner') or 'no owner'})"
    )


def _key(row: Json, detail: Json) -> str:
    name, code = detail.get("name"), row.get("code")
    if code == "key.failed":
        stored = detail.get("act") == "set"
        said = "could not be stored" if stored else "could not be deleted from the keyring"
        after = "" if stored or detail.get("failure") == "key.unknown" else "; it is out of use all the same"
        return f"key {name} {said}: {detail.get('failure')}{after}"
    act = "deletes" if code == "key.delete" else "replaces" if detail.get("replaces") else "sets"
    return f"{_by(row).removeprefix(' by ') or 'somebody'} {act} key {name}"


def _token(row: Json, detail: Json) -> str:
    done = {"token.revoke": "revoked", "token.rotate": "made in place of others"}.get(str(row.get("code")), "made")
    return f"token {detail.get('id')} of agent {row.get('agent')} {done}{_by(row)}"


def _halt(row: Json, detail: Json) -> str:
    what = f"{detail.get('scope')} {detail.get('name')}".strip()
    act = "halted" if row.get("kind") == "halt" else "resumed"
    return f"{what} {act}{_by(row)}: {detail.get('reason')}"


def _escalation(row: Json, detail: Json) -> str:
    given = "granted" if row.get("verdict") == "allow" else "refused"
    why = detail.get("message") or row.get("code")
    return (
        f"escalation {given} to {row.get('agent') or 'an unknown caller'} for {row.get('class') or 'no class'}: {why}"
    )


def _settlement(row: Json, detail: Json) -> str:
    call = f"d-{row.get('opens')}"
    if row.get("cost_nusd") is None:
        return f"{call} stays without a cost; {money(row.get('reserved_nusd'))} stays reserved"
    return (
        f"{call} cost {money(row.get('cost_nusd'))}, as the upstream's accounting says after {detail.get('after_s')} s"
    )


def _alarm(row: Json, detail: Json) -> str:
    return f"ALARM {row.get('code')}: {detail.get('about')}: {detail.get('message')}"


def _prune(row: Json, detail: Json) -> str:
    stay = len(detail.get("kept") or [])
    return (
        f"{detail.get('lines')} lines up to {detail.get('to')} pruned{_by(row)}, {stay} of those before stay: "
        f"{detail.get('reason')}"
    )


def _genesis(_row: Json, detail: Json) -> str:
    before = detail.get("previous") or {}
    if not before:
        return "the record begins"
    end = f"line {before['seq']} ({str(before.get('digest'))[:SHORT]})" if before.get("seq") else "an unknown line"
    return (
        f"the record begins anew: {before.get('reason')}; the one before ended at {end}, its files are in "
        f"{before.get('moved_to')} beside this one; budgets, quotas, halts and tokens begin anew"
    )


def _other(row: Json, detail: Json) -> str:
    kind = str(row.get("kind"))
    first = {"start": "agentd started", "stop": "agentd stopped"}.get(kind, kind)
    words = detail.get("message") or detail.get("reason") or detail.get("version") or ""
    return f"{first}: {words}" if words else first


WORDS = {
    "genesis": _genesis,
    "policy": _policy,
    "key": _key,
    "token": _token,
    "halt": _halt,
    "resume": _halt,
    "escalation": _escalation,
    "settlement": _settlement,
    "alarm": _alarm,
    "prune": _prune,
}
"""How each kind is told; any other by its name."""
