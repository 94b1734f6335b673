"""What the way needs of the world for files."""

from typing import Protocol

from agentd.core.types.files import FilePermit, FileResult, Kept, Place
from agentd.core.types.receipts import Receipt


class Files(Protocol):
    """Does to files what was permitted, by descriptors below roots that were opened at the start."""

    async def act(self, permit: FilePermit, data: bytes = b"") -> FileResult:
        """Do it. `data` is the content of a write or an append. Raises `FileRefused`; unless it is `unsure`, nothing happened."""


class FileHistory(Protocol):
    """What files held before."""

    async def history(self, at: Place) -> tuple[Kept, ...]:
        """All that is kept of a place, newest first."""

    async def diff(self, seq: int) -> str:
        """What decision `seq` changed, as a unified diff of text that is safe to show. Raises `FileRefused`."""

    async def undo(self, seq: int, by: Receipt) -> FileResult:
        """Give back what was there before decision `seq`, recorded as `by`; that can be undone in turn. Raises `FileRefused`."""
