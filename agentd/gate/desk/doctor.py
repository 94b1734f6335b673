"""Is this box well? One function per question, each with a state, a sentence and a cure.

`ok`: nothing to do. `warn`: it works, and somebody should know. `bad`: calls are refused, or a promise of this product
does not hold here. A fact that nobody reported is a `warn`, never an `ok`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from agentd.core.accounting.times import NS_PER_S, from_rfc3339
from agentd.core.policy.facts import Halt
from agentd.core.policy.schema import Policy
from agentd.core.types.errors import PolicyRefused
from agentd.core.types.money import format_usd
from agentd.gate.books.affairs import Affairs, nothing_known
from agentd.gate.desk.cures import policy_cure, policy_file
from agentd.gate.desk.vitals import SocketVitals, UpstreamVitals, Vitals
from agentd.gate.ports_operator import Json
from agentd.gate.tokens import Misuse

State = Literal["ok", "warn", "bad"]

DISK_WARN = 512 * 2**20
"""Free bytes under which to warn: about half a million lines with their indexes."""

DISK_BAD = 32 * 2**20
"""Free bytes under which the record is about to stop, and with it all service."""

EXPIRY_WARN_DAYS = 30
"""Days before an agent expires at which its owner should hear of it."""

REVIEW_WARN_DAYS = 180
"""Days after which a policy that nobody reviewed is worth a look: half a year."""

LIST_WARN_DAYS = 7
"""Days after which a list that is asked for daily is old."""

LAG_WARN_MS = 250
"""Stalls of the event loop that a person would feel in a stream."""

NS_PER_DAY = 86_400 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Check:
    """One answer."""

    name: str
    state: State
    says: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """What the questions are asked of."""

    now_ns: int
    vitals: Vitals
    policy: Policy | None
    fault: PolicyRefused | None
    keys: tuple[str, ...]
    keyring: tuple[str, str]
    halts: tuple[Halt, ...]
    last_line_at: str | None  # RFC 3339 of the newest line
    misuse: Misuse | None = None  # valid tokens in wrong hands
    affairs: Affairs = field(default_factory=nothing_known)
    record: Json | None = None  # how long the record is; None: not known


def examine(patient: Patient) -> tuple[Check, ...]:
    """All questions, in the order in which a failure matters."""
    return tuple(check for question in QUESTIONS for check in question(patient))


def ledger(patient: Patient) -> Iterator[Check]:
    """Can lines be written?"""
    code, sentence = patient.vitals.get("ledger", ("unknown", "the ledger has not reported"))
    yield Check("record", "ok", "the record takes lines") if code == "ok" else Check("record", "bad", sentence, _HEALS)


def disk(patient: Patient) -> Iterator[Check]:
    """Is there room for the record? A record that finds none knows better than what the file system counts as free."""
    free, where = patient.vitals.get("disk_free"), patient.vitals.get("state_dir", "the state directory")
    cure = f"make room on the disk of {where}"
    full = patient.vitals.get("ledger", ("", ""))[0] == "record.disk_full"
    if free is None:
        state: State = "bad" if full else "warn"
        yield Check("disk", state, "full" if full else "free space is not known", cure if full else f"df -h {where}")
        return
    room = f"{free // 2**20:,} MiB free for the record"
    if full:
        yield Check("disk", "bad", f"full: {room} at the last look, and a line found no room", cure)
        return
    state = "bad" if free < DISK_BAD else "warn" if free < DISK_WARN else "ok"
    yield Check("disk", state, room, "" if state == "ok" else cure)


def age(patient: Patient) -> Iterator[Check]:
    """How old is the record, what does it weigh, and is it what it was?"""
    mended, found = patient.vitals.get("counters", {}).get("mended", 0), patient.record
    if mended:
        says = f"{mended} sums of spend were not those of the record's lines at the start; they were added up again"
        yield Check("sums", "warn", says, "somebody wrote to the database: agentctl audit verify")
    if found is None or found.get("since") is None:
        return
    days = (patient.now_ns - from_rfc3339(found["since"])) // NS_PER_DAY
    kept = "for ever" if found["keep_s"] is None else f"for {found['keep_s'] // 86_400} days"
    says = f"the record goes back {days} days and has {found['bytes'] // 2**20:,} MiB; lines are kept {kept}"
    yield Check("retention", "ok", says + ("; old lines are being removed" if found["pruning"] else ""))


def policy(patient: Patient) -> Iterator[Check]:
    """Is a policy in force, and is it the newest file?"""
    fault, path = patient.fault, patient.vitals.get("policy_path")
    if patient.policy is None:
        cure = policy_cure(fault, path) if fault else f"write {path or 'a policy file'}; etc/policy.yaml is an example"
        yield Check("policy", "bad", "no policy is in force: everything is refused", cure)
    if fault is not None:
        first, file = fault.faults[0], policy_file(fault, path)
        where = f"{first.where}: " if first.where else ""
        says = f"the newest file is not in force: {file}:{first.line}: {where}{first.message}"
        yield Check("policy file", "bad", says, policy_cure(fault, path))
    elif patient.policy is not None:
        held = patient.policy
        of = f"version {held.version} of {path or held.source}"
        yield Check("policy", "ok", f"{of} is in force, {len(held.tests)} tests pass")


def review(patient: Patient) -> Iterator[Check]:
    """When was the policy last reviewed?"""
    if patient.policy is None:
        return
    days = (patient.now_ns // NS_PER_DAY) - _day(patient.policy.reviewed.isoformat())
    if days > REVIEW_WARN_DAYS:
        cure = f"{patient.policy.owner} reviews it and sets `reviewed:`"
        yield Check("review", "warn", f"the policy was last reviewed {days} days ago", cure)
    else:
        yield Check("review", "ok", f"the policy was reviewed on {patient.policy.reviewed.isoformat()}")


def expiry(patient: Patient) -> Iterator[Check]:
    """Does an agent expire soon?"""
    today = patient.now_ns // NS_PER_DAY
    for agent in patient.policy.agents.values() if patient.policy else ():
        left = _day(agent.expires.isoformat()) - today
        cure = f"{agent.owner} sets a later `expires:` under agents.{agent.name}, or removes the agent"
        if left < 0:
            yield Check(
                "agent", "bad", f"agent {agent.name} expired on {agent.expires.isoformat()}: it is refused", cure
            )
        elif left <= EXPIRY_WARN_DAYS:
            yield Check("agent", "warn", f"agent {agent.name} expires in {left} days", cure)


def keyring(patient: Patient) -> Iterator[Check]:
    """Does the keyring work?"""
    code, sentence = patient.keyring
    if code == "ok":
        yield Check("keyring", "ok", "the keyring answers")
    else:
        yield Check("keyring", "warn", sentence)


def keys(patient: Patient) -> Iterator[Check]:
    """Is there a key for every upstream that wants one?"""
    simulated = bool(patient.vitals.get("simulate"))
    for upstream in patient.policy.upstreams.values() if patient.policy else ():
        if upstream.key is None:
            continue
        if upstream.key in patient.keys:
            yield Check("key", "ok", f"key {upstream.key} for upstream {upstream.name} is in use")
        elif simulated:
            yield Check("key", "ok", f"upstream {upstream.name} is simulated and needs no key")
        else:
            says = f"key {upstream.key} for upstream {upstream.name} is missing: its models cannot serve"
            yield Check("key", "bad", says, f"agentctl key set {upstream.key}")


def signing(patient: Patient) -> Iterator[Check]:
    """Are checkpoints signed?"""
    if patient.vitals.get("signing"):
        yield Check("signing", "ok", "checkpoints of the record are signed")
    else:
        says = "checkpoints of the record are not signed: whoever can write the state can rewrite history"
        yield Check("signing", "warn", says, "give the daemon a keyring; see the keyring check")


def simulate(patient: Patient) -> Iterator[Check]:
    """Are the answers real?"""
    if patient.vitals.get("simulate"):
        says = "answers come from the built-in simulator, not from models"
        yield Check("upstream mode", "warn", says, "start agentd without --simulate, with a key")


def boundary(patient: Patient) -> Iterator[Check]:
    """Is there a wall between agent and operator?"""
    if patient.vitals.get("user_mode"):
        says = "trial: agents of this uid can reach everything that agentd has; no boundary"
        yield Check(
            "boundary", "warn", says, "on a real box install the system units, each agent with a uid of its own"
        )
    else:
        yield Check("boundary", "ok", "agentd has a uid of its own")


def sockets(patient: Patient) -> Iterator[Check]:
    """Can only the right groups reach the doors?"""
    for socket in patient.vitals.get("sockets", ()):
        yield _socket(socket)
    if not patient.vitals.get("sockets"):
        yield Check("socket", "warn", "the sockets are not known", "ss -xl; see the daemon's log")


def tokens(patient: Patient) -> Iterator[Check]:
    """Has a token been in wrong hands?"""
    seen = patient.misuse
    if seen is not None:
        says = f"token {seen.token} of agent {seen.agent} was used by uid {seen.uid} at {seen.at}; {seen.count} times in all"
        yield Check("token", "bad", says, f"agentctl agent token rotate {seen.agent} --now")
    elif patient.vitals.get("tcp"):
        yield Check("token", "ok", "no valid token came from a wrong user since the start")


def hardening(patient: Patient) -> Iterator[Check]:
    """Could a core dump or another process of this uid read the keys from memory?"""
    if patient.vitals.get("core_dumps_off"):
        yield Check("memory", "ok", "core dumps are off")
    else:
        yield Check(
            "memory",
            "bad",
            "core dumps are not known to be off: one would hold the keys",
            "restart agentd; see its log",
        )


def clock(patient: Patient) -> Iterator[Check]:
    """Do windows and times mean what they say?"""
    if patient.last_line_at is not None and from_rfc3339(patient.last_line_at) > patient.now_ns + NS_PER_S:
        says = f"the clock stands before the newest line ({patient.last_line_at}): budgets would count anew"
        yield Check("clock", "bad", says, "timedatectl; set the clock, then restart agentd")
    elif patient.vitals.get("clock_synced") is False:
        yield Check("clock", "warn", "the clock is not synchronised", "timedatectl set-ntp true")
    else:
        yield Check("clock", "ok", "the clock does not stand before the record")


def upstreams(patient: Patient) -> Iterator[Check]:
    """Do the upstreams answer, as far as the last calls tell?"""
    for upstream in patient.vitals.get("upstreams", ()):
        name, error = upstream.get("name", "?"), upstream.get("last_error")
        good = (
            f"last good answer {upstream['last_ok']}" if upstream.get("last_ok") else "no good answer since the start"
        )
        if error or upstream.get("breaker", "closed") != "closed":
            since = f" at {upstream['failed_at']}" if upstream.get("failed_at") else ""
            state: State = "warn" if upstream.get("breaker", "closed") == "closed" else "bad"
            says = f"the last call of {name} failed{since} ({error or 'no reason known'}); {good}"
            yield Check("upstream", state, says, _upstream_cure(upstream, patient.policy))
        else:
            who = f"{name} is simulated" if upstream.get("simulated") else name
            yield Check("upstream", "ok", f"{who}: {good if upstream.get('last_ok') else 'not called since the start'}")


def _upstream_cure(upstream: UpstreamVitals, policy: Policy | None) -> str:
    """The next step by the code of the failure: a key, an account, or a look at the upstream from here."""
    name, code = upstream.get("name", "?"), upstream.get("last_error", "")
    known = policy.upstreams.get(name) if policy else None
    if code.startswith("key.") or code == "upstream.key_refused":
        return f"agentctl key set {(known.key if known else None) or 'NAME'}"
    if code == "upstream.limit":
        return f"raise the limit or add credit in the account at {name}"
    return f"curl -sI {upstream.get('url', '')}   and: agentctl logs"


def alarms(patient: Patient) -> Iterator[Check]:
    """Does something with the upstreams need a person's look?"""
    for alarm in patient.affairs.get("alarms", ()):
        yield Check("alarm", "bad", f"{alarm['about']}: {alarm['message']}", alarm["hint"])


