"""Commands in the cage: what goes in, what comes out, how they end."""

import hashlib
import os
import signal as signals
from pathlib import Path

import pytest

from agentd.sandbox.protocol import Limits, Profile
from sandbox.client import ENV, Sandbox, give, lacking, sandbox


@pytest.mark.parametrize(
    ("command", "status", "signal"),
    [("true", 0, 0), ("exit 7", 7, 0), ("exit 255", 255, 0), ("kill -9 $$", -1, 9), ("kill -TERM $$", -1, 15)],
)
def test_the_end_is_the_commands_own(cage: Sandbox, profile: Profile, command: str, status: int, signal: int) -> None:
    done = cage.sh(profile, command).exited
    assert (done.status, done.signal, done.killed_by) == (status, signal, "")


def test_streams_are_kept_apart_and_come_while_it_runs(cage: Sandbox, profile: Profile) -> None:
    number = cage.begin(
        "coding",
        ["bash", "-c", "echo first; echo aside >&2; while [ ! -e go ]; do sleep 0.01; done; echo last"],
        cwd=profile.workspace,
    )
    cage.wait_for(number, b"first\n")
    go = Path(profile.workspace) / "go"
    go.touch()
    done = cage.result(number)
    assert (done.out, done.err) == (b"first\nlast\n", b"aside\n")


def test_standard_input_is_bytes_or_nothing(cage: Sandbox, profile: Profile) -> None:
    every = bytes(range(256)) * 4096
    assert cage.run("coding", ["sha256sum"], stdin=every).text.split()[0] == hashlib.sha256(every).hexdigest()
    assert cage.run("coding", ["cat"]).out == b""


def test_standard_input_may_be_a_pipe(cage: Sandbox, profile: Profile) -> None:
    readable, writable = os.pipe()
    number = cage.begin("coding", ["cat"], descriptors=(readable,))
    os.close(readable)
    os.write(writable, b"one ")
    cage.wait_for(number, b"one ")
    os.write(writable, b"two")
    os.close(writable)
    assert cage.result(number).out == b"one two"


@pytest.mark.parametrize("kind", ["directory", "writable file", "socket"])
def test_no_other_descriptor_gets_in(cage: Sandbox, profile: Profile, kind: str, tmp_path: Path) -> None:
    import socket

    pair = socket.socketpair()
    fds = {
        "directory": os.open("/", os.O_RDONLY),
        "writable file": os.open(tmp_path / "x", os.O_RDWR | os.O_CREAT),
        "socket": pair[0].fileno(),
    }
    done = cage.run("coding", ["true"], descriptors=(fds[kind],))
    assert done.refused.code == "bad-stdin"


def test_the_environment_is_what_was_given_and_no_more(cage: Sandbox, profile: Profile) -> None:
    done = cage.run("coding", ["env"], env={"PATH": "/usr/bin", "X": "a=b\nc"})
    assert sorted(done.text.splitlines()) == ["PATH=/usr/bin", "X=a=b", "c"]


def test_arguments_are_bytes(cage: Sandbox, profile: Profile) -> None:
    odd = os.fsdecode(bytes(range(1, 256)))
    assert cage.run("coding", ["printf", "%s", odd]).out == bytes(range(1, 256))


def test_a_megabyte_of_arguments(cage: Sandbox, profile: Profile) -> None:
    words = ["x" * 100_000] * 10
    done = cage.run("coding", ["printf", "%s", *words])
    assert (done.exited.status, len(done.out) + done.exited.truncated) == (0, 1_000_000)


def test_an_argument_that_the_kernel_does_not_take_is_refused(cage: Sandbox, profile: Profile) -> None:
    done = cage.run("coding", ["true", "x" * (1 << 20)])
    assert done.refused.code == "not-executable"
    assert "too long" in done.refused.message


def test_descriptors_are_three(cage: Sandbox, profile: Profile) -> None:
    assert cage.run("coding", ["ls", "/proc/self/fd"]).text.split() == ["0", "1", "2", "3"]  # 3 is what ls reads


def test_signals_are_as_a_program_expects_them(cage: Sandbox, profile: Profile) -> None:
    done = cage.run("coding", ["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"])
    usual = (1 << 31) - 1  # signals 1 to 31; 32 and 33 are the C library's own, which nobody can set
    assert {int(line.split()[1], 16) & usual for line in done.text.splitlines()} == {0}


def test_signals_that_whoever_began_it_ignores_are_not_ignored_by_a_command(profile: Profile) -> None:
    if why := lacking():
        pytest.skip(why)
    before = signals.signal(signals.SIGQUIT, signals.SIG_IGN)
    try:
        with sandbox() as made:
            made.prepare(profile)
            done = made.run("coding", ["grep", "SigIgn", "/proc/self/status"])
    finally:
        signals.signal(signals.SIGQUIT, before)
    assert int(done.text.split()[1], 16) & 1 << signals.SIGQUIT - 1 == 0


