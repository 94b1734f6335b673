"""The life of a key through a real daemon with a real keyring: none yet, set, rotated under a running stream, deleted; and after
all of it the value stands nowhere. Without any keyring the local tier serves, and what is missing is said."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from daemon.crowd import body_of, exported
from daemon.tap import Tap, answer_with, refusal_with, stream_with
from edge.host.keyring_box import KeyringBox
from harness import canary as canaries
from harness import daemon as daemons
from harness.http import Reply, UnixConnection

FIRST = "sk-or-v1-" + "f1257e57" * 8
SECOND = "sk-or-v1-" + "5ec0dd00" * 8
SECRET_SERVICE = "keyring.backends.SecretService.Keyring"
DIALECTS = ("/v1/chat/completions", "/v1/messages")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyringBox]:
    """A private bus with an unlocked GNOME Keyring."""
    for program, package in (("dbus-daemon", "dbus"), ("gnome-keyring-daemon", "gnome-keyring")):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install {package}")
    made = KeyringBox(tmp_path_factory.mktemp("keyring"))
    try:
        made.start_bus()
        made.start_keyring(b"an unsealed password")
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def tap() -> Iterator[Tap]:
    """The simulator, which takes any key, behind a tap."""
    command = [sys.executable, "-m", "agentd.simulator", "--tcp", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=daemons.REPO) as simulator:
        assert simulator.stdout is not None
        made = Tap(f"http://{simulator.stdout.readline().strip()}/api/v1").begin()
        yield made
        made.end()
        simulator.kill()


def with_keyring(box: KeyringBox) -> dict[str, str]:
    return {"PYTHON_KEYRING_BACKEND": SECRET_SERVICE, "DBUS_SESSION_BUS_ADDRESS": box.address}


def policy_for(tap: Tap) -> str:
    return daemons.SHIPPED_POLICY.read_text().replace("https://openrouter.ai/api/v1", tap.url)


@pytest.fixture(scope="module")
def shared(box: KeyringBox, tap: Tap) -> Iterator[daemons.Daemon]:
    made = daemons.start(policy_for(tap), "--log-level", "debug", env=with_keyring(box), simulate=False)
    yield made
    sys.stderr.write(made.said())
    daemons.discard(made)


@pytest.fixture
def daemon(shared: daemons.Daemon, tap: Tap) -> daemons.Daemon:
    """The module's daemon, without a key."""
    shared.ctl("key", "delete", "openrouter")
    tap.keys.clear()
    return shared


def set_key(daemon: daemons.Daemon, value: str) -> None:
    done = daemon.ctl("key", "set", "openrouter", stdin=value + "\n")
    assert done.returncode == 0, done.stderr
    assert value not in done.stdout + done.stderr


def chat(daemon: daemons.Daemon, text: str = "hello", target: str = DIALECTS[0], *, stream: bool = False) -> Reply:
    return daemon.ask("POST", target, body_of(text, stream=stream))


