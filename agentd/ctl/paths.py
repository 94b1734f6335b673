"""Where the daemon's operator socket is looked for, in the order in which the daemon chooses a place for it."""

import os
from pathlib import Path

SOCKET_ENV = "AGENTD_OPERATOR_SOCKET"

SYSTEM_RUN_DIR = Path("/run/agentd")

SOCKET_NAME = "operator.sock"


def default_socket() -> str:
    """The first operator socket that is there; without any, the place where this user's daemon would put it."""
    for path in places():
        if _is_there(Path(path)):
            return path
    return str(default_run_dir() / SOCKET_NAME)


def places() -> list[str]:
    """Everywhere that a socket is looked for, in order."""
    return list(dict.fromkeys(str(run_dir / SOCKET_NAME) for run_dir in _run_dirs()))


def default_run_dir() -> Path:
    """Where a daemon started by this user keeps its sockets: the system's place for root or when it is there already."""
    if os.geteuid() == 0 or SYSTEM_RUN_DIR.is_dir():
        return SYSTEM_RUN_DIR
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "agentd" if runtime else _home_run_dir()


def _run_dirs() -> list[Path]:
    """All candidates. /run/user/UID is looked at too, for shells (cron, sudo -u) that lack XDG_RUNTIME_DIR."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    session = [Path(runtime) / "agentd"] if runtime else []
    return [SYSTEM_RUN_DIR, *session, Path(f"/run/user/{os.getuid()}/agentd"), _home_run_dir()]


def _home_run_dir() -> Path:
    return Path.home() / ".local/state/agentd/run"


def _is_there(path: Path) -> bool:
    """Also for a socket in a directory that may not be read: connecting will say that better than "not found"."""
    try:
        return path.exists()
    except PermissionError:
        return True