@pytest.mark.parametrize(
    ("argv", "cwd", "code"),
    [
        (["no-such-program"], "/", "no-program"),
        (["/etc/passwd"], "/", "not-executable"),
        (["./nothing"], "/", "no-program"),
        (["/usr"], "/", "not-executable"),
        (["true"], "/nowhere", "no-directory"),
        (["true"], "/var/log", "no-directory"),
    ],
)
def test_what_cannot_begin_is_refused_with_its_reason(
    cage: Sandbox, profile: Profile, argv: list[str], cwd: str, code: str
) -> None:
    assert cage.run("coding", argv, cwd=cwd).refused.code == code


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_a_program_runs_only_with_its_digest(cage: Sandbox, profile: Profile) -> None:
    good = _digest("/usr/bin/uname")
    for _ in range(3):  # remembered from the second time on
        done = cage.run("coding", ["uname"], digest=good)
        assert (done.text, done.exited.digest, done.exited.program) == ("Linux\n", good, "/usr/bin/uname")
        assert cage.run("coding", ["uname"], digest="0" * 64).refused.code == "program-changed"


@pytest.mark.parametrize(
    "body", ['#!/bin/sh\necho "$1 by script"\n', "#!/usr/bin/python3\nimport sys\nprint(sys.argv[1], 'by script')\n"]
)
def test_a_script_of_the_workspace_runs_as_the_bytes_that_were_judged(
    cage: Sandbox, profile: Profile, ws: Path, body: str
) -> None:
    script = ws / "run"
    script.write_text(body)
    script.chmod(0o755)
    give(ws)
    good = _digest(str(script))
    assert cage.run("coding", ["./run", "run"], cwd=str(ws), digest=good).text == "run by script\n"
    script.write_text(body.replace("by script", "by another"))
    assert cage.run("coding", ["./run", "run"], cwd=str(ws), digest=good).refused.code == "program-changed"
    assert cage.run("coding", ["./run", "run"], cwd=str(ws)).text == "run by another\n"


def test_a_binary_of_the_workspace_runs_sealed(cage: Sandbox, profile: Profile, ws: Path) -> None:
    copy = ws / "mine"
    copy.write_bytes(Path("/usr/bin/readlink").read_bytes())
    copy.chmod(0o755)
    give(ws)
    done = cage.run("coding", ["./mine", "/proc/self/exe"], cwd=str(ws), digest=_digest(str(copy)))
    assert done.text.startswith("/memfd:mine")


def test_a_program_that_vanishes_before_it_starts(cage: Sandbox, profile: Profile, ws: Path) -> None:
    copy = ws / "mine"
    copy.write_bytes(Path("/usr/bin/true").read_bytes())
    copy.chmod(0o755)
    give(ws)
    good = _digest(str(copy))
    copy.unlink()
    assert cage.run("coding", ["./mine"], cwd=str(ws), digest=good).refused.code == "no-program"


def test_the_middle_of_a_flood_is_dropped_and_counted(cage: Sandbox, profile: Profile) -> None:
    limits = Limits(wall_s=30, output_bytes=80_000)
    done = cage.sh(profile, "seq 1 1000000", limits=limits)
    whole = "".join(f"{number}\n" for number in range(1, 1_000_001)).encode()
    assert whole.startswith(done.out[:60_000])
    assert whole.endswith(done.out[60_000:])
    assert len(done.out) == 70_000
    assert done.exited.truncated == len(whole) - 70_000
    assert done.pieces[-1].skipped == done.exited.truncated


def test_what_it_used_is_told(cage: Sandbox, profile: Profile) -> None:
    used = cage.sh(profile, "python3 -c 'sum(range(3000000)); x = bytearray(100 << 20)'").exited
    assert used.usage.user_s > 0.01
    assert 100 << 20 < used.usage.max_rss < 400 << 20
    assert used.wall_s > 0


def test_eight_at_a_time(cage: Sandbox, profile: Profile) -> None:
    numbers = [cage.begin("coding", ["bash", "-c", f"sleep 0.2; echo {index}"], cwd="/") for index in range(8)]
    assert [cage.result(number).text for number in numbers] == [f"{index}\n" for index in range(8)]


def test_more_than_it_takes_at_a_time_is_refused(cage: Sandbox, profile: Profile) -> None:
    numbers = [cage.begin("coding", ["sleep", "30"], cwd="/") for _ in range(65)]
    assert cage.result(numbers[64]).refused.code == "too-many-runs"
    for number in numbers[:64]:
        cage.kill(number)
    assert {cage.result(number).exited.killed_by for number in numbers[:64]} == {"kill"}


def test_a_call_finds_nothing_of_the_call_before(cage: Sandbox, profile: Profile) -> None:
    """Cages serve one command after another: each finds private places empty."""
    leave = "touch /tmp/x /dev/shm/x ~/x; ipcmk -M 4096 >&2; mkfifo /tmp/f; ls -A /tmp /dev/shm ~ | wc -w"
    look = "find /tmp /dev/shm ~ -mindepth 1; ipcs -m | grep -c 0x; ls /dev/pts; ps ax | grep -c '[s]leep'"
    env = {**ENV, "HOME": profile.home}
    for _ in range(4):
        assert cage.sh(profile, f"sleep 60 & {leave}", env=env).text != "0\n"
        assert cage.sh(profile, look, env=env).text == "0\nptmx\n0\n"
