"""A file of 4 KB through the file gate's thought and hands beside a plain read, and a write beside one that is as durable."""

import asyncio
import itertools
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from agentd.core.policy.files.judge import judge
from agentd.core.policy.files.rules import ACCESSES, FileRules, Root
from agentd.core.types.files import FileAllow, FileOp, FilePermit, FileRoot
from agentd.core.types.receipts import Receipt
from agentd.edge.enforce.files.local import LocalFiles

SIZE = 4096
PATH = "src/package/module.py"
WRITES_IN = 10
"""A write is synced four times: one for so many reads."""


@dataclass(frozen=True, slots=True)
class Filed:
    """Medians in milliseconds; `judged` is the verdict alone."""

    judged: float
    read: float
    plain_read: float
    write: float
    plain_write: float


def measure(times: int) -> Filed:
    """Each in turn with its floor, so that both see the same machine."""
    with tempfile.TemporaryDirectory() as where:
        workspace = Path(where) / "ws"
        file = workspace / PATH
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x" * SIZE)
        rules = FileRules((Root("work", str(workspace), "bench", ACCESSES),), str(workspace))
        files = LocalFiles([FileRoot("work", str(workspace))], Path(where) / "state", _wall_ns)
        try:
            return asyncio.run(_measured(files, rules, file, times))
        finally:
            files.close()


async def _measured(files: LocalFiles, rules: FileRules, file: Path, times: int) -> Filed:
    seqs = itertools.count(1)

    async def act(op: FileOp, data: bytes = b"") -> None:
        verdict = judge(rules, op, PATH)
        if not isinstance(verdict, FileAllow):
            raise TypeError(verdict)
        await files.act(FilePermit(verdict, Receipt(next(seqs), "")), data)

    took: dict[str, list[int]] = {name: [] for name in ("judge", "read", "plain", "write", "durable")}
    for number in range(times):
        marks = [time.perf_counter_ns()]
        judge(rules, FileOp.READ, PATH)
        marks.append(time.perf_counter_ns())
        await act(FileOp.READ)
        marks.append(time.perf_counter_ns())
        _plain(file)
        marks.append(time.perf_counter_ns())
        if number % WRITES_IN == 0:
            await act(FileOp.WRITE, b"%08d" % number * (SIZE // 8))
            marks.append(time.perf_counter_ns())
            _durable(file.with_name("floor"), b"%08d" % number * (SIZE // 8))
            marks.append(time.perf_counter_ns())
        for name, begin, end in zip(took, marks, marks[1:], strict=False):
            took[name].append(end - begin)
    return Filed(*(statistics.median(spent) / 1e6 for spent in took.values()))


def _wall_ns() -> int:
    return 1_795_000_000 * 10**9


def _plain(file: Path) -> bytes:
    with open(file, "rb") as opened:
        return opened.read()


def _durable(file: Path, data: bytes) -> None:
    """The least that keeps old or new content whatever happens: written aside, synced, renamed."""
    aside = file.with_suffix(".new")
    with open(aside, "wb") as opened:
        opened.write(data)
        opened.flush()
        os.fsync(opened.fileno())
    aside.rename(file)
