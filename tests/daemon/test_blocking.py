"""A whole life of the daemon in this very process, under the guard against blocking calls: chat, streams, escalation, every
operator's route, reloads, stop. Nothing blocks the loop, and afterwards no task, thread or descriptor is left.
"""

import asyncio
import json
import logging
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvloop

from agentd import daemon as agentd
from agentd.settings import Settings
from daemon.crowd import body_of
from edge.host.keyring_box import KeyringBox
from harness import daemon as daemons
from harness.http import Reply, UnixConnection, call

PREFIX = "/operator/v1"
PATIENCE_S = 60


@dataclass(frozen=True, slots=True)
class Served:
    """A daemon in this process; its doors are asked from other threads."""

    settings: Settings

    async def ask(self, method: str, target: str, body: Any = None) -> Reply:
        headers = {"X-Session-Id": "one"}
        return await asyncio.to_thread(call, self.settings.agent_socket, method, target, body, headers)

    async def operate(self, method: str, route: str, body: Any = None) -> Reply:
        return await asyncio.to_thread(call, self.settings.operator_socket, method, PREFIX + route, body)

    async def in_force(self, words: str) -> None:
        """Ask until the policy whose `change:` this is is in force."""
        async with asyncio.timeout(PATIENCE_S):
            while (await self.operate("GET", "/status")).json()["policy"]["change"] != words:
                await asyncio.sleep(0.01)


