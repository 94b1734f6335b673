"""`agentctl install` and `uninstall` below a directory of their own, with a recorder for systemctl, pip and the rest.

How the real ones do is in tests/systemd; here is what a real box rarely does: each program failing in turn, files in the way,
a crash between any two writes."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd import __version__
from agentd.core.policy.parse import Names, parse_policy
from agentd.ctl.clients import NAMES
from agentd.ctl.exits import CtlError, Exit
from agentd.ctl.install import files, installing
from agentd.ctl.install.files import InTheWay, Manifest, link, place, remove
from agentd.ctl.install.installing import Install
from agentd.ctl.install.layout import UNITS, Layout
from agentd.ctl.install.release import COMPLETE, Builder
from agentd.ctl.install.removing import Uninstall
from agentd.ctl.install.run import CommandFailed, run
from agentd.ctl.install.service import DAEMON, Service
from agentd.ctl.install.source import PARTS, Source, find, system_policy
from agentd.ctl.install.steps import Done, StepFailed, perform
from agentd.document import read_document
from ctl.office import run as agentctl
from harness.daemon import REPO, SHIPPED_POLICY


class Machine:
    """Stands for the box's programs: keeps what was asked, remembers what runs, fails where it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.active: set[str] = set()
        self.enabled: set[str] = set()
        self.fails: Callable[[str], bool] = lambda _line: False

    def __call__(self, *argv: str) -> str:
        line = " ".join(argv)
        self.asked.append(line)
        if self.fails(line):
            raise CommandFailed(argv, "ended with status 1", "no luck\n")
        if argv[0] == "systemctl":
            return self._systemctl(argv[1], [name for name in argv[2:] if not name.startswith("-")])
        if "venv" in argv:
            (Path(argv[-1]) / "bin").mkdir(parents=True)
        return ""

    def _systemctl(self, verb: str, units: list[str]) -> str:
        if verb in ("start", "restart"):
            self.active |= set(units)
        elif verb == "stop":
            self.active -= set(units)
        elif verb == "enable":
            self.enabled |= set(units)
        elif verb in ("is-active", "is-enabled") and not set(units) <= (
            self.active if verb == "is-active" else self.enabled
        ):
            raise CommandFailed(("systemctl", verb), "ended with status 3", "inactive\n")
        return "systemd 252 (252.39)\n" if not units else ""

    def ran(self, *words: str) -> bool:
        """Whether a command with all these words was asked for since the last look; forgets."""
        found = any(all(word in line for word in words) for line in self.asked)
        self.asked.clear()
        return found


