"""Read, list, stat: on the descriptor that was judged.

A file is first opened by name alone, which touches nothing: no fifo waits for a writer, no device begins to work. Only when it is
known to be a plain file with one name is that same descriptor opened for reading.
"""

import hashlib
import os
import stat

from agentd.core.types.files import FileAllow, FileResult, FileStat
from agentd.edge.enforce.files.job import Job
from agentd.edge.enforce.files.refusing import refused
from agentd.edge.enforce.files.roots import Found, Roots, closing, described

_CHUNK = 1 << 20
"""Between two looks at the clock."""


def plain(found: Found, most: int | None = None) -> None:
    """Refuse all but a plain file with a single name, of at most so many bytes. Raises `FileRefused`."""
    facts = found.stat
    if stat.S_ISLNK(facts.st_mode):
        raise refused("files.link", "it is a symbolic link, and none is followed", "Name the file that it leads to.")
    if stat.S_ISDIR(facts.st_mode):
        raise refused("files.directory", "it is a directory", "List it, or name a file.")
    if not stat.S_ISREG(facts.st_mode):
        raise refused("files.special", "it is a fifo, socket or device", "Only plain files are served.")
    if facts.st_nlink != 1:
        message = f"the file has {facts.st_nlink} names, and the others may be anywhere"
        raise refused("files.hard_link", message, "Work on a copy.")
    if most is not None and facts.st_size > most:
        raise too_large(most)


def too_large(most: int) -> Exception:
    """More bytes than the root allows."""
    return refused("files.size", f"more than {most} bytes", "Work on a part of it, by another tool.")


def content(found: Found, most: int, job: Job) -> bytes:
    """All bytes of a plain file. Raises `FileRefused` where they are more than `most`, though it grew only now."""
    plain(found, most)
    with closing(os.open(f"/proc/self/fd/{found.fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)) as fd:
        chunks, total = [], 0
        while chunk := os.read(fd, min(_CHUNK, most + 1 - total)):
            job.check()
            chunks.append(chunk)
            total += len(chunk)
            if total > most:
                raise too_large(most)
    return b"".join(chunks)


def read(roots: Roots, allow: FileAllow, job: Job) -> FileResult:
    """The content."""
    with roots.found(allow.at) as found:
        data = content(found, allow.limits.max_bytes, job)
        return FileResult(described(_name(allow), found.stat), data, hashlib.sha256(data).hexdigest())


def facts(roots: Roots, allow: FileAllow, job: Job) -> FileResult:
    """The facts of whatever stands there; a link's are its own."""
    job.check()
    with roots.found(allow.at) as found:
        return FileResult(described(_name(allow), found.stat))


def names(roots: Roots, allow: FileAllow, job: Job) -> FileResult:
    """A directory's names, sorted by bytes, at most so many: the first of those that the file system gave."""
    with roots.found(allow.at) as found:
        if not stat.S_ISDIR(found.stat.st_mode):
            raise refused("files.directory", "it is no directory", "Read it, or ask for its facts.")
        with closing(os.open(f"/proc/self/fd/{found.fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
            entries: list[FileStat] = []
            more = False
            with os.scandir(fd) as seen:
                for entry in seen:
                    job.check()
                    if len(entries) == allow.limits.max_entries:
                        more = True
                        break
                    try:
                        entries.append(described(entry.name, entry.stat(follow_symlinks=False)))
                    except FileNotFoundError:  # gone between its name and its facts
                        continue
    entries.sort(key=lambda entry: os.fsencode(entry.name))
    return FileResult(described(_name(allow), found.stat), entries=tuple(entries), more=more)


def _name(allow: FileAllow) -> str:
    return allow.at.parts[-1] if allow.at.parts else "."
