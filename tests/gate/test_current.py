"""The policy in force: swapped whole, after it was recorded, or not at all."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import date

import pytest

from agentd.core.policy.schema import Policy
from agentd.core.types.errors import Fault, PolicyRefused, RecordUnavailable
from agentd.core.types.receipts import Receipt
from agentd.core.types.records import Kind, Line
from agentd.gate.current import MAX_DIFF_LINES, CurrentPolicy, Held, diff, digest_of

EMPTY = Policy(1, "ops", date(2026, 1, 1), "", ("public",), {}, {}, {}, {})
SECRET = "sk-or-v1-" + "0" * 40


class StoppedClock:
    def wall_ns(self) -> int:
        return 1_767_225_600 * 10**9

    def mono_ns(self) -> int:
        return 0


@dataclass
class Record:
    """A ledger that remembers the order of things, and can be broken."""

    lines: list[Line] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    broken: bool = False

    async def append(self, line: Line, *, linger: bool = False) -> Receipt:
        self._check()
        self.lines.append(line)
        self.order.append(f"line {line.code}")
        return Receipt(len(self.lines), "0" * 64)

    async def keep_policy(self, digest: str, text: str) -> None:
        self._check()
        self.kept[digest] = text
        self.order.append("kept")

    def _check(self) -> None:
        if self.broken:
            raise RecordUnavailable("record.disk_full", "the disk is full")

    @property
    def codes(self) -> list[str | None]:
        return [line.code for line in self.lines]


def compile_text(text: str, source: str) -> Policy:
    """Good texts begin with "good"; the rest of the line is the change."""
    if not text.startswith("good"):
        raise PolicyRefused(source, (Fault(3, 5, "tiers", f"bad: {text[:9]}", "mend it"),))
    return replace(EMPTY, change=text.split("\n", maxsplit=1)[0][5:], source=source)


def fresh(record: Record | None = None) -> tuple[CurrentPolicy, Record]:
    record = record or Record()
    return CurrentPolicy(record, StoppedClock(), compile_text), record


def test_a_good_text_is_kept_and_recorded_before_it_is_in_force() -> None:
    async def play() -> None:
        current, record = fresh()
        seen: list[Held | None] = []
        append = record.append

        async def watch(line: Line) -> Receipt:
            seen.append(current.current)
            return await append(line)

        record.append = watch  # type: ignore[method-assign]
        held = await current.load("good one", "p.yaml")
        assert seen == [None]
        assert record.order == ["kept", "line policy.loaded"]
        assert current.current is held
        assert held.digest == digest_of("good one")
        assert record.kept == {held.digest: "good one"}
        line = record.lines[0]
        assert (line.kind, line.verdict, line.policy) == (Kind.POLICY, "allow", held.digest)
        assert line.detail is not None
        assert line.detail["change"] == "one"
        assert line.detail["previous"] is None

    asyncio.run(play())


def test_a_change_is_recorded_with_its_diff() -> None:
    async def play() -> None:
        current, record = fresh()
        first = await current.load("good one\nsame\nlimit: 1\nend", "p.yaml")
        await current.load("good two\nsame\nlimit: 2\nend", "p.yaml")
        detail = record.lines[-1].detail
        assert detail is not None
        assert detail["previous"] == first.digest
        assert "-limit: 1\n+limit: 2" in detail["diff"]
        assert "\n end" in detail["diff"]

    asyncio.run(play())


def test_a_bad_text_changes_nothing_and_stays_visible() -> None:
    async def play() -> None:
        current, record = fresh()
        held = await current.load("good one", "p.yaml")
        with pytest.raises(PolicyRefused) as refused:
            await current.load("rubbish", "p.yaml")
        assert current.current is held
        assert current.fault is refused.value
        assert record.codes == ["policy.loaded", "policy.refused"]
        line = record.lines[-1]
        assert (line.verdict, line.policy) == ("deny", digest_of("rubbish"))
        assert line.detail is not None
        assert line.detail["faults"] == [
            {"line": 3, "column": 5, "where": "tiers", "message": "bad: rubbish", "hint": "mend it"}
        ]
        assert digest_of("rubbish") not in record.kept

    asyncio.run(play())


def test_the_same_bad_text_is_recorded_once_another_one_again() -> None:
    async def play() -> None:
        current, record = fresh()
        await current.load("good one", "p.yaml")
        for text in ("bad a", "bad a", "bad b", "bad a"):
            with pytest.raises(PolicyRefused):
                await current.load(text, "p.yaml")
        assert record.codes == ["policy.loaded"] + ["policy.refused"] * 3

    asyncio.run(play())


def test_going_back_to_the_text_in_force_clears_the_fault() -> None:
    async def play() -> None:
        current, record = fresh()
        held = await current.load("good one", "p.yaml")
        with pytest.raises(PolicyRefused):
            await current.load("bad", "p.yaml")
        assert await current.load("good one", "p.yaml") is held
        assert current.fault is None
        assert record.codes[-1] == "policy.restored"

    asyncio.run(play())


def test_loading_what_is_in_force_is_no_event() -> None:
    async def play() -> None:
        current, record = fresh()
        held = await current.load("good one", "p.yaml")
        assert await current.load("good one", "p.yaml") is held
        assert record.codes == ["policy.loaded"]

    asyncio.run(play())


def test_without_a_record_no_policy_takes_force() -> None:
    async def play() -> None:
        current, record = fresh()
        held = await current.load("good one", "p.yaml")
        record.broken = True
        with pytest.raises(RecordUnavailable):
            await current.load("good two", "p.yaml")
        assert current.current is held
        with pytest.raises(RecordUnavailable):
            await current.load("bad", "p.yaml")
        assert current.fault is not None
        record.broken = False
        with pytest.raises(PolicyRefused):
            await current.load("bad", "p.yaml")
        assert record.codes == ["policy.loaded", "policy.refused"]
        assert (await current.load("good two", "p.yaml")).policy.change == "two"

    asyncio.run(play())


def test_loads_take_turns_and_the_last_one_holds() -> None:
    async def play() -> None:
        current, record = fresh()
        async with asyncio.TaskGroup() as tasks:
            for number in range(20):
                tasks.create_task(current.load(f"good {number}", "p.yaml"))
        assert current.current is not None
        assert record.lines[-1].policy == current.current.digest
        changes = [line.detail["change"] for line in record.lines if line.detail]
        assert changes == [str(number) for number in range(20)]

    asyncio.run(play())


def test_work_in_flight_keeps_what_it_began_with() -> None:
    async def play() -> None:
        current, _ = fresh()
        await current.load("good one", "p.yaml")
        mine = current.current
        await current.load("good two", "p.yaml")
        assert mine is not None
        assert mine.policy.change == "one"

    asyncio.run(play())


MISSING = PolicyRefused("p.yaml", (Fault(1, 1, "", "there is no such file", "write one"),))


@pytest.mark.parametrize(
    ("found", "last_good", "in_force", "codes"),
    [
        pytest.param("good new", None, "new", ["policy.loaded"], id="first start"),
        pytest.param("good new", "good new", "new", ["policy.loaded"], id="nothing changed while it was down"),
        pytest.param("good new", "good old", "new", ["policy.loaded"], id="changed while it was down"),
        pytest.param(
            "rubbish", "good old", "old", ["policy.refused", "policy.last_good"], id="broken while it was down"
        ),
        pytest.param(MISSING, "good old", "old", ["policy.refused", "policy.last_good"], id="gone"),
        pytest.param("rubbish", "rubbish too", None, ["policy.refused"], id="the last good one is none any more"),
        pytest.param("rubbish", None, None, ["policy.refused"], id="never had one"),
        pytest.param(MISSING, None, None, ["policy.refused"], id="nothing at all"),
    ],
)
def test_start(found: str | PolicyRefused, last_good: str | None, in_force: str | None, codes: list[str]) -> None:
    async def play() -> None:
        current, record = fresh()
        await current.start(found, "p.yaml", last_good)
        assert (current.current and current.current.policy.change) == in_force
        assert record.codes == codes
        assert (current.fault is None) == (codes == ["policy.loaded"])

    asyncio.run(play())


def test_a_change_made_while_the_daemon_was_down_is_told_as_one() -> None:
    async def play() -> None:
        current, record = fresh()
        await current.start("good new\nsame\nb", "p.yaml", "good old\nsame\na")
        detail = record.lines[0].detail
        assert detail is not None
        assert detail["previous"] == digest_of("good old\nsame\na")
        assert "-a\n+b" in detail["diff"]

    asyncio.run(play())


def test_after_the_last_good_one_a_mended_file_takes_over() -> None:
    async def play() -> None:
        current, record = fresh()
        await current.start("rubbish", "p.yaml", "good old")
        await current.load("good new", "p.yaml")
        assert current.fault is None
        assert record.codes == ["policy.refused", "policy.last_good", "policy.loaded"]

    asyncio.run(play())


def test_a_file_that_cannot_be_read_is_a_fault_recorded_once() -> None:
    async def play() -> None:
        current, record = fresh()
        held = await current.load("good one", "p.yaml")
        await current.refuse(MISSING)
        await current.refuse(MISSING)
        assert current.current is held
        assert current.fault is MISSING
        assert record.codes == ["policy.loaded", "policy.refused"]

    asyncio.run(play())


def test_a_refused_secret_does_not_reach_the_record() -> None:
    async def play() -> None:
        current, record = fresh()
        await current.load("good one\nkey: openrouter", "p.yaml")
        with pytest.raises(PolicyRefused):
            await current.load(f"bad one\nkey: {SECRET}", "p.yaml")
        detail = record.lines[-1].detail
        assert detail is not None
        assert "+key: [an OpenRouter key]" in detail["diff"]
        assert SECRET not in repr(record.lines)

    asyncio.run(play())


def test_a_diff_is_bounded() -> None:
    text = diff("", "\n".join("x" * 1000 for _ in range(5000)))
    assert len(text.splitlines()) == MAX_DIFF_LINES + 1
    assert text.endswith("more lines")
    assert max(map(len, text.splitlines())) <= 300