class Bench:
    """A box below a directory, its programs, and a copy of this checkout."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.machine = Machine()
        self.shown: list[Done] = []
        for directory in (self.layout.manager, root / "usr/bin", root / "usr/lib/python3.11/ensurepip"):
            directory.mkdir(parents=True)
        for name in ("dbus-daemon", "gnome-keyring-daemon"):
            (root / "usr/bin" / name).touch()
        self.name = "1.0-aaaa"

    def install(self) -> list[Done]:
        """As `agentctl install` does it."""
        service = Service(self.layout, self.machine, Manifest.read(self.layout.manifest), lambda _door: __version__)
        builder = Builder(self.layout, self.machine, None)
        steps = Install(Source(REPO, self.name), __version__, builder, service).steps()
        self.shown.clear()
        return perform(steps, self.shown.append, dry_run=False)

    def uninstall(self, *, purge: bool = False) -> None:
        """As `agentctl uninstall` does it."""
        manifest = Manifest.read(self.layout.manifest)
        perform(Uninstall(self.layout, self.machine, manifest, purge).steps(), self.shown.append, dry_run=False)

    def tree(self) -> set[str]:
        """What lies in it."""
        return {str(path.relative_to(self.layout.root)) for path in self.layout.root.rglob("*")}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """An empty box, whose group agentd is ours."""
    group = type("Group", (), {"gr_gid": os.getgid()})
    monkeypatch.setattr(installing.grp, "getgrnam", lambda _name: group)
    return Bench(tmp_path / "box")


def went(done: list[Done]) -> dict[str, str]:
    return {each.title: each.state for each in done}


def test_twice_is_once(bench: Bench) -> None:
    bench.install()
    assert bench.machine.active >= {DAEMON, "agentd.socket", "agentd-operator.socket"}
    before = bench.tree()
    assert set(went(bench.install()).values()) == {"same"}
    assert bench.tree() == before


def commands_of_an_install(root: Path) -> list[str]:
    bench = Bench(root)
    bench.install()
    return list(dict.fromkeys(bench.machine.asked))


def test_each_program_may_fail_and_the_next_run_mends_it(bench: Bench, tmp_path: Path) -> None:
    """Whatever fails, at whatever place: the step is named, and running again ends where a run without faults ends."""
    whole = commands_of_an_install(tmp_path / "whole")
    good = {str(path.relative_to(tmp_path / "whole")) for path in (tmp_path / "whole").rglob("*")}
    assert len(whole) > 10
    for number, command in enumerate(whole):
        tried = Bench(tmp_path / str(number))
        fragment = command.replace(str(tmp_path / "whole"), str(tmp_path / str(number)))
        tried.machine.fails = lambda line, fragment=fragment: line == fragment  # type: ignore[misc]
        with contextlib.suppress(StepFailed):
            tried.install()
        failures = [each for each in tried.shown if each.state == "FAIL"]
        assert failures == tried.shown[-1:] or not failures, "nothing is tried after a failure"
        tried.machine.fails = lambda _line: False
        tried.install()
        assert tried.tree() == good, command
        assert DAEMON in tried.machine.active


def test_a_crash_between_any_two_writes_is_mended_by_the_next_run(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash(BaseException):
        """What no step can catch."""

    real, left = files.write_whole, [0]

    def write(target: Path, content: bytes, mode: int, gid: int = -1) -> None:
        if left[0] == 0:
            raise Crash
        left[0] -= 1
        real(target, content, mode, gid)

    whole = Bench(tmp_path / "whole")
    whole.install()
    crashes = 0
    for number in range(200):
        tried = Bench(tmp_path / str(number))
        left[0] = number
        monkeypatch.setattr(files, "write_whole", write)
        try:
            tried.install()
            break
        except Crash:
            crashes += 1
        monkeypatch.setattr(files, "write_whole", real)
        said = tried.install()
        assert tried.tree() == whole.tree()
        assert not any("edited" in done.says for done in said), "what we wrote is never taken for the operator's"
        shutil.rmtree(tried.layout.root)
    assert crashes > 20


def test_an_interrupted_restart_is_made_up_for(bench: Bench) -> None:
    bench.install()
    bench.name = "1.1-bbbb"
    bench.machine.fails = lambda line: line.startswith("systemctl enable")
    bench.machine.enabled.clear()
    with pytest.raises(StepFailed):
        bench.install()
    bench.machine.fails = lambda _line: False
    bench.machine.asked.clear()
    assert went(bench.install())["start"] == "done"
    assert bench.machine.ran("systemctl restart", DAEMON)


def test_changed_doors_are_opened_anew(bench: Bench) -> None:
    bench.install()
    unit = bench.layout.units / "agentd.socket"
    unit.write_text(unit.read_text() + "# by hand\n")
    bench.machine.asked.clear()
    done = bench.install()
    assert any("edited" in each.says for each in done)
    assert bench.machine.ran("systemctl stop", DAEMON, "agentd.socket")


def test_a_version_that_does_not_start_goes_back(bench: Bench) -> None:
    bench.install()
    first = bench.layout.current.readlink()
    bench.name, tries = "1.1-bbbb", [0]

    def once(line: str) -> bool:
        tries[0] += line == f"systemctl restart {DAEMON}"
        return line == f"systemctl restart {DAEMON}" and tries[0] == 1

    bench.machine.fails = once
    with pytest.raises(StepFailed):
        bench.install()
    assert "serves again" in bench.shown[-1].says
    assert bench.layout.current.readlink() == first
    bench.install()
    assert bench.layout.current.readlink().name == "1.1-bbbb"
    assert bench.layout.previous.readlink() == first


def test_without_a_keyring_it_still_serves_and_says_so(bench: Bench) -> None:
    bench.machine.fails = lambda line: "agentd-keyring.service" in line and "enable" not in line
    done = went(bench.install())
    assert (done["keyring"], done["start"]) == ("warn", "done")


@pytest.mark.parametrize("said", ["systemd 247 (247.3)", "", "systemd"])
def test_an_old_manager_is_refused_before_anything(bench: Bench, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = bench.tree()
    monkeypatch.setattr(Machine, "_systemctl", lambda *_: said)
    with pytest.raises(StepFailed):
        bench.install()
    assert bench.tree() == before


def test_no_systemd_no_service(bench: Bench) -> None:
    bench.layout.manager.rmdir()
    with pytest.raises(StepFailed, match="machine") as failed:
        bench.install()
    assert "agentd serve" in failed.value.cure


def test_missing_packages_are_installed(bench: Bench) -> None:
    (bench.layout.root / "usr/bin/gnome-keyring-daemon").unlink()
    bench.install()
    assert bench.machine.ran("apt-get", "install gnome-keyring")


def test_a_strangers_program_is_not_replaced(bench: Bench) -> None:
    theirs = bench.layout.commands / "agentctl"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    with pytest.raises(StepFailed):
        bench.install()
    assert "is not agentd's" in bench.shown[-1].says
    assert theirs.read_text() == "theirs"
    assert DAEMON not in bench.machine.active


def test_the_first_policy_is_the_shipped_one_without_its_trial(bench: Bench) -> None:
    bench.install()
    text = bench.layout.policy.read_text()
    assert text == system_policy(SHIPPED_POLICY.read_text())
    assert len(text.splitlines()) == len(SHIPPED_POLICY.read_text().splitlines()) - 1
    root, faults = read_document(text, "policy.yaml")
    names = Names(self_uid=1, uid_of=lambda _: None, gid_of=lambda _: None, prices=None)
    assert len(parse_policy(root, names, "policy.yaml", faults).agents) == 1
    bench.layout.policy.write_text("mine")
    bench.install()
    assert bench.layout.policy.read_text() == "mine"


def test_uninstall_leaves_what_was_there_before(bench: Bench) -> None:
    before = bench.tree()
    bench.install()
    bench.layout.state.mkdir(parents=True)
    (bench.layout.state / "ledger.db").touch()
    bench.uninstall()
    left = {name for name in bench.tree() - before if (bench.layout.root / name).is_file()}
    assert left == {"etc/agentd/policy.yaml", "var/lib/agentd/ledger.db"}
    assert not bench.machine.active & set(UNITS)


def test_purge_leaves_nothing(bench: Bench) -> None:
    before = bench.tree()
    bench.install()
    bench.uninstall(purge=True)
    assert {name for name in bench.tree() - before if not (bench.layout.root / name).is_dir()} == set()
    assert bench.machine.ran("userdel agentd")


def test_an_edited_file_survives_an_uninstall(bench: Bench) -> None:
    bench.install()
    unit = bench.layout.units / DAEMON
    unit.write_text("mine")
    bench.uninstall()
    assert not unit.exists()
    assert unit.with_name(f"{DAEMON}.edited").read_text() == "mine"


def test_a_crash_between_manifest_and_file_leaves_a_file_that_is_known(tmp_path: Path) -> None:
    manifest, target = Manifest(tmp_path / "m.json"), tmp_path / "file"
    place(manifest, target, b"one", 0o644)
    digests = [*manifest.files[str(target)], "of what was about to come"]
    manifest.files[str(target)] = digests
    manifest.save()
    assert remove(Manifest.read(tmp_path / "m.json")) == []
    assert not target.exists()


def test_a_file_in_the_place_of_a_link_to_ours_is_kept(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "m.json")
    (tmp_path / "there").symlink_to("/elsewhere")
    with pytest.raises(InTheWay):
        link(manifest, tmp_path / "there", "/ours")
    assert str((tmp_path / "there").readlink()) == "/elsewhere"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 2, "files": {}, "links": {}}'])
def test_a_manifest_that_is_none_stops_everything(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(InTheWay):
        Manifest.read(tmp_path / "m.json")


def test_a_version_is_named_by_its_content(tmp_path: Path) -> None:
    for part in PARTS:
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        if (REPO / part).is_dir():
            (tmp_path / part).mkdir()
            (tmp_path / part / "a.py").write_text("1")
        else:
            (tmp_path / part).write_text("1")
    first = find(tmp_path, "1.0").name
    (tmp_path / "agentd/__pycache__").mkdir()
    (tmp_path / "agentd/__pycache__/a.pyc").touch()
    assert find(tmp_path, "1.0").name == first
    (tmp_path / "agentd/a.py").write_text("2")
    assert find(tmp_path, "1.0").name != first
    (tmp_path / "pyproject.toml").unlink()
    with pytest.raises(CtlError, match=r"pyproject\.toml"):
        find(tmp_path, "1.0")


def test_a_half_built_version_is_built_anew(bench: Bench) -> None:
    half = bench.layout.releases / bench.name
    (half / "lib").mkdir(parents=True)
    bench.install()
    assert (half / COMPLETE).exists()
    assert not (half / "lib").exists()


def test_the_page_tells_of_every_step_and_every_client(bench: Bench) -> None:
    page = (REPO / "docs/install.md").read_text()
    steps = page.split("| step |")[1].split("\n\n")[0]
    told = {title.strip() for line in steps.splitlines()[2:] for title in line.split("|")[1].split(",")}
    assert told | {"tidy"} == {each.title for each in bench.install()}
    clients = page.split("| client |")[1].split("\n\n")[0]
    told = {name.strip() for line in clients.splitlines()[2:] for name in line.split("|")[1].split(",")}
    assert told == set(NAMES)


class TestRun:
    """Real programs."""

    def test_what_it_wrote_comes_back(self) -> None:
        assert run("sh", "-c", "echo out; echo err >&2") == "out\nerr\n"

    def test_a_failure_says_what_and_shows_the_end(self) -> None:
        with pytest.raises(CommandFailed) as failed:
            run("sh", "-c", "seq 100; exit 3")
        assert "status 3" in str(failed.value)
        assert str(failed.value).endswith("    100")
        assert "\n    50\n" not in str(failed.value)

    def test_a_missing_program_is_a_failure(self) -> None:
        with pytest.raises(CommandFailed, match="cannot be started"):
            run("/nonexistent/program")

    def test_the_callers_environment_has_no_say(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTHONPATH", "/evil")
        monkeypatch.setenv("LD_PRELOAD", "")
        monkeypatch.setenv("PIP_INDEX_URL", "https://index.example")
        said = run("env")
        assert "PYTHONPATH" not in said
        assert "LD_PRELOAD" not in said
        assert "PIP_INDEX_URL=https://index.example" in said


class TestCommand:
    """The commands themselves, as far as they may go on the machine of the tests."""

    def test_a_dry_run_is_for_everybody_and_shows_every_step(self) -> None:
        done = agentctl("install", "--dry-run", "--json")
        assert done.code == 0, done.err
        steps = json.loads(done.out)["steps"]
        assert {step["state"] for step in steps} == {"plan"}
        assert all(step["says"] for step in steps)

    def test_root_alone_may(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        for command in ("install", "uninstall"):
            done = agentctl(command)
            assert (done.code, "sudo" in done.err) == (Exit.REFUSED, True)

    def test_where_nothing_is_installed_nothing_is_taken_away(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("agentd.ctl.commands.install.Layout", lambda: Layout(tmp_path))
        assert agentctl("uninstall", "--dry-run").code == Exit.NOT_FOUND

    def test_from_where_there_is_no_checkout(self, tmp_path: Path) -> None:
        done = agentctl("install", "--dry-run", "--from", str(tmp_path))
        assert (done.code, "--from DIR" in done.err) == (Exit.NOT_FOUND, True)
