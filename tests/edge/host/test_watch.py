"""The policy file, watched through everything that editors and configuration tools do to files.

A test waits for what it expects to be told, with a generous limit that only a failure reaches.
"""

import asyncio
import os
import random
import stat
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
from watchdog.observers.api import BaseObserver

from agentd.core.types.errors import PolicyRefused, RecordUnavailable
from agentd.edge.host import watch
from agentd.edge.host.watch import PolicyWatch, WatchTimes, chain, read_policy_file

LIMIT_S = 20
QUICK = WatchTimes(settle_s=0.005, poll_s=0.05)
EVENTS_ONLY = WatchTimes(settle_s=0.005, poll_s=3600)


class Ear:
    """Hears what a watch tells, and lets a test wait for something."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.refused: list[PolicyRefused] = []
        self.fail: list[Exception] = []
        self._news = asyncio.Condition()

    async def on_text(self, text: str) -> None:
        async with self._news:
            if self.fail:
                self._news.notify_all()
                raise self.fail.pop()
            self.texts.append(text)
            self._news.notify_all()

    async def on_refused(self, refused: PolicyRefused) -> None:
        async with self._news:
            self.refused.append(refused)
            self._news.notify_all()

    async def until(self, ready: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S), self._news:
            await self._news.wait_for(ready)

    async def text(self, text: str) -> None:
        await self.until(lambda: bool(self.texts) and self.texts[-1] == text)

    async def refusal(self, words: str) -> PolicyRefused:
        await self.until(lambda: bool(self.refused) and words in self.refused[-1].message)
        return self.refused[-1]


def watched(path: Path, play: Callable[[Ear], Awaitable[None]], times: WatchTimes = EVENTS_ONLY) -> Ear:
    """Play with a watch running on `path`."""

    async def main() -> Ear:
        ear = Ear()
        task = asyncio.get_running_loop().create_task(PolicyWatch(path, ear.on_text, ear.on_refused, times).run())
        try:
            await play(ear)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return ear

    return asyncio.run(main())


def replace_file(path: Path, text: str) -> None:
    """As careful editors do: write beside, then rename over it."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(text)
    beside.rename(path)


async def off(what: Callable[[], object]) -> None:
    """Do something to files off the loop."""
    await asyncio.to_thread(what)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "etc" / "policy.yaml"
    file.parent.mkdir()
    file.write_text("one\n...\n")
    return file


def test_the_first_text_is_told_without_any_event(path: Path) -> None:
    ear = watched(path, lambda ear: ear.text("one\n...\n"))
    assert ear.refused == []