Story = Callable[[Served], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Left:
    """What a life left behind: names of tasks, while the loop still ran; threads and descriptors, after it."""

    tasks: list[str]
    threads: Counter[str]
    descriptors: Counter[str]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A place to live, and a service manager to report to."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(daemons.SHIPPED_POLICY.read_text())
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify.sock"))
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    return Settings(policy, tmp_path / "state", tmp_path / "run", user_mode=True, simulate=True, finish_s=5, cut_s=5)


def live(settings: Settings, story: Story, loop: Callable[[], asyncio.AbstractEventLoop]) -> Left:
    """Serve, tell the story, stop by a signal."""
    threads, descriptors = _threads(), _descriptors()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(os.environ["NOTIFY_SOCKET"])
        manager.settimeout(PATIENCE_S)
        with asyncio.Runner(loop_factory=loop) as runner:
            tasks = runner.run(_life(settings, story, manager))
    return Left(tasks, _threads() - threads, _descriptors() - descriptors)


async def _life(settings: Settings, story: Story, manager: socket.socket) -> list[str]:
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        group.create_task(agentd.serve(settings))
        while b"READY=1" not in await asyncio.to_thread(manager.recv, 4096):
            pass
        await story(Served(settings))
        os.kill(os.getpid(), signal.SIGTERM)
    return [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]


def _threads() -> Counter[str]:
    return Counter(thread.name for thread in threading.enumerate() if not thread.daemon)


def _descriptors() -> Counter[str]:
    """What this process has open, by what it is; the listing's own descriptor is gone when it is read."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue
    return Counter(link.split(":[")[0] for link in found)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    made: Callable[[], asyncio.AbstractEventLoop] = request.param
    return made


@pytest.fixture
def nothing_blocked(caplog: pytest.LogCaptureFixture) -> Callable[[], None]:
    """A blocking call raises where it stands; whoever caught it there logged it."""
    caplog.set_level(logging.WARNING)

    def check() -> None:
        assert "Blocking" not in caplog.text
        assert [record.message for record in caplog.records if record.exc_info] == []

    return check


def left_nothing(left: Left) -> None:
    assert left == Left([], Counter(), Counter())


def test_the_guard_would_bite(settings: Settings, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """The proof that the tests below can fail: code of agentd that reads a file on the loop is caught."""
    from agentd.edge.host.watch import read_policy_file

    async def careless() -> None:
        read_policy_file(settings.policy)

    with asyncio.Runner(loop_factory=loop) as runner, pytest.raises(Exception, match="Blocking"):
        runner.run(careless())


def test_calls_streams_and_an_escalation(
    settings: Settings, loop: Callable[[], asyncio.AbstractEventLoop], nothing_blocked: Callable[[], None]
) -> None:
    async def story(served: Served) -> None:
        for target in ("/v1/chat/completions", "/v1/messages"):
            for stream in (False, True):
                reply = await served.ask("POST", target, body_of("hello", stream=stream))
                assert reply.status == 200, reply.body
                refused = await served.ask("POST", target, body_of("[[sim:fault status:503]]", stream=stream))
                assert refused.status >= 400
        big = await served.ask("POST", "/v1/chat/completions", body_of("x" * 3_000_000))
        assert big.status == 200 or big.json()["error"]["code"] < 500, big.body
        assert (await served.ask("GET", "/v1/models")).status == 200
        assert (await served.ask("POST", "/v1/chat/completions", b"{")).status == 400
        asked = {"class": "analysis", "reason": "two standard attempts contradict each other", "tier": "frontier"}
        granted = await served.ask("POST", "/agentd/v1/escalations", asked)
        assert granted.status == 201, granted.body
        await asyncio.to_thread(vanish, settings)

    left_nothing(live(settings, story, loop))
    nothing_blocked()


def vanish(settings: Settings) -> None:
    """A client that goes away in the middle of its stream."""
    connection = UnixConnection(settings.agent_socket)
    connection.request("POST", "/v1/chat/completions", body_of("[[sim:slow 20]] [[sim:long 500]]", stream=True))
    connection.getresponse().read1(1)
    connection.close()


ROUTES = [
    ("GET", "/status", None),
    ("GET", "/logs", None),
    ("GET", "/spend?by=model&compare=1", None),
    ("GET", "/keys", None),
    ("GET", "/agents", None),
    ("GET", "/policy", None),
    ("GET", "/policy/history", None),
    ("POST", "/policy/why", {"agent": "main", "text": "hello"}),
    ("POST", "/policy/test", {}),
    ("GET", "/raw", None),
    ("GET", "/anchor", None),
    ("GET", "/halts", None),
    ("POST", "/halt", {"scope": "tier", "name": "frontier", "reason": "a look"}),
    ("POST", "/resume", {"scope": "tier", "name": "frontier", "reason": "looked"}),
    ("GET", "/doctor", None),
]


def test_every_operator_route(
    settings: Settings, loop: Callable[[], asyncio.AbstractEventLoop], nothing_blocked: Callable[[], None]
) -> None:
    async def story(served: Served) -> None:
        decided = await served.ask("POST", "/v1/chat/completions", body_of("hello"))
        for method, route, body in ROUTES:
            reply = await served.operate(method, route, body)
            assert reply.status == 200, (route, reply.body)
        seq = decided.headers["x-agentd-decision"].removeprefix("d-")
        assert (await served.operate("GET", f"/explain/{seq}")).status == 200
        refused = await served.operate("PUT", "/keys/openrouter", {"value": "sk-or-v1-0123456789"})
        assert refused.status == 503, "there is no keyring here"
        await asyncio.to_thread(follow, settings)

    left_nothing(live(settings, story, loop))
    nothing_blocked()


def follow(settings: Settings) -> None:
    """An operator who follows the log and goes away."""
    connection = UnixConnection(settings.operator_socket)
    connection.request("GET", f"{PREFIX}/logs?follow=1")
    row = json.loads(connection.getresponse().readline())
    assert row["seq"] >= 1
    connection.close()


def test_reloads_by_the_watch_and_by_a_signal(
    settings: Settings, loop: Callable[[], asyncio.AbstractEventLoop], nothing_blocked: Callable[[], None]
) -> None:
    def write(words: str) -> None:
        text = daemons.SHIPPED_POLICY.read_text().replace("change: first version", f"change: {words}")
        settings.policy.write_text(text)

    async def story(served: Served) -> None:
        await asyncio.to_thread(write, "by the watch")
        await served.in_force("by the watch")
        await asyncio.to_thread(write, "by a signal")
        os.kill(os.getpid(), signal.SIGHUP)
        await served.in_force("by a signal")
        await asyncio.to_thread(settings.policy.write_text, "version: [")
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(PATIENCE_S):
            while (await served.operate("GET", "/status")).json()["policy"]["fault"] is None:
                await asyncio.sleep(0.01)

    left_nothing(live(settings, story, loop))
    nothing_blocked()


def test_a_stop_under_running_streams(
    settings: Settings, loop: Callable[[], asyncio.AbstractEventLoop], nothing_blocked: Callable[[], None]
) -> None:
    """Some that end in time, and one that must be cut."""
    streams: list[UnixConnection] = []

    async def story(served: Served) -> None:
        for words in ("[[sim:slow 5]] [[sim:long 60]]", "[[sim:fault hang-mid]]"):
            connection = UnixConnection(settings.agent_socket)
            body = body_of(words, stream=True)
            await asyncio.to_thread(connection.request, "POST", "/v1/chat/completions", body)
            answer = await asyncio.to_thread(connection.getresponse)
            await asyncio.to_thread(answer.read1, 1)
            streams.append(connection)

    import dataclasses

    brief = dataclasses.replace(settings, finish_s=0.3)
    try:
        left = live(brief, story, loop)
    finally:
        for connection in streams:
            connection.close()
    assert (left.tasks, left.threads) == ([], Counter())
    nothing_blocked()


def test_a_real_keyring(
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    loop: Callable[[], asyncio.AbstractEventLoop],
    nothing_blocked: Callable[[], None],
) -> None:
    import shutil

    if not (shutil.which("dbus-daemon") and shutil.which("gnome-keyring-daemon")):
        pytest.skip("needs dbus-daemon and gnome-keyring-daemon: apt-get install dbus gnome-keyring")
    box = KeyringBox(tmp_path)
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", box.address)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.SecretService.Keyring")

    async def story(served: Served) -> None:
        done = await served.operate("PUT", "/keys/openrouter", {"value": "sk-or-v1-0123456789"})
        assert done.status == 200, done.body
        assert (await served.operate("GET", "/status")).json()["signing"] is True
        assert (await served.operate("DELETE", "/keys/openrouter", {})).status == 200

    try:
        box.start_bus()
        box.start_keyring(b"password")
        left_nothing(live(settings, story, loop))
    finally:
        box.close()
    nothing_blocked()
