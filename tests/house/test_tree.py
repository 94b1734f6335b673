"""The tree as a whole: what is tracked speaks of the product alone, and each file of the core has its tests."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.daemon import REPO

SAMPLES = ("tests/sandbox/benign", "tests/attacks/", "tests/core/policy/shell/")
"""Data and commands of agents, who search for what was left for later and have a home."""

FOREIGN = [
    (re.compile(r"\bissues? #?\d+", re.IGNORECASE), "the number of an issue"),
    (re.compile(r"\b(TODO|FIXME|XXX)\b"), "something left for later"),
    (re.compile(r"(?<![\w/.])/(home|root|Users)/[a-z]\w*/\w+"), "a path of somebody's own machine"),
    (re.compile(r"^(<{7}|={7}|>{7})( |$)", re.MULTILINE), "a merge that was not finished"),
]
"""What belongs into no file of the product."""


def _tracked() -> list[str]:
    if shutil.which("git") is None or not (REPO / ".git").exists():
        pytest.skip("not a git checkout")
    done = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split("\0") if name]


def _foreign(text: str, root: Path = REPO) -> list[str]:
    """What in a text does not belong into the product, with its line."""
    checkout = re.compile(re.escape(str(root)) + r"(?![\w-])")
    patterns = [*FOREIGN, *([(checkout, "the path of this checkout")] if len(root.parts) > 2 else [])]
    return [
        f"line {text.count(chr(10), 0, match.start()) + 1}: {match.group()!r} is {what}"
        for pattern, what in patterns
        for match in pattern.finditer(text)
    ]


def test_tracked_files_speak_of_the_product_alone() -> None:
    found = []
    for name in _tracked():
        file = REPO / name
        if not file.is_file() or file == Path(__file__) or name.endswith("package-lock.json") or name.startswith(SAMPLES):
            continue
        try:
            text = file.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{name}: {each}" for each in _foreign(text)]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "as issue 7 asks",
        "see Issue #12",
        "# TODO later",
        "run /home/ann/agentd/x",
        "cd /srv/checkouts/agentd/docs",
        "<<<<<<< HEAD\n",
    ],
)
def test_a_foreign_word_is_found(text: str) -> None:
    assert len(_foreign(text, Path("/srv/checkouts/agentd"))) == 1


@pytest.mark.parametrize(
    "text", ["/home/agent", "/root", "~/.config/agentd", "an issue with 3 parts", "/srv/checkouts/agentd-box"]
)
def test_an_ordinary_word_is_let_be(text: str) -> None:
    assert _foreign(text, Path("/srv/checkouts/agentd")) == []


def _imported(file: Path) -> set[str]:
    """Every module, and every name of a module, that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _untested(package: Path, tests: Path) -> list[str]:
    """Modules of the core that no test of the same room imports or is named after. Bare `__init__` files are no modules."""
    missing = []
    for file in sorted(package.rglob("*.py")):
        inner = file.relative_to(package)
        module = ".".join(("agentd", "core", *inner.with_suffix("").parts))
        room = sorted((tests / inner.parts[0]).rglob("test_*.py")) if len(inner.parts) > 1 else []
        named = any(test.stem == f"test_{file.stem}" or test.stem.startswith(f"test_{file.stem}_") for test in room)
        if file.name != "__init__.py" and not named and not any(module in _imported(test) for test in room):
            missing.append(str(inner))
    return missing


def test_each_module_of_the_core_has_its_tests() -> None:
    missing = {f"agentd/core/{name}" for name in _untested(REPO / "agentd" / "core", REPO / "tests" / "core")}
    assert {name for name in missing if not name.startswith("agentd/core/types/")} == set()


def test_a_module_without_tests_is_found(tmp_path: Path) -> None:
    for name in ("core/policy/match.py", "core/policy/trial.py", "core/policy/lonely.py", "core/policy/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    for name, text in (("match_empty", ""), ("other", "from agentd.core.policy import trial\n")):
        (tmp_path / "tests/policy").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"tests/policy/test_{name}.py").write_text(text)
    assert _untested(tmp_path / "core", tmp_path / "tests") == ["policy/lonely.py"]
