"""An installed agentd from its first day to its last: install, again, upgrade, upgrades that fail, uninstall, purge.

One box; the tests run in their order, each begins where the one before ended.
"""

import json
from collections.abc import Iterator

import pytest

from agentd import __version__
from harness import canary as canaries
from systemd.box import Box
from systemd.installation import PYTHON, SIMULATE, SOURCE, agentctl, install, prepared

pytestmark = [pytest.mark.slow, pytest.mark.root]

NEWER = f"{__version__}.1"
POLICY = "/etc/agentd/policy.yaml"
MACHINE = ("src", "tmp", "var/log", "var/tmp", "var/cache", "var/lib/systemd", "etc/.pwd.lock", "root", "work")
"""What the machine itself writes: its journal, its sealing key, locks; and what the box was given."""

ACCOUNTS = tuple(
    f"etc/{name}{old}" for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid") for old in ("", "-")
)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A box on which nothing was ever installed."""
    box = prepared(tmp_path_factory.mktemp("box"))
    box.put("/etc/systemd/system/agentd.service.d/simulate.conf", SIMULATE)
    try:
        box.start()
        yield box
    finally:
        box.stop()


@pytest.fixture(scope="module", autouse=True)
def box_at_first(box: Box) -> set[str]:
    """What was written on it before anything was installed."""
    return written(box)


def written(box: Box) -> set[str]:
    """Files and links that the disk of the box has over the machine's own, but for what the machine writes itself."""
    found = (path for path in box.upper.rglob("*") if path.is_symlink() or not path.is_dir())
    names = {str(path.relative_to(box.upper)) for path in found if not path.is_char_device()}
    return {name for name in names if not name.startswith(MACHINE) and name not in ACCOUNTS}


def show(box: Box, name: str) -> str:
    return box.run("systemctl", "show", "agentd.service", "-p", name, "--value").stdout.strip()


def status(box: Box) -> dict[str, object]:
    found: dict[str, object] = json.loads(box.run("agentctl", "status", "--json").stdout)
    return found


def states(box: Box, *arguments: str) -> dict[str, str]:
    """Title of each step -> how it went."""
    return {step["title"]: step["state"] for step in json.loads(install(box, "--json", *arguments).stdout)["steps"]}


def edit(box: Box, place: str, old: str, new: str) -> None:
    """Change the copy of the checkout in the box."""
    program = "import pathlib, sys; p = pathlib.Path(sys.argv[1]); t = p.read_text(); assert sys.argv[2] in t\n"
    box.run(PYTHON, "-c", f"{program}p.write_text(t.replace(sys.argv[2], sys.argv[3]))", f"{SOURCE}/{place}", old, new)


def current(box: Box) -> str:
    return box.run("readlink", "/opt/agentd/current").stdout.strip()


def test_a_dry_run_shows_all_and_does_nothing(box: Box) -> None:
    said = install(box, "--dry-run").stdout
    assert "--require-hashes" in said
    assert "systemctl enable agentd.service" in said
    assert box.run("ls", "/opt/agentd", "/etc/agentd", check=False).stdout == ""


def test_an_install_ends_with_a_service_that_serves(box: Box) -> None:
    done = install(box)
    assert "agentctl key set openrouter" in done.stderr, "and says what comes next"
    assert (show(box, "ActiveState"), show(box, "UnitFileState")) == ("active", "enabled")
    assert status(box)["version"] == __version__
    assert box.run("agentctl", "doctor").returncode == 0
    text = box.run("cat", POLICY).stdout
    assert "openclaw.service" in text
    assert "uid: self" not in text, "that is for trials"
    assert box.run("stat", "-c", "%a %U:%G", POLICY).stdout.strip() == "640 root:agentd"
    assert box.run("find", "/opt/agentd", "-perm", "/022", "!", "-type", "l").stdout == "", "root alone writes there"


def test_installing_again_changes_nothing(box: Box) -> None:
    before = show(box, "MainPID")
    assert set(states(box).values()) == {"same"}
    assert show(box, "MainPID") == before


