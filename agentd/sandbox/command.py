"""The process that becomes the command: first it gives up every right, then it waits for its order, then it is the
program.

The order of the first part matters, since each step needs what the next one takes away: a user namespace of its own (in
which tasks are counted for this call alone, and which holds no right over the mounts), no_new_privs, capabilities,
Landlock, seccomp. What is left for the order runs within all of it: streams, limits, directory, the program by descriptor.
"""

import fcntl
import os
import resource
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from agentd.sandbox import kernel, landlock, program, wire
from agentd.sandbox.codec import decode
from agentd.sandbox.inner import Settle
from agentd.sandbox.program import Identity, NotRun
from agentd.sandbox.protocol import Limits, Run

SAID = 4
"""Parts of the word before a program: `run`, its path, its digest, and what tells whether its file is still the same."""
STREAMS = 3
"""An order's first descriptors; open `cgroup.procs` files follow."""
OUT_OF_THE_WAY = 64
"""Descriptors are moved up here, so that the places of the streams are free."""
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts")


@dataclass(frozen=True, slots=True)
class Shut:
    """What the rights are given up with. `proc` is a writable /proc that is mounted nowhere."""

    settled: Settle
    abi: int
    filter: kernel.Filter
    proc: int
    sample: bytes


def main(shut: Shut, known: Mapping[Identity, str], sock: socket.socket, word: int) -> NoReturn:
    """Wait, and become the program, or say in the pipe why not."""
    code = "cage-failed"
    try:
        os.setsid()
        _give_up(shut)
        _rehearse(shut.sample)
        frame = wire.Receiver(sock).one()
        run: Run = decode(frame.head, {"Run": Run})
        word = _streams(frame.descriptors, word)
        code = "no-directory"
        os.chdir(run.cwd)
        code = "cage-failed"
        _limit(run.limits)
        found = program.load(run.argv[0], dict(run.env).get("PATH", ""), run.digest, known)
        same = " ".join(map(str, program.identity(found.fd))) if found.fixed else ""
        os.write(word, b"\0".join((b"run", os.fsencode(found.path), found.digest.encode(), same.encode())))
        code = "not-executable"
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        program.start(found, run.argv, run.env)
    except wire.Closed:
        os._exit(0)
    except NotRun as error:
        os.write(word, b"\0" + error.code.encode() + b"\0" + os.fsencode(error.message))
    except OSError as error:
        os.write(word, b"\0" + code.encode() + b"\0" + os.fsencode(str(error)))
    except Exception as error:  # noqa: BLE001 - in this process nobody else would tell what was wrong
        os.write(word, b"\0cage-failed\0" + os.fsencode(repr(error)))
    os._exit(127)


def _rehearse(sample: bytes) -> None:
    """What an order will need, done once on another program: memory is copied when it is first touched, and now nobody waits."""
    run: Run = decode(sample, {"Run": Run})
    rehearsed = program.load(run.argv[0], dict(run.env)["PATH"], run.digest, {})
    b"\0".join((os.fsencode(rehearsed.path), " ".join(map(str, program.identity(rehearsed.fd))).encode()))
    os.pread(rehearsed.fd, 2, 0)
    os.close(rehearsed.fd)
    for kind in (resource.RLIMIT_DATA, resource.RLIMIT_NPROC):
        resource.setrlimit(kind, resource.getrlimit(kind))


def _give_up(shut: Shut) -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:  # what Python, or who began all this, ignores
        signal.signal(number, signal.SIG_DFL)
    if shut.settled.caged:
        _own_users(shut)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    if not shut.settled.caged:
        return
    kernel.drop_capabilities()
    if shut.abi:
        landlock.restrict(shut.abi, _grants(shut.settled))
    kernel.install(shut.filter)


def _own_users(shut: Shut) -> None:
    """A user namespace in which the command has the number that it has outside."""
    kernel.unshare(kernel.CLONE_NEWUSER)
    uid, gid = shut.settled.uid, shut.settled.gid
    for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} 0 1"), ("gid_map", f"{gid} 0 1")):
        fd = os.open(f"self/{name}", os.O_WRONLY | os.O_CLOEXEC, dir_fd=shut.proc)
        os.write(fd, line.encode())
        os.close(fd)
    os.close(shut.proc)


def _grants(settled: Settle) -> list[landlock.Grant]:
    profile = settled.profile
    write = (profile.workspace, "/tmp", "/dev/shm", profile.home, *profile.write)
    return [
        *(landlock.Grant(path, landlock.READ) for path in (*SYSTEM, *profile.read)),
        *(landlock.Grant(path, landlock.READ | landlock.CHANGE) for path in write),
        *(landlock.Grant(f"/dev/{name}", landlock.DEVICES) for name in DEVICES),
        landlock.Grant("/proc", landlock.READ),
        landlock.Grant("/", landlock.READ_DIR),
    ]


def _streams(given: Sequence[int], word: int) -> int:
    """Groups joined, standard streams in their places, every other descriptor closed. The pipe's new number."""
    for group in given[STREAMS:]:
        os.write(group, b"0")
    moved = fcntl.fcntl(word, fcntl.F_DUPFD_CLOEXEC, OUT_OF_THE_WAY)
    copies = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, OUT_OF_THE_WAY) for fd in given[:STREAMS]]
    for number, fd in enumerate(copies):
        os.dup2(fd, number)
    os.closerange(STREAMS, OUT_OF_THE_WAY)
    for fd in copies:
        os.close(fd)
    return moved


def _limit(limits: Limits) -> None:
    bounds = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_DATA: limits.memory,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_NPROC: limits.tasks,
        resource.RLIMIT_MEMLOCK: 64 << 10,
        resource.RLIMIT_MSGQUEUE: 64 << 10,
    }
    if limits.cpu_s:
        bounds[resource.RLIMIT_CPU] = max(1, int(limits.cpu_s) + 1)
    for kind, value in bounds.items():
        hard = resource.getrlimit(kind)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))
