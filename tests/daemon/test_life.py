"""A real daemon's life: ready, reload, stop in stages, sockets from the service manager, no second one on its record."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import daemon as daemons
from harness.http import UnixConnection

Start = Callable[..., daemons.Daemon]

SLOW = "[[sim:slow 40]] [[sim:long 400]] tell me a story"


def chat(text: str, *, stream: bool = False) -> dict[str, object]:
    return {"model": "chat", "stream": stream, "messages": [{"role": "user", "content": text}]}


class Story(threading.Thread):
    """A client that reads a slow stream to its end. `began` is set at the first byte."""

    def __init__(self, daemon: daemons.Daemon) -> None:
        super().__init__()
        self.began = threading.Event()
        self.body = b""
        self._connection = UnixConnection(daemon.agent_socket)

    def run(self) -> None:
        self._connection.request("POST", "/v1/chat/completions", json.dumps(chat(SLOW, stream=True)))
        answer = self._connection.getresponse()
        while chunk := answer.read1(4096):
            self.body += chunk
            self.began.set()
        self.began.set()


def last_kinds(daemon: daemons.Daemon) -> list[str]:
    """The kinds of the record's lines, read from the file when nobody serves it."""
    done = subprocess.run(
        [sys.executable, "-m", "agentd.ctl.main", "audit", "verify", "--db", str(daemon.state / "ledger.db"), "--json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=daemons.REPO,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    import sqlite3

    with sqlite3.connect(f"file:{daemon.state / 'ledger.db'}?mode=ro", uri=True) as base:
        return [kind for (kind,) in base.execute("select kind from lines order by seq")]


def test_both_doors_answer_and_only_their_owner_may_enter(running_agentd: daemons.Daemon) -> None:
    for path in (running_agentd.agent_socket, running_agentd.operator_socket):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    answer = running_agentd.ask("GET", "/healthz")
    assert (answer.status, answer.headers["server"]) == (200, "agentd")  # and no versions
    assert running_agentd.operate("GET", "/healthz").status == 200
    assert stat.S_IMODE(running_agentd.state.stat().st_mode) == 0o700


def test_nobody_can_dump_the_daemon(running_agentd: daemons.Daemon) -> None:
    pid = running_agentd.process.pid
    assert re.search(r"Max core file size +0 +0 ", Path(f"/proc/{pid}/limits").read_text())
    status = json.loads(running_agentd.ctl("status", "--json").stdout)
    assert status["core_dumps_off"] is True


def test_stop_finishes_streams_then_closes_the_record(start_agentd: Start) -> None:
    daemon = start_agentd()
    story = Story(daemon)
    story.start()
    assert story.began.wait(20)
    daemon.process.send_signal(signal.SIGTERM)
    story.join(20)
    assert daemon.process.wait(20) == 0
    assert story.body.endswith(b"data: [DONE]\n\n")
    assert last_kinds(daemon)[-3:] == ["outcome", "stop", "checkpoint"]


def test_a_second_signal_cuts_and_still_closes_every_line(start_agentd: Start) -> None:
    daemon = start_agentd()
    story = Story(daemon)
    story.start()
    assert story.began.wait(20)
    daemon.process.send_signal(signal.SIGTERM)
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.process.wait(20) == 0
    story.join(20)
    assert b"[DONE]" not in story.body or b'"error"' in story.body
    kinds = last_kinds(daemon)
    assert kinds.count("outcome") == kinds.count("decision")
    assert "stop" in kinds[-2:]


def test_streams_that_do_not_end_are_cut_by_the_clock(start_agentd: Start, tmp_path: Path) -> None:
    config = tmp_path / "agentd.yaml"
    config.write_text("finish_s: 0.2\ncut_s: 2\n")
    daemon = start_agentd(daemons.SHIPPED_POLICY, "--config", str(config))
    story = Story(daemon)
    story.start()
    assert story.began.wait(20)
    assert daemon.stop() == 0
    story.join(20)
    assert b'"error"' in story.body
    assert b"agentd was stopped" in story.body


def test_sighup_reloads_the_policy(start_agentd: Start) -> None:
    daemon = start_agentd()
    daemon.policy.write_text(daemon.policy.read_text().replace("change: first version", "change: by hand"))
    daemon.process.send_signal(signal.SIGHUP)
    for _ in range(200):
        if "by hand" in daemon.ctl("policy", "history").stdout:
            break
    assert "by hand" in daemon.ctl("policy", "history").stdout


def test_a_broken_policy_at_start_keeps_the_last_good_one_and_says_so(start_agentd: Start) -> None:
    daemon = start_agentd()
    daemon.stop()
    daemon.policy.write_text("version: 1\nowner: [\n")
    again = start_agentd_on(start_agentd, daemon)
    assert again.ask("POST", "/v1/chat/completions", chat("hi")).status == 200
    status = again.ctl("status")
    assert "NOT IN FORCE" in status.stdout


def start_agentd_on(start: Start, daemon: daemons.Daemon) -> daemons.Daemon:
    """A daemon on the state of an earlier one, with the policy file as it lies there."""
    return start(daemon.policy, home=daemon.home)


def test_a_broken_policy_and_no_past_refuses_everything(start_agentd: Start) -> None:
    daemon = start_agentd("version: 1\nowner: [\n")
    reply = daemon.ask("POST", "/v1/chat/completions", chat("hi"))
    assert reply.status == 503
    assert reply.json()["error"]["metadata"]["code"] == "policy.none"


def test_a_second_daemon_does_not_share_the_record(running_agentd: daemons.Daemon) -> None:
    command = [
        sys.executable,
        "-m",
        "agentd",
        "serve",
        "--state",
        str(running_agentd.state),
        "--run",
        str(running_agentd.home / "other"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=daemons.REPO)
    assert done.returncode == 1
    assert "record." in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_daemon_does_not_take_the_sockets(running_agentd: daemons.Daemon, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "agentd",
        "serve",
        "--state",
        str(tmp_path / "s"),
        "--run",
        str(running_agentd.home / "run"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=daemons.REPO)
    assert done.returncode == 1
    assert "listen." in done.stderr
    assert running_agentd.ask("GET", "/healthz").status == 200


def test_a_stale_socket_of_a_killed_daemon_is_replaced(start_agentd: Start) -> None:
    daemon = start_agentd()
    daemon.stop(signal.SIGKILL)
    assert daemon.agent_socket.exists()
    again = start_agentd_on(start_agentd, daemon)
    assert again.ask("GET", "/healthz").status == 200


def test_sockets_come_from_the_service_manager(tmp_path: Path) -> None:
    """As systemd does it: listening sockets from descriptor 3 on, named, for this pid."""
    home = Path(os.path.realpath(tmp_path))
    listening = []
    for name in ("agent", "operator"):
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(home / f"{name}.sock"))
        sock.listen(8)
        listening.append(sock)
    script = (
        "import os, sys\n"
        "os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4)\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2', LISTEN_FDNAMES='agent:operator')\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'agentd', 'serve', '--simulate', *sys.argv[3:]])\n"
    )
    descriptors = [sock.fileno() for sock in listening]
    flags = ["--state", str(home / "state"), "--run", str(home / "run"), "--policy", str(daemons.SHIPPED_POLICY)]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, descriptors), *flags],
        pass_fds=descriptors,
        cwd=daemons.REPO,
        stderr=subprocess.PIPE,
    )
    try:
        connection = UnixConnection(
            home / "agent.sock"
        )  # connects at once: the kernel queues it until the daemon serves
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()
        assert not (home / "run" / "agent.sock").exists()
    finally:
        process.terminate()
        _, said = process.communicate(timeout=30)
        for sock in listening:
            sock.close()
    assert process.returncode == 0, said.decode()
    assert (home / "agent.sock").exists()  # not ours to remove


