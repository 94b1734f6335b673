"""One command's cage, from the inside: the first process of its own process namespace, and the steps to the program.

`prepare` is done before anybody knows the command, so that a spare cage can wait: mount and IPC namespaces of its own,
private /tmp, /dev/shm, /dev/pts, home and /proc. `serve` takes one order: masks over protected names, a user namespace of
its own (in which the number of tasks is counted for this call alone, and which holds no right over the mounts), then a
child that gives up all rights and becomes the program. The first process stays, reaps what is left behind, adds up
processor time and memory, and reports. When it ends, the kernel ends every process of the namespace before anybody is
told.
"""

import fcntl
import os
import re
import resource
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentd.sandbox import kernel, landlock, masks, program, wire
from agentd.sandbox.codec import decode, encode
from agentd.sandbox.inner import Place, Report, Settle
from agentd.sandbox.program import Identity, NotRun
from agentd.sandbox.protocol import Limits, Profile, Run, Usage
from agentd.sandbox.tree import end_descendants, overuse

TICK_S = 0.25
"""How often processor time and memory of the tree are looked at, where no cgroup does it better."""
SPARE_TASKS = 1
"""The first process counts among the tasks of its user namespace."""
STACK_ERROR = 64 << 10


@dataclass(frozen=True, slots=True)
class Cage:
    """What the zygote hands to each call."""

    settled: Settle
    abi: int
    filter: kernel.Filter
    hidden: re.Pattern[str] | None
    known: Mapping[Identity, str]


@dataclass(frozen=True, slots=True)
class Order:
    """A command with its descriptors: three streams, then the open `cgroup.procs` files it joins."""

    run: Run
    streams: tuple[int, ...]
    groups: tuple[int, ...]


def main(cage: Cage, sock: socket.socket) -> None:
    """The life of a call's first process. Never returns; whatever goes wrong is its report."""
    report = Report(code="cage-failed", message="the cage ended without a word")
    try:
        proc = prepare(cage) if cage.settled.caged else -1
        frame = wire.Receiver(sock).one()
        run: Run = decode(frame.head, {"Run": Run})
        report = serve(cage, Order(run, frame.descriptors[:3], frame.descriptors[3:]), proc)
    except wire.Closed:
        os._exit(0)
    except NotRun as error:
        report = Report(code=error.code, message=error.message)
    except Exception as error:  # noqa: BLE001 - in this process nobody else would tell what was wrong
        report = Report(code="cage-failed", message=f"{type(error).__name__}: {error}")
    wire.send(sock, wire.Frame(encode(report)))
    os._exit(0)


def prepare(cage: Cage) -> int:
    """Namespaces and private mounts. A descriptor of a writable /proc, mounted nowhere, for the user namespace later."""
    profile = cage.settled.profile
    kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC)
    hidden = [place for place in cage.settled.places if _shadowed(place, profile)]
    shadowed = [(place, os.open(place.path, os.O_PATH | os.O_CLOEXEC)) for place in hidden]
    flags = kernel.MS_NOSUID | kernel.MS_NODEV
    size = f"size={profile.tmp_bytes},nr_inodes=65536"
    kernel.mount("tmpfs", "/tmp", "tmpfs", flags, f"{size},mode=1777")
    kernel.mount("tmpfs", "/dev/shm", "tmpfs", flags, f"{size},mode=1777")
    kernel.mount("tmpfs", profile.home, "tmpfs", flags, f"{size},mode=0755")
    kernel.mount(
        "devpts", "/dev/pts", "devpts", kernel.MS_NOSUID | kernel.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620"
    )
    for place, fd in shadowed:
        os.makedirs(place.path, exist_ok=True)
        over = os.open(place.path, os.O_PATH | os.O_CLOEXEC)
        kernel.bind(fd, over, read_only=place.path in profile.read)
        os.close(over)
        os.close(fd)
    proc = kernel.detached_proc()
    kernel.mount("proc", "/proc", "proc", flags | kernel.MS_NOEXEC | kernel.MS_RDONLY)
    return proc


def _shadowed(place: Place, profile: Profile) -> bool:
    """Whether a directory lies where a private mount would hide it."""
    return any(
        place.path == private or place.path.startswith(private + "/") for private in ("/tmp", "/dev/shm", profile.home)
    )


def serve(cage: Cage, order: Order, proc: int) -> Report:
    """Run the command and wait for its end. Raises NotRun where it never began."""
    profile, limits = cage.settled.profile, order.run.limits
    for group in order.groups:
        os.write(group, b"0")
        os.close(group)
    if cage.settled.caged:
        root = kernel.open_without_links(profile.workspace, os.O_RDONLY | os.O_DIRECTORY)
        masks.protect(root, profile.protected)
        if cage.hidden is not None:
            masks.hide(root, profile.workspace, cage.hidden)
        os.close(root)
        kernel.detach("/.cage")
        _own_users(cage, proc)
        resource.setrlimit(resource.RLIMIT_NPROC, (limits.tasks + SPARE_TASKS,) * 2)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
    readable, writable = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        _become(cage, order, writable)
    os.close(writable)
    for fd in order.streams:
        os.close(fd)
    begun = _begun(readable)
    return _wait(child, limits, begun, caged=cage.settled.caged)


