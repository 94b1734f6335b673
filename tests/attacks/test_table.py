"""The page of known attacks lists every case that is run."""

import re
from pathlib import Path

from attacks import cases

PAGE = (Path(__file__).parents[2] / "docs/attacks.md").read_text()


def test_every_case_has_its_row() -> None:
    assert re.findall(r"^\| (shell-\d+) \|", PAGE, re.MULTILINE) == [case.id for case in cases.shell()]