def private(patient: Patient) -> Iterator[Check]:
    """Is it known who keeps nothing, where a tier demands that?"""
    known = patient.affairs.get("private")
    if known is None:
        return
    at = known["at"]
    if at is None:
        says = "it is not known which models have endpoints that keep nothing, as a tier demands; calls demand it all the same"
        yield Check("zero retention", "warn", says, "agentctl logs; the list is asked for again")
        return
    days = (patient.now_ns - from_rfc3339(at)) // NS_PER_DAY
    says = f"{known['models']} models have endpoints that keep nothing, by the upstream's list of {at}"
    old = days > LIST_WARN_DAYS
    cure = "agentctl logs; the list is asked for again" if old else ""
    yield Check("zero retention", "warn" if old else "ok", f"{says}, {days} days ago" if old else says, cure)


def unsettled(patient: Patient) -> Iterator[Check]:
    """Is it known what everything cost?"""
    owed = patient.affairs.get("unsettled")
    if owed is None:
        return
    if owed["lost"]:
        says = f"what {owed['lost']} calls of the last day cost will not be known; {format_usd(owed['lost_nusd'])} stays reserved"
        yield Check("settlement", "warn", says, "compare with the upstream's own activity page")
    else:
        waiting = f"; {owed['waiting']} are being asked for" if owed["waiting"] else ""
        yield Check("settlement", "ok", f"no call of the last day stays without a cost{waiting}")


