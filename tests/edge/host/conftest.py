"""Fixtures of the machine's tests."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.host.keyring_box import KeyringBox


@pytest.fixture
def keyring_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyringBox]:
    """A bus without a keyring yet, named in the environment."""
    for program, package in (("dbus-daemon", "dbus"), ("gnome-keyring-daemon", "gnome-keyring")):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install {package}")
    box = KeyringBox(tmp_path)
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", box.address)
    monkeypatch.delenv("PYTHON_KEYRING_BACKEND", raising=False)
    try:
        box.start_bus()
        yield box
    finally:
        box.close()
