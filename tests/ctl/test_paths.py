"""Where the daemon is looked for."""

from pathlib import Path

import pytest

from agentd.ctl import paths


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A box of its own: no system directory, nobody is root."""
    monkeypatch.setattr(paths, "SYSTEM_RUN_DIR", tmp_path / "system")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("os.getuid", lambda: 10_001_000)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "xdg"))
    return tmp_path


def put(directory: Path) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "operator.sock").touch()
    return str(directory / "operator.sock")


def test_without_any_socket_it_is_where_this_users_daemon_would_put_it(
    box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert paths.default_socket() == str(box / "xdg/agentd/operator.sock")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert paths.default_socket() == str(box / "home/.local/state/agentd/run/operator.sock")
    (box / "system").mkdir()
    assert paths.default_socket() == str(box / "system/operator.sock")


def test_for_root_it_is_the_systems_place(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert paths.default_run_dir() == box / "system"


def test_the_first_socket_that_is_there_is_taken(box: Path) -> None:
    home = put(box / "home/.local/state/agentd/run")
    assert paths.default_socket() == home
    session = put(box / "xdg/agentd")
    assert paths.default_socket() == session
    system = put(box / "system")
    assert paths.default_socket() == system


def test_a_directory_that_may_not_be_read_counts_as_there(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Path) -> bool:
        if str(path).startswith(str(box / "system")):
            raise PermissionError
        return False

    monkeypatch.setattr(Path, "exists", forbidden)
    assert paths.default_socket() == str(box / "system/operator.sock")