@pytest.mark.parametrize("target", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
def test_without_a_key_the_refusal_names_the_command(
    target: str, stream: bool, daemon: daemons.Daemon, tap: Tap
) -> None:
    reply = chat(daemon, target=target, stream=stream)
    assert reply.status >= 400
    assert "agentctl key set openrouter" in reply.json()["error"]["message"]
    assert tap.keys == []
    doctor = daemon.ctl("doctor")
    assert doctor.returncode == 1
    assert "agentctl key set openrouter" in doctor.stdout
    assert "missing" in daemon.ctl("key", "list").stdout


def test_a_key_serves_at_once_and_is_refused_again_when_it_is_gone(daemon: daemons.Daemon, tap: Tap) -> None:
    set_key(daemon, FIRST)
    assert chat(daemon).status == 200
    assert tap.keys == [FIRST]
    assert "in use" in daemon.ctl("key", "list").stdout
    assert daemon.ctl("key", "delete", "openrouter").returncode == 0
    assert "agentctl key set openrouter" in chat(daemon).json()["error"]["message"]
    assert tap.keys == [FIRST]
    assert daemon.ctl("key", "delete", "openrouter").returncode == 5, "there is none any more"


def test_rotation_lets_a_stream_go_on_and_the_next_call_use_the_new_key(daemon: daemons.Daemon, tap: Tap) -> None:
    set_key(daemon, FIRST)
    tap.hold()
    connection = UnixConnection(daemon.agent_socket)
    try:
        connection.request("POST", DIALECTS[0], body_of("[[sim:slow 10]] [[sim:long 40]] go on", stream=True))
        answer = connection.getresponse()
        begun = answer.read1(1)
        set_key(daemon, SECOND)
        tap.flow()
        assert (begun + answer.read()).endswith(b"data: [DONE]\n\n")
    finally:
        tap.flow()
        connection.close()
    assert chat(daemon).status == 200
    assert tap.keys == [FIRST, SECOND]


def test_a_key_outlives_the_daemon(daemon: daemons.Daemon, box: KeyringBox, tap: Tap) -> None:
    set_key(daemon, FIRST)
    second = daemons.start(policy_for(tap), env=with_keyring(box), simulate=False)
    try:
        assert chat(second).status == 200
        assert tap.keys == [FIRST]
    finally:
        daemons.discard(second)


@pytest.mark.parametrize("arguments", [("openrouter", FIRST), (FIRST,), ("openrouter", "--", FIRST)])
def test_a_key_as_an_argument_is_refused_without_an_echo(arguments: tuple[str, ...], daemon: daemons.Daemon) -> None:
    done = daemon.ctl("key", "set", *arguments)
    assert done.returncode == 2
    assert not canaries.found_in(done.stdout + done.stderr, FIRST)
    assert "revoke" in done.stderr
    assert not any(row["in_use"] for row in json.loads(daemon.ctl("key", "list", "--json").stdout)["keys"])


def test_a_keyring_that_dies_takes_no_key_away_and_what_failed_can_be_done_again(
    daemon: daemons.Daemon, box: KeyringBox, tap: Tap
) -> None:
    set_key(daemon, FIRST)
    box.kill_keyring()
    assert chat(daemon).status == 200
    failed = daemon.ctl("key", "set", "openrouter", stdin=SECOND)
    assert failed.returncode == 4
    assert "[keyring." in failed.stderr
    assert "gnome-keyring-daemon" in failed.stderr
    assert chat(daemon).status == 200
    assert tap.keys == [FIRST, FIRST], "what could not be stored is not used"
    assert daemon.ctl("key", "delete", "openrouter").returncode == 4
    assert chat(daemon).status >= 400, "revoked all the same"
    assert "gnome-keyring-daemon" in daemon.ctl("doctor").stdout
    box.start_keyring(b"an unsealed password")
    assert daemon.ctl("key", "delete", "openrouter").returncode == 0, "a failed deletion can be done again"
    kinds = [(line["code"], line["verdict"]) for line in exported(daemon) if line["kind"] == "key"]
    assert ("key.failed", "deny") in kinds


def test_the_value_is_nowhere_after_a_whole_session(daemon: daemons.Daemon, tap: Tap, canary: str) -> None:
    set_key(daemon, canary)
    answers = [chat(daemon, "hello", target, stream=stream) for target in DIALECTS for stream in (False, True)]
    for fault in ("echo-key", "status:401", "error-mid:string", "html502"):
        for target in DIALECTS:
            for stream in (False, True):
                answers.append(chat(daemon, f"[[sim:fault {fault}]]", target, stream=stream))
                set_key(daemon, canary)  # a key that was refused serves again when it is set anew
    for says in (answer_with, stream_with, refusal_with):
        tap.says = says
        answers += [chat(daemon, "hello", target, stream=stream) for target in DIALECTS for stream in (False, True)]
    tap.says = None
    assert b"[key openrouter]" in b"".join(reply.body for reply in answers), "an echo was passed on, without the key"
    assert canary in tap.keys
    last = next(line["seq"] for line in reversed(exported(daemon)) if line["kind"] == "decision")
    told = [
        daemon.ctl(*words).stdout
        for words in (
            ("status", "--json"), ("doctor", "--json"), ("logs", "--json"), ("explain", f"d-{last}", "--json"),
            ("key", "list", "--json"), ("policy", "history", "--json"), ("audit", "export"), ("spend", "--json"),
        )
    ]  # fmt: skip
    broken = daemon.operate("PUT", "/operator/v1/keys/openrouter", {"value": [canary]})
    odd = daemon.operate("PUT", f"/operator/v1/keys/{canary}", {"value": canary})
    for reply in (*answers, broken, odd):
        assert not canaries.found_in(repr(reply.headers)), reply
        assert not canaries.found_in(reply.body), reply
    assert [text for text in told if canaries.found_in(text)] == []
    assert canaries.found_under([daemon.home]) == []
    process = Path(f"/proc/{daemon.process.pid}")
    for table in ("cmdline", "environ"):
        assert not canaries.found_in((process / table).read_bytes())
    assert re.search(r"Max core file size +0 +0 ", (process / "limits").read_text())


def test_checkpoints_are_signed_by_the_key_in_the_keyring(box: KeyringBox, tap: Tap) -> None:
    daemon = daemons.start(policy_for(tap), env=with_keyring(box), simulate=False)
    try:
        daemon.stop()
        daemon.manager.close()
        daemon = daemons.start(policy_for(tap), env=with_keyring(box), simulate=False, home=daemon.home)
        done = daemon.ctl("audit", "verify")
        assert done.returncode == 0, done.stdout
        public = re.search(r"good up to line (\d+), by key ([0-9a-f]{64})", done.stdout)
        assert public is not None, done.stdout
        assert int(public[1]) > 1
        assert "checkpoints are signed" in daemon.ctl("status").stdout
        assert "checkpoints of the record are signed" in daemon.ctl("doctor").stdout
        other = daemon.ctl("audit", "verify", "--key", "00" * 32)
        assert "good up to line 0" in other.stdout or other.returncode == 1, other.stdout
        daemon.stop()
        forged(daemon.state / "ledger.db")
        command = [sys.executable, "-m", "agentd.ctl.main", "audit", "verify", "--db", str(daemon.state / "ledger.db")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=daemons.REPO)
        assert done.returncode == 1
        assert "signature" in done.stdout
    finally:
        daemons.discard(daemon)


def forged(database: Path) -> None:
    """The last checkpoint, signed by somebody else in the name of the true key, and the chain and anchor made to fit."""
    import hashlib
    import sqlite3

    from agentd.core.accounting.chain import Link
    from agentd.edge.ledger.anchor import AnchorFile, Noted

    with sqlite3.connect(database) as base:
        seq, body = base.execute("select seq, cast(body as blob) from lines order by seq desc limit 1").fetchone()
        signature = json.loads(body)["detail"]["signature"]
        body = body.replace(signature.encode(), signature[::-1].encode())
        digest = hashlib.sha256(body).hexdigest()
        base.execute("drop trigger lines_no_update")
        base.execute("update lines set body = ?, digest = ? where seq = ?", (body.decode(), digest, seq))
        ledger = base.execute("select value from meta where name = 'ledger'").fetchone()[0]
    base.close()
    AnchorFile(database.with_name("ledger.head"), Noted(ledger, Link(seq, digest))).close()


@dataclass
class Local:
    """A small server that speaks OpenAI's chat completions and knows no prices; `heads` are the headers it was sent."""

    server: ThreadingHTTPServer
    heads: list[dict[str, str]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"


@pytest.fixture
def local() -> Iterator[Local]:
    heads: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heads.append(dict(self.headers))
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            message = {"role": "assistant", "content": f"I am {asked['model']}"}
            body = json.dumps({
                "id": "1", "object": "chat.completion", "created": 1, "model": asked["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
            }).encode()  # fmt: skip
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  its name there
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield Local(server, heads)
    server.shutdown()
    server.server_close()
    thread.join()


def test_without_any_keyring_the_local_tier_serves_and_what_is_missing_is_said(local: Local) -> None:
    example = daemons.REPO / "etc" / "examples" / "single-box-cheap.yaml"
    policy = (
        example.read_text()
        .replace("http://127.0.0.1:11434/v1", local.url)
        .replace("{ unit: nanobot.service }", "{ uid: self }")
    )
    daemon = daemons.start(policy, simulate=False, env={"PYTHON_KEYRING_BACKEND": ""})
    try:
        reply = chat(daemon)
        assert reply.status == 200, reply.body
        assert "I am" in reply.json()["choices"][0]["message"]["content"]
        assert "Authorization" not in local.heads[0]
        assert "checkpoints are not signed" in daemon.ctl("status").stdout
        assert "DBUS_SESSION_BUS_ADDRESS" in daemon.ctl("status").stdout
        doctor = daemon.ctl("doctor")
        assert "not signed" in doctor.stdout
        assert "agentctl key set openrouter" in doctor.stdout
        line = next(line for line in exported(daemon) if line["kind"] == "outcome")
        assert line["cost_nusd"] == 0
        daemon.stop()
        command = [sys.executable, "-m", "agentd.ctl.main", "audit", "verify", "--db", str(daemon.state / "ledger.db")]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=daemons.REPO, env=dict(os.environ)
        )
        assert done.returncode == 0
        assert "none of 1 checkpoints is signed" in done.stdout
    finally:
        daemons.discard(daemon)