def _own_users(cage: Cage, proc: int) -> None:
    """A user namespace in which the command has its usual number and the caps of nobody."""
    kernel.unshare(kernel.CLONE_NEWUSER)
    settled = cage.settled
    for name, line in (("setgroups", "deny"), ("uid_map", f"{settled.uid} 0 1"), ("gid_map", f"{settled.gid} 0 1")):
        fd = os.open(f"self/{name}", os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
        os.write(fd, line.encode())
        os.close(fd)
    os.close(proc)


def _begun(readable: int) -> tuple[str, str]:
    """Path and digest of the program that has started. Raises NotRun with what the child says instead."""
    said = b""
    while chunk := os.read(readable, STACK_ERROR):
        said += chunk
    os.close(readable)
    parts = [os.fsdecode(part) for part in said.split(b"\0")]
    if parts[0] == "run" and len(parts) == 3:
        return parts[1], parts[2]
    raise NotRun(parts[-2] if len(parts) > 1 else "cage-failed", parts[-1] or "the command could not be started")


def _wait(child: int, limits: Limits, begun: tuple[str, str], *, caged: bool) -> Report:
    """Reap everything until the command itself has ended; end it early where its tree uses too much."""
    killed_by = ""
    while True:
        heard = signal.sigtimedwait({signal.SIGCHLD, signal.SIGTERM}, TICK_S)
        if not caged and heard is not None and heard.si_signo == signal.SIGTERM:
            end_descendants()
            return Report(-1, signal.SIGKILL, _usage(), "", *begun)
        while True:
            pid, status, _ = os.wait4(-1, os.WNOHANG)
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                if not caged:
                    end_descendants()
                return Report(max(code, -1), max(-code, 0), _usage(), killed_by, *begun)
            if pid == 0:
                break
        if caged and not killed_by and (killed_by := overuse(limits)):
            os.kill(child, signal.SIGKILL)


def _usage() -> Usage:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Usage(used.ru_utime, used.ru_stime, used.ru_maxrss << 10, used.ru_inblock, used.ru_oublock)


def _become(cage: Cage, order: Order, writable: int) -> None:
    """The child: from here to the program, or to an error in the pipe. Never returns."""
    run = order.run
    code = "cage-failed"
    try:
        os.setsid()
        writable = _streams(order.streams, writable)
        code = "no-directory"
        os.chdir(run.cwd)
        code = "cage-failed"
        _limits(run.limits)
        found = program.load(run.argv[0], dict(run.env).get("PATH", ""), run.digest, cage.known)
        _shut(cage)
        os.write(writable, b"\0".join((b"run", os.fsencode(found.path), found.digest.encode())))
        code = "not-executable"
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        program.start(found, run.argv, run.env)
    except NotRun as error:
        os.write(writable, b"\0" + error.code.encode() + b"\0" + os.fsencode(error.message))
    except OSError as error:
        os.write(writable, b"\0" + code.encode() + b"\0" + os.fsencode(str(error)))
    except Exception as error:  # noqa: BLE001 - in this process nobody else would tell what was wrong
        os.write(writable, b"\0cage-failed\0" + os.fsencode(repr(error)))
    os._exit(127)


def _streams(streams: Sequence[int], writable: int) -> int:
    """Standard streams in their places and every other descriptor closed at the program's start."""
    moved = fcntl.fcntl(writable, fcntl.F_DUPFD_CLOEXEC, 64)
    copies = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in streams]
    for number, fd in enumerate(copies):
        os.dup2(fd, number)
    os.closerange(3, 64)
    for fd in copies:
        os.close(fd)
    return moved


def _limits(limits: Limits) -> None:
    bounds = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_DATA: limits.memory,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_MEMLOCK: 64 << 10,
        resource.RLIMIT_MSGQUEUE: 64 << 10,
    }
    if limits.cpu_s:
        bounds[resource.RLIMIT_CPU] = max(1, int(limits.cpu_s) + 1)
    for kind, value in bounds.items():
        hard = resource.getrlimit(kind)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):  # Python's own choices are not the program's
        signal.signal(number, signal.SIG_DFL)


def _shut(cage: Cage) -> None:
    """Rights, Landlock, seccomp: in this order, for each needs what the next one takes away."""
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    if not cage.settled.caged:
        return
    kernel.drop_capabilities()
    if cage.abi:
        landlock.restrict(cage.abi, _grants(cage.settled))
    kernel.install(cage.filter)


def _grants(settled: Settle) -> list[landlock.Grant]:
    profile = settled.profile
    read = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", *profile.read]
    write = [profile.workspace, "/tmp", "/dev/shm", profile.home, *profile.write]
    devices = [
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/random",
        "/dev/urandom",
        "/dev/tty",
        "/dev/ptmx",
        "/dev/pts",
    ]
    return [
        *(landlock.Grant(path, landlock.READ) for path in read),
        *(landlock.Grant(path, landlock.READ | landlock.CHANGE) for path in write),
        *(landlock.Grant(path, landlock.DEVICES) for path in devices),
        landlock.Grant("/proc", landlock.READ),
        landlock.Grant("/", landlock.READ_DIR),
    ]
