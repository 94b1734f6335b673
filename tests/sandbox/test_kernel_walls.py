"""The last layers on their own: what seccomp, Landlock and the loss of rights leave to a program that tries."""

import platform

import pytest

from agentd.sandbox import bpf, kernel, landlock, seccomp
from agentd.sandbox.protocol import Profile
from sandbox.client import Sandbox

CALL = (
    "import ctypes, os, sys\n"
    "c = ctypes.CDLL(None, use_errno=True)\n"
    "r = c.syscall(*map(int, sys.argv[1:]))\n"
    "print(os.strerror(ctypes.get_errno()) if r < 0 else 'made')\n"
)
NUMBERS = {
    **seccomp.NUMBERS[platform.machine()],
    "clone3": 435,
    "io_uring_setup": 425,
    "pidfd_getfd": 438,
    "open_tree": 428,
}

NEVER = [
    ("ptrace", 0), ("process_vm_readv", 1), ("process_vm_writev", 1), ("mount",), ("umount2",), ("pivot_root",), ("chroot",),
    ("keyctl", 0), ("add_key",), ("request_key",), ("bpf", 0), ("perf_event_open",), ("userfaultfd", 1),
    ("kexec_load",),
    ("init_module",), ("finit_module",), ("setns", 0), ("unshare", 0x10000000), ("unshare", 0x20000), ("unshare", 0x80),
    ("clone", 0x10000011), ("clone", 0x40000011), ("personality", 0x0008), ("socket", 40, 1, 0), ("socket", 38, 5, 0),
    ("socket", 17, 3, 0),
    ("ioctl", 0, 0x5412), ("ioctl", 0, 0x541C), ("ioctl", 0, 0x100005412), ("open_by_handle_at",),
    ("fanotify_init",), ("pidfd_getfd", 3, 1),
    ("open_tree",), ("syslog", 3), ("reboot",), ("acct",),
]  # fmt: skip


def _tried(cage: Sandbox, name: str, arguments: tuple[int, ...]) -> str:
    words = ["python3", "-c", CALL, *map(str, (NUMBERS[name], *arguments))]
    return cage.run("coding", words, env={"PATH": "/usr/bin"}).text.strip()


@pytest.mark.parametrize("call", NEVER, ids=lambda call: " ".join(map(str, call)))
def test_a_call_that_is_a_side_door_fails(cage: Sandbox, profile: Profile, call: tuple[str, int]) -> None:
    name, *arguments = call
    assert _tried(cage, name, tuple(arguments)) == "Operation not permitted"


@pytest.mark.parametrize("name", ["io_uring_setup", "clone3"])
def test_a_call_with_an_older_way_is_not_there(cage: Sandbox, profile: Profile, name: str) -> None:
    assert _tried(cage, name, (0, 0)) == "Function not implemented"


@pytest.mark.parametrize(
    "call",
    [("unshare", 0), ("personality", 0xFFFFFFFF), ("socket", 1, 1, 0), ("socket", 2, 1, 0), ("socket", 10, 2, 0)],
    ids=str,
)
def test_what_programs_need_is_made(cage: Sandbox, profile: Profile, call: tuple[str, int]) -> None:
    name, *arguments = call
    assert _tried(cage, name, tuple(arguments)) == "made"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="x32 and i386 are of x86_64")
def test_another_calling_convention_is_no_way_round(cage: Sandbox, profile: Profile) -> None:
    words = ["python3", "-c", CALL, str(0x40000000 + NUMBERS["ptrace"]), "0"]
    assert cage.run("coding", words).text.strip() == "Operation not permitted"
    i386 = (
        "import ctypes, mmap\n"
        "code = mmap.mmap(-1, 4096, prot=7)\n"
        "code.write(bytes.fromhex('b814000000cd80c3'))\n"  # getpid by int 0x80
        "where = ctypes.addressof(ctypes.c_char.from_buffer(code))\n"
        "print('number', ctypes.CFUNCTYPE(ctypes.c_long)(where)())\n"
    )
    done = cage.run("coding", ["python3", "-c", i386])
    assert (done.exited.signal, done.text) == (31, "")


def test_no_right_is_left_and_none_can_be_had(cage: Sandbox, profile: Profile) -> None:
    done = cage.run("coding", ["grep", "-E", "Cap|NoNewPrivs|Seccomp:", "/proc/self/status"])
    values = {line.split()[1] for line in done.text.splitlines() if line.startswith("Cap")}
    assert values == {"0" * 16}
    assert "NoNewPrivs:\t1" in done.text
    assert "Seccomp:\t2" in done.text


def test_who_made_the_cage_cannot_be_looked_into(cage: Sandbox, profile: Profile) -> None:
    look = "for f in environ maps mem root cwd exe fd/0; do cat /proc/1/$f > /dev/null && echo seen $f; done"
    count = "ls /proc | grep -c '^[0-9]'"
    assert int(cage.sh(profile, f"{look}; {count}").text) <= 5


def test_landlock_holds_where_a_name_is_in_the_view_but_not_granted(cage: Sandbox, profile: Profile) -> None:
    if landlock.abi() == 0:
        pytest.skip("no Landlock on this kernel")
    assert b"Permission denied" in cage.sh(profile, "cat /.cage/empty").err


def test_a_filter_is_whole() -> None:
    """Every path through each filter ends in an answer, and no jump leaves the program."""
    for program in (seccomp.command_filter("x86_64"), seccomp.command_filter("aarch64")):
        count = len(program) // 8
        assert count < 4096
        for at in range(count):
            operation, true, false, _ = bpf.unpack(program, at)
            if operation & 0x07 == 0x05:
                assert at + 1 + max(true, false) < count


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("ptrace", (0,), 1), ("clone", (0x11,), None), ("clone", (0x10000011,), 1), ("unshare", (0x400,), None),
        ("unshare", (0x20400,), 1),
        ("ioctl", (0, 0x5412), 1), ("ioctl", (0, 0x5413), None), ("ioctl", (0, 0x541C), 1), ("personality", (0,), None),
        ("personality", (4,), 1),
        ("socket", (1,), None), ("socket", (16,), None), ("socket", (40,), 1), ("socketpair", (2,), 1), ("clone3", (), 38),
    ],
)  # fmt: skip
def test_each_architecture_gets_the_same_answers(
    machine: str, name: str, arguments: tuple[int, ...], answer: int | None
) -> None:
    numbers = {**seccomp.NUMBERS[machine], "clone3": 435}
    found = bpf.judge(seccomp.command_filter(machine), kernel.AUDIT_ARCH[machine], numbers[name], arguments)
    assert found == (bpf.ALLOW if answer is None else bpf.errno_of(answer))


def test_a_foreign_architecture_is_killed() -> None:
    assert bpf.judge(seccomp.command_filter("x86_64"), kernel.AUDIT_ARCH["aarch64"], 1, ()) == bpf.KILL
