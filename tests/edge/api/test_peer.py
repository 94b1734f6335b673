"""Who is at the other end: real processes that exit, hand over their socket, or become another program; and odd /proc text."""

import errno
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.types.callers import Peer
from agentd.edge.api import peer as peers
from agentd.edge.api.peer import SO_PEERPIDFD, boot_ticks, read_peer
from agentd.edge.api.procfs import facts_of, parse_euid, parse_start, parse_unit, pinned

Seen = Callable[[socket.socket], Any]
STAT_TAIL = "S 1 100 100 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 1 0 98765 1000 10 18446744073709551615 0 0"


@pytest.fixture
def door(tmp_path: Path) -> Iterator[socket.socket]:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "s"))
    sock.listen()
    sock.settimeout(20)
    yield sock
    sock.close()


def client(door: socket.socket, code: str) -> Any:
    """A program that has connected, as `s`, before it does what `code` says."""
    connect = (
        f"import array, os, socket, sys, time\ns = socket.socket(socket.AF_UNIX)\ns.connect({door.getsockname()!r})\n"
    )
    return subprocess.Popen([sys.executable, "-c", connect + code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def start_of(pid: int) -> int:
    start = parse_start(Path(f"/proc/{pid}/stat").read_text())
    assert start is not None
    return start


class OldKernel:
    """A socket of a kernel before 6.5: no descriptor of the peer's process."""

    def __init__(self, sock: socket.socket, pid: int | None = None) -> None:
        self._sock = sock
        self._pid = pid

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        if option == SO_PEERPIDFD:
            raise OSError(92, "Protocol not available")
        found = self._sock.getsockopt(level, option, size)
        return found if self._pid is None else struct.pack("iII", self._pid, *struct.unpack("iII", found)[1:])


class SilentKernel(OldKernel):
    """A kernel that does not say who is at the other end."""

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        raise OSError(92, "Protocol not available")


@pytest.fixture(params=["pidfd", "no pidfd"])
def seen(request: pytest.FixtureRequest) -> Seen:
    """Both ways to prove whose facts they are."""
    return (lambda sock: sock) if request.param == "pidfd" else OldKernel


def test_a_living_client_is_named_with_all_its_facts(door: socket.socket, seen: Seen) -> None:
    process = client(door, "sys.stdin.read()")
    accepted, _ = door.accept()
    found = read_peer(seen(accepted), "agent")
    assert (found.door, found.pid, found.uid, found.gid) == ("agent", process.pid, os.geteuid(), os.getegid())
    assert found.start_ticks == start_of(process.pid)
    assert found.exe == os.readlink(f"/proc/{process.pid}/exe")
    process.communicate()
    accepted.close()


def test_a_client_that_has_exited_keeps_its_ids_and_gets_no_other_facts(door: socket.socket, seen: Seen) -> None:
    process = client(door, "")
    process.communicate()  # it is reaped: its pid is free
    accepted, _ = door.accept()
    found = read_peer(seen(accepted), "agent")
    assert found == Peer("agent", os.geteuid(), os.getegid(), process.pid)
    accepted.close()


def test_a_zombie_is_not_alive(door: socket.socket) -> None:
    process = client(door, "")
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    accepted, _ = door.accept()
    assert read_peer(accepted, "agent").start_ticks is None
    process.communicate()
    accepted.close()


def test_a_socket_that_is_handed_on_stays_the_one_who_connected(
    door: socket.socket, tmp_path: Path, seen: Seen
) -> None:
    here, there = socket.socketpair()
    give = f"h = socket.socket(fileno={there.fileno()})\nsocket.send_fds(h, [b'x'], [s.fileno()])\nsys.stdin.read()"
    code = f"import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect({door.getsockname()!r})\n{give}"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, pass_fds=[there.fileno()])
    _, (descriptor, *_), _, _ = socket.recv_fds(here, 1, 1)
    taker = socket.socket(fileno=descriptor)
    taker.sendall(b"hello from somebody else")
    accepted, _ = door.accept()
    assert accepted.recv(5) == b"hello"
    assert read_peer(seen(accepted), "agent").pid == process.pid != os.getpid()
    process.communicate()
    for each in (here, there, taker, accepted):
        each.close()


def test_a_program_that_connected_and_became_another_is_read_as_what_it_is_now(door: socket.socket, seen: Seen) -> None:
    become = "s.set_inheritable(True)\nos.execv('/bin/cat', ['cat'])"
    process = client(door, become)
    process.stdin.write(b"x")
    process.stdin.flush()
    assert process.stdout.read(1) == b"x"  # cat answers: it has become that
    accepted, _ = door.accept()
    found = read_peer(seen(accepted), "agent")
    assert (found.pid, found.start_ticks) == (process.pid, start_of(process.pid))
    assert found.exe == os.path.realpath("/bin/cat")
    process.communicate()
    accepted.close()


def test_a_deleted_program_has_no_name(door: socket.socket, tmp_path: Path) -> None:
    copy = tmp_path / "cat"
    copy.write_bytes(Path(os.path.realpath("/bin/cat")).read_bytes())
    copy.chmod(0o700)
    process = client(door, f"s.set_inheritable(True)\nos.execv({str(copy)!r}, ['cat'])")
    process.stdin.write(b"x")
    process.stdin.flush()
    process.stdout.read(1)
    copy.unlink()
    accepted, _ = door.accept()
    assert read_peer(accepted, "agent").exe is None
    process.communicate()
    accepted.close()


@pytest.mark.root
def test_a_client_that_changed_its_user_has_no_facts(door: socket.socket, seen: Seen) -> None:
    process = client(door, "os.setuid(65534)\nprint('done', flush=True)\nsys.stdin.read()")
    process.stdout.readline()
    accepted, _ = door.accept()
    assert read_peer(seen(accepted), "agent") == Peer("agent", 0, os.getegid(), process.pid)
    process.communicate()
    accepted.close()


@pytest.mark.root
def test_a_program_in_a_mount_namespace_of_its_own_has_no_name(door: socket.socket) -> None:
    code = "import ctypes\nassert ctypes.CDLL(None).unshare(0x20000) == 0\nprint('done', flush=True)\nsys.stdin.read()"
    process = client(door, code)
    if process.stdout.readline() != b"done\n":
        pytest.skip("no mount namespaces here")
    accepted, _ = door.accept()
    found = read_peer(accepted, "agent")
    assert (found.exe, found.start_ticks) == (None, start_of(process.pid))
    process.communicate()
    accepted.close()


def test_without_a_descriptor_a_process_that_started_after_the_accept_is_another_one(
    door: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = client(door, "sys.stdin.read()")
    accepted, _ = door.accept()
    monkeypatch.setattr(peers, "boot_ticks", lambda: start_of(process.pid) - 1)
    assert read_peer(OldKernel(accepted), "agent").start_ticks is None
    monkeypatch.setattr(peers, "boot_ticks", lambda: start_of(process.pid))
    assert read_peer(OldKernel(accepted), "agent").start_ticks == start_of(process.pid)
    process.communicate()
    accepted.close()


def test_a_peer_of_another_pid_namespace_has_no_facts(door: socket.socket) -> None:
    with socket.socket(socket.AF_UNIX) as mine:
        mine.connect(door.getsockname())
        accepted, _ = door.accept()
        assert read_peer(OldKernel(accepted, pid=0), "agent") == Peer("agent", os.geteuid(), os.getegid(), 0)
        accepted.close()


def test_a_socket_without_a_peer_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, pytest.raises(OSError, match="not available"):
        read_peer(SilentKernel(tcp), "agent")


@pytest.mark.parametrize("why", [errno.ESRCH, errno.EINVAL, errno.ENODATA])
def test_a_kernel_that_says_the_process_is_gone_is_believed(door: socket.socket, why: int) -> None:
    class Gone(OldKernel):
        def getsockopt(self, level: int, option: int, size: int) -> bytes:
            if option == SO_PEERPIDFD:
                raise OSError(why, "gone")
            return super().getsockopt(level, option, size)

    with socket.socket(socket.AF_UNIX) as mine:
        mine.connect(door.getsockname())
        accepted, _ = door.accept()
        assert read_peer(OldKernel(accepted), "agent").start_ticks is not None
        assert read_peer(Gone(accepted), "agent") == Peer("agent", os.geteuid(), os.getegid(), os.getpid())
        accepted.close()


def test_a_pid_that_was_given_to_another_process_lends_no_facts(door: socket.socket) -> None:
    other = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)

    class Reused(OldKernel):
        """Names a process that lives, while the one that connected is gone."""

        def getsockopt(self, level: int, option: int, size: int) -> bytes:
            if option == SO_PEERPIDFD:
                return self._sock.getsockopt(level, option, size)
            return super().getsockopt(level, option, size)

    process = client(door, "")
    accepted, _ = door.accept()
    process.stdin.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert read_peer(Reused(accepted, pid=other.pid), "agent") == Peer("agent", os.geteuid(), os.getegid(), other.pid)
    other.communicate()
    process.wait()
    process.stdout.close()
    accepted.close()


def test_a_pinned_directory_never_shows_another_process() -> None:
    process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    with pinned(process.pid) as home:
        assert home is not None
        before = facts_of(home)
        process.communicate()  # reaped
        after = facts_of(home)
    assert before.euid == os.geteuid()
    assert (after.start_ticks, after.euid, after.unit, after.exe) == (None, None, None, None)
    with pinned(process.pid, "/nowhere") as none:
        assert none is None


def test_the_boot_clock_is_the_one_of_start_times() -> None:
    before = boot_ticks()
    process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    assert before - 1 <= start_of(process.pid) <= boot_ticks() + 1
    process.communicate()


@pytest.mark.parametrize(
    ("text", "start"),
    [
        (f"42 (cat) {STAT_TAIL}", 98765),
        (f"42 (a b) c) {STAT_TAIL}", 98765),
        (f"42 () S 1 (x) {STAT_TAIL}", 98765),
        (f"42 (\n) {STAT_TAIL}\n", 98765),
        ("42 (cat) S 1 2 3", None),
        ("42 (cat", None),
        ("", None),
        (f"42 (cat) {STAT_TAIL}".replace("98765", "-5"), None),
        (f"42 (cat) {STAT_TAIL}".replace("98765", "９"), None),
        (f"42 (cat) {STAT_TAIL}".replace("98765", "9" * 5000), None),
    ],
)
def test_start_times(text: str, start: int | None) -> None:
    assert parse_start(text) == start


@given(name=st.text(max_size=20), start=st.integers(min_value=0, max_value=2**64 - 1))
def test_no_command_name_moves_the_start_time(name: str, start: int) -> None:
    assert parse_start(f"42 ({name}) {STAT_TAIL.replace('98765', str(start))}") == start


@given(st.text(max_size=300))
def test_parsers_take_any_text(text: str) -> None:
    for parse in (parse_start, parse_euid, parse_unit):
        parse(text)


@pytest.mark.parametrize(
    ("text", "euid"),
    [
        ("Name:\tcat\nUid:\t1000\t1001\t1002\t1003\n", 1001),
        ("Name:\tUid:\\n0\nUid:\t5\t6\t7\t8\n", 6),
        ("Uid:\t5\n", None),
        ("Uid:\ta\tb\tc\td\n", None),
        ("", None),
    ],
)
def test_effective_users(text: str, euid: int | None) -> None:
    assert parse_euid(text) == euid


MANAGER = "/user.slice/user-1000.slice/user@1000.service"


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("0::/system.slice/openclaw.service\n", "openclaw.service"),
        ("0::/system.slice/system-agentd.slice/agentd-agent@main.service\n", "agentd-agent@main.service"),
        ("0::/system.slice/openclaw.service/payload/workers\n", "openclaw.service"),
        ("0::/system.slice/evil.service/openclaw.service\n", "evil.service"),  # a delegated group proves nothing
        ("0::/system.slice/evil.service/x.slice/openclaw.service\n", "evil.service"),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope"),
        (f"0::{MANAGER}/app.slice/openclaw.service\n", "user@1000.service:openclaw.service"),
        (f"0::{MANAGER}/app.slice/app-x.slice/openclaw.service/inner.service\n", "user@1000.service:openclaw.service"),
        (f"0::{MANAGER}/init.scope\n", "user@1000.service:init.scope"),
        (f"0::{MANAGER}/app.slice\n", "user@1000.service"),
        (f"0::{MANAGER}\n", "user@1000.service"),
        ("0::/system.slice/_cpu.service\n", "cpu.service"),
        ("0::/system.slice/__x.service\n", "_x.service"),
        ("0::/system.slice/a\\x2db.service\n", "a\\x2db.service"),
        ("9:name=systemd:/system.slice/old.service\n8:pids:/other.service\n0::/\n", "old.service"),
        ("9:name=systemd:/system.slice/old.service\n0::/system.slice/new.service\n", "new.service"),
        ("8:pids:/system.slice/openclaw.service\n0::/\n", None),
        ("8:pids:/x\n0::/system.slice/with:colon.service\n", "with:colon.service"),
        ("0::/system.slice/gone.service (deleted)\n", None),
        ("0::/../outside.service\n", None),
        ("0::/system.slice/../openclaw.service\n", None),
        ("0::/docker/0123abc\n", None),
        ("0::/docker/0123abc/openclaw.service\n", None),
        ("0::/system.slice/dbus.socket\n", None),
        ("0::/system.slice/sp ace.service\n", None),
        ("0::/system.slice\n", None),
        ("0::/\n", None),
        ("0::\n", None),
        ("nonsense", None),
        ("", None),
    ],
)
def test_units(text: str, unit: str | None) -> None:
    assert parse_unit(text) == unit


def test_facts_from_a_tree_of_files(tmp_path: Path) -> None:
    home = tmp_path / "42"
    (home / "ns").mkdir(parents=True)
    (home / "stat").write_bytes(b"42 (\xff)\n) " + STAT_TAIL.encode())
    (home / "status").write_text("Uid:\t7\t7\t7\t7\n")
    (home / "cgroup").write_text("0::/system.slice/x.service\n")
    (home / "ns/mnt").symlink_to(os.readlink("/proc/self/ns/mnt"))
    (home / "exe").symlink_to("/usr/bin/x")
    with pinned(42, str(tmp_path)) as found:
        facts = facts_of(str(found))
        assert (facts.start_ticks, facts.euid, facts.unit, facts.exe) == (98765, 7, "x.service", "/usr/bin/x")
        for odd in (b"/usr/bin/\xff", b"/usr/bin/a\nb", b"relative", b"/usr/bin/x (deleted)"):
            (home / "exe").unlink()
            os.symlink(odd, os.fsencode(home / "exe"))
            assert facts_of(str(found)).exe is None
        (home / "ns/mnt").unlink()
        assert facts_of(str(found)).exe is None
