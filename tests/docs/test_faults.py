"""docs/faults.md says what each caller sees of a fault: every row by a test that exists, and no test without its row."""

import re

from docs.test_security_docs import ROOT, TEST, named, rows_that_claim

PAGE = "docs/faults.md"
COLUMNS = 5
"""Fault, what the agent sees, what the operator sees, what it costs, and the test."""


def test_every_row_says_all_and_names_a_test() -> None:
    rows = rows_that_claim((ROOT / PAGE).read_text())
    assert rows
    for row in rows:
        cells = [cell.strip() for cell in row.strip().strip("|").split("|")]
        assert len(cells) == COLUMNS, row
        assert all(cells), row
        assert TEST.search(cells[-1]), row


def test_it_names_the_tests_that_there_are_and_all_of_them() -> None:
    there = {
        (f"tests/chaos/{file.name}", name)
        for file in (ROOT / "tests" / "chaos").glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)\(", file.read_text(), flags=re.M)
    }
    assert set(named(PAGE)) == there
