"""A real daemon's door over TCP: found by its ready line and by status, served by token and user together, over restarts."""

import http.client
import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agentd.core.types.tokens import digest_of, id_of
from harness import canary
from harness import daemon as daemons
from harness.daemon import Daemon, discard, start
from harness.http import TIMEOUT_S, Reply

Start = Callable[..., Daemon]
NOBODY = 65534
CHAT = {"model": "chat", "messages": [{"role": "user", "content": "[[sim:say fine]]"}]}
MESSAGES = {**CHAT, "max_tokens": 50}


def address(daemon: Daemon) -> tuple[str, int]:
    """Where the door is, as its ready line says."""
    *_, (host, port) = re.findall(r"ready: serving on .*, (127\.0\.0\.1|\[::1\]):([0-9]+), upstream", daemon.said())
    return host.strip("[]"), int(port)


def token_of(daemon: Daemon, agent: str = "main", *more: str) -> str:
    done = daemon.ctl("agent", "token", "create", agent, *more)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def ask(
    daemon: Daemon, token: str | None, target: str = "/v1/chat/completions", body: Any = None, **more: str
) -> Reply:
    """One call over TCP."""
    headers: Mapping[str, str] = {**({"Authorization": f"Bearer {token}"} if token else {}), **more}
    with closing(http.client.HTTPConnection(*address(daemon), timeout=TIMEOUT_S)) as connection:
        connection.request("POST", target, json.dumps(body or CHAT), dict(headers))
        answer = connection.getresponse()
        return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())


def ask_as(uid: int, daemon: Daemon, token: str) -> dict[str, Any]:
    """The same by a process of another user: (status, body)."""
    code = f"""
import http.client, json, os, sys, encodings.idna
os.setgid({uid})
os.setuid({uid})
connection = http.client.HTTPConnection(*{address(daemon)!r}, timeout={TIMEOUT_S})
connection.request("POST", "/v1/chat/completions", json.dumps({CHAT!r}), {{"x-api-key": sys.stdin.read()}})
answer = connection.getresponse()
print(json.dumps({{"status": answer.status, "body": json.loads(answer.read())}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], input=token, capture_output=True, text=True, timeout=60, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def decisions(daemon: Daemon) -> list[dict[str, Any]]:
    return [line for line in daemon.lines() if line["kind"] == "decision"]


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """One for all tests that leave no trace that matters to others."""
    running = start(daemons.SHIPPED_POLICY, "--tcp", "127.0.0.1:0")
    yield running
    discard(running)


def test_the_port_is_told_in_the_ready_line_and_by_status(daemon: Daemon) -> None:
    host, port = address(daemon)
    assert port > 0
    status = json.loads(daemon.ctl("status", "--json").stdout)
    assert status["tcp"] == f"{host}:{port}"
    assert f"{host}:{port}; agents show a local token" in daemon.ctl("status").stdout
    with socket.create_connection((host, port), TIMEOUT_S):
        pass


def test_a_token_of_the_right_user_serves_and_the_record_names_it(daemon: Daemon) -> None:
    token = token_of(daemon)
    reply = ask(daemon, token)
    assert reply.status == 200
    assert reply.json()["choices"][0]["message"]["content"] == "fine"
    line = decisions(daemon)[-1]
    assert reply.headers["x-agentd-decision"] == f"d-{line['seq']}"
    assert (line["agent"], line["verdict"], line["status"]) == ("main", "allow", "done")
    assert (line["caller"]["transport"], line["caller"]["token"]) == ("tcp", id_of(digest_of(token)))
    assert "TCP, token t-" in daemon.ctl("explain", f"d-{line['seq']}").stdout
    assert ask(daemon, None, "/v1/messages", MESSAGES, **{"x-api-key": token}).status == 200


@pytest.mark.parametrize(("target", "body"), [("/v1/chat/completions", CHAT), ("/v1/messages", MESSAGES)])
def test_without_one_it_is_401_in_the_dialects_shape(daemon: Daemon, target: str, body: Any) -> None:
    for token in (None, "sk-or-v1-somebody", "agentd-" + "x" * 43):
        reply = ask(daemon, token, target, body)
        assert reply.status == 401
        error = reply.json()["error"]
        assert error["type"] == ("authentication_error" if "messages" in target else "invalid_request_error")
        assert "agentctl agent token create" in error["message"]
        line = decisions(daemon)[-1]
        assert reply.headers["x-agentd-decision"] == f"d-{line['seq']}"
        assert (line["code"], line["agent"]) == ("token.missing" if token is None else "token.unknown", None)


HANDED = (
    "import os, socket, sys\n"
    "sock = socket.create_server(('127.0.0.1', 0)); os.dup2(sock.fileno(), 3); os.set_inheritable(3, True)\n"
    "given = [word.replace('PORT', str(sock.getsockname()[1])) for word in sys.argv[1:]]\n"
    "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='tcp')\n"
    "os.execv(given[0], given)\n"
)
"""Hands over the door over TCP, as systemd does, and puts its port into what it starts."""

BY_SYSTEMD = (sys.executable, "-c", HANDED)


@pytest.mark.parametrize("flags", [(), ("--tcp", "127.0.0.1:PORT")], ids=["unset", "the same"])
def test_a_door_from_the_service_manager_is_the_same_door(start_agentd: Start, flags: tuple[str, ...]) -> None:
    """With or without a setting that says the same; the other doors are agentd's own here."""
    running = start_agentd(daemons.SHIPPED_POLICY, *flags, before=BY_SYSTEMD)
    host, port = address(running)
    assert json.loads(running.ctl("status", "--json").stdout)["tcp"] == f"{host}:{port}"
    token = token_of(running)
    assert (ask(running, token).status, ask(running, None).status) == (200, 401)
    assert ask(running, token, Host="attacker.example").status == 400
    served, unknown, page = decisions(running)
    assert (served["agent"], served["caller"]["transport"]) == ("main", "tcp")
    assert (unknown["code"], page["code"]) == ("token.missing", "request.bad_host")
    assert running.ask("POST", "/v1/chat/completions", CHAT).status == 200


