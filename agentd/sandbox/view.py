"""The command line of bubblewrap for a profile: what of the machine is there at all, built once and used by every
command.

Read-only: /usr, /bin, /lib and the parts of /etc that programs need. Writable: the workspace, by descriptor, and what the
profile names. Not there: /run and with it docker.sock and D-Bus, /home, /root, /var, the rest of /etc, other processes,
every network but a loopback of its own. The zygote's own interpreter and package lie in /.cage, which each call takes away
before it starts a program.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agentd.sandbox.inner import CAGE, LIBRARY, PYTHON
from agentd.sandbox.protocol import Profile

SYSTEM = ("/usr",)
LINKED = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Links into /usr on a merged system, directories on an old one."""
ETC = (
    "alternatives", "bash.bashrc", "ca-certificates", "ca-certificates.conf", "debian_version", "default/locale", "fonts",
    "gai.conf", "group", "host.conf", "hosts", "inputrc", "java-11-openjdk", "java-17-openjdk", "java-21-openjdk", "ld.so.cache",
    "ld.so.conf", "ld.so.conf.d", "locale.alias", "localtime", "magic", "mailcap", "mime.types", "nsswitch.conf", "os-release",
    "passwd", "perl", "profile", "profile.d", "protocols", "python3", "python3.11", "python3.12", "python3.13", "services",
    "shells", "ssl/certs", "ssl/openssl.cnf", "terminfo", "timezone", "vim", "wgetrc", "xattr.conf", "xml",
)  # fmt: skip
"""Below /etc. Not among them: shadow, ssh, ssl/private, resolv.conf (there is nobody to ask), machine-id, anything of agentd."""
START = "import sys; sys.path.insert(0, {library!r}); from agentd.sandbox.zygote import main; main({control})"


@dataclass(frozen=True, slots=True)
class Opened:
    """A directory that was opened outside, without following links, and the path it has in the view."""

    path: str
    fd: int
    writable: bool


def command(profile: Profile, opened: Sequence[Opened], control: int, info: int) -> list[str]:
    """The whole command line: bubblewrap, the view, the zygote. `control` and `info` are descriptors it inherits."""
    bwrap = shutil.which("bwrap") or "bwrap"
    words = [bwrap, "--die-with-parent", "--new-session", "--info-fd", str(info)]
    words += [
        "--unshare-user",
        "--unshare-ipc",
        "--unshare-pid",
        "--unshare-net",
        "--unshare-uts",
        "--unshare-cgroup-try",
    ]
    words += ["--uid", "0", "--gid", "0", "--cap-add", "ALL", "--hostname", "cage", "--clearenv"]
    words += [*_system(), "--proc", "/proc", "--dev", "/dev", "--dir", "/tmp", "--dir", "/run", "--dir", profile.home]
    for place in sorted(opened, key=lambda each: each.path):
        words += ["--bind-fd" if place.writable else "--ro-bind-fd", str(place.fd), place.path]
    words += ["--perms", "0755", "--tmpfs", CAGE, *_own(), "--remount-ro", "/", "--chdir", "/", "--"]
    return [*words, _interpreter(), "-I", "-S", "-B", "-c", START.format(library=LIBRARY, control=control)]


def uncaged(control: int) -> list[str]:
    """The zygote of the profile without a cage."""
    library = str(Path(__file__).resolve().parents[2])
    return [sys.executable, "-I", "-S", "-B", "-c", START.format(library=library, control=control)]


def _system() -> list[str]:
    words = []
    for path in SYSTEM:
        words += ["--ro-bind", path, path]
    for path in LINKED:
        if os.path.islink(path):
            words += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            words += ["--ro-bind", path, path]
    for name in ETC:
        words += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    return words


def _own() -> list[str]:
    """Interpreter and package, read-only in /.cage, where they are not in /usr already."""
    package = Path(__file__).resolve().parent
    words = ["--ro-bind", str(package), f"{LIBRARY}/agentd/sandbox"]
    words += ["--ro-bind", str(package.parent / "__init__.py"), f"{LIBRARY}/agentd/__init__.py"]
    prefix = os.path.realpath(sys.base_prefix)
    return words if prefix == "/usr" else [*words, "--ro-bind", prefix, PYTHON]


def _interpreter() -> str:
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    prefix = os.path.realpath(sys.base_prefix)
    return f"{'/usr' if prefix == '/usr' else PYTHON}/bin/{name}"
