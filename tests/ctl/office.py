"""An operator's whole surroundings for tests: the real record on disk, the real desk and the real door on a Unix socket,
in a thread with a loop of its own; and `agentctl` run in this process, into a pipe or onto a real terminal.

What stands in: the keyring (a dict), the clock (it steps), and the daemon's own facts (`vitals`), which tests change."""

import asyncio
import contextlib
import hashlib
import io
import json
import os
import pty
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agentd.compiling import Compiler
from agentd.core.accounting.times import NS_PER_S, from_rfc3339
from agentd.core.policy.trial import judge
from agentd.core.types.callers import Caller, Peer
from agentd.core.types.errors import KeyUnavailable
from agentd.core.types.receipts import CostSource, Ending, Outcome, Permit, Receipt, Usage
from agentd.core.types.records import Kind, Line
from agentd.core.types.verdicts import Allow
from agentd.ctl.main import cli
from agentd.edge.api.listen import Place, bind_door, release
from agentd.edge.api.operator import operator_app
from agentd.edge.api.server import DoorServer
from agentd.edge.host.catalogue import load_catalogue
from agentd.edge.host.tokens import mint_token
from agentd.edge.ledger.ledger import Ledger
from agentd.gate.current import CurrentPolicy
from agentd.gate.desk.operator import OperatorDesk
from agentd.gate.desk.rooms import Desk
from agentd.gate.escalations import Escalations
from agentd.gate.halts import Halts
from agentd.gate.lines import decision_line, outcome_line
from agentd.gate.ports import LineQuery
from agentd.gate.sessions import Sessions
from agentd.gate.spend import Spend
from agentd.gate.state import State
from agentd.gate.tokens import Tokens

NOW = from_rfc3339("2026-11-25T10:00:00Z")
POLICY_FILE = Path(__file__).parents[2] / "etc" / "policy.yaml"
AGENT = Peer("agent", uid=1001, gid=1001, pid=4242, start_ticks=77, unit="openclaw.service", exe="/usr/bin/node")
WAIT_S = 20.0
PRICES = load_catalogue().prices
COMPILER = Compiler(PRICES)


class SteppingClock:
    """One millisecond later at each look."""

    def __init__(self) -> None:
        self.now = NOW

    def wall_ns(self) -> int:
        self.now += 10**6
        return self.now

    def mono_ns(self) -> int:
        return self.wall_ns()


