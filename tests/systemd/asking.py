"""Calls through the doors of a box, as this or that user, group or unit."""

import json

from systemd.box import Box
from systemd.installation import PYTHON

AGENT = "/run/agentd/agent.sock"
OPERATOR = "/run/agentd/operator.sock"
CHAT = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "hello"}]})
IDENTITY = ("-p", "User=nobody", "-p", "Group=agentd-agents")
ASKING = "/usr/local/lib/ask.py"

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
"""The program at `ASKING`: door, method, path, body."""


def ask(box: Box, door: str, group: str | None, *call: str, user: str = "nobody") -> tuple[int, str]:
    """(HTTP status, body) of a call as `user` in `group`; (0, error) when the door does not open."""
    groups = ["--regid", group or "nogroup", "--clear-groups"]
    method, path, body = (*call, "", "")[:3]
    done = box.run("setpriv", "--reuid", user, *groups, PYTHON, ASKING, door, method, path, body)
    status, text = json.loads(done.stdout)
    return status, text


def ask_as_unit(box: Box, unit: str, *call: str) -> tuple[int, str]:
    """The same call from a service of that name."""
    identity = [*IDENTITY, "--pipe", "--wait", "--quiet", f"--unit={unit}"]
    method, path, body = (*call, "")[:3]
    done = box.run("systemd-run", *identity, PYTHON, ASKING, AGENT, method, path, body)
    status, text = json.loads(done.stdout)
    return status, text


def show(box: Box, name: str) -> str:
    return box.run("systemctl", "show", "agentd.service", "-p", name, "--value").stdout.strip()


def operator(box: Box, *call: str) -> tuple[int, str]:
    return ask(box, OPERATOR, "agentd-operators", *call)