def halts(patient: Patient) -> Iterator[Check]:
    """Is something stopped by hand?"""
    for halt in patient.halts:
        what = "everything" if halt.scope == "box" else f"{halt.scope} {halt.name}"
        option = "" if halt.scope == "box" else f" --{halt.scope} {halt.name}"
        says = f"an operator stopped {what} at {halt.at}: {halt.reason}"
        yield Check("halt", "warn", says, f'agentctl resume{option} --reason "why"')


def lag(patient: Patient) -> Iterator[Check]:
    """Does the daemon keep up?"""
    stall = patient.vitals.get("loop_lag_ms")
    if stall is not None and stall > LAG_WARN_MS:
        yield Check(
            "load",
            "warn",
            f"the daemon stalled for {stall} ms in the last minute",
            "look for another load on this machine",
        )


QUESTIONS = (
    ledger,
    disk,
    age,
    policy,
    review,
    expiry,
    keyring,
    keys,
    signing,
    simulate,
    boundary,
    sockets,
    tokens,
    hardening,
    clock,
    upstreams,
    alarms,
    private,
    unsettled,
    halts,
    lag,
)
"""Every question, most urgent first."""

_HEALS = "mend what it names; agentd tries again by itself"


def _socket(socket: SocketVitals) -> Check:
    mode, path = socket.get("mode"), socket.get("path", "?")
    name = f"{socket.get('door', '?')} socket"
    if mode is None:
        return Check(name, "warn", f"{path}: its mode is not known", f"ls -l {path}")
    if mode & 0o007:
        return Check(name, "bad", f"{path} has mode {mode:04o}: everybody may connect", f"chmod o-rwx {path}")
    group = f", group {socket['group']}" if socket.get("group") else ""
    return Check(name, "ok", f"{path} has mode {mode:04o}{group}")


def _day(iso: str) -> int:
    return from_rfc3339(f"{iso}T00:00:00+00:00") // NS_PER_DAY