class DictKeys:
    """A keyring in memory; `broken` makes every act fail as a locked one does."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.broken = False

    async def set(self, name: str, value: str) -> None:
        self._check()
        self.values[name] = value

    async def delete(self, name: str) -> None:
        self._check()
        if self.values.pop(name, None) is None:
            raise KeyUnavailable("key.unknown", f"The keyring holds no key {name!r}.")

    def names(self) -> Sequence[str]:
        return list(self.values)

    def health(self) -> tuple[str, str]:
        return ("keyring.locked", "The keyring is locked. Unlock it.") if self.broken else ("ok", "")

    def _check(self) -> None:
        if self.broken:
            raise KeyUnavailable("keyring.locked", "The keyring is locked.", "Unlock it.")


class TestSigner:
    """A key of its own for each run."""

    __test__ = False

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.public_hex = self._key.public_key().public_bytes_raw().hex()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


def usual_vitals() -> dict[str, Any]:
    """A daemon that is well."""
    return {
        "version": "0.1.0",
        "pid": 99,
        "started_at": "2026-11-25T07:30:00.000000Z",
        "simulate": False,
        "user_mode": True,
        "in_flight": 0,
        "sockets": [
            {"door": "operator", "path": "/run/agentd/operator.sock", "mode": 0o660, "group": "agentd-operators"}
        ],
        "upstreams": [{"name": "openrouter", "url": "https://openrouter.ai/api/v1", "breaker": "closed"}],
        "counters": {},
        "ledger": ("ok", ""),
        "signing": True,
        "state_dir": "/var/lib/agentd",
        "policy_path": "/etc/agentd/policy.yaml",
        "disk_free": 20 * 2**30,
        "core_dumps_off": True,
        "clock_synced": True,
        "loop_lag_ms": 3,
        "rss": 80 * 2**20,
    }


@dataclass
class Result:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Office:
    """See the head of this file. `home` holds socket and state."""

    home: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="agentd-office-")))
    policy_text: str | None = field(default_factory=lambda: POLICY_FILE.read_text())

    def __post_init__(self) -> None:
        self.clock = SteppingClock()
        self.keys = DictKeys()
        self.keys.values["openrouter"] = "sk-or-v1-stored"
        self.vitals = usual_vitals()
        self.budgets: list[dict[str, Any]] = []
        self.socket = self.home / "operator.sock"
        self.signer = TestSigner()
        self._ready = threading.Event()
        self._failed: BaseException | None = None

    # -- the daemon's side -------------------------------------------------------------------------

    def open(self) -> None:
        self._thread = threading.Thread(target=self._run, name="office")
        self._thread.start()
        if not self._ready.wait(WAIT_S) or self._failed:
            raise AssertionError(f"the office did not open: {self._failed}")

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(WAIT_S)

    def destroy(self) -> None:
        if self._thread.is_alive():
            self.close()
        shutil.rmtree(self.home, ignore_errors=True)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as failed:
            self._failed = failed
            raise
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self.loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        listener = await asyncio.to_thread(bind_door, Place("operator", self.socket, 0o600))
        async with Ledger.open(self.home / "state", self.clock, self.signer) as ledger, asyncio.TaskGroup() as tasks:
            self.ledger = ledger
            self.halts = Halts(ledger, self.clock)
            self.halts.restore(await ledger.reader.halts())
            self.tokens = Tokens(mint_token)
            self.tokens.restore(await ledger.reader.lines(LineQuery(kinds=(Kind.TOKEN,))))
            self.policies = CurrentPolicy(ledger, self.clock, COMPILER.compile)
            if self.policy_text is not None:
                await self.policies.load(self.policy_text, "policy.yaml")
            self.desk = OperatorDesk(self._desk(ledger))
            server = DoorServer(tasks)
            await server.start(listener.sock, operator_app(self.desk), "operator")
            self._ready.set()
            await self._stop.wait()
            server.stop_accepting()
            await server.finish(0.2)
            await server.cut()
        await asyncio.to_thread(release, listener)

    def _desk(self, ledger: Ledger) -> Desk:
        state = State(self.keys, self.halts, Spend(), Sessions(), Escalations(), COMPILER.prices, simulated=True)
        return Desk(
            ledger=ledger,
            reader=ledger.reader,
            keys=self.keys,
            policies=self.policies,
            halts=self.halts,
            clock=self.clock,
            vitals=lambda: self.vitals,  # type: ignore[arg-type,return-value]  # tests change it freely
            used=lambda: self.budgets,
            judge=lambda given: COMPILER.why(self.policies.current, given, state, self.clock.wall_ns()),
            read_policy=COMPILER.read,
            try_policy=COMPILER.compile,
            prices=PRICES,
            tokens=self.tokens,
            recompute=ledger.reader.recompute_spend,
            pruner=ledger,
        )

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something in the daemon's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(WAIT_S)

    def append(self, line: Line) -> Receipt:
        async def appended() -> Receipt:
            return await self.ledger.append(line)

        receipt: Receipt = self.do(appended())
        return receipt

    def decide(self, **given: Any) -> tuple[int, Callable[..., int]]:
        """A call that is decided and recorded; gives its number and how to close it. `given` as in a policy's tests."""
        held = self.policies.current
        assert held is not None
        stranger = "uid" in given
        judged = judge(held.policy, given if stranger else {"agent": "main", **given}, PRICES)
        peer = replace(AGENT, uid=given["uid"], unit=None) if stranger else AGENT
        request = replace(
            judged.request,
            at_ns=self.clock.wall_ns(),
            id="r-0123456789abcdef",
            caller=Caller(peer, judged.request.caller.agent),
            session="5e55",
        )
        receipt = self.append(decision_line(held.policy, held.digest, request, judged.classified, judged.verdict))

        def closed(outcome: Outcome) -> int:
            assert isinstance(judged.verdict, Allow)
            permit = Permit(judged.verdict, receipt)
            return self.append(outcome_line(request, permit, outcome, self.clock.wall_ns())).seq

        return receipt.seq, closed

    def call(self, *, usage: tuple[int, int] = (1200, 80), cost: int | None = 4_300_000, **given: Any) -> int:
        """A call from decision to outcome; gives the decision's number."""
        seq, closed = self.decide(**given)
        closed(done(usage, cost))
        return seq

    # -- the operator's side -----------------------------------------------------------------------

    def ctl(self, *args: str, stdin: str | None = None) -> Result:
        """`agentctl` into a pipe."""
        return run("--socket", str(self.socket), *args, stdin=stdin)

    def on_terminal(self, *args: str) -> Result:
        """`agentctl` on a terminal."""
        return run_on_terminal("--socket", str(self.socket), *args)


