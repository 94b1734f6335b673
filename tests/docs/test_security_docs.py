"""The security pages, and the one about the upstream, may claim only what a test shows: every test that they name exists, and
every row names one or admits it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("docs/threat-model.md", "docs/attacks.md", "docs/upstream.md")

TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
ADMITTED = "not covered"
CLAIMING = ("shown by", "what follows")
"""Tables whose last column has one of these heads must name a test, or admit, in each row."""


def named(page: str) -> list[tuple[str, str]]:
    return TEST.findall((ROOT / page).read_text())


def rows_that_claim(text: str) -> list[str]:
    """The rows of all tables whose last column claims something."""
    claiming, rows = False, []
    for line in text.splitlines():
        if not line.startswith("|"):
            claiming = False
        elif line.rstrip(" |").endswith(CLAIMING):
            claiming = True
        elif claiming and not line.startswith("|--"):
            rows.append(line)
    return rows


@pytest.mark.parametrize("page", PAGES)
def test_every_named_test_exists(page: str) -> None:
    missing = [
        f"{file}::{name}"
        for file, name in named(page)
        if not (ROOT / file).exists()
        or not re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), flags=re.M)
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_every_row_names_a_test_or_admits(page: str) -> None:
    rows = rows_that_claim((ROOT / page).read_text())
    assert rows
    assert [row for row in rows if not TEST.search(row) and ADMITTED not in row] == []


def test_a_row_without_either_is_found() -> None:
    claiming = "| it tries | shown by |\n|---|---|\n| this | `tests/a.py::test_b` |\n| that | trust us |\n"
    page = claiming + "\n| x | y |\n|---|---|\n| a | b |\n"
    assert [row for row in rows_that_claim(page) if not TEST.search(row)] == ["| that | trust us |"]
