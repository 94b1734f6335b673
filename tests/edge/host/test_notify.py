"""What the service manager hears, byte for byte, on both kinds of socket."""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentd.edge.host.clock import SystemClock
from agentd.edge.host.notify import Notifier, watchdog_interval
from agentd.gate.ports import Notify


class Noon:
    """A clock that stands."""

    def wall_ns(self) -> int:
        return 0

    def mono_ns(self) -> int:
        return 12_345_678_999


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@agentd-test-{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + address[1:] if address.startswith("@") else address)
        listening.settimeout(10)
        yield listening, address


@pytest.mark.parametrize(
    ("state", "heard"),
    [
        ({"READY": "1"}, b"READY=1"),
        ({"READY": "1", "STATUS": "serving 3 agents"}, b"READY=1\nSTATUS=serving 3 agents"),
        ({"RELOADING": "1"}, b"RELOADING=1\nMONOTONIC_USEC=12345678"),
        ({"STOPPING": "1"}, b"STOPPING=1"),
        ({"WATCHDOG": "1"}, b"WATCHDOG=1"),
        ({"STATUS": "line\nMAINPID=1\r\nx"}, b"STATUS=line MAINPID=1 x"),
        ({"STATUS": "ünïcode"}, "STATUS=ünïcode".encode()),
    ],
)
def test_what_is_heard(manager: tuple[socket.socket, str], state: dict[str, str], heard: bytes) -> None:
    listening, address = manager

    async def say() -> None:
        notify: Notify = Notifier(address, Noon())
        notify(**state)

    asyncio.run(say())
    assert listening.recv(4096) == heard


def test_the_socket_is_taken_out_of_the_environment(manager: tuple[socket.socket, str]) -> None:
    listening, address = manager
    environ = {"NOTIFY_SOCKET": address, "HOME": "/"}
    Notifier.from_environ(SystemClock(), environ)(READY="1")
    assert environ == {"HOME": "/"}
    assert listening.recv(4096) == b"READY=1"


@pytest.mark.parametrize("address", [None, "", "relative/path", "@", "vsock:2:1234"])
def test_nobody_listens(address: str | None) -> None:
    Notifier(address, Noon())(READY="1")
    Notifier.from_environ(Noon(), {})(READY="1")


def test_a_manager_that_is_gone_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Notifier(str(tmp_path / "nobody"), Noon())(READY="1", STATUS="x")
    assert "was not told READY, STATUS" in caplog.text


def test_a_manager_that_does_not_read_does_not_hold_the_loop(
    manager: tuple[socket.socket, str], caplog: pytest.LogCaptureFixture
) -> None:
    _listening, address = manager
    caplog.set_level(logging.WARNING)

    async def chatter() -> None:
        notify = Notifier(address, Noon())
        while not caplog.records:  # the queue of the socket is finite
            notify(WATCHDOG="1")

    asyncio.run(chatter())
    assert "was not told WATCHDOG" in caplog.text


def test_after_close_nothing_is_said(manager: tuple[socket.socket, str]) -> None:
    listening, address = manager
    notify = Notifier(address, Noon())
    notify.close()
    notify.close()
    notify(READY="1")
    listening.setblocking(False)
    with pytest.raises(BlockingIOError):
        listening.recv(4096)


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "77"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "78"}, None),
        ({"WATCHDOG_PID": "77"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "٣٠"}, None),
    ],
)
def test_how_often_a_sign_of_life_is_due(environ: dict[str, str], seconds: float | None) -> None:
    assert watchdog_interval(environ, pid=77) == seconds


def test_the_pid_is_this_process_by_default() -> None:
    read: Callable[[dict[str, str]], float | None] = watchdog_interval
    assert read({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}) is None
