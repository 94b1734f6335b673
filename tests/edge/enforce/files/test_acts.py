"""What a permit lets happen to files, and what the file system or the gate refuses, on real files."""

import os
import resource
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.core.types.files import FileKind, FileLimits, FileRoot
from agentd.edge.enforce.files import kernel
from agentd.edge.enforce.files.roots import Roots, RootsUnavailable
from edge.enforce.files.hands import Hands, hands


@pytest.fixture
def hand(tmp_path: Path) -> Iterator[Hands]:
    with hands(tmp_path) as made:
        yield made


def test_a_file_lives(hand: Hands) -> None:
    hand.now("write", "a/b/c.txt", b"one\n")
    hand.now("append", "a/b/c.txt", b"two\n")
    read = hand.now("read", "a/b/c.txt")
    assert (read.data, read.stat and read.stat.name) == (b"one\ntwo\n", "c.txt")
    hand.now("move", "a/b/c.txt", to="d.txt")
    assert hand.now("stat", "d.txt").stat.size == 8  # type: ignore[union-attr]
    assert [entry.name for entry in hand.now("list", ".").entries] == ["a", "d.txt"]
    hand.now("delete", "d.txt")
    hand.now("delete", "a/b")
    assert [path.name for path in hand.ws.rglob("*")] == ["a"]


def test_the_mode_is_kept_and_special_bits_are_not(hand: Hands) -> None:
    file = hand.ws / "run.sh"
    file.write_text("old")
    file.chmod(0o4750)
    hand.now("write", "run.sh", b"new")
    assert stat.S_IMODE(file.stat().st_mode) == 0o750


def test_a_reader_of_the_old_file_goes_on_reading_it(hand: Hands) -> None:
    (hand.ws / "f").write_text("old")
    with open(hand.ws / "f") as old:
        hand.now("write", "f", b"new")
        assert old.read() == "old"


ODD = ["n" * 255, "new\nline", "\u202etxt.exe", b"caf\xe9".decode("utf-8", "surrogateescape"), "-rf", " "]


@pytest.mark.parametrize("name", ODD)
def test_odd_names(hand: Hands, name: str) -> None:
    hand.now("write", name, b"x")
    assert os.listdir(os.fsencode(hand.ws)) == [os.fsencode(name)]
    assert hand.now("list", ".").entries[0].name == name
    hand.now("write", name, b"y")
    hand.undo(hand.seq)
    assert hand.now("read", name).data == b"x"


def _refusals(ws: Path, outside: Path) -> None:
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (ws / "dir").mkdir()
    (ws / "dir/file").write_text("x")
    (ws / "link").symlink_to(outside / "secret")
    (ws / "out").symlink_to(outside)
    (ws / "self").symlink_to("dir/file")
    (ws / "proc").symlink_to("/proc/self")
    (ws / "hard").hardlink_to(outside / "secret")
    os.mkfifo(ws / "fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(ws / "sock"))
    (ws / "locked").write_text("x")
    (ws / "locked").chmod(0o444)


REFUSED = [
    *[(op, path, "files.link") for op in ("read", "write", "append", "delete", "move", "list") for path in ("out/x",)],
    *[(op, path, "files.link") for op in ("read", "write", "append", "delete", "move") for path in ("link", "self")],
    *[(op, "hard", "files.hard_link") for op in ("read", "write", "append", "delete", "move")],
    *[(op, path, "files.special") for op in ("read", "write", "append", "delete", "move") for path in ("fifo", "sock")],
    ("read", "proc/environ", "files.link"),
    ("read", "dir", "files.directory"),
    ("write", "dir", "files.directory"),
    ("write", "dir/file/below", "files.directory"),
    ("list", "dir/file", "files.directory"),
    ("delete", "dir", "files.directory"),
    ("read", "none", "files.missing"),
    ("delete", "none", "files.missing"),
    ("move", "none", "files.missing"),
    ("write", "locked", "files.read_only"),
    ("append", "locked", "files.read_only"),
    ("delete", "locked", "files.read_only"),
]


@pytest.mark.parametrize(("op", "path", "code"), REFUSED)
def test_refused_and_nothing_changed(hand: Hands, tmp_path: Path, op: str, path: str, code: str) -> None:
    _refusals(hand.ws, tmp_path / "outside")
    before = _seen(tmp_path)
    assert hand.code(op, path, b"planted", "moved" if op == "move" else "") == code
    assert _seen(tmp_path) == before


def _seen(where: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(path): (
            path.lstat().st_ino,
            path.lstat().st_mode,
            path.read_bytes() if stat.S_ISREG(path.lstat().st_mode) else b"",
        )
        for path in where.rglob("*")
        if "state" not in path.parts[len(where.parts) :]
    }


def test_a_link_is_seen_as_what_it_is(hand: Hands) -> None:
    (hand.ws / "link").symlink_to("/etc/passwd")
    found = hand.now("stat", "link").stat
    assert found is not None
    assert found.kind is FileKind.LINK


def test_a_directory_does_not_take_a_files_place(hand: Hands) -> None:
    (hand.ws / "d").mkdir()
    (hand.ws / "f").write_text("x")
    assert hand.code("move", "d", to="f") == "files.exists"
    assert hand.code("move", "f", to="d") == "files.directory"
    assert hand.code("move", "d", to="d/e/f") != ""


def test_sizes_and_lists_are_bounded(tmp_path: Path) -> None:
    with hands(tmp_path, limits=FileLimits(10, 3, 10.0)) as hand:
        assert hand.code("write", "f", b"x" * 11) == "files.size"
        hand.now("write", "f", b"x" * 10)
        assert hand.code("append", "f", b"x") == "files.size"
        (hand.ws / "large").write_bytes(b"x" * 11)
        assert hand.code("read", "large") == "files.size"
        for name in "abc":
            (hand.ws / name).touch()
        found = hand.now("list", ".")
        assert (len(found.entries), found.more) == (3, True)


def test_a_sparse_giant_is_not_read(hand: Hands) -> None:
    with open(hand.ws / "giant", "wb") as file:
        file.truncate(2**40)
    assert hand.code("read", "giant") == "files.size"
    assert hand.code("write", "giant", b"x") == "files.history"
    assert (hand.ws / "giant").stat().st_size == 2**40


@pytest.mark.parametrize("how", ["removed", "replaced", "link"])
def test_a_root_that_is_no_longer_the_one(hand: Hands, how: str) -> None:
    (hand.ws / "f").write_text("old")
    hand.ws.rename(hand.ws.with_name("away"))
    if how == "replaced":
        hand.ws.mkdir()
    if how == "link":
        hand.ws.symlink_to(hand.ws.with_name("away"))
    assert hand.code("read", "f") == "files.root"
    assert hand.code("write", "g", b"x") == "files.root"
    assert [path.name for path in hand.ws.with_name("away").iterdir()] == ["f"]


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RootsUnavailable, match="Make the directory"):
        Roots([FileRoot("work", str(tmp_path / "none"))])
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(RootsUnavailable):
        Roots([FileRoot("work", str(tmp_path / "link"))])


