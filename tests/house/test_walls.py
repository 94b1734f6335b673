"""The walls between the rooms hold, and each one falls when it is broken."""

import json
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from harness.daemon import REPO
from house import walls

SCRIPT = Path(walls.__file__)

LAYERS = "daemon over edge over gate over core"
PURE = "core is pure: no I/O, no clock, no chance, no logging, nothing asynchronous"
GATE = "gate orders the steps and touches nothing: no sockets, files or databases"
DESK = "a call's way and the books know nothing of the operator's desk"
EDGE = "edge fulfils gate.ports and knows neither the policy nor the pipeline"
APART = "the four rooms of the edge do not know each other"

NEVER_IN_CORE = (
    "asyncio os socket time random secrets subprocess sqlite3 logging aiohttp yaml keyring psutil watchdog".split()
)

SABOTAGES: list[tuple[str, str, str]] = [
    # layers
    (LAYERS, "agentd/core/types/money.py", "import agentd.gate.ports"),
    (LAYERS, "agentd/core/types/money.py", "import agentd.edge.host.clock"),
    (LAYERS, "agentd/gate/ports.py", "from agentd.edge.host import clock"),
    (LAYERS, "agentd/edge/host/clock.py", "import agentd.__main__"),
    (LAYERS, "agentd/gate/ports.py", "def late() -> None:\n    from agentd.edge.host import clock"),
    # core
    *[(PURE, "agentd/core/types/money.py", f"import {name}") for name in NEVER_IN_CORE],
    (PURE, "agentd/core/policy/schema.py", "from os import path"),
    (PURE, "agentd/core/policy/schema.py", "def late() -> None:\n    import time"),
    ("agentd.core may not import requests", "agentd/core/policy/schema.py", "import requests"),
    ("agentd.core may not import agentd.document", "agentd/core/policy/schema.py", "import agentd.document"),
    ("agentd.core.types may not import agentd.core.policy", "agentd/core/types/money.py", "import agentd.core.policy.schema"),
    ("agentd.core may not import tree_sitter", "agentd/core/policy/schema.py", "import tree_sitter"),
    ("agentd.core may not import tree_sitter_bash", "agentd/core/dialects/chat.py", "import tree_sitter_bash"),
    ("agentd.core.policy.shell may not import yaml", "agentd/core/policy/shell/rules.py", "import yaml"),
    (
        "agentd.core.policy.shell may not import agentd.core.dialects",
        "agentd/core/policy/shell/rules.py",
        "import agentd.core.dialects",
    ),
    # gate
    *[(GATE, "agentd/gate/ports.py", f"import {name}") for name in ("socket", "sqlite3", "pathlib", "aiohttp", "subprocess")],
    ("agentd.gate may not import click", "agentd/gate/ports.py", "import click"),
    ("agentd.gate may not import agentd.document", "agentd/gate/ports.py", "import agentd.document"),
    (DESK, "agentd/gate/relay.py", "import agentd.gate.desk.views"),
    (DESK, "agentd/gate/books/alarms.py", "import agentd.gate.desk.vitals"),
    # edge
    (EDGE, "agentd/edge/host/clock.py", "import agentd.core.policy.schema"),
    (EDGE, "agentd/edge/ledger/__init__.py", "from agentd.core.policy import schema"),
    (EDGE, "agentd/edge/api/peer.py", "import agentd.gate.pipeline"),
    ("agentd.edge.api may not import agentd.gate.halts", "agentd/edge/api/peer.py", "import agentd.gate.halts"),
    ("agentd.edge.host may not import agentd.ctl", "agentd/edge/host/clock.py", "import agentd.ctl"),
    ("agentd.edge.enforce may not import agentd.simulator", "agentd/edge/enforce/new.py", "import agentd.simulator"),
    # the four rooms of the edge
    (APART, "agentd/edge/api/peer.py", "import agentd.edge.host.clock"),
    (APART, "agentd/edge/enforce/new.py", "import agentd.edge.ledger"),
    (APART, "agentd/edge/ledger/new.py", "import agentd.edge.api.peer"),
    (APART, "agentd/edge/host/clock.py", "import agentd.edge.enforce"),
    # the operator's client
    ("agentd.ctl may not import agentd.gate.ports", "agentd/ctl/new.py", "import agentd.gate.ports"),
    ("agentd.ctl may not import agentd.core.policy.decide", "agentd/ctl/new.py", "import agentd.core.policy.decide"),
    ("agentd.ctl may not import agentd.core.accounting.price", "agentd/ctl/new.py", "from agentd.core.accounting import price"),
    ("agentd.ctl may not import agentd.edge.host", "agentd/ctl/new.py", "import agentd.edge.host.clock"),
    # the cage, before there is one
    ("agentd.sandbox may not import msgspec", "agentd/sandbox/__init__.py", "import msgspec"),
    ("agentd.sandbox may not import agentd.core", "agentd/sandbox/__init__.py", "import agentd.core.types.money"),
    # the stand-in for the upstream
    ("agentd.simulator may not import agentd.gate", "agentd/simulator/new.py", "import agentd.gate.ports"),
    ("agentd.simulator may not import agentd.core.dialects", "agentd/simulator/new.py", "import agentd.core.dialects"),
    ("agentd.simulator may not import agentd.edge.ledger", "agentd/simulator/new.py", "import agentd.edge.ledger"),
    # the reader of documents, the shipped data
    ("agentd.document may not import agentd.gate", "agentd/document.py", "import agentd.gate.ports"),
    ("agentd.data may not import agentd.core", "agentd/data/__init__.py", "import agentd.core.types.money"),
]  # fmt: skip


def _check(root: Path, sabotages: list[tuple[str, str]]) -> list[list[str]]:
    """What `walls.py` finds, in a process of its own."""
    command = [sys.executable, str(SCRIPT), str(root)]
    done = subprocess.run(command, input=json.dumps(sabotages), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    found: list[list[str]] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package in a place where it may be broken."""
    root = tmp_path_factory.mktemp("sabotage")
    shutil.copytree(REPO / "agentd", root / "agentd", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPO / "pyproject.toml", root)
    return root


@cache
def _fallen(root: Path) -> list[list[str]]:
    """What each sabotage breaks, all tried in one process."""
    return _check(root, [(file, line) for _, file, line in SABOTAGES])


def test_the_walls_hold(copy: Path) -> None:
    assert _check(copy, [("agentd/__init__.py", "")]) == [[]]


@pytest.mark.parametrize(
    "index", range(len(SABOTAGES)), ids=[f"{file}: {line.split(chr(10))[-1].strip()}" for _, file, line in SABOTAGES]
)
def test_the_wall_falls(index: int, copy: Path) -> None:
    wall = SABOTAGES[index][0]
    fallen = _fallen(copy)[index]
    assert any(found.startswith(wall) for found in fallen), f"nothing says {wall!r}: {fallen}"


def test_every_contract_has_its_sabotage() -> None:
    contracts = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert {contract["name"] for contract in contracts} == {LAYERS, PURE, GATE, DESK, EDGE, APART}


def test_every_room_has_its_sabotage() -> None:
    tried = {wall.split(" may not import ")[0] for wall, _, _ in SABOTAGES}
    untried = {room.name for room in walls.ROOMS} - tried - {"agentd.edge.ledger"}  # that one by the contract above
    assert untried == set()