def test_the_watchdog_is_fed(start_agentd: Start) -> None:
    daemon = start_agentd(env={"WATCHDOG_USEC": "2000000"})
    seen: list[bytes] = []
    daemon.manager.settimeout(20)
    while not any(b"WATCHDOG=1" in message for message in seen):
        seen.append(daemon.manager.recv(4096))


@pytest.mark.parametrize(
    ("flags", "config", "code", "status"),
    [
        (["--config", "CONFIG"], "nonsense: 1\n", "settings.unknown", 78),
        (["--config", "CONFIG"], "finish_s: soon\n", "settings.type", 78),
        (["--config", "CONFIG"], "[\n", "settings.syntax", 78),
        (["--config", "/nowhere/agentd.yaml"], "", "settings.missing", 78),
        (["--run", "/" + "x" * 120], "", "listen.path_too_long", 1),
    ],
)
def test_what_keeps_it_from_starting_is_said_with_a_cure(
    flags: list[str], config: str, code: str, status: int, tmp_path: Path
) -> None:
    file = tmp_path / "agentd.yaml"
    file.write_text(config)
    given = [str(file) if flag == "CONFIG" else flag for flag in flags]
    command = [sys.executable, "-m", "agentd", "serve", "--state", str(tmp_path / "state"), *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=daemons.REPO)
    assert done.returncode == status, done.stderr
    assert f"[{code}]" in done.stderr
    assert "Traceback" not in done.stderr
