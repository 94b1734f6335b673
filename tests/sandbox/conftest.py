"""A workspace and a sandbox process for the tests that run commands."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.sandbox.protocol import Prepared, Profile
from attacks.cases import HIDDEN, PROTECTED
from sandbox.client import Sandbox, give, lacking, sandbox


@pytest.fixture
def ws() -> Iterator[Path]:
    """An empty workspace of the user whom commands run as. Not in /tmp, which is private in a cage."""
    root = Path(tempfile.mkdtemp(prefix="sandbox", dir="/var/tmp"))
    root.chmod(0o755)
    made = root / "ws"
    made.mkdir()
    give(root)
    yield made
    for _ in range(20):  # placeholders may just be going
        shutil.rmtree(root, ignore_errors=True)
        if not root.exists():
            return


@pytest.fixture
def profile(ws: Path) -> Profile:
    return Profile("coding", str(ws), protected=PROTECTED, hidden=HIDDEN)


@pytest.fixture(scope="module")
def process() -> Iterator[Sandbox]:
    if why := lacking():
        pytest.skip(why)
    with sandbox() as made:
        yield made


@pytest.fixture
def cage(process: Sandbox, profile: Profile) -> Sandbox:
    """A sandbox process in which the profile is prepared."""
    assert isinstance(process.prepare(profile), Prepared)
    return process
