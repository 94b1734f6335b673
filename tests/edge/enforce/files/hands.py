"""The file gate without the way before it: judged, given a permit as the way would, done for real in a directory of its own."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agentd.core.policy.files.judge import judge
from agentd.core.policy.files.rules import ACCESSES, DEFAULT_LIMITS, FileRules, Root
from agentd.core.types.files import FileAllow, FileLimits, FileOp, FilePermit, FileRefused, FileResult, FileRoot, Place
from agentd.core.types.receipts import Receipt
from agentd.edge.enforce.files.keeping import Bounds
from agentd.edge.enforce.files.local import LocalFiles


@dataclass
class Hands:
    """One root `work`, and acts on it by path."""

    ws: Path
    state: Path
    limits: FileLimits = DEFAULT_LIMITS
    bounds: Bounds = Bounds()
    wall_ns: Callable[[], int] = time.time_ns
    seqs: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    seq: int = 0

    def open(self) -> None:
        root = Root("work", str(self.ws), "o@example.org", ACCESSES, limits=self.limits)
        self.rules = FileRules((root,), str(self.ws))
        self.files = LocalFiles([FileRoot("work", str(self.ws))], self.state, self.wall_ns, self.bounds)

    async def do(self, op: str, path: str, data: bytes = b"", to: str = "") -> FileResult:
        """Raises FileRefused: by the verdict, or by the file system."""
        verdict = judge(self.rules, FileOp(op), path, to)
        if not isinstance(verdict, FileAllow):
            raise FileRefused(verdict.reason)
        self.seq = next(self.seqs)
        return await self.files.act(FilePermit(verdict, Receipt(self.seq, "")), data)

    def now(self, op: str, path: str, data: bytes = b"", to: str = "") -> FileResult:
        return asyncio.run(self.do(op, path, data, to))

    def code(self, op: str, path: str, data: bytes = b"", to: str = "") -> str:
        """The code of the refusal; empty: it was done."""
        try:
            self.now(op, path, data, to)
        except FileRefused as refusal:
            return refusal.reason.code
        return ""

    def undo(self, seq: int) -> FileResult:
        self.seq = next(self.seqs)
        return asyncio.run(self.files.undo(seq, Receipt(self.seq, "")))

    def diff(self, seq: int) -> str:
        return asyncio.run(self.files.diff(seq))

    def states(self, path: str) -> list[str]:
        return [kept.state for kept in asyncio.run(self.files.history(Place("work", tuple(path.split("/")))))]


@contextmanager
def hands(where: Path, **how: object) -> Iterator[Hands]:
    ws = where / "ws"
    ws.mkdir(exist_ok=True)
    made = Hands(ws, where / "state", **how)  # type: ignore[arg-type]
    made.open()
    try:
        yield made
    finally:
        made.files.close()
