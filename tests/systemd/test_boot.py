"""agentd as a real systemd starts it: unlocked keyring, two doors, identity, reload, restart, watchdog, stop.

One box serves all tests, in their order; each leaves it serving.
"""

import base64
import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import canary as canaries
from systemd.box import Box

pytestmark = [pytest.mark.slow, pytest.mark.root]

CHECKOUT = Path(__file__).parents[2]
UNITS = CHECKOUT / "systemd"
DEBIAN_PYTHON = "/usr/bin/python3"

PROGRAM = f"""#!/bin/sh
export PYTHONPATH=/opt/agentd/lib/checkout:/opt/agentd/lib/packages
exec {DEBIAN_PYTHON} -m agentd "$@"
"""
"""Stands for the virtual environment of an installed agentd: its own is under a home that no unit sees."""

SIMULATE = """[Service]
ExecStart=
ExecStart=/opt/agentd/bin/agentd serve --policy /etc/agentd/policy.yaml --state /var/lib/agentd --run /run/agentd --simulate
WatchdogSec=3
"""

ASK = """
import http.client, json, socket, sys
door, method, path, body = sys.argv[1:]
link = http.client.HTTPConnection("agentd")
link.sock = socket.socket(socket.AF_UNIX)
link.sock.settimeout(30)
try:
    link.sock.connect(door)
except OSError as error:
    print(json.dumps([0, type(error).__name__]))
    sys.exit()
link.request(method, path, body or None, {"Content-Type": "application/json"})
answer = link.getresponse()
print(json.dumps([answer.status, answer.read().decode()]))
"""

PROBE = """
for place; do
  if [ -d "$place" ]; then ls "$place"; else head -c 1 "$place"; fi >/dev/null 2>&1 && echo "$place"
done
kill -0 "$0" 2>/dev/null && echo signalled
true
"""
"""Prints what of the given places can be read, and whether the process $0 can be signalled."""

TEN_CALLS = """
import subprocess, sys
restart = subprocess.Popen(["systemctl", "restart", "agentd.service"])
call = [sys.executable, "/opt/agentd/ask.py", "/run/agentd/agent.sock", "GET", "/healthz", ""]
calls = [subprocess.Popen(call, stdout=subprocess.PIPE) for _ in range(10)]
print(sum(b"[200" in call.communicate()[0] for call in calls), restart.wait())
"""

AGENT = "/run/agentd/agent.sock"
OPERATOR = "/run/agentd/operator.sock"
CHAT = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "hello"}]})


def capable() -> str:
    """Why there can be no box here, or nothing."""
    if subprocess.run(
        ["unshare", "--mount", "--pid", "--cgroup", "--fork", "true"], capture_output=True, check=False
    ).returncode:
        return "no namespaces for a box"
    version = subprocess.run([DEBIAN_PYTHON, "-V"], capture_output=True, text=True, check=False).stdout
    if f" {sys.version_info.major}.{sys.version_info.minor}." not in version:
        return f"{DEBIAN_PYTHON} is no Python {sys.version_info.major}.{sys.version_info.minor}"
    missing = [
        name
        for name in ("dbus-daemon", "gnome-keyring-daemon", "busctl", "systemd-creds")
        if not Path("/usr/bin", name).exists()
    ]
    return f"not installed: {', '.join(missing)}" if missing else ""


def installation() -> str:
    """The commands of the page that tells people how to install, as they stand there."""
    commands = (CHECKOUT / "systemd/README.md").read_text().split("```sh\n")[1].split("```")[0]
    return commands.replace("YOU", "daemon")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A box in which agentd is installed as `systemd/README.md` says; its sockets listen, and nothing else of it runs."""
    if why := capable():
        pytest.skip(why)
    box = Box(tmp_path_factory.mktemp("box"))
    box.put("/etc/systemd/system/agentd.service.d/simulate.conf", SIMULATE)
    for part in ("systemd", "etc"):
        box.bind(CHECKOUT / part, f"/src/{part}")
    box.put("/opt/agentd/bin/agentd", PROGRAM, 0o755)
    box.put("/opt/agentd/ask.py", ASK)
    box.bind(CHECKOUT / "agentd", "/opt/agentd/lib/checkout/agentd")
    box.bind(Path(sysconfig.get_paths()["purelib"]), "/opt/agentd/lib/packages")
    try:
        box.start()
        box.run("sh", "-euxc", "cd /src\n" + installation())
        box.run("systemctl", "stop", "agentd.service", "agentd-keyring.service")
        yield box
    finally:
        box.stop()


def ask(box: Box, door: str, group: str | None, *call: str, user: str = "nobody") -> tuple[int, str]:
    """(HTTP status, body) of a call as `user` in `group`; (0, error) when the door does not open."""
    groups = ["--regid", group or "nogroup", "--clear-groups"]
    method, path, body = (*call, "", "")[:3]
    done = box.run("setpriv", "--reuid", user, *groups, DEBIAN_PYTHON, "/opt/agentd/ask.py", door, method, path, body)
    status, text = json.loads(done.stdout)
    return status, text


def ask_as_unit(box: Box, unit: str, *call: str) -> tuple[int, str]:
    """The same call from a service of that name."""
    identity = ["-p", "User=nobody", "-p", "Group=agentd-agents", "--pipe", "--wait", "--quiet", f"--unit={unit}"]
    method, path, body = (*call, "")[:3]
    done = box.run("systemd-run", *identity, DEBIAN_PYTHON, "/opt/agentd/ask.py", AGENT, method, path, body)
    status, text = json.loads(done.stdout)
    return status, text


def show(box: Box, name: str) -> str:
    return box.run("systemctl", "show", "agentd.service", "-p", name, "--value").stdout.strip()


def operator(box: Box, *call: str) -> tuple[int, str]:
    return ask(box, OPERATOR, "agentd-operators", *call)


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


def test_callers_wait_through_a_restart(box: Box) -> None:
    box.run("systemctl", "stop", "agentd.service")
    assert box.run(DEBIAN_PYTHON, "-c", TEN_CALLS).stdout.split() == ["10", "0"]


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
