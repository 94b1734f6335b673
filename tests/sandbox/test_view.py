"""What a view shows and what it does not; names that are protected or hidden, whatever is tried."""

import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agentd.sandbox.protocol import Limits, Prepared, Profile, Refused
from sandbox.client import ENV, Sandbox, dropped, give


def _owner(command: str, ws: Path) -> None:
    """What the owner does, outside."""
    env = {"PATH": "/usr/bin:/bin", "HOME": str(ws.parent), "GIT_CONFIG_GLOBAL": "/dev/null"}
    subprocess.run(["bash", "-ec", command], cwd=ws, env=env, check=True, capture_output=True, **dropped())


def _settled(ws: Path) -> None:
    """Wait until no placeholder is left."""
    deadline = time.monotonic() + 20
    while any(path.is_dir() and stat.S_IMODE(path.stat().st_mode) == 0o555 for path in ws.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_only_the_named_part_of_the_system_is_there(cage: Sandbox, profile: Profile) -> None:
    done = cage.sh(profile, "ls -A /; ls -A /run /var /home 2>&1; cat /etc/shadow /etc/machine-id; ls /etc/ssl")
    there = set(done.text.split())
    assert {"usr", "etc", "proc", "dev", "tmp"} <= there
    assert not {"root", "boot", "sys", "srv", "opt", "mnt", "private"} & there
    assert done.err.count(b"No such file") == 2


@pytest.mark.parametrize("path", ["/usr/x", "/etc/x", "/x", "/proc/sys/kernel/hostname", "/dev/x", "/run/x", "/home/x"])
def test_nothing_there_can_be_written(cage: Sandbox, profile: Profile, path: str) -> None:
    done = cage.sh(profile, f"echo x > {path}")
    assert done.exited.status == 1
    assert b"Read-only file system" in done.err or b"Permission denied" in done.err


def test_there_is_no_network_but_a_loopback_of_its_own(cage: Sandbox, profile: Profile) -> None:
    program = (
        "import socket\n"
        "s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname()); print('own')\n"
        "for family, where in ((2, ('192.0.2.1', 53)), (10, ('2001:db8::1', 53))):\n"
        "    try: socket.socket(family, 2).sendto(b'x', where)\n"
        "    except OSError as error: print(error.strerror)\n"
    )
    said = cage.run("coding", ["python3", "-c", program]).text.splitlines()
    assert said[0] == "own"
    assert set(said[1:]) <= {"Network is unreachable", "Cannot assign requested address"}
    assert len(said) == 3


def test_further_directories_are_there_as_the_profile_says(cage: Sandbox, ws: Path) -> None:
    for name in ("lib", "data"):
        (ws.parent / name).mkdir()
        (ws.parent / name / "f").write_text(name)
    give(ws.parent)
    more = Profile("more", str(ws), read=(str(ws.parent / "lib"),), write=(str(ws.parent / "data"),))
    assert isinstance(cage.prepare(more), Prepared)
    done = cage.sh(more, "cat ../lib/f ../data/f; echo new > ../data/n; echo new > ../lib/n")
    assert (done.text, b"Read-only" in done.err) == ("libdata", True)
    assert (ws.parent / "data/n").read_text() == "new\n"


TRICKS = [
    "mkdir -p .git/hooks && echo x > .git/hooks/pre-commit",
    "rm -rf .git; mkdir -p .git/hooks; echo x > .git/hooks/pre-commit",
    "mv .git old; mkdir -p .git/hooks; echo x > .git/hooks/pre-commit",
    "rmdir .git .claude; ln -s /tmp .git; ln -s /tmp .claude; echo x > .claude/settings.json",
    "echo x > .claude/settings.json; mkdir -p .claude; echo x > .claude/settings.json",
    "chmod 777 .claude .git; echo x > .claude/settings.json; echo x > .git/config",
    "mkdir t; echo x > t/settings.json; mv -T t .claude; cp -rT t .claude",
    "ln -s /tmp/x .mcp.json; echo x > .mcp.json; mv file .mcp.json; cp file .envrc",
    "mv .mcp.json gone; rm -rf .mcp.json; echo x > .mcp.json",
    "umount .git .claude; unshare -rm sh -c 'umount .claude; echo x > .claude/settings.json'",
    'python3 -c \'import os; os.rename(".claude", "c")\'; mkdir .claude; echo x > .claude/settings.json',
    "git init -q; git config alias.x '!id'; git config core.hooksPath /tmp",
]
REPOSITORY = (
    "git init -q -b main . && echo a > file && git add file && "
    "git -c user.name=a -c user.email=a commit -qm a && mkdir -p .git/hooks"
)
SETTINGS = "mkdir .claude; echo mine > .claude/settings.json; echo a > file"
BEFORE = {"nothing": "echo a > file", "a repository": REPOSITORY, "settings": SETTINGS}


def _guarded(ws: Path) -> dict[str, str]:
    """Everything at protected names that could tell a program what to do."""
    seen = {}
    for name in (".git/hooks", ".git/config", ".claude", ".codex", ".cursor", ".vscode", ".mcp.json", ".envrc"):
        path = ws / name
        for each in (path, *path.rglob("*")) if path.is_dir() and not path.is_symlink() else (path,):
            if each.is_symlink() or each.is_file():
                seen[str(each)] = os.readlink(each) if each.is_symlink() else each.read_text()
    return seen


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("trick", TRICKS)
def test_no_protected_name_is_written(cage: Sandbox, profile: Profile, ws: Path, before: str, trick: str) -> None:
    _owner(BEFORE[before], ws)
    expected = _guarded(ws)
    for _ in range(2):  # once more in a cage that has served
        cage.sh(profile, trick)
    _settled(ws)
    assert _guarded(ws) == expected
    if before == "a repository" and "rm -rf .git" not in trick:
        _owner("git status", ws)


def test_git_works_around_what_is_protected(cage: Sandbox, profile: Profile, ws: Path) -> None:
    _owner(REPOSITORY, ws)
    env = {
        **ENV,
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    work = "echo b > file && git add -A && git commit -qm b && git checkout -qb topic && git log --oneline | wc -l"
    done = cage.sh(profile, work, env=env)
    assert (done.text, done.exited.status) == ("2\n", 0)
    assert cage.sh(profile, "git status --short", env=env).text == ""


def test_what_the_owner_does_between_two_calls_is_protected_in_the_next(
    cage: Sandbox, profile: Profile, ws: Path
) -> None:
    """Placeholders and masks linger; an owner who works meanwhile must not find a hole in them."""
    plant = (
        "echo x > .git/hooks/pre-commit; echo x > .git/config; echo x > .claude/settings.json; cat sub/.env .env; true"
    )
    cage.sh(profile, plant)
    _owner("chmod -R u+w .git .claude; rm -rf .git .claude; mkdir .claude; echo mine > .claude/settings.json", ws)
    _owner(REPOSITORY + "; mkdir -p sub; echo secret-1 > .env; echo secret-2 > sub/.env", ws)
    expected = _guarded(ws)
    assert "secret" not in cage.sh(profile, plant).text
    _owner("mv .git g; cp -r g .git; rm -rf g; git config x.y z; rm .env; echo secret-3 > .env", ws)
    _owner("mv sub bus; mkdir sub; echo secret-4 > sub/.env", ws)
    changed = _guarded(ws)
    assert changed != expected
    for _ in range(3):
        assert "secret" not in cage.sh(profile, plant + "; cat bus/.env").text
    assert _guarded(ws) == changed


@pytest.mark.parametrize("at", [".claude", ".git"])
def test_a_protected_name_that_is_a_link_is_refused(cage: Sandbox, profile: Profile, ws: Path, at: str) -> None:
    (ws / at).symlink_to(ws.parent)
    refused = cage.sh(profile, "true").refused
    assert refused.code == "cage-failed"
    assert "symbolic link" in refused.message


HIDDEN_TRICKS = [
    "cat {}", "cat ./sub/../{}", "cp {} copy; cat copy", "ln {} hard; cat hard", "ln -s {} soft; cat soft",
    "mv {} moved; cat moved",
    "tar cf - . | cat", "python3 -c \"print(open('{}').read())\"", "git hash-object -w {} 2>&1; cat .git/objects/*/* 2>/dev/null",
    "mv sub other; cat other/.env other/deep/key.pem", "dd if={} 2>/dev/null", "cp -r . /tmp/all; cat /tmp/all/{}",
]  # fmt: skip


@pytest.mark.parametrize("trick", HIDDEN_TRICKS)
def test_no_hidden_file_is_read(cage: Sandbox, profile: Profile, ws: Path, trick: str) -> None:
    _owner("mkdir -p sub/deep; for f in .env sub/.env sub/deep/key.pem real.txt; do echo SECRET > $f; done", ws)
    _owner("ln -s real.txt link.pem", ws)
    for name in (".env", "sub/.env", "sub/deep/key.pem", "real.txt", "link.pem"):
        done = cage.sh(profile, "mkdir -p sub/deep; " + trick.replace("{}", name))
        assert b"SECRET" not in done.out + done.err
        if (ws / "other").exists():
            _owner("mv other sub", ws)
    for path in ws.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.name not in (".env", "key.pem", "real.txt"):
            assert b"SECRET" not in path.read_bytes(), path


def test_hidden_files_are_empty_and_programs_go_on(cage: Sandbox, profile: Profile, ws: Path) -> None:
    _owner(REPOSITORY + "; echo SECRET > .env", ws)
    done = cage.sh(profile, "wc -c < .env; git add -A; echo $?")
    assert done.text.split() == ["0", "0"]


def test_many_names_swap_meanwhile_and_no_secret_comes_out(cage: Sandbox, profile: Profile, ws: Path) -> None:
    """One command exchanges a directory and a link without pause, while others begin: their masks go where the secret is."""
    _owner("mkdir -p a; echo SECRET > a/.env; ln -s /usr b", ws)
    swap = "while :; do mv -T a c; mv -T b a; mv -T c b; mv -T b c; mv -T a b; mv -T c a; done"
    swapper = cage.begin("coding", ["bash", "-c", swap], cwd=str(ws), limits=Limits(wall_s=60))
    for _ in range(40):
        done = cage.sh(profile, "cat a/.env b/.env c/.env 2>/dev/null")
        assert b"SECRET" not in done.out
    cage.kill(swapper)
    cage.result(swapper)


def test_a_workspace_that_is_a_link_is_refused(process: Sandbox, ws: Path) -> None:
    (ws.parent / "link").symlink_to(ws)
    refused = process.prepare(Profile("linked", str(ws.parent / "link")))
    assert isinstance(refused, Refused)
    assert refused.code == "no-directory"


@pytest.mark.parametrize("instead", ["link", "directory", "nothing"])
def test_a_workspace_that_was_exchanged_is_noticed(cage: Sandbox, profile: Profile, ws: Path, instead: str) -> None:
    away = ws.parent / "away"
    secret = ws.parent / "secret"
    secret.mkdir()
    give(secret)
    cage.sh(profile, "true")
    ws.rename(away)
    if instead == "link":
        ws.symlink_to(secret)
    elif instead == "directory":
        ws.mkdir()
    assert cage.sh(profile, "touch x").refused.code == "workspace-replaced"
    if instead == "link":
        ws.unlink()
    elif instead == "directory":
        ws.rmdir()
    away.rename(ws)
    assert cage.sh(profile, "echo back").text == "back\n"
    assert list(secret.iterdir()) == []


def test_a_missing_ring_is_a_refusal_with_name_and_cure(process: Sandbox, profile: Profile) -> None:
    refused = process.prepare(replace(profile, name="strict", required=("view", "cgroup.memory", "landlock:99")))
    assert isinstance(refused, Refused)
    assert (refused.code, process.run("strict", ["true"]).refused.code) == ("ring-missing", "no-profile")
    assert "cgroup.memory" in refused.message
    assert "landlock:99" in refused.message
    assert "Delegate=yes" in refused.hint


def test_preparing_again_replaces_the_view(cage: Sandbox, profile: Profile, ws: Path) -> None:
    number = cage.begin("coding", ["bash", "-c", "echo on; sleep 60"])
    cage.wait_for(number, b"on")
    cage.say_prepare(replace(profile, tmp_bytes=1 << 20))
    assert cage.result(number).exited.killed_by == "kill"
    assert "1.0M" in cage.sh(profile, "df -h /tmp").text


def test_an_order_for_no_profile_is_refused(process: Sandbox) -> None:
    assert process.run("unheard", ["true"]).refused.code == "no-profile"


@pytest.fixture
def deep(ws: Path) -> Iterator[Path]:
    """A workspace below /tmp, where cages have something private."""
    root = Path("/tmp") / f"sandbox-{os.getpid()}"
    (root / "ws").mkdir(parents=True)
    (root / "ws/file").write_text("here\n")
    give(root)
    yield root / "ws"
    shutil.rmtree(root, ignore_errors=True)


def test_a_workspace_in_a_private_place_is_there_all_the_same(process: Sandbox, deep: Path) -> None:
    below = Profile("below", str(deep), protected=(".claude",), hidden=("**/.env",))
    assert isinstance(process.prepare(below), Prepared)
    (deep / ".env").write_text("SECRET\n")
    give(deep)
    for _ in range(3):
        done = process.sh(below, "ls /tmp; cat file .env; echo x > .claude/x; echo y >> kept; rm -rf .env")
        assert done.text.split() == [deep.parent.name, "here"]
    assert (deep / "kept").read_text() == "y\n" * 3
    assert (deep / ".env").read_text() == "SECRET\n"