def test_without_openat2_there_is_no_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_OPENAT2", 999_999)
    with pytest.raises(RootsUnavailable, match="openat2"):
        Roots([FileRoot("work", str(tmp_path))])


@pytest.mark.root
def test_another_mount_is_not_entered(hand: Hands, tmp_path: Path) -> None:
    (hand.ws / "m").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/secret").write_text("secret")
    mounted = subprocess.run(["mount", "--bind", tmp_path / "other", hand.ws / "m"], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("no mounts here")
    try:
        assert hand.code("read", "m/secret") == "files.mount"
        assert hand.code("write", "m/new", b"x") == "files.mount"
        assert hand.code("list", "m") == "files.mount"
    finally:
        subprocess.run(["umount", hand.ws / "m"], check=True)


def test_a_limit_on_sizes_leaves_the_old_content(hand: Hands) -> None:
    hand.now("write", "f", b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        assert hand.code("write", "f", b"x" * 2**21) == "files.full"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert _names_and_contents(hand.ws) == {"f": b"old"}


@pytest.mark.root
@pytest.mark.parametrize("full", ["ws", "state"])
def test_a_full_disk_leaves_the_old_content(tmp_path: Path, full: str) -> None:
    (tmp_path / full).mkdir()
    mount: list[str | Path] = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", tmp_path / full]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no mounts here")
    try:
        with hands(tmp_path) as hand:
            (hand.ws / "f").write_bytes(b"old")
            (tmp_path / full / "ballast").write_bytes(b"")
            with open(tmp_path / full / "ballast", "wb", buffering=0) as ballast:
                while _takes(ballast.fileno()):
                    pass
            assert hand.code("write", "f", b"x" * 2**16) == {"ws": "files.full", "state": "files.history"}[full]
            assert (hand.ws / "f").read_bytes() == b"old"
            assert {path.name for path in hand.ws.iterdir()} <= {"f", "ballast"}
    finally:
        subprocess.run(["umount", "-l", tmp_path / full], check=True)


def _takes(fd: int) -> bool:
    try:
        return os.write(fd, b"x" * 1024) > 0
    except OSError:
        return False


def _names_and_contents(where: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in where.iterdir()}


def test_no_descriptor_stays_open(hand: Hands) -> None:
    _refusals(hand.ws, hand.ws.parent / "outside")
    hand.now("write", "f", b"x")
    before = len(os.listdir("/proc/self/fd"))
    for op, path, _ in REFUSED:
        hand.code(op, path, b"x", "moved" if op == "move" else "")
    hand.now("write", "f", b"y")
    hand.now("read", "f")
    assert len(os.listdir("/proc/self/fd")) == before


def test_descriptors_are_not_inherited(hand: Hands) -> None:
    seen = subprocess.run(
        ["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, check=True, close_fds=False
    ).stdout
    assert str(hand.ws) not in seen
    assert "/proc/" in seen
