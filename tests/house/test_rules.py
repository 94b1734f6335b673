"""The house rules hold in the package, and each of them says so when it is broken: ours, ruff's and the type checker's."""

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from harness.daemon import REPO
from house import rules

DOC = '"""A module."""\n'
ANY = "agentd/edge/host/new.py"
CORE = "agentd/core/policy/new.py"

BAD: list[tuple[rules.Rule, str, str]] = [
    (rules.permit_is_made_in_one_file, ANY, "permit = Permit(allow, receipt)"),
    (rules.permit_is_made_in_one_file, "agentd/gate/relay.py", "permit = receipts.Permit(allow=a, receipt=r)"),
    (rules.broad_except_says_why, ANY, "try:\n    f()\nexcept Exception:\n    pass"),
    (rules.broad_except_says_why, ANY, "try:\n    f()\nexcept (ValueError, BaseException):  # noqa: BLE001\n    pass"),
    (rules.broad_except_says_why, ANY, "try:\n    f()\nexcept:\n    pass"),
    (rules.broad_except_says_why, ANY, "with contextlib.suppress(Exception):\n    f()"),
    (rules.core_is_never_async, CORE, "async def f() -> None:\n    ..."),
    (rules.no_task_without_a_group, ANY, "asyncio.get_running_loop().create_task(f())"),
    (rules.no_task_without_a_group, ANY, "self._loop.create_task(f())"),
    (rules.no_import_by_name, ANY, "importlib.import_module('agentd.core.policy')"),
    (rules.no_import_by_name, CORE, "__import__('os')"),
]

GOOD: list[tuple[rules.Rule, str, str]] = [
    (rules.permit_is_made_in_one_file, rules.PIPELINE, "permit = Permit(allow, receipt)"),
    (
        rules.broad_except_says_why,
        ANY,
        "try:\n    f()\nexcept Exception:  # a listener must not stop the writer\n    pass",
    ),
    (rules.broad_except_says_why, ANY, "try:\n    f()\nexcept ValueError:\n    pass"),
    (rules.core_is_never_async, ANY, "async def f() -> None:\n    ..."),
    (rules.no_task_without_a_group, ANY, "group.create_task(f())"),
    (rules.no_import_by_name, "agentd/ctl/new.py", "importlib.import_module('agentd.ctl.commands.logs')"),
]

RUFF = [  # what pyproject.toml makes ruff refuse: code, file, text
    ("S101", ANY, "assert 1"),
    ("T201", ANY, "print(1)"),
    ("TID251", ANY, "import asyncio\n\nasyncio.create_task(1)"),
    ("TID251", ANY, "from asyncio import ensure_future\n\nensure_future(1)"),
    ("TID251", ANY, "import time\n\nNOW = time.time()"),
    ("TID251", CORE, "from time import time_ns\n\nNOW = time_ns()"),
    ("TID251", CORE, "import datetime\n\nNOW = datetime.datetime.now(datetime.UTC)"),
    ("TID251", ANY, "import subprocess\n\nsubprocess.run([])"),
    ("TID251", "agentd/ctl/new.py", "from subprocess import run\n\nrun([])"),
    ("TID251", ANY, "import os\n\nos.system('')"),
    ("TID251", "agentd/edge/api/new.py", "import asyncio\n\nasyncio.create_subprocess_shell('')"),
    ("S602", "agentd/edge/enforce/new.py", "import subprocess\n\nsubprocess.run('ls', shell=True)"),
    ("BLE001", ANY, "try:\n    A = 1\nexcept Exception:\n    A = 2"),
    ("D100", ANY, None),
    ("D101", ANY, "class C:\n    x = 1"),
    ("D102", ANY, 'class C:\n    """C."""\n\n    def f(self) -> None:\n        return None'),
    ("D103", ANY, "def f() -> None:\n    return None"),
    ("ANN001", ANY, "def _f(x) -> None:\n    return None"),
    ("C901", ANY, "def _f(x: int) -> None:\n" + "".join(f"    if x == {n}:\n        _f({n})\n" for n in range(12))),
    ("PLR0913", ANY, "def _f(a: int, b: int, c: int, d: int, e: int, f: int, g: int) -> None:\n    return None"),
    ("PGH003", ANY, "A: int = ''  # type: ignore"),
    ("PGH004", ANY, "A = 1  # noqa"),
]
RUFF_LETS = [  # and where it does not
    ("T201", "agentd/ctl/new.py", "print(1)"),
    ("TID251", "agentd/edge/host/clock.py", "import time\n\nNOW = time.time_ns()"),
    ("TID251", "agentd/edge/enforce/new.py", "import subprocess\n\nsubprocess.run([])"),
    ("S101", "tests/test_new.py", "assert 1"),
]


