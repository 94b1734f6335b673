"""`agentd-sandbox`: serve one parent over an inherited socket (`--fd`), or one after the other over a socket that
listens.

    agentd-sandbox --fd N               a child of the daemon: the socket's end is this process' end
    agentd-sandbox [--listen PATH]      a service; without a path, the socket that the service manager opened
    agentd-sandbox --rings              say which layers this machine has, one a line; exit status 1 where a usual one is missing

`--unsafe` lets the profile without a cage be prepared. `--cgroup DIR` hands a control group over, once for each hierarchy;
`--cgroup auto` takes this unit's own.
"""

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from agentd.sandbox import cgroup, kernel, rings
from agentd.sandbox.protocol import UNSAFE, Profile, Ring
from agentd.sandbox.server import Server

FIRST_PASSED = 3
"""Where a service manager puts the first socket."""
SIGKILL = 9


def main(arguments: Sequence[str] | None = None) -> None:
    """See the head of the file."""
    asked = _arguments(sys.argv[1:] if arguments is None else arguments)
    hierarchies = cgroup.handed_over(asked.cgroup)
    found = rings.rings_outside([name for each in hierarchies for name in each.controllers])
    if asked.rings:
        sys.exit(_show(found))
    if asked.fd is not None:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, SIGKILL)
        parent = socket.socket(fileno=asked.fd)
        parent.set_inheritable(False)
        _seal(network=asked.unsafe)
        Server(parent, found, hierarchies, unsafe=asked.unsafe).serve()
        return
    listener = _listener(asked.listen)
    _seal(network=asked.unsafe)
    while True:
        parent, _ = listener.accept()
        Server(parent, found, hierarchies, unsafe=asked.unsafe).serve()


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="agentd-sandbox", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--fd", type=int, help="the inherited end of a Unix stream socket")
    way.add_argument("--listen", metavar="PATH", help="where to listen")
    way.add_argument("--rings", action="store_true", help="say what this machine has")
    parser.add_argument(
        "--cgroup", action="append", default=[], metavar="DIR", help="a control group handed over, or auto"
    )
    parser.add_argument("--unsafe", action="store_true", help=f"serve {UNSAFE}, too; this process then has the network")
    return parser.parse_args(words)


def _seal(*, network: bool) -> None:
    """Nobody of the same user may look in, no program gains rights, and unless a profile without a cage is to be served there is
    no network: a namespace without an interface. (A filter would be inherited by the views, which have a loopback.)"""
    if not network:
        uid, gid = os.geteuid(), os.getegid()
        with suppress(OSError):  # then no view can be had either, and every profile with a cage is refused
            kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNET)
            for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
                Path("/proc/self", name).write_text(line)
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)  # a view's first process outlives its bubblewrap by a moment
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)


def _listener(path: str | None) -> socket.socket:
    if path is not None:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        os.chmod(path, 0o600)
        listener.listen(1)
        return listener
    if os.environ.pop("LISTEN_PID", "") != str(os.getpid()):
        sys.exit("agentd-sandbox: no socket: use --fd, --listen, or a socket unit")
    listener = socket.socket(fileno=FIRST_PASSED)
    listener.set_inheritable(False)
    return listener


def _show(found: Sequence[Ring]) -> int:
    for ring in found:
        cure = "" if ring.held else f"; {ring.cure}"
        sys.stdout.write(f"{'held   ' if ring.held else 'missing'}  {ring.name:14} {ring.detail}{cure}\n")
    usual = Profile("usual", "/workspace").required
    return 0 if all(ring.held for ring in found if ring.name in usual) else 1


if __name__ == "__main__":
    main()
