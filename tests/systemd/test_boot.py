"""agentd as a real systemd starts it: unlocked keyring, two doors, identity, reload, restart, watchdog, stop.

One box serves all tests, in their order; each leaves it serving.
"""

import base64
import json
import time
from collections.abc import Iterator

import pytest

from harness import canary as canaries
from systemd.asking import AGENT, ASK, ASKING, CHAT, IDENTITY, OPERATOR, ask, ask_as_unit, operator, show
from systemd.box import Box
from systemd.installation import PYTHON, SIMULATE, install, prepared

pytestmark = [pytest.mark.slow, pytest.mark.root]

PROBE = """
for place; do
  if [ -d "$place" ]; then ls "$place"; else head -c 1 "$place"; fi >/dev/null 2>&1 && echo "$place"
done
kill -0 "$0" 2>/dev/null && echo signalled
true
"""
"""Prints what of the given places can be read, and whether the process $0 can be signalled."""

MANY_CALLS = """
import http.client, socket, subprocess, sys, threading
answers, gate = [], threading.Event()
def call(again=True):
    link = http.client.HTTPConnection("agentd")
    link.sock = socket.socket(socket.AF_UNIX)
    link.sock.settimeout(50)
    link.sock.connect("/run/agentd/agent.sock")
    try:
        link.request("GET", "/healthz")
        status = link.getresponse().status
        if status == 503 and again:
            raise ConnectionError("it is stopping")
        answers.append(status)
    except ConnectionError:
        if not again:
            raise
        call(again=False)
def guarded():
    gate.wait()
    try:
        call()
    except OSError as error:
        answers.append(repr(error))
calls = [threading.Thread(target=guarded) for _ in range(200)]
for each in calls: each.start()
restart = subprocess.Popen(sys.argv[1:])
gate.set()
for each in calls: each.join()
print(answers.count(200), restart.wait(), set(answers) - {200})
"""
"""200 callers at once, while a command runs. None may be refused at the door. Who was let in in the very moment of the stop
may be sent away, with 503 or without an answer, and comes again once, as every HTTP client does."""

LONG_STREAM = """
import http.client, json, socket
link = http.client.HTTPConnection("agentd")
link.sock = socket.socket(socket.AF_UNIX)
link.sock.connect("/run/agentd/agent.sock")
text = "[[sim:long 2000]] [[sim:slow 100]]"
body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": text}]}
link.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
answer = link.getresponse()
print(answer.readline(), flush=True)
print(answer.read().decode()[-2000:], flush=True)
"""
"""Says its first piece as soon as there is one, and the rest when it is over."""

SETTINGS = "finish_s: 2\ncut_s: 2\ntcp: 127.0.0.1:8710\n"
"""How long streams may go on when agentd stops: short here. And a door over TCP, on a loopback of the box's own."""