def done(usage: tuple[int, int] = (1200, 80), cost: int | None = 4_300_000, **more: Any) -> Outcome:
    """A call that ended well."""
    made = Outcome(
        ending=Ending.DONE,
        status=200,
        cost=cost,
        cost_source=CostSource.UNSETTLED if cost is None else CostSource.REPORTED,
        usage=Usage(prompt=usage[0], completion=usage[1], cached=usage[0] // 2),
        provider="Fireworks",
        generation="gen-77",
        overhead_us=2300,
        upstream_ms=840,
    )
    return replace(made, **more)


def run(*args: str, stdin: str | None = None) -> Result:
    """`agentctl`, with stdout and stderr apart, none of them a terminal."""
    out, err = _Captured(), _Captured()
    source = io.TextIOWrapper(io.BytesIO((stdin or "").encode()), encoding="utf-8")
    with _streams(source, out, err):
        code = _exit_code(args)
    return Result(code, out.text(), err.text())


def run_on_terminal(*args: str) -> Result:
    """`agentctl` with stdout on a terminal of 120 columns (a real one, so that all that asks is told so)."""
    ours, theirs = pty.openpty()
    os.environ["COLUMNS"] = "120"
    chunks: list[bytes] = []
    reading = threading.Thread(target=_drain, args=(ours, chunks))
    reading.start()
    err = _Captured()
    try:
        with os.fdopen(theirs, "w", encoding="utf-8") as terminal, _streams(io.StringIO(), terminal, err):
            code = _exit_code(args)
            terminal.flush()
    finally:
        reading.join(WAIT_S)
        os.close(ours)
        del os.environ["COLUMNS"]
    return Result(code, b"".join(chunks).decode().replace("\r\n", "\n"), err.text())


class _Captured(io.TextIOWrapper):
    def __init__(self) -> None:
        self.kept = io.BytesIO()
        super().__init__(self.kept, encoding="utf-8", write_through=True)

    def text(self) -> str:
        return self.kept.getvalue().decode()


@contextlib.contextmanager
def _streams(source: Any, out: Any, err: Any) -> Iterator[None]:
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin, sys.stdout, sys.stderr = source, out, err
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


def _exit_code(args: Sequence[str]) -> int:
    try:
        cli.main(args=list(args), prog_name="agentctl")
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def _drain(descriptor: int, chunks: list[bytes]) -> None:
    while True:
        try:
            data = os.read(descriptor, 65536)
        except OSError:  # a terminal whose other end is closed says EIO, not end of file
            return
        if not data:
            return
        chunks.append(data)


def digest_of(text: str) -> str:
    """The name of a policy version."""
    return hashlib.sha256(text.encode()).hexdigest()


def plain_line(kind: Kind, **more: Any) -> Line:
    """A line of another kind."""
    return Line(kind, at="2026-11-25T10:00:00.000000Z", **more)


SECOND = NS_PER_S