def test_a_door_from_the_service_manager_that_is_not_where_the_settings_say(start_agentd: Start) -> None:
    with pytest.raises(daemons.NotReady, match=r"the setting tcp says 127\.0\.0\.1:1\. \[listen\.two_places\]"):
        start_agentd(daemons.SHIPPED_POLICY, "--tcp", "127.0.0.1:1", before=BY_SYSTEMD)


@pytest.mark.root
def test_a_stolen_token_is_refused_recorded_and_shown(start_agentd: Start) -> None:
    running = start_agentd(daemons.SHIPPED_POLICY, "--tcp", "127.0.0.1:0")
    token = token_of(running)
    refused = ask_as(NOBODY, running, token)
    assert (refused["status"], refused["body"]["error"]["metadata"]["code"]) == (400, "token.wrong_uid")
    (line,) = decisions(running)
    assert (line["code"], line["verdict"], line["agent"]) == ("token.wrong_uid", "deny", None)
    assert (line["caller"]["uid"], line["detail"]["token_agent"]) == (NOBODY, "main")
    assert f"was used by uid {NOBODY}" in running.said()
    assert "TOKEN MISUSED" in running.ctl("status").stdout
    assert running.ctl("doctor").returncode == 1
    assert ask(running, token).status == 200


@pytest.mark.root
def test_each_of_two_users_is_its_own_agent_and_never_the_others(start_agentd: Start) -> None:
    text = daemons.SHIPPED_POLICY.read_text()
    entry = text[text.index("  main:\n") : text.index("upstreams:")]
    second = entry.replace("main:", "guest:").replace("{ unit: openclaw.service }", f"{{ uid: {NOBODY} }}")
    second = "".join(row for row in second.splitlines(keepends=True) if "uid: self" not in row)
    running = start_agentd(text.replace("upstreams:", second + "\nupstreams:", 1), "--tcp", "127.0.0.1:0")
    mine, theirs = token_of(running, "main"), token_of(running, "guest")
    assert ask_as(NOBODY, running, theirs)["status"] == 200
    assert ask(running, mine).status == 200
    assert ask_as(NOBODY, running, mine)["status"] == 400
    assert ask(running, theirs).status == 400
    told = [(line["agent"], line["code"]) for line in decisions(running)]
    assert [agent for agent, _ in told] == ["guest", "main", None, None]
    assert {code for agent, code in told if agent is None} == {"token.wrong_uid"}