STOP_CLOCK_S = 20
"""More than those, and far less than TimeoutStopSec=60, after which systemd would kill it."""


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A box in which agentd was installed by its own command; its sockets listen, and nothing else of it runs."""
    box = prepared(tmp_path_factory.mktemp("box"))
    box.put("/etc/systemd/system/agentd.service.d/simulate.conf", SIMULATE)
    box.put("/etc/agentd/agentd.yaml", SETTINGS)
    box.put(ASKING, ASK)
    try:
        box.start()
        install(box)
        box.run("systemctl", "stop", "agentd.service", "agentd-keyring.service")
        yield box
    finally:
        box.stop()


def test_the_first_caller_starts_the_daemon_and_its_keyring(box: Box) -> None:
    assert show(box, "ActiveState") == "inactive"
    status, _ = ask(box, AGENT, "agentd-agents", "GET", "/healthz")
    assert status == 200, box.journal("agentd.service")
    assert show(box, "ActiveState") == "active"
    assert show(box, "StatusText")
    assert box.run("systemctl", "is-active", "agentd-keyring.service").stdout.strip() == "active"


@pytest.mark.parametrize(
    ("door", "group", "opens"),
    [
        (AGENT, "agentd-agents", True),
        (AGENT, "agentd-operators", False),
        (AGENT, None, False),
        (OPERATOR, "agentd-operators", True),
        (OPERATOR, "agentd-agents", False),
        (OPERATOR, None, False),
    ],
)
def test_each_door_opens_to_its_own_group(box: Box, door: str, group: str | None, opens: bool) -> None:
    assert ask(box, door, group, "GET", "/healthz")[0] == (200 if opens else 0)


def test_an_agent_is_known_by_its_unit_and_nobody_else_is_served(box: Box) -> None:
    status, body = ask_as_unit(box, "openclaw.service", "POST", "/v1/chat/completions", CHAT)
    assert status == 200, body
    status, body = ask_as_unit(box, "stranger.service", "POST", "/v1/chat/completions", CHAT)
    assert status >= 400
    assert "caller.unknown" in body
    _, lines = operator(box, "GET", "/operator/v1/logs")
    assert "openclaw.service" in lines
    assert "stranger.service" in lines


def test_a_key_goes_into_the_keyring_and_nowhere_else(box: Box) -> None:
    status, body = operator(box, "PUT", "/operator/v1/keys/openrouter", json.dumps({"value": canaries.CANARY}))
    assert status in (200, 201, 204), body
    pid = show(box, "MainPID")
    proc = "".join(box.run("cat", f"/proc/{pid}/{name}").stdout for name in ("environ", "cmdline"))
    assert not canaries.found_in(proc)
    assert not canaries.found_in(box.run("journalctl", "--no-pager", "-o", "verbose").stdout)
    hunt = "cat /var/lib/agentd/* /var/lib/agentd-keyring/keyrings/* /etc/credstore.encrypted/* | base64 -w0"
    kept = box.run("sh", "-c", hunt).stdout
    assert kept
    assert canaries.CANARY.encode() not in base64.b64decode(kept)
    box.run("systemctl", "restart", "agentd-keyring.service", "agentd.service")
    status, body = operator(box, "GET", "/operator/v1/keys")
    assert status == 200
    assert "openrouter" in body
    assert canaries.CANARY not in body


def test_the_agents_uid_reads_and_reaches_nothing_of_the_daemon(box: Box) -> None:
    pid = show(box, "MainPID")
    places = [
        "/var/lib/agentd", "/var/lib/agentd-keyring", "/run/agentd-keyring", "/etc/agentd", "/etc/agentd/policy.yaml",
        f"/proc/{pid}/environ", f"/proc/{pid}/mem", f"/proc/{pid}/fd", f"/proc/{pid}/maps", "/etc/credstore.encrypted",
    ]  # fmt: skip
    done = box.run(
        "setpriv", "--reuid", "nobody", "--regid", "agentd-agents", "--clear-groups", "sh", "-c", PROBE, pid, *places
    )
    assert done.stdout == ""
    assert box.run("sh", "-c", PROBE, pid, *places).stdout, "root reads, so the probe can find something"


def test_not_even_root_may_use_the_keyrings_bus(box: Box) -> None:
    command = ["busctl", "--address=unix:path=/run/agentd-keyring/bus", "list"]
    assert box.run(*command, check=False).returncode != 0
    assert (
        "org.freedesktop.secrets"
        in box.run("setpriv", "--reuid", "agentd", "--regid", "agentd", "--clear-groups", *command).stdout
    )


def test_a_keyring_whose_bus_dies_comes_back_by_itself(box: Box) -> None:
    daemon = show(box, "MainPID")
    wait = """
