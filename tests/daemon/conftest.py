"""What most tests of a real daemon stand before. A file whose tests share one, or ask for another, has its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import upstream as upstreams


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[upstreams.Upstream]:
    """An upstream of the test's own."""
    made = upstreams.start(tmp_path)
    yield made
    made.stop()