def test_a_token_outlives_the_daemon_and_so_does_its_end(start_agentd: Start) -> None:
    first = start_agentd(daemons.SHIPPED_POLICY, "--tcp", "127.0.0.1:0")
    kept, ended = token_of(first), token_of(first)
    assert first.ctl("agent", "token", "revoke", id_of(digest_of(ended))).returncode == 0
    assert first.stop() == 0
    second = start_agentd(daemons.SHIPPED_POLICY, "--tcp", "127.0.0.1:0", home=first.home)
    assert ask(second, kept).status == 200
    assert ask(second, ended).status == 401
    assert decisions(second)[-1]["code"] == "token.revoked"
    rotated = second.ctl("agent", "token", "rotate", "main", "--now").stdout.strip()
    assert ask(second, kept).status == 401
    assert ask(second, rotated).status == 200


def test_a_token_is_nowhere_on_disk_and_in_no_log(start_agentd: Start) -> None:
    """Not even when a client sends it where it does not belong."""
    running = start_agentd(daemons.SHIPPED_POLICY, "--tcp", "127.0.0.1:0", "--log-level", "debug")
    token = token_of(running)
    assert ask(running, token).status == 200
    assert ask(running, token, f"/v1/nowhere/{token}").status == 404
    with socket.create_connection(address(running), TIMEOUT_S) as raw:
        raw.sendall(f"GET / HTTP/1.1\r\nAuthorization {token}\r\n\r\n".encode())
        assert b" 400 " in raw.recv(65536)
    assert running.stop() == 0
    assert canary.found_under([running.home], token) == []


def test_the_command_line_of_the_daemon_and_its_environment_hold_no_token(daemon: Daemon) -> None:
    token = token_of(daemon)
    for part in ("cmdline", "environ"):
        assert token.encode() not in Path(f"/proc/{daemon.process.pid}/{part}").read_bytes()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "192.168.0.9"])
def test_a_page_whose_name_points_here_gets_nothing(daemon: Daemon, host: str) -> None:
    reply = ask(daemon, token_of(daemon), Host=host, Origin=f"http://{host}")
    assert (reply.status, reply.json()["error"]["metadata"]["code"]) == (400, "request.bad_host")
    assert not [name for name in reply.headers if name.startswith("access-control")]


def test_ipv6_loopback_serves_too(start_agentd: Start) -> None:
    running = start_agentd(daemons.SHIPPED_POLICY, "--tcp", "[::1]:0")
    assert ask(running, token_of(running)).status == 200


@pytest.mark.parametrize(
    ("place", "code"), [("0.0.0.0:0", "not_loopback"), ("[::]:0", "not_loopback"), ("8710", "not_an_address")]
)
def test_it_opens_on_loopback_or_not_at_all(start_agentd: Start, place: str, code: str) -> None:
    with pytest.raises(daemons.NotReady, match=rf"listen\.{code}") as refused:
        start_agentd(daemons.SHIPPED_POLICY, "--tcp", place)
    assert "status 78" in str(refused.value)


def test_a_stop_is_no_different(start_agentd: Start) -> None:
    running = start_agentd(daemons.SHIPPED_POLICY, "--tcp", "127.0.0.1:0")
    token = token_of(running)
    with closing(http.client.HTTPConnection(*address(running), timeout=TIMEOUT_S)) as idle:
        idle.request("GET", "/v1/models", headers={"Authorization": f"Bearer {token}"})
        assert idle.getresponse().read()
        assert running.stop() == 0
        assert idle.sock is None or idle.sock.recv(1) == b""
