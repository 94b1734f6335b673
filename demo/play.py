"""`make demo`: a day of an always-on agent, through a real daemon and its real sockets, in less than a minute.

The upstream is the real OpenRouter if its key is in the keyring (then the day costs some cents), else the built-in
simulator. Everything else is as on a box: the shipped policy, the record, the operator's commands.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agent import Agent, Reply

REPO = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
START_S = 30.0
SIMULATED_HEARTBEATS = 210  # a loop that runs away; the shipped policy stops it at 200 a day
REAL_HEARTBEATS = 5

HEARTBEAT = (
    "Read HEARTBEAT.md if it exists (workspace context). Follow it strictly. If all is well, reply HEARTBEAT_OK."
)


class Stage:
    """The daemon and what the demo says about it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.policy = home / "policy.yaml"
        shutil.copy(REPO / "etc" / "policy.yaml", self.policy)
        self.agent = Agent(home / "run" / "agent.sock")

    @contextmanager
    def daemon(self, *flags: str) -> Iterator[None]:
        """A real `agentd serve`, ready, until the block ends; then stopped as systemd would."""
        command = [str(BIN / "agentd"), "serve", "--policy", str(self.policy), "--state", str(self.home / "state")]
        with _listening(self.home / "notify") as notify, (self.home / "agentd.log").open("ab") as log:
            environ = {**os.environ, "NOTIFY_SOCKET": str(self.home / "notify")}
            process = subprocess.Popen(
                [*command, "--run", str(self.home / "run"), *flags], stdout=log, stderr=log, env=environ
            )
            try:
                _await_ready(notify, process, self.home / "agentd.log")
                yield
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(40)

    def ctl(self, *arguments: str, show: bool = True) -> str:
        """An operator's command; its output is shown as the operator would see it."""
        command = [str(BIN / "agentctl"), "--socket", str(self.home / "run" / "operator.sock"), *arguments]
        if show:
            say(f"\n$ agentctl {' '.join(arguments)}")
            done = subprocess.run(command, check=False)
            return str(done.returncode)
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def say(text: str) -> None:
    """A line of the demo's own."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def expect(reply: Reply, status: int, what: str) -> Reply:
    """The day goes as written, or the demo fails."""
    if reply.status != status:
        raise SystemExit(f"demo: {what}: expected {status}, got {reply.status}: {reply.text[:500]}")
    return reply


def morning(agent: Agent, heartbeats: int) -> None:
    """Heartbeats and chat."""
    for number in range(heartbeats):
        agent.sessions.pop("heartbeat", None)
        expect(
            agent.chat("heartbeat", HEARTBEAT, "anthropic/claude-opus-4.6", max_tokens=300), 200, f"heartbeat {number}"
        )
    for text in ("good morning!", "what is the weather like today?", "remind me to water the plants at six", "thanks"):
        expect(agent.chat("family", text, max_tokens=500), 200, text)


def work(agent: Agent) -> str:
    """Analysis, coding with tool loops, and one step up the ladder for a reason. Answers the escalated decision."""
    for text in (
        "Compare the two heating offers and list the trade-offs",
        "Analyse why the backup was slow: what is the root cause?",
    ):
        expect(agent.chat("study", text, max_tokens=800), 200, text)
    for reply in agent.code("repo-a", "Fix the failing test in sync.py and run the tests", steps=4):
        expect(reply, 200, "a coding step")
    ask = {"class": "implementation", "reason": "the same test failed twice after two different fixes"}
    granted = agent.post("/agentd/v1/escalations", ask, x_session_id="repo-b")
    expect(granted, 201, "the escalation")
    raised = agent.code("repo-b", "Refactor the scheduler so that the test passes", steps=2)
    return expect(raised[0], 200, "the escalated step").decision


def trouble(stage: Stage, runaway: bool) -> tuple[str, str]:
    """A denial, a loop that runs into its budget, a good and a bad policy. Answers the two refused decisions."""
    search = {"type": "openrouter:web_search"}
    body = {"model": "agentd", "messages": [{"role": "user", "content": "hi"}], "tools": [search]}
    denied = expect(stage.agent.post("/v1/chat/completions", body), 400, "the denial")
    say(f"\nA denial, as the agent sees it ({denied.status}):\n  {denied.json()['error']['message']}")
    stopped = denied
    if runaway:
        stopped = stage.agent.chat("heartbeat", HEARTBEAT, max_tokens=300)
        expect(stopped, 400, "the budget stop")
        say(
            f"\nThe heartbeat that runs away, as the agent sees it ({stopped.status}):\n  {stopped.json()['error']['message']}"
        )
    reload(stage)
    return denied.decision, stopped.decision


def reload(stage: Stage) -> None:
    """A policy that is put in force while agentd serves, and one that is refused."""
    good = stage.policy.read_text()
    _replace(
        stage.policy,
        good.replace("limit: 10.00", "limit: 8.00").replace("change: first version", "change: a lower limit per day"),
    )
    _until(stage, lambda: "a lower limit per day" in stage.ctl("policy", "history", show=False), "the new policy")
    _replace(
        stage.policy, good.replace("tier: economy\n    ceiling: economy", "tier: econmy\n    ceilling: economy", 1)
    )
    _until(stage, lambda: "policy.refused" in stage.ctl("logs", "--json", "-n", "20", show=False), "the refused policy")


def evening(stage: Stage, escalated: str, stopped: str) -> None:
    """What the operator reads."""
    stage.ctl("logs", "-n", "22")
    stage.ctl("policy", "history")
    stage.ctl("explain", escalated)
    stage.ctl("explain", stopped)
    stage.ctl("spend", "--by", "tier")
    stage.ctl("spend", "--by", "class", "--compare")
    if stage.ctl("audit", "verify") != "0":
        raise SystemExit("demo: the record does not verify")
    stage.ctl("status")


def main() -> int:
    """Play the day; exit status 0 when all of it went as written."""
    began = time.monotonic()
    home = Path(tempfile.mkdtemp(prefix="agentd-demo-"))
    stage = Stage(home)
    with stage.daemon():
        real = any(
            key["name"] == "openrouter" and key["in_use"]
            for key in json.loads(stage.ctl("key", "list", "--json", show=False))["keys"]
        )
    say(
        f"A day of an always-on agent; the upstream is {'OpenRouter' if real else 'the built-in simulator (no key is stored)'}."
    )
    with stage.daemon(*([] if real else ["--simulate"])):
        morning(stage.agent, REAL_HEARTBEATS if real else SIMULATED_HEARTBEATS - 10)
        escalated = work(stage.agent)
        _, stopped = trouble(stage, runaway=not real)
        evening(stage, escalated, stopped)
    shutil.rmtree(home)
    say(f"\nThe day took {time.monotonic() - began:.0f} s. `make run` serves until you stop it.")
    return 0


@contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    """A socket to which the daemon says READY=1, as to systemd."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(path))
        notify.settimeout(START_S)
        yield notify
    path.unlink()


def _await_ready(notify: socket.socket, process: subprocess.Popen[bytes], log: Path) -> None:
    try:
        while b"READY=1" not in notify.recv(4096):
            pass
    except TimeoutError:
        raise SystemExit(f"demo: the daemon did not start (status {process.poll()}):\n{log.read_text()}") from None


def _replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def _until(stage: Stage, true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_S
    while not true():
        if time.monotonic() > deadline:
            raise SystemExit(f"demo: {what} did not come:\n{(stage.home / 'agentd.log').read_text()}")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