def delete_and_write(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


def truncate_and_write(path: Path, text: str) -> None:
    os.truncate(path, 0)
    path.write_text(text)


def rename_away_and_write(path: Path, text: str) -> None:
    path.rename(f"{path}~")
    path.write_text(text)


def write_in_pieces(path: Path, text: str) -> None:
    path.write_text(text[:3])
    with path.open("a") as file:
        file.write(text[3:])


WRITERS: dict[str, Callable[[Path, str], object]] = {
    "in place": Path.write_text,
    "beside and rename": replace_file,
    "delete and write": delete_and_write,
    "truncate, then write": truncate_and_write,
    "rename away, then write": rename_away_and_write,
    "in pieces": write_in_pieces,
}


@pytest.mark.parametrize("how", WRITERS)
def test_each_way_of_writing_is_seen(path: Path, how: str) -> None:
    async def play(ear: Ear) -> None:
        await ear.text("one\n...\n")
        for text in ("two\n...\n", "three\n...\n", "one\n...\n"):
            await off(partial(WRITERS[how], path, text))
            await ear.text(text)

    watched(path, play)


def test_a_symlink_that_is_swapped_is_seen(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.yaml").write_text(f"{name}\n...\n")
    link = tmp_path / "policy.yaml"
    link.symlink_to("a/policy.yaml")

    def swap() -> None:
        (tmp_path / "next").symlink_to("b/policy.yaml")
        (tmp_path / "next").rename(link)

    async def play(ear: Ear) -> None:
        await ear.text("a\n...\n")
        await off(swap)
        await ear.text("b\n...\n")
        await off(lambda: (tmp_path / "b" / "policy.yaml").write_text("b2\n...\n"))
        await ear.text("b2\n...\n")

    watched(link, play)


def test_a_mounted_config_volume_that_swaps_its_data_directory_is_seen(tmp_path: Path) -> None:
    """As container platforms do: policy.yaml -> ..data/policy.yaml, and ..data -> a dated directory is renamed over."""

    def version(name: str, text: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.yaml").write_text(text)
        (tmp_path / "..tmp").symlink_to(name)
        (tmp_path / "..tmp").rename(tmp_path / "..data")

    version("..2026_1", "v1\n...\n")
    (tmp_path / "policy.yaml").symlink_to("..data/policy.yaml")

    async def play(ear: Ear) -> None:
        await ear.text("v1\n...\n")
        for number in (2, 3):
            await off(partial(version, f"..2026_{number}", f"v{number}\n...\n"))
            await ear.text(f"v{number}\n...\n")

    watched(tmp_path / "policy.yaml", play)


def test_a_file_that_goes_and_comes_back(path: Path) -> None:
    async def play(ear: Ear) -> None:
        await ear.text("one\n...\n")
        await off(path.unlink)
        refused = await ear.refusal("no such file")
        assert "--policy" in refused.hint
        await off(lambda: path.write_text("one\n...\n"))
        await ear.until(lambda: ear.texts == ["one\n...\n"] * 2)

    watched(path, play)


def test_a_directory_that_is_replaced_is_watched_anew(path: Path) -> None:
    """Here no event reaches the new directory; the look that nobody asked for does."""

    def replace() -> None:
        path.parent.rename(path.parent.with_name("old"))
        path.parent.mkdir()
        path.write_text("new\n...\n")

    async def play(ear: Ear) -> None:
        await ear.text("one\n...\n")
        await off(replace)
        await ear.text("new\n...\n")
        await off(lambda: path.write_text("newer\n...\n"))
        await ear.text("newer\n...\n")

    watched(path, play, QUICK)


def test_a_text_is_told_once(path: Path) -> None:
    async def play(ear: Ear) -> None:
        await ear.text("one\n...\n")
        for _ in range(5):
            await off(lambda: replace_file(path, "one\n...\n"))
        await off(lambda: path.write_text("two\n...\n"))
        await ear.text("two\n...\n")
        assert ear.texts == ["one\n...\n", "two\n...\n"]

    watched(path, play)


def test_without_file_watches_looking_alone_does_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(self: BaseObserver, *args: object, **kwargs: object) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(BaseObserver, "schedule", exhausted)

    async def play(ear: Ear) -> None:
        await ear.text("one\n...\n")
        await off(lambda: replace_file(path, "two\n...\n"))
        await ear.text("two\n...\n")

    watched(path, play, QUICK)


def test_without_an_observer_looking_alone_does_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(self: BaseObserver) -> None:
        raise OSError(24, "inotify instance limit reached")

    monkeypatch.setattr(BaseObserver, "start", exhausted)

    async def play(ear: Ear) -> None:
        await ear.text("one\n...\n")
        await off(lambda: path.write_text("two\n...\n"))
        await ear.text("two\n...\n")

    watched(path, play, QUICK)


def test_what_could_not_be_recorded_is_told_again(path: Path) -> None:
    async def play(ear: Ear) -> None:
        ear.fail = [RecordUnavailable("record.disk_full", "the disk is full")] * 3
        await ear.text("one\n...\n")
        assert ear.fail == []

    watched(path, play, QUICK)


def test_a_refusal_by_the_reader_is_not_told_again(path: Path) -> None:
    async def play(ear: Ear) -> None:
        ear.fail = [read_fault(path)]
        await ear.until(lambda: ear.fail == [])
        await off(lambda: path.write_text("two\n...\n"))
        await ear.text("two\n...\n")
        assert ear.texts == ["two\n...\n"]

    def read_fault(path: Path) -> PolicyRefused:
        with pytest.raises(PolicyRefused) as refused:
            read_policy_file(path.with_name("none"))
        return refused.value

    watched(path, play, QUICK)


def test_a_writer_that_has_the_file_open_is_waited_for(path: Path) -> None:
    """Half of it rests for longer than any two looks, and would do as a policy: it ends in the end mark."""

    async def play(ear: Ear) -> None:
        await ear.text("one\n...\n")
        with path.open("r+") as file:
            await off(lambda: file.write("two\n...\n"))
            await off(file.flush)
            await asyncio.sleep(10 * EVENTS_ONLY.settle_s)
            await off(lambda: file.write("three\n...\n"))
        await ear.text("two\n...\nthree\n...\n")

    assert len(watched(path, play).texts) == 2


def test_a_file_that_is_cut_by_its_name_is_never_closed_and_read_all_the_same(path: Path) -> None:
    async def play(ear: Ear) -> None:
        await ear.text("one\n...\n")
        await off(lambda: os.truncate(path, 4))
        await ear.text("one\n")

    watched(path, play)


def test_a_change_of_its_permissions_is_seen_at_once(path: Path) -> None:
    async def play(ear: Ear) -> None:
        await ear.text("one\n...\n")
        await off(lambda: path.chmod(0o666))
        await ear.refusal("everybody may write it")

    watched(path, play)


def test_a_nudge_looks_at_once(path: Path) -> None:
    async def main() -> None:
        ear = Ear()
        watch_it = PolicyWatch(path, ear.on_text, ear.on_refused, WatchTimes(0.001, 3600))
        await watch_it.look()
        await watch_it.look()
        assert ear.texts == ["one\n...\n"]
        await off(lambda: path.write_text("two\n...\n"))
        watch_it.nudge()
        await watch_it.look()
        assert ear.texts == ["one\n...\n", "two\n...\n"]

    asyncio.run(main())


def test_a_thousand_partial_writes_never_give_half_a_policy(path: Path) -> None:
    """Versions are written piece by piece with pieces of random length; whatever is taken for a policy is a whole one.

    A text counts as one only if it ends in the end mark, as `agentd.document` demands; everything else is refused there.
    """
    chance = random.Random(20)
    whole = {f"version: {n}\n{'x' * chance.randrange(4000)}\nlast: {n}\n...\n" for n in range(40)}
    texts = sorted(whole)

    def scribble() -> None:
        for _ in range(1000):
            text = chance.choice(texts)
            cut = chance.randrange(len(text) - 3)
            how = chance.randrange(4)
            if how == 0:
                path.write_text(text[:cut])
            elif how == 1:
                replace_file(path, text[:cut])
            elif how == 2:
                with path.open("w") as file:
                    file.write(text[:cut])
                    file.flush()
                    file.write(text[cut:])
            else:
                path.unlink(missing_ok=True)
        path.write_text(texts[0])

    accepted: list[str] = []

    async def play(ear: Ear) -> None:
        await off(scribble)
        await ear.text(texts[0])
        accepted.extend(text for text in ear.texts if text.endswith("\n...\n"))

    watched(path, play, WatchTimes(0.001, 0.01))
    assert set(accepted) <= whole | {"one\n...\n"}
    assert accepted[-1] == texts[0]


def make_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "words", "hint"),
    [
        pytest.param(Path.unlink, "no such file", "--policy", id="missing"),
        pytest.param(lambda path: path.chmod(0o646), "everybody may write it", "chmod o-w", id="world-writable"),
        pytest.param(
            lambda path: path.parent.chmod(0o777), "its directory", "chmod o-w", id="in a world-writable directory"
        ),
        pytest.param(make_fifo, "not a regular file", "plain file", id="fifo"),
        pytest.param(make_directory, "not a regular file", "plain file", id="directory"),
        pytest.param(lambda path: path.write_bytes(b"a: 1\nb: \xff\n"), "not UTF-8", "UTF-8", id="not text"),
        pytest.param(
            lambda path: path.write_bytes(b"#" * (watch.MAX_BYTES + 1)), "larger than", "hundred", id="too large"
        ),
        pytest.param(make_loop, "cannot be opened", "read it", id="loop"),
    ],
)
def test_a_file_that_must_not_be_read(path: Path, spoil: Callable[[Path], object], words: str, hint: str) -> None:
    spoil(path)
    with pytest.raises(PolicyRefused) as refused:
        read_policy_file(path)
    assert words in refused.value.message
    assert hint in refused.value.hint
    assert refused.value.source == str(path)


@pytest.mark.root
def test_a_file_of_somebody_else_is_not_read(path: Path) -> None:
    os.chown(path, 65534, 65534)
    with pytest.raises(PolicyRefused, match="belongs to uid 65534") as refused:
        read_policy_file(path)
    assert "chown root" in refused.value.hint


def test_a_file_that_fails_while_it_is_read() -> None:
    """The kernel's view of a process' memory opens like a file, and gives an I/O error at its beginning."""
    with pytest.raises(PolicyRefused, match="it cannot be read: Input/output error"):
        read_policy_file(Path("/proc/self/mem"))


def test_a_sticky_directory_that_all_may_write_is_fine(path: Path) -> None:
    path.parent.chmod(0o777 | stat.S_ISVTX)
    assert read_policy_file(path) == "one\n...\n"


def test_a_cure_is_seen(path: Path) -> None:
    """The mode alone changes; the text stays as it was."""
    path.chmod(0o666)

    async def play(ear: Ear) -> None:
        await ear.refusal("everybody may write it")
        await off(lambda: path.chmod(0o644))
        await ear.text("one\n...\n")

    watched(path, play, QUICK)


def test_the_line_of_a_bad_byte_is_named(path: Path) -> None:
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(PolicyRefused) as refused:
        read_policy_file(path)
    assert refused.value.faults[0].line == 2


def test_the_chain_holds_every_link_on_the_way(tmp_path: Path) -> None:
    real = Path(os.path.realpath(tmp_path))
    (real / "store" / "v1").mkdir(parents=True)
    (real / "store" / "v1" / "p.yaml").write_text("x")
    (real / "store" / "now").symlink_to(real / "store" / "v1")
    (real / "etc").symlink_to("store/now")
    (real / "p.yaml").symlink_to("etc/../v1/p.yaml")
    assert chain(real / "p.yaml") == {
        (real, "p.yaml"),
        (real, "etc"),
        (real / "store", "now"),
        (real / "store" / "v1", "p.yaml"),
    }


def test_the_chain_of_a_loop_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    names = {name for _, name in chain(tmp_path / "a")}
    assert {"a", "b"} <= names


def test_the_chain_of_nothing_is_where_it_would_be(tmp_path: Path) -> None:
    assert (Path(os.path.realpath(tmp_path)) / "no", "file") in chain(tmp_path / "no" / "file")