kill -KILL $(systemctl show agentd-keyring-bus -p MainPID --value)
setpriv --reuid agentd --regid agentd --clear-groups /usr/lib/agentd/keyring-is-open
"""
    box.run("sh", "-c", wait)
    status, body = operator(box, "PUT", "/operator/v1/keys/openrouter", json.dumps({"value": canaries.CANARY}))
    assert status == 200, body
    assert show(box, "MainPID") == daemon


def test_a_reload_is_told_to_the_manager_and_keeps_the_process(box: Box) -> None:
    pid = show(box, "MainPID")
    box.run("systemctl", "reload", "agentd.service")
    assert operator(box, "GET", "/operator/v1/policy")[0] == 200
    assert (show(box, "ActiveState"), show(box, "MainPID")) == ("active", pid)


@pytest.mark.parametrize("command", ["restart", "start"])
def test_two_hundred_callers_wait_while_it_starts(box: Box, command: str) -> None:
    if command == "start":
        box.run("systemctl", "stop", "agentd.service")
    done = box.run(PYTHON, "-c", MANY_CALLS, "systemctl", command, "agentd.service")
    assert done.stdout.split() == ["200", "0", "set()"]


def test_a_hanging_daemon_is_replaced(box: Box) -> None:
    before = show(box, "MainPID")
    wait = "kill -STOP $0; while [ $(systemctl show agentd -p MainPID --value) = $0 ]; do sleep 0.1; done"
    box.run("sh", "-c", wait, before)
    assert ask(box, AGENT, "agentd-agents", "GET", "/healthz")[0] == 200
    assert "atchdog" in box.journal("agentd.service")


def test_it_stops_in_good_order_and_the_record_says_so(box: Box) -> None:
    assert ask(box, AGENT, "agentd-agents", "GET", "/healthz")[0] == 200
    box.run("systemctl", "stop", "agentd.service")
    assert (show(box, "ActiveState"), show(box, "Result")) == ("inactive", "success")
    assert operator(box, "GET", "/operator/v1/logs?kind=stop")[0] == 200, "and a caller starts it again"


def test_a_users_clients_are_connected_proved_and_taken_back(box: Box) -> None:
    box.run("useradd", "--create-home", "ann")
    box.run("usermod", "-aG", "agentd-agents", "ann")
    home = "find /home/ann -newer /etc/passwd ! -type d"
    number = box.run("id", "-u", "ann").stdout.strip()
    unit = "      - { unit: openclaw.service }"
    box.run("sed", "-i", f"s/^{unit}/{unit}\\n      - {{ uid: {number} }}/", "/etc/agentd/policy.yaml")
    box.run("systemctl", "reload", "agentd.service")
    for client, way in (("claude-code", ()), ("codex", ("--agent", "main"))):
        connect = ("agentctl", "connect", client, "--user", "ann")
        box.run(*connect, *way)
        assert set(box.run("sh", "-c", f"{home} -printf '%u\n'").stdout.split()) == {"ann"}
        proof = json.loads(box.run(*connect, "--check", "--json").stdout)
        assert (proof["status"], proof["error"]) == (200, "")
        page = json.loads(box.run("agentctl", "explain", proof["decision"], "--json").stdout)
        assert f'"uid": {number}' in json.dumps(page)
        box.run(*connect, "--undo")
        assert box.run("sh", "-c", home).stdout == ""


def test_the_door_over_tcp_can_be_systemds_too(box: Box) -> None:
    """Not opened by the install; once enabled its first caller starts the daemon, and a restart finds it again."""
    assert box.run("systemctl", "is-enabled", "agentd-tcp.socket", check=False).stdout.strip() == "disabled"
    box.run("systemctl", "stop", "agentd.service")
    box.run("systemctl", "enable", "--now", "agentd-tcp.socket")
    assert show(box, "ActiveState") == "inactive"
    look = "import urllib.request as it; print(it.urlopen('http://127.0.0.1:8710/healthz', timeout=50).status)"
    assert box.run(PYTHON, "-c", look).stdout.strip() == "200"
    connect = ("agentctl", "connect", "codex", "--user", "ann")
    box.run(*connect, "--agent", "main")
    box.run("systemctl", "restart", "agentd.service")
    proof = json.loads(box.run(*connect, "--check", "--json").stdout)
    assert (proof["status"], proof["door"]) == (200, "127.0.0.1:8710")
    box.run(*connect, "--undo")
    box.run("systemctl", "stop", "agentd.service")
    box.run("systemctl", "disable", "--now", "agentd-tcp.socket")
    box.run("systemctl", "start", "agentd.service")


def test_a_stream_that_does_not_end_is_cut_within_the_clock(box: Box) -> None:
    box.run("systemd-run", *IDENTITY, "--unit=openclaw.service", "--collect", PYTHON, "-c", LONG_STREAM)
    wait = "until journalctl --no-pager -o cat -u openclaw.service | grep -q ^b.:; do sleep 0.1; done"
    box.run("sh", "-c", wait)
    began = time.monotonic()
    box.run("systemctl", "stop", "agentd.service")
    assert time.monotonic() - began < STOP_CLOCK_S
    assert (show(box, "ActiveState"), show(box, "Result")) == ("inactive", "success")
    assert "daemon.stopping" in box.journal("openclaw.service"), "the caller is told, in its stream"
    status, lines = operator(box, "GET", "/operator/v1/logs?limit=20")
    assert status == 200
    assert "daemon.stopping" in lines


def test_the_journal_can_be_read(box: Box) -> None:
    """One line for a thing that happened, no traceback, no byte that a terminal could take for a command."""
    journal = box.journal("agentd.service")
    assert "Traceback" not in journal
    assert all(line.isprintable() for line in journal.splitlines())
    # The last seconds: the watchdog's part of the file is older, and faulthandler's.
    said = box.run("journalctl", "--no-pager", "-o", "json", "-u", "agentd.service", "-n", "1").stdout
    assert json.loads(said)["SYSLOG_IDENTIFIER"] in ("agentd", "systemd")


def test_a_key_outlives_a_reboot(box: Box) -> None:
    status, body = operator(box, "PUT", "/operator/v1/keys/openrouter", json.dumps({"value": canaries.CANARY}))
    assert status == 200, body
    _, before = operator(box, "GET", "/operator/v1/logs?kind=start")
    box.power_off()
    box.start()
    status, body = operator(box, "GET", "/operator/v1/keys")
    assert status == 200
    row = next(row for row in json.loads(body)["keys"] if row["name"] == "openrouter")
    assert row["in_use"], "read from a keyring that nobody unlocked by hand"
    _, after = operator(box, "GET", "/operator/v1/logs?kind=start")
    assert len(after) > len(before), "and the record goes on"
    assert json.loads(operator(box, "GET", "/operator/v1/status")[1])["signing"]


def test_a_lost_password_is_said_and_not_replaced(box: Box) -> None:
    sealed = "/etc/credstore.encrypted/agentd.keyring-password"
    box.run("sh", "-c", f"printf wrong | systemd-creds encrypt --name=agentd.keyring-password - {sealed}")
    box.run("sh", "-c", "sed -i s/left=100/left=3/ /usr/lib/agentd/keyring-is-open")
    assert box.run("systemctl", "restart", "agentd-keyring.service", check=False).returncode != 0
    assert "the keyring stays locked" in box.journal("agentd-keyring.service")
    box.run("systemctl", "restart", "agentd.service")
    status, body = operator(box, "GET", "/operator/v1/doctor")
    assert status == 200
    checks = {each["name"]: each for each in json.loads(body)["checks"]}
    assert (checks["keyring"]["state"], checks["signing"]["state"]) == ("warn", "warn"), (
        "it serves without a keyring, and says so"
    )
