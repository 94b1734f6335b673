"""Which system calls a caged command may not make, and why.

A list of what is refused and not of what is allowed: programs of all kinds must run, and view, namespaces and Landlock are the
walls. This layer takes away the kernel's side doors. Refused calls fail with an error that programs know how to go on from:
EPERM, or ENOSYS where a program has an older way (io_uring, clone3).
"""

import errno

from agentd.sandbox import kernel
from agentd.sandbox.bpf import Rule, Test, When, assemble

NAMESPACES = (
    kernel.CLONE_NEWNS, kernel.CLONE_NEWCGROUP, kernel.CLONE_NEWUTS, kernel.CLONE_NEWIPC, kernel.CLONE_NEWUSER,
    kernel.CLONE_NEWPID, kernel.CLONE_NEWNET, kernel.CLONE_NEWTIME,
)  # fmt: skip
TIOCSTI = 0x5412
"""Types into a terminal as if its user did."""
TIOCLINUX = 0x541C
"""Pastes into a virtual console."""
TIOCSETD = 0x5423
"""Loads line disciplines, old code of the kernel."""
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
PERSONALITY_QUERY = 0xFFFFFFFF

_SAME_EVERYWHERE = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "clone3": 435, "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "open_tree_attr": 467,
}  # fmt: skip
NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {
        "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
        "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "swapon": 167, "swapoff": 168, "quotactl": 179,
        "add_key": 248, "request_key": 249, "keyctl": 250,
        "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "kexec_load": 246, "kexec_file_load": 320,
        "init_module": 175, "finit_module": 313, "delete_module": 176, "unshare": 272, "setns": 308, "clone": 56,
        "ioctl": 16, "personality": 135, "socket": 41, "socketpair": 53, "acct": 163, "reboot": 169, "syslog": 103,
        "settimeofday": 164, "clock_settime": 227, "iopl": 172, "ioperm": 173,
        "open_by_handle_at": 304, "lookup_dcookie": 212, "fanotify_init": 300,
        "modify_ldt": 154, "move_pages": 279, "migrate_pages": 256,
    },
    "aarch64": {
        "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272,
        "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "swapon": 224, "swapoff": 225, "quotactl": 60,
        "add_key": 217, "request_key": 218, "keyctl": 219,
        "bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "kexec_load": 104, "kexec_file_load": 294,
        "init_module": 105, "finit_module": 273, "delete_module": 106, "unshare": 97, "setns": 268, "clone": 220,
        "ioctl": 29, "personality": 92, "socket": 198, "socketpair": 199, "acct": 89, "reboot": 142, "syslog": 116,
        "settimeofday": 170, "clock_settime": 112,
        "open_by_handle_at": 265, "lookup_dcookie": 18, "fanotify_init": 262,
        "move_pages": 239, "migrate_pages": 238,
    },
}  # fmt: skip
"""By architecture. An architecture that is missing has no filter, and so no cage."""

_ABSENT = frozenset({"io_uring_setup", "io_uring_enter", "io_uring_register", "clone3"})
_OF_CLONE = tuple(flag for flag in NAMESPACES if flag != kernel.CLONE_NEWTIME)
"""That one bit is part of the exit signal in clone's flags."""
_CONDITIONS: dict[str, When] = {
    "unshare": When(0, Test.ANY_BIT, NAMESPACES),
    "clone": When(0, Test.ANY_BIT, _OF_CLONE),
    "ioctl": When(1, Test.ONE_OF, (TIOCSTI, TIOCLINUX, TIOCSETD)),
    "personality": When(0, Test.NONE_OF, (0, PERSONALITY_QUERY)),
    "socket": When(0, Test.NONE_OF, (AF_UNIX, AF_INET, AF_INET6, AF_NETLINK)),
    "socketpair": When(0, Test.NONE_OF, (AF_UNIX,)),
}


def command_filter(machine: str) -> bytes:
    """The filter of a command. Raises KeyError on an architecture without a table."""
    numbers = {**_SAME_EVERYWHERE, **NUMBERS[machine]}
    rules = [
        Rule(number, errno.ENOSYS if name in _ABSENT else errno.EPERM, _CONDITIONS.get(name))
        for name, number in numbers.items()
    ]
    return assemble(kernel.AUDIT_ARCH[machine], rules, errno.EPERM)
