"""The tools of the tests can fail: the guard against blocking calls bites, and the hunt finds a secret in each form."""

import asyncio
import base64
from pathlib import Path

import pytest
from blockbuster import BlockingError

from harness import blocking
from harness import canary as canaries


def _from_agentd(code: str, **names: object) -> None:
    """Run a line as if it stood in the package, with an event loop running."""
    import agentd

    compiled = compile(code, str(Path(agentd.__file__).with_name("pretended.py")), "exec")

    async def run() -> None:
        exec(compiled, names)

    asyncio.run(run())


@pytest.mark.parametrize(
    "code",
    [
        "import time; time.sleep(0)",
        "open(file).read()",
        "open(file, 'rb').read()",
        "import os; os.listdir(folder)",
        "import os; os.stat(file)",
        "import sqlite3; sqlite3.connect(':memory:').execute('select 1')",
        "import socket; a, b = socket.socketpair(); a.send(b'x')",
    ],
)
def test_a_blocking_call_in_the_loop_raises(code: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(BlockingError):
        _from_agentd(code, file=str(file), folder=str(tmp_path))


@pytest.mark.parametrize(
    "code",
    [
        "open('/proc/self/stat').read()",
        "open('/proc/self/stat', 'rb').read()",
        "import os; os.readlink('/proc/self/exe')",
    ],
)
def test_the_kernels_own_tables_may_be_read(code: str) -> None:
    _from_agentd(code)


@pytest.mark.blocks
def test_the_marker_lifts_the_guard() -> None:
    _from_agentd("import time; time.sleep(0)")


def test_a_descriptor_of_a_file_is_no_kernel_table(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        assert not blocking._names_memory(file.fileno())
        assert not blocking._names_memory(file)


@pytest.mark.parametrize("before", ["", "x", "xy"])
@pytest.mark.parametrize("after", ["", "z", "zz"])
def test_the_canary_is_found_in_base64_whatever_stands_around_it(before: str, after: str, canary: str) -> None:
    assert canaries.found_in(base64.b64encode((before + canary + after).encode()))


def test_the_canary_is_found_in_files_and_nowhere_else(tmp_path: Path, canary: str) -> None:
    (tmp_path / "clean").write_text("nothing here " * 100)
    assert canaries.found_under([tmp_path]) == []
    (tmp_path / "log").write_bytes(b"\0\1" + canary.encode().hex().encode())
    assert canaries.found_under([tmp_path]) == [tmp_path / "log"]
