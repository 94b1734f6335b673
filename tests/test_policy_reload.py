"""From bytes in a file to the policy in force, with the real parser, tests and watch: only whole versions ever rule."""

import asyncio
import random
import threading
from pathlib import Path

from agentd.core.policy.parse import parse_policy
from agentd.core.policy.schema import Policy
from agentd.core.policy.trial import run_tests
from agentd.core.policy.values import Names
from agentd.core.types.errors import PolicyRefused
from agentd.core.types.receipts import Receipt
from agentd.core.types.records import Line
from agentd.document import read_document
from agentd.edge.host.catalogue import load_catalogue
from agentd.edge.host.clock import SystemClock
from agentd.edge.host.watch import PolicyWatch, WatchTimes
from agentd.gate.current import CurrentPolicy, digest_of

SHIPPED = (Path(__file__).parents[1] / "etc" / "policy.yaml").read_text()
WRITES = 1000
REST = 20
"""After each so many writes the writer waits until what stands there was seen, whole or not."""

LIMIT_S = 60


class Record:
    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.kept: dict[str, str] = {}
        self.news = asyncio.Condition()

    async def append(self, line: Line, *, linger: bool = False) -> Receipt:
        self.lines.append(line)
        async with self.news:
            self.news.notify_all()
        return Receipt(len(self.lines), "0" * 64)

    async def keep_policy(self, digest: str, text: str) -> None:
        self.kept[digest] = text


def compile_policy(text: str, source: str) -> Policy:
    prices = load_catalogue().prices
    root, faults = read_document(text, source)
    names = Names(990, lambda name: None, lambda name: None, frozenset(prices))
    policy = parse_policy(root, names, source, faults)
    failed = run_tests(policy, prices)
    if failed:
        raise PolicyRefused(source, failed)
    return policy


def version(number: int) -> str:
    """Versions differ in their first lines, so that a half of one is not a half of another."""
    return SHIPPED.replace("change: first version", f"change: version {number}").replace(
        "limit: 10.00", f"limit: {10 + number}.00"
    )


class Told:
    """What the watch told last, to be waited for from the thread that writes."""

    def __init__(self) -> None:
        self._text = ""
        self._news = threading.Condition()

    def tell(self, text: str) -> None:
        with self._news:
            self._text = text
            self._news.notify_all()

    def wait(self, text: str) -> None:
        with self._news:
            assert self._news.wait_for(lambda: self._text == text, LIMIT_S)


def scribble(path: Path, chance: random.Random, versions: list[str], told: Told) -> None:
    """Write pieces and wholes in every way, letting the file rest at times; end with the last version, whole."""
    for number in range(WRITES):
        text = chance.choice(versions)
        cut = chance.randrange(len(text) - 4)
        how = chance.randrange(5)
        if how == 0:
            path.write_text(text[:cut])
        elif how == 1:
            beside = path.with_name("beside")
            beside.write_text(text[:cut])
            beside.rename(path)
        elif how == 2:
            with path.open("w") as file:
                file.write(text[:cut])
                file.flush()
                file.write(text[cut:])
        elif how == 3:
            path.unlink(missing_ok=True)
            path.write_text(text)
        else:
            link = path.with_name("link")
            link.unlink(missing_ok=True)
            link.symlink_to(path.with_name("target"))
            path.with_name("target").write_text(text if cut % 2 else text[:cut])
            link.rename(path)
        if number % REST == 0:
            told.wait(path.read_text())
    path.unlink(missing_ok=True)
    path.write_text(versions[-1])


def test_a_thousand_random_writes_never_put_half_a_policy_in_force(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    versions = [version(number) for number in range(12)]
    path.write_text(versions[0])

    async def play() -> Record:
        record = Record()
        current = CurrentPolicy(record, SystemClock(), compile_policy)
        await current.start(versions[0], "policy.yaml")
        told = Told()

        async def load(text: str) -> None:
            try:
                await current.load(text, "policy.yaml")
            finally:
                told.tell(text)

        watch = PolicyWatch(
            path,
            load,
            current.refuse,
            WatchTimes(settle_s=0.001, poll_s=0.02),
        )
        task = asyncio.get_running_loop().create_task(watch.run())
        await asyncio.to_thread(scribble, path, random.Random(7), versions, told)
        last = digest_of(versions[-1])
        async with asyncio.timeout(LIMIT_S), record.news:
            await record.news.wait_for(lambda: record.lines[-1].policy == last and record.lines[-1].verdict == "allow")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert current.current is not None
        assert current.current.text == versions[-1]
        return record

    record = asyncio.run(play())
    whole = {digest_of(text) for text in versions}
    loaded = [line.policy for line in record.lines if line.verdict == "allow"]
    assert set(loaded) <= whole
    assert set(record.kept) <= whole
    assert sum(line.verdict == "deny" for line in record.lines) > WRITES // REST // 4
    assert len(loaded) > 3


def test_no_beginning_of_the_shipped_policy_is_a_policy() -> None:
    chance = random.Random(3)
    lines = SHIPPED.splitlines(keepends=True)
    at_lines = ["".join(lines[:count]) for count in range(len(lines))]
    anywhere = [SHIPPED[: chance.randrange(len(SHIPPED) - 4)] for _ in range(100)]
    for text in at_lines + anywhere:
        _, faults = read_document(text, "p.yaml")
        assert faults, text[-60:]
