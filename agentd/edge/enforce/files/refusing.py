"""What the kernel says no to, in words that an agent can go on from."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from agentd.core.types.files import FileRefused
from agentd.core.types.verdicts import Answer, Reason

_SAID = {
    errno.ELOOP: (
        "files.link",
        "a symbolic link is in the way, and none is followed",
        "Name the file that it leads to.",
    ),
    errno.EXDEV: ("files.mount", "it lies on another file system or outside the root", "Copy the content instead."),
    errno.ENOENT: ("files.missing", "there is no such file", "List the directory."),
    errno.ENOTDIR: ("files.directory", "a part of the path is no directory", "List the directory."),
    errno.EISDIR: ("files.directory", "it is a directory", "List it, or name a file."),
    errno.ENOTEMPTY: ("files.directory", "the directory is not empty", "Delete what is in it first."),
    errno.EEXIST: ("files.exists", "something of that name is there already", "Look again, then decide."),
    errno.EACCES: ("files.permission", "the file system does not let agentd do it", "An operator can change its mode."),
    errno.EPERM: ("files.permission", "the file system does not let agentd do it", "An operator can change its mode."),
    errno.EROFS: ("files.permission", "the file system is read-only", "Work in another root."),
    errno.ENOSPC: ("files.full", "the disk is full; nothing was changed", "Make room, then call again."),
    errno.EDQUOT: ("files.full", "the quota is used up; nothing was changed", "Make room, then call again."),
    errno.EFBIG: ("files.full", "a limit on sizes of files was reached; nothing was changed", "Write less."),
    errno.ENAMETOOLONG: ("files.path", "a name is too long for this file system", "Shorten it."),
    errno.ESTALE: ("files.root", "the directory is gone", "An operator has to look at the root."),
}
_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR})


def refused(code: str, message: str, hint: str, answer: Answer = Answer.DENY) -> FileRefused:
    """A refusal by the gate itself."""
    return FileRefused(Reason(code, "files", message, hint), answer)


@contextmanager
def in_words() -> Iterator[None]:
    """Turn an OSError of the block into a refusal."""
    try:
        yield
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "?")
        unknown = ("files.io", f"the file system answered {name}", "An operator has to look at the disk.")
        code, message, hint = _SAID.get(error.errno or 0, unknown)
        answer = Answer.NOT_FOUND if error.errno in _MISSING else Answer.DENY
        raise refused(code, message, hint, answer) from error