def test_an_upgrade_keeps_policy_record_and_keys(box: Box) -> None:
    box.run("agentctl", "key", "set", "openrouter", stdin=canaries.CANARY)
    box.run("sh", "-c", f"sed -i '1i # ours' {POLICY}")
    policy, before = box.run("cat", POLICY).stdout, current(box)
    edit(box, "agentd/__init__.py", __version__, NEWER)
    went = states(box)
    assert (went["version"], went["commands"], went["start"]) == ("done", "done", "done")
    assert (went["files"], went["policy"]) == ("same", "same")
    assert status(box)["version"] == NEWER
    assert box.run("cat", POLICY).stdout == policy
    assert current(box) != before
    starts = [json.loads(line) for line in box.run("agentctl", "logs", "--json").stdout.splitlines()]
    versions = [row["detail"]["version"] for row in starts if row["kind"] == "start"]
    assert sorted(set(versions)) == [__version__, NEWER]
    assert "in use" in box.run("agentctl", "key", "list").stdout
    box.run("agentctl", "audit", "verify")


def test_a_policy_that_the_version_refuses_stops_an_upgrade_before_it_begins(box: Box) -> None:
    pid, before = show(box, "MainPID"), current(box)
    box.run("cp", POLICY, "/root/policy")
    box.run("sh", "-c", f"sed -i '1i nonsense: 1' {POLICY}")
    edit(box, "README.md", "# agentd", "# agentd ")
    done = install(box, check=False)
    assert done.returncode == 4
    assert "nonsense" in done.stdout
    assert "run it again" in done.stderr
    assert (show(box, "MainPID"), current(box)) == (pid, before)
    box.run("sh", "-c", f"cat /root/policy > {POLICY}")


def test_a_version_that_does_not_become_ready_gives_its_place_back(box: Box) -> None:
    before = current(box)
    stamp = "async def serve(settings: Settings) -> None:\n"
    edit(
        box,
        "agentd/daemon.py",
        stamp,
        f"{stamp}    raise SystemExit(3)\n\n\nasync def never(settings: Settings) -> None:\n",
    )
    edit(box, "systemd/agentd.service", "Description=agentd,", "Description=broken agentd,")
    done = install(box, check=False)
    assert done.returncode == 4
    assert "serves again" in done.stdout
    assert current(box) == before
    assert status(box)["version"] == NEWER
    assert "broken" not in show(box, "Description"), "with its own units"
    edit(box, "agentd/daemon.py", "    raise SystemExit(3)\n\n\nasync def never(settings: Settings) -> None:\n", "")
    edit(box, "systemd/agentd.service", "Description=broken agentd,", "Description=agentd,")


def test_an_edited_unit_is_kept_beside_the_new_one(box: Box) -> None:
    unit = "/etc/systemd/system/agentd.service"
    box.run("sh", "-c", f"echo '# by hand' >> {unit}")
    assert "edited" in install(box).stdout
    assert "by hand" in box.run("cat", f"{unit}.edited").stdout
    assert "by hand" not in box.run("cat", unit).stdout
    box.run("rm", f"{unit}.edited")


def test_two_versions_are_kept_and_no_more(box: Box) -> None:
    kept = {box.run("readlink", f"/opt/agentd/{name}").stdout.strip() for name in ("current", "previous")}
    assert {f"releases/{name}" for name in box.run("ls", "/opt/agentd/releases").stdout.split()} == kept


def test_an_uninstall_keeps_what_agentd_wrote(box: Box) -> None:
    done = box.run("agentctl", "uninstall")
    assert "/var/lib/agentd" in done.stderr
    kept = {"/".join(name.split("/")[:3]) for name in written(box) if "agentd" in name} - {"etc/systemd/system"}
    assert kept == {"etc/agentd/policy.yaml", "etc/credstore.encrypted/agentd.keyring-password"} | {
        "var/lib/agentd", "var/lib/agentd-keyring"
    }  # fmt: skip
    units = box.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "agentd*").stdout.splitlines()
    assert [line.split()[0] for line in units] == ["agentd-box.target"]
    assert agentctl(box, "uninstall", check=False).returncode == 5


def test_an_install_finds_it_again(box: Box) -> None:
    went = states(box)
    assert (went["accounts"], went["policy"]) == ("same", "same")
    assert "in use" in box.run("agentctl", "key", "list").stdout
    box.run("agentctl", "audit", "verify")


def test_a_purge_is_said_twice_and_leaves_nothing(box: Box, box_at_first: set[str]) -> None:
    assert agentctl(box, "uninstall", "--purge", check=False).returncode == 2
    assert show(box, "ActiveState") == "active"
    box.run("agentctl", "uninstall", "--purge", "--yes")
    assert written(box) == box_at_first
    assert box.run("getent", "passwd", "agentd", check=False).stdout == ""
    assert "agentd" not in box.run("cat", *(f"/{name}" for name in ACCOUNTS if not name.endswith("-"))).stdout
