"""Sockets: modes and groups, what stands in the way, and what is removed at the end."""

import fcntl
import grp
import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.edge.api import listen
from agentd.edge.api.listen import MAX_PATH, ListenFailed, Place, bind_door, release


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place("agent", tmp_path / "run" / "agent.sock", 0o660)


def refused(place: Place) -> ListenFailed:
    with pytest.raises(ListenFailed) as caught:
        bind_door(place)
    assert caught.value.message
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_mode_is_the_stated_one_under_any_umask(place: Place, mode: int, umask: int) -> None:
    before = os.umask(umask)
    try:
        listener = bind_door(Place("agent", place.path, mode, directory_mode=0o750))
    finally:
        os.umask(before)
    assert stat.S_IMODE(place.path.stat().st_mode) == mode
    assert stat.S_IMODE(place.path.parent.stat().st_mode) == 0o750
    assert not listener.sock.getblocking()
    assert not listener.sock.get_inheritable()
    release(listener)


def test_nobody_connects_before_the_rights_are_set(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    met = []

    def look(*_args: object) -> None:
        with socket.socket(socket.AF_UNIX) as early:
            met.append(early.connect_ex(str(place.path)))

    monkeypatch.setattr(listen, "_restrict", look)
    release(bind_door(place))
    assert met == [111]  # ECONNREFUSED


@pytest.mark.root
def test_the_group_is_the_stated_one(place: Place) -> None:
    group = next(entry for entry in grp.getgrall() if entry.gr_gid not in (0, os.getegid()))
    listener = bind_door(Place("operator", place.path, 0o660, group.gr_name))
    assert (place.path.stat().st_gid, listener.door) == (group.gr_gid, "operator")
    release(listener)


def test_a_group_that_does_not_exist(place: Place) -> None:
    error = refused(Place("agent", place.path, 0o660, "no-such-group-here"))
    assert (error.code, error.hint) == ("listen.no_group", "Make it: sudo groupadd --system no-such-group-here")


def test_a_group_that_we_may_not_give_leaves_nothing_behind(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def chown(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", chown)
    error = refused(Place("agent", place.path, 0o660, grp.getgrgid(os.getegid()).gr_name))
    assert (error.code, place.path.exists()) == ("listen.group", False)


def test_a_path_that_is_too_long(tmp_path: Path) -> None:
    room = MAX_PATH - len(os.fsencode(tmp_path)) - 1
    release(bind_door(Place("agent", tmp_path / ("x" * room), 0o600)))
    assert refused(Place("agent", tmp_path / ("x" * (room + 1)), 0o600)).code == "listen.path_too_long"
    assert refused(Place("agent", tmp_path / ("é" * (room // 2 + 1)), 0o600)).code == "listen.path_too_long"


def test_a_socket_left_behind_by_a_crash_is_replaced(place: Place) -> None:
    crashed = bind_door(place)
    crashed.sock.close()
    assert place.path.is_socket()
    listener = bind_door(place)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(place.path))
    release(listener)


@pytest.mark.parametrize("backlog", [8, 0])
def test_a_socket_that_is_served_is_left_alone(place: Place, backlog: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "PROBE_SECONDS", 0.05)
    place.path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(place.path))
        other.listen(backlog)
        waiting = []
        if backlog == 0:  # busy: its backlog is full
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[0].connect(str(place.path))
        assert refused(place).code == "listen.in_use"
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            assert client.connect_ex(str(place.path)) in (0, 11)
        for each in waiting:
            each.close()


@pytest.mark.parametrize("kind", ["file", "directory", "fifo", "symlink", "dangling"])
def test_what_is_no_socket_is_not_deleted(place: Place, kind: str) -> None:
    place.path.parent.mkdir()
    target = place.path.parent / "target"
    if kind == "symlink":
        target.write_text("precious")
    make: dict[str, Callable[[], object]] = {
        "file": lambda: place.path.write_text("precious"),
        "directory": place.path.mkdir,
        "fifo": lambda: os.mkfifo(place.path),
        "symlink": lambda: place.path.symlink_to(target),
        "dangling": lambda: place.path.symlink_to(target),
    }
    make[kind]()
    assert refused(place).code == "listen.not_a_socket"
    assert os.path.lexists(place.path)


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_directory_where_others_may_write_is_refused(place: Place, mode: int) -> None:
    place.path.parent.mkdir()
    place.path.parent.chmod(mode)
    assert refused(place).code == "listen.unsafe_directory"


@pytest.mark.root
def test_a_directory_of_somebody_else_is_refused(place: Place) -> None:
    place.path.parent.mkdir(mode=0o755)
    os.chown(place.path.parent, 65534, -1)
    assert refused(place).code == "listen.unsafe_directory"


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert refused(Place("agent", tmp_path / "file" / "agent.sock", 0o600)).code == "listen.failed"


def test_two_daemons_that_start_together_do_not_share_a_socket(place: Place) -> None:
    bind_door(place).sock.close()  # stale
    outcomes: list[object] = []
    ready = threading.Barrier(8)

    def start() -> None:
        ready.wait()
        try:
            outcomes.append(bind_door(place))
        except ListenFailed as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [outcome for outcome in outcomes if isinstance(outcome, listen.Listener)]
    assert len(won) == 1
    assert {outcome for outcome in outcomes if isinstance(outcome, str)} <= {"listen.in_use", "listen.starting"}
    release(won[0])


def test_a_daemon_that_is_just_starting_is_waited_for_by_nobody(place: Place) -> None:
    place.path.parent.mkdir()
    descriptor = os.open(place.path.parent, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert refused(place).code == "listen.starting"
    os.close(descriptor)
    release(bind_door(place))


def test_release_removes_our_socket_and_only_ours(place: Place) -> None:
    listener = bind_door(place)
    release(listener)
    assert not place.path.exists()
    old = bind_door(place)
    old.sock.close()
    new = bind_door(place)  # another daemon has taken over
    release(old)
    assert place.path.is_socket()
    release(new)
    release(new)
    assert not place.path.exists()