def _label(row: tuple[object, str, str | None]) -> str:
    name = getattr(row[0], "__name__", row[0])
    return f"{name} {row[1]} {str(row[2]).splitlines()[-1].strip()}"


@cache
def _package() -> list[rules.Source]:
    files = sorted((REPO / "agentd").rglob("*.py"))
    return [rules.read(str(file.relative_to(REPO)), file.read_text()) for file in files]


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule: rules.Rule) -> None:
    assert [str(found) for source in _package() for found in rule(source)] == []


@pytest.mark.parametrize("row", BAD, ids=_label)
def test_what_breaks_a_rule_is_found(row: tuple[rules.Rule, str, str]) -> None:
    rule, path, text = row
    assert len(list(rule(rules.read(path, DOC + text)))) == 1


@pytest.mark.parametrize("row", GOOD, ids=_label)
def test_what_keeps_a_rule_is_let_be(row: tuple[rules.Rule, str, str]) -> None:
    rule, path, text = row
    assert list(rule(rules.read(path, DOC + text))) == []


def test_every_rule_has_its_bad_example() -> None:
    assert {rule for rule, _, _ in BAD} == set(rules.RULES) == {rule for rule, _, _ in GOOD}


def _ruff(path: str, text: str) -> set[str]:
    """The codes that ruff finds in a text if it stood at a path."""
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--no-cache",
        "--output-format",
        "json",
        "--stdin-filename",
        path,
        "-",
    ]
    done = subprocess.run(command, input=text + "\n", capture_output=True, text=True, cwd=REPO, check=False)
    assert done.returncode in (0, 1), done.stderr
    return {found["code"] for found in json.loads(done.stdout)}


@pytest.mark.parametrize("row", RUFF, ids=_label)
def test_ruff_refuses(row: tuple[str, str, str | None]) -> None:
    code, path, text = row
    assert code in _ruff(path, "A = 1" if text is None else DOC + "\n" + text)


@pytest.mark.parametrize("row", RUFF_LETS, ids=_label)
def test_ruff_lets_be(row: tuple[str, str, str]) -> None:
    code, path, text = row
    assert code not in _ruff(path, DOC + "\n" + text)


UNDECIDED = '''
"""Enforcement of what was not decided, or not recorded."""

from agentd.core.types.receipts import Permit, Receipt
from agentd.core.types.verdicts import Allow, Deny
from agentd.gate.ports import Dispatch, Upstream


def without_record(upstream: Upstream, allow: Allow, dispatch: Dispatch) -> None:
    upstream.open(allow, dispatch)  # line 10


def of_a_denial(deny: Deny, receipt: Receipt) -> Permit:
    return Permit(deny, receipt)  # line 14


def without_receipt(allow: Allow) -> Permit:
    return Permit(allow, None)  # line 18


def as_it_should_be(upstream: Upstream, allow: Allow, receipt: Receipt, dispatch: Dispatch) -> None:
    upstream.open(Permit(allow, receipt), dispatch)
'''


def test_enforcement_without_decision_and_record_does_not_type_check(tmp_path: Path) -> None:
    file = tmp_path / "undecided.py"
    file.write_text(UNDECIDED.lstrip("\n").replace('"""Enf', '\n"""Enf', 1))
    command = [sys.executable, "-m", "mypy", "--config-file", str(REPO / "pyproject.toml"), "--no-pretty", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, check=False)
    errors = re.findall(
        r"undecided\.py:(\d+): error: ", done.stdout
    )  # a cached result names the folder of an earlier run
    assert errors == ["10", "14", "18"], done.stdout + done.stderr
