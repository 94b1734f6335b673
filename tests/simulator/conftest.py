"""One simulator process for all tests of a module; what it knows only grows, so tests compare before and after."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator import served


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of a running simulator."""
    with served.process(tmp_path_factory.mktemp("sim")) as path:
        yield path
