"""The day the record cannot be kept, through a real daemon: the disk is full, the database is gone, the state turns read-only,
somebody changed a line. Every caller gets a clear no, nothing reaches the upstream unwritten, and what can heal heals by itself.
"""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemon.crowd import Crowd, Heard, all_written_down, body_of, exported
from harness import daemon as daemons
from harness import upstream as upstreams

Start = Callable[..., daemons.Daemon]

DISK = "6m"
"""Holds a fresh record with room for some hundred calls."""


@pytest.fixture
def mounts() -> Iterator[Callable[..., None]]:
    """`mount`, undone in reverse order."""
    made: list[Path] = []

    def mount(place: Path, *arguments: str) -> None:
        done = subprocess.run(["mount", *arguments, str(place)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"cannot mount: {done.stderr.strip()}")
        if "remount" not in arguments[-1]:
            made.append(place)

    yield mount
    for place in reversed(made):
        subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


@pytest.fixture
def home() -> Iterator[Path]:
    """A home with an empty state directory, on a short path."""
    import tempfile

    made = Path(tempfile.mkdtemp(prefix="agentd-"))
    (made / "state").mkdir(mode=0o700)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def start_on(start: Start, upstream: upstreams.Upstream, home: Path, *flags: str) -> daemons.Daemon:
    return start(upstream.policy(), *flags, home=home, env=upstream.environment(), simulate=False)


def fails_to_start(home: Path, *flags: str) -> str:
    """What a daemon says that will not start on this state."""
    command = [sys.executable, "-m", "agentd", "serve", "--simulate", "--run", str(home / "run2")]
    command += ["--state", str(home / "state"), "--policy", str(daemons.SHIPPED_POLICY), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=daemons.REPO)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def fill(disk: Path) -> Path:
    """Leave no block free; gives the file to remove."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return filler


def clear_no(refusals: list[Heard], code: str) -> None:
    """Everyone was told in the own dialect what is wrong and when to come back; nothing else went wrong."""
    for heard in refusals:
        if heard.reply.status == 200:
            continue
        assert heard.reply.status == 503
        assert int(heard.reply.headers["retry-after"]) > 0
        assert heard.told["code"] == code
        assert heard.told["decision"] is None
        assert "agentctl status" in heard.told["hint"]
        error = heard.reply.json()["error"]
        assert error["type"] == "api_error"
        assert "record" in error["message"]


def operator_is_told(daemon: daemons.Daemon, code: str, *words: str) -> None:
    """`status` and `doctor` name the failure and what to do."""
    status = daemon.ctl("status")
    assert status.returncode == 0, status.stderr
    assert "REFUSES LINES" in status.stdout
    found = json.loads(daemon.ctl("status", "--json").stdout)
    assert found["ledger"][0] == code
    doctor = daemon.ctl("doctor")
    assert doctor.returncode == 1, doctor.stdout + doctor.stderr
    for word in words:
        assert word in status.stdout
        assert word in doctor.stdout


def verified(daemon: daemons.Daemon) -> None:
    done = daemon.ctl("audit", "verify")
    assert done.returncode == 0, done.stdout + done.stderr


def until_idle(daemon: daemons.Daemon) -> None:
    """Outcomes that could not be written are written within a second after the disk takes lines again."""
    for _ in range(200):
        if json.loads(daemon.ctl("status", "--json").stdout)["in_flight"] == 0:
            return
    raise AssertionError("calls stay open")


@pytest.mark.root
def test_a_full_disk_refuses_everyone_and_heals(
    start_agentd: Start, upstream: upstreams.Upstream, home: Path, mounts: Callable[..., None]
) -> None:
    mounts(home / "state", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "tmpfs")
    daemon = start_on(start_agentd, upstream, home)
    with Crowd(daemon.agent_socket) as crowd:
        crowd.served()
        filler = fill(home / "state")
        clear_no(crowd.refused("record.disk_full"), "record.disk_full")
        operator_is_told(daemon, "record.disk_full", "is full", str(daemon.state), "Free some space")
        clear_no(crowd.refused("record.disk_full"), "record.disk_full")
        filler.unlink()
        crowd.served()
    until_idle(daemon)
    verified(daemon)
    assert all_written_down(exported(daemon), upstream, crowd.sent) > 4
    assert json.loads(daemon.ctl("status", "--json").stdout)["ledger"][0] == "ok"
    assert daemon.stop() == 0


@pytest.mark.root
def test_a_daemon_stops_in_time_on_a_full_disk_and_the_next_one_goes_on(
    start_agentd: Start, upstream: upstreams.Upstream, home: Path, mounts: Callable[..., None]
) -> None:
    mounts(home / "state", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "tmpfs")
    daemon = start_on(start_agentd, upstream, home)
    with Crowd(daemon.agent_socket) as crowd:
        crowd.served()
        filler = fill(home / "state")
        crowd.refused("record.disk_full")
    assert daemon.stop() == 0, daemon.said()
    assert "record.disk_full" in daemon.said()
    filler.unlink()
    again = start_on(start_agentd, upstream, home)
    verified(again)
    all_written_down(exported(again), upstream, crowd.sent)


def test_a_database_that_is_moved_away_and_back(start_agentd: Start, upstream: upstreams.Upstream, home: Path) -> None:
    daemon = start_on(start_agentd, upstream, home)
    database, away = daemon.state / "ledger.db", daemon.state / "away.db"
    with Crowd(daemon.agent_socket) as crowd:
        crowd.served()
        database.rename(away)
        clear_no(crowd.refused("record.gone"), "record.gone")
        operator_is_told(daemon, "record.gone", str(database), "Put the very file back")
        away.rename(database)
        crowd.served()
    until_idle(daemon)
    verified(daemon)
    all_written_down(exported(daemon), upstream, crowd.sent)


def test_a_database_that_is_lost_for_good(start_agentd: Start, upstream: upstreams.Upstream, home: Path) -> None:
    daemon = start_on(start_agentd, upstream, home)
    with Crowd(daemon.agent_socket, 2) as crowd:
        crowd.served()
        for file in daemon.state.glob("ledger.db*"):
            file.unlink()
        clear_no(crowd.refused("record.gone"), "record.gone")
    assert not (daemon.state / "ledger.db").exists(), "nothing begins anew by itself"
    assert daemon.stop() == 0, daemon.said()
    head = (daemon.state / "ledger.head").read_text().split()

    said = fails_to_start(home)
    assert "[record.missing]" in said
    assert "--new-ledger" in said
    again = start_on(start_agentd, upstream, home, "--new-ledger", "the disk died")
    assert again.ask("POST", "/v1/chat/completions", body_of("hello")).status == 200
    first = exported(again)[0]
    previous = first["detail"]["previous"]
    assert first["kind"] == "genesis"
    assert previous["reason"] == "the disk died"
    assert (previous["ledger"], previous["seq"], previous["digest"]) == (head[2], int(head[3]), head[4])
    assert (home / "state" / previous["moved_to"] / "ledger.head").exists()
    verified(again)


@pytest.mark.root
def test_a_state_that_turns_read_only(
    start_agentd: Start, upstream: upstreams.Upstream, home: Path, mounts: Callable[..., None]
) -> None:
    """The files that it holds open stay writable, so it notices when it must open them again."""
    side = home / "side"
    side.mkdir()
    daemon = start_on(start_agentd, upstream, home)
    mounts(side, "--bind", str(daemon.state))
    mounts(daemon.state, "--bind", str(daemon.state))
    mounts(daemon.state, "-o", "remount,bind,ro")
    with Crowd(daemon.agent_socket, 2) as crowd:
        (side / "ledger.db").rename(side / "away.db")
        crowd.refused("record.gone")
        (side / "away.db").rename(side / "ledger.db")
        crowd.refused("record.read_only")
        operator_is_told(daemon, "record.read_only", "read-only", "writable")
        assert "[record." in fails_to_start(home)
        subprocess.run(["umount", "-l", str(daemon.state)], check=True)
        crowd.served()
    until_idle(daemon)
    verified(daemon)
    all_written_down(exported(daemon), upstream, crowd.sent)


def test_a_state_directory_that_is_moved_away_and_back(
    start_agentd: Start, upstream: upstreams.Upstream, home: Path
) -> None:
    daemon = start_on(start_agentd, upstream, home)
    with Crowd(daemon.agent_socket, 2) as crowd:
        crowd.served()
        daemon.state.rename(home / "elsewhere")
        clear_no(crowd.refused("record.gone"), "record.gone")
        operator_is_told(daemon, "record.gone", "removed or replaced")
        (home / "elsewhere").rename(daemon.state)
        crowd.served()
    until_idle(daemon)
    verified(daemon)
    all_written_down(exported(daemon), upstream, crowd.sent)


def test_a_state_that_cannot_be_looked_at_is_no_end(tmp_path: Path) -> None:
    """What is not known of the disk is left out; the daemon, which looks now and then, goes on."""
    import asyncio

    from agentd.edge.host.catalogue import load_catalogue
    from agentd.edge.host.clock import SystemClock
    from agentd.machine import Machine
    from agentd.settings import Settings

    settings = Settings(tmp_path / "policy.yaml", tmp_path / "gone", tmp_path / "run", user_mode=True)
    machine = Machine(settings, SystemClock(), load_catalogue())
    asyncio.run(machine.look())


def test_the_wish_for_a_new_record_is_idle_when_the_record_is_in_order(start_agentd: Start) -> None:
    """A start command in which it was forgotten must not throw the record, and with it the budgets, away at each restart."""
    daemon = start_agentd()
    assert daemon.ask("POST", "/v1/chat/completions", body_of("hello")).status == 200
    head = exported(daemon)[-1]["seq"]
    daemon.stop()
    again = start_agentd(daemons.SHIPPED_POLICY, "--new-ledger", "forgotten", home=daemon.home)
    assert exported(again)[-1]["seq"] > head
    assert "take --new-ledger out" in again.said()
