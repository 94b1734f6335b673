"""A view as the sandbox process sees it: bubblewrap and the zygote in it, started, settled, lost, ended.

Directories are opened here, without following links, before bubblewrap hears of them; it gets descriptors, and the zygote
holds what it sees against their inodes. The end of a view is the end of its process namespace, awaited by a descriptor of
its first process: bubblewrap itself returns earlier.
"""

import json
import os
import select
import signal
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass

from agentd.sandbox import inner, kernel, view, wire
from agentd.sandbox.codec import Malformed, decode, encode
from agentd.sandbox.placeholders import remove_leftovers
from agentd.sandbox.protocol import UNSAFE, Profile
from agentd.sandbox.unavailable import Unavailable

SEND_WITHIN_S = 5
"""A zygote that takes no order for so long is lost."""
TIDY_WITHIN_S = 2.0
"""A zygote whose socket closes ends its cages and removes what stands for them in the workspace; then it is killed."""
END_WITHIN_S = 10.0
"""The kernel ends a namespace of thousands of processes within moments."""
MAX_WORDS = 4000
"""Characters of bubblewrap's complaint that are passed on."""


@dataclass(slots=True)
class _Started:
    process: "subprocess.Popen[bytes]"
    sock: socket.socket
    info: int


class View:
    """One zygote. It is made for a profile, settles, serves and ends; a new one is made after that."""

    def __init__(self, profile: Profile) -> None:
        """Start it. Raises Unavailable."""
        self.profile = profile
        self.settled = False
        self.rings: tuple[object, ...] = ()
        self._first: int | None = None
        self._first_pid = 0
        opened = _open(profile) if profile.name != UNSAFE else []
        self.places = tuple(_place(each) for each in opened)
        try:
            self._started = _start(profile, opened)
        finally:
            for each in opened:
                os.close(each.fd)
        self.sock = self._started.sock
        self.sock.settimeout(SEND_WITHIN_S)
        self.receiver = wire.Receiver(self.sock)
        caged = profile.name != UNSAFE
        self._send(inner.Settle(profile, self.places, os.geteuid(), os.getegid(), caged))

    def receive(self) -> list[object]:
        """Messages that are there. Raises wire.Closed and Malformed: the view is lost."""
        try:
            frames = self.receiver.receive(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except OSError as error:
            raise wire.Closed(str(error)) from error
        messages: list[object] = [decode(frame.head, inner.FROM_ZYGOTE) for frame in frames]
        if any(frame.descriptors for frame in frames):
            raise Malformed("descriptors from a zygote")
        return messages

    def stands(self) -> None:
        """Whether the profile's paths still lead to the directories of this view. Raises Unavailable."""
        for place in self.places:
            try:
                fd = kernel.open_without_links(place.path, os.O_PATH | os.O_DIRECTORY)
            except OSError as error:
                raise _replaced(place.path) from error
            about = os.fstat(fd)
            os.close(fd)
            if (about.st_dev, about.st_ino) != (place.device, place.inode):
                raise _replaced(place.path)

    def forward(self, message: object, descriptors: tuple[int, ...] = ()) -> None:
        """Hand an order to the zygote. Raises wire.Closed."""
        self._send(message, descriptors)

    def remember_first(self) -> None:
        """Take hold of the namespace's first process, so that its end can be awaited."""
        if self._started.info >= 0:
            about = json.loads(os.read(self._started.info, 4096) or b"{}")
            with suppress(OSError, KeyError):
                self._first_pid = int(about["child-pid"])
                self._first = os.pidfd_open(self._first_pid)

    def end(self) -> str:
        """End it and everything in it, and wait until nothing is left. What bubblewrap said on its way."""
        process = self._started.process
        self.receiver.close()
        if self._first is not None and not select.select([self._first], [], [], TIDY_WITHIN_S)[0]:
            with suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
        if self.profile.name != UNSAFE:
            process.kill()
        words = process.stderr.read(MAX_WORDS).decode(errors="replace") if process.stderr else ""
        process.wait(END_WITHIN_S)
        if process.stderr:
            process.stderr.close()
        if self._first is not None:
            select.select([self._first], [], [], END_WITHIN_S)
            os.close(self._first)
            self._first = None
            with suppress(ChildProcessError):  # it is this process' child only after its bubblewrap has ended
                os.waitpid(self._first_pid, os.WNOHANG)
        if self._started.info >= 0:
            os.close(self._started.info)

        self._tidy()
        return words.strip()

    def _tidy(self) -> None:
        """Remove what a zygote that was killed left in the workspace, where that is still the same directory."""
        with suppress(Unavailable, OSError):
            self.stands()
            if self.places:
                root = kernel.open_without_links(self.profile.workspace, os.O_RDONLY | os.O_DIRECTORY)
                remove_leftovers(root, self.profile.protected)
                os.close(root)

    def _send(self, message: object, descriptors: tuple[int, ...] = ()) -> None:
        try:
            wire.send(self.sock, wire.Frame(encode(message), b"", descriptors))
        except OSError as error:
            raise wire.Closed(str(error)) from error


def _replaced(path: str) -> Unavailable:
    return Unavailable(
        "workspace-replaced",
        f"{path} is not the directory any more for which the view was built",
        "put the directory back in its place, or prepare the profile again",
    )


def _open(profile: Profile) -> list[view.Opened]:
    wanted = [
        (profile.workspace, True),
        *((path, True) for path in profile.write),
        *((path, False) for path in profile.read),
    ]
    opened: list[view.Opened] = []
    for path, writable in wanted:
        try:
            fd = kernel.open_without_links(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            for each in opened:
                os.close(each.fd)
            raise Unavailable(
                "no-directory",
                f"{path}: {error.strerror}",
                "name directories by paths without links, and let them exist",
            ) from error
        opened.append(view.Opened(path, fd, writable))
    return opened


def _place(opened: view.Opened) -> inner.Place:
    about = os.fstat(opened.fd)
    return inner.Place(opened.path, about.st_dev, about.st_ino)


def _start(profile: Profile, opened: list[view.Opened]) -> _Started:
    ours, theirs = socket.socketpair()
    readable, writable = os.pipe2(os.O_CLOEXEC)
    caged = profile.name != UNSAFE
    words = view.command(profile, opened, theirs.fileno(), writable) if caged else view.uncaged(theirs.fileno())
    passed = [theirs.fileno(), *(each.fd for each in opened), *([writable] if caged else [])]
    try:
        process = subprocess.Popen(
            words, pass_fds=passed, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={}
        )
    except OSError as error:
        ours.close()
        os.close(readable)
        raise Unavailable("no-bubblewrap", f"{words[0]}: {error.strerror}", "apt-get install bubblewrap") from error
    finally:
        theirs.close()
        os.close(writable)
    return _Started(process, ours, readable)
