"""The shipped units, judged by systemd itself, offline: they load without a warning, and expose no more than stated."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from agentd.ctl.install.layout import UNITS as UNIT_NAMES

UNITS = Path(__file__).parents[2] / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
SOCKETS = sorted(path.name for path in UNITS.glob("*.socket"))

MAX_EXPOSURE = {
    "agentd.service": 15,  # tenths; it must see callers' uids and /proc, and reach the upstream: that costs 1.3
    "agentd-keyring.service": 5,
    "agentd-keyring-bus.service": 5,
    "agentd-keyring-seal.service": 10,  # root, once
}

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units with programs that exist here: `verify` wants to see an executable, and agentd is not installed yet."""
    directory = tmp_path_factory.mktemp("units")
    for name in (*SERVICES, *SOCKETS):
        text = (UNITS / name).read_text()
        (directory / name).write_text(re.sub(r"=/(opt|usr/lib)/agentd/\S+", "=/bin/true", text))
    return directory


def run(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@needs_systemd
def test_they_load_without_a_warning(staged: Path) -> None:
    done = run("systemd-analyze", "verify", "--man=no", *(str(path) for path in sorted(staged.iterdir())))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
def test_a_faulty_unit_would_be_seen(staged: Path, tmp_path: Path) -> None:
    broken = tmp_path / "agentd.service"
    broken.write_text((staged / "agentd.service").read_text().replace("NoNewPrivileges=yes", "NoNewPrivilege=yes"))
    for name in SOCKETS:
        shutil.copy(staged / name, tmp_path)
    assert "NoNewPrivilege" in run("systemd-analyze", "verify", "--man=no", str(broken)).stderr


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_exposure_stays_below_its_bound(staged: Path, name: str) -> None:
    bound = MAX_EXPOSURE[name]
    done = run("systemd-analyze", "security", "--offline=yes", "--no-pager", f"--threshold={bound}", str(staged / name))
    assert done.returncode == 0, done.stdout


@needs_systemd
def test_a_softened_unit_would_be_seen(staged: Path, tmp_path: Path) -> None:
    soft = tmp_path / "agentd.service"
    hard = (staged / "agentd.service").read_text()
    soft.write_text(re.sub(r"^(CapabilityBoundingSet|SystemCallFilter)=.*\n", "", hard, flags=re.M))
    bound = f"--threshold={MAX_EXPOSURE['agentd.service']}"
    done = run("systemd-analyze", "security", "--offline=yes", "--no-pager", bound, str(soft))
    assert done.returncode != 0


@needs_systemd
def test_users_and_directories_are_declared_well(tmp_path: Path) -> None:
    for directory in ("etc", "var/lib", "run"):
        (tmp_path / directory).mkdir(parents=True)
    done = run("systemd-sysusers", f"--root={tmp_path}", str(UNITS / "sysusers.d" / "agentd.conf"))
    assert done.returncode == 0, done.stderr
    groups = {line.split(":")[0] for line in (tmp_path / "etc/group").read_text().splitlines()}
    assert groups >= {"agentd", "agentd-agents", "agentd-operators"}
    assert re.search(r"^agentd:.*:/usr/sbin/nologin$", (tmp_path / "etc/passwd").read_text(), flags=re.M)


def unit(name: str) -> configparser.ConfigParser:
    """Read a unit; of a repeated key the last counts, which is enough for the keys asked here."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNITS / name)
    return parser


@pytest.mark.parametrize(
    ("name", "socket", "label", "group"),
    [
        ("agentd.socket", "/run/agentd/agent.sock", "agent", "agentd-agents"),
        ("agentd-operator.socket", "/run/agentd/operator.sock", "operator", "agentd-operators"),
    ],
)
def test_each_door_has_its_own_group(name: str, socket: str, label: str, group: str) -> None:
    door = unit(name)["Socket"]
    assert (door["ListenStream"], door["FileDescriptorName"], door["SocketGroup"]) == (socket, label, group)
    assert (door["SocketMode"], door["SocketUser"], door["Service"]) == ("0660", "root", "agentd.service")


def test_the_door_over_tcp_is_on_loopback_and_not_enabled_with_the_service() -> None:
    door = unit("agentd-tcp.socket")
    assert (door["Socket"]["FileDescriptorName"], door["Socket"]["Service"]) == ("tcp", "agentd.service")
    assert door["Socket"]["ListenStream"].startswith("127.0.0.1:")
    service = unit("agentd.service")
    wanted = " ".join(service["Unit"].get(key, "") for key in ("Requires", "Wants", "BindsTo"))
    assert "agentd-tcp" not in wanted + service["Install"]["Also"]


def test_every_door_that_is_shipped_is_judged_here_and_installed() -> None:
    assert set(SOCKETS) == {"agentd.socket", "agentd-operator.socket", "agentd-tcp.socket"} <= set(UNIT_NAMES)


def test_the_daemon_can_still_tell_who_is_asking() -> None:
    service = unit("agentd.service")["Service"]
    assert service.get("PrivateUsers", "no") == "no"
    assert service.get("ProtectProc", "default") == "default"


def test_every_service_is_bounded_here() -> None:
    assert set(MAX_EXPOSURE) == set(SERVICES)
