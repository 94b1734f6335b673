"""From the first word of an argument list to a program that runs: found, opened, hashed and executed as one object.

What lies on a read-only mount cannot change from inside, so it runs by its descriptor, and a script by its name (its
interpreter has to open it again, and looks beside it for its own files). What lies where the cage may write can change
between hash and start, even behind a descriptor: where a digest is demanded, it is copied into sealed memory first, and
the copy is what is hashed and runs.
"""

import fcntl
import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentd.sandbox import kernel

MAX_SEALED = 256 << 20
"""Bytes of a program that is copied into memory."""
CHUNK = 1 << 20
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL

Identity = tuple[int, int, int, int, int]
"""Device, inode, size, and times of change of content and inode: the same five, the same bytes, on a read-only mount."""


class NotRun(Exception):
    """The program does not run. `code` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Program:
    """An opened program. `by_name`: a script that its interpreter opens again by path; `fixed`: it lies on a
    read-only mount."""

    fd: int
    path: str
    digest: str
    by_name: bool
    fixed: bool


def find(word: str, path: str) -> tuple[int, str]:
    """Open the program that a word names, as a shell would look for it. Raises NotRun."""
    if "/" in word:
        candidates = [word]
    else:
        candidates = [f"{directory or '.'}/{word}" for directory in (path or DEFAULT_PATH).split(":")]
    refused = ""
    for candidate in candidates:
        try:
            fd = os.open(candidate, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            refused = f"{candidate}: {error.strerror}"
            continue
        about = os.fstat(fd)
        if stat.S_ISREG(about.st_mode) and about.st_mode & 0o111:
            return fd, candidate
        os.close(fd)
        refused = f"{candidate}: not an executable file"
    if refused:
        raise NotRun("not-executable", refused)
    raise NotRun("no-program", f"{word}: no such program in this view")


def load(word: str, path: str, expected: str, known: Mapping[Identity, str]) -> Program:
    """Find a program and, where a digest is expected, hold it against that. Raises NotRun."""
    fd, name = find(word, path)
    fixed = bool(os.fstatvfs(fd).f_flag & os.ST_RDONLY)
    script = os.pread(fd, 2, 0) == b"#!"
    if not expected:
        return Program(fd, name, "", by_name=script, fixed=fixed)
    if not fixed:
        fd = _sealed(fd, name)
    digest = known.get(identity(fd), "") if fixed else ""
    digest = digest or _digest(fd)
    if digest != expected:
        raise NotRun("program-changed", f"{name} is not the program that was judged: {digest}, not {expected}")
    return Program(fd, name, digest, by_name=script and fixed, fixed=fixed)


def identity(fd: int) -> Identity:
    """What tells whether a file on a read-only mount is still the same."""
    about = os.fstat(fd)
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def start(program: Program, argv: Sequence[str], env: Sequence[tuple[str, str]]) -> None:
    """Become the program. Raises OSError; returns never."""
    words = [os.fsencode(word) for word in argv]
    variables = [os.fsencode(f"{name}={value}") for name, value in env]
    if program.by_name:
        os.execve(program.path, words, {os.fsencode(name): os.fsencode(value) for name, value in env})
    if (
        os.pread(program.fd, 2, 0) == b"#!"
    ):  # sealed: the interpreter reads it through this descriptor, so it stays open
        os.set_inheritable(program.fd, True)
    kernel.execute(program.fd, words, variables)


def _digest(fd: int) -> str:
    found = hashlib.sha256()
    offset = 0
    while chunk := os.pread(fd, CHUNK, offset):
        found.update(chunk)
        offset += len(chunk)
    return found.hexdigest()


def _sealed(fd: int, name: str) -> int:
    """The bytes of a file in memory that nobody can change any more."""
    if os.fstat(fd).st_size > MAX_SEALED:
        raise NotRun("program-too-large", f"{name} has more than {MAX_SEALED} bytes and lies where the cage may write")
    copy = os.memfd_create(os.path.basename(name)[:200], os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    offset = 0
    while chunk := os.pread(fd, CHUNK, offset):
        offset += len(chunk)
        if offset > MAX_SEALED:
            raise NotRun("program-too-large", f"{name} grew while it was read")
        os.write(copy, chunk)
    os.close(fd)
    os.fchmod(copy, 0o500)
    fcntl.fcntl(copy, fcntl.F_ADD_SEALS, SEALS)
    return copy
