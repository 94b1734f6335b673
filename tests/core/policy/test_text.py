"""What the last human turn reads as: a table, and the promises of the reading."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.policy.text import EDGE_CHARS, WorkKind, edges, inherits, read_text

CASES = [
    ("thanks, that is all", WorkKind.ROUTINE),
    ("remind me tomorrow to call the dentist", WorkKind.ROUTINE),
    ("what's the weather in Graz?", WorkKind.ROUTINE),
    ("Summarize this mail in two lines", WorkKind.ROUTINE),
    ("Refactor the parser module and run the tests", WorkKind.IMPLEMENTATION),
    ("write a python script that renames the files", WorkKind.IMPLEMENTATION),
    ("Fix the bug in server.py, here is the Traceback (most recent call last)", WorkKind.IMPLEMENTATION),
    ("Compare the two offers and list the trade-offs", WorkKind.ANALYSIS),
    ("Find the root cause of last night's outage", WorkKind.ANALYSIS),
    ("propose a migration plan for the two datacentres and its risk assessment", WorkKind.ANALYSIS),
    ("", None),
    ("hm", None),
    ("the blue one over there", None),
]


@pytest.mark.parametrize(("text", "kind"), CASES)
def test_reads(text: str, kind: WorkKind | None) -> None:
    assert read_text(text).kind is kind


@pytest.mark.parametrize(
    "text",
    ["yes", "Yes!", "ok", "go on", "continue", "option 2", "the second one", "same for the others", "try again", "2"],
)
def test_has_no_class_of_its_own(text: str) -> None:
    assert inherits(text)


@pytest.mark.parametrize(
    "text", ["yes, and then rewrite the parser", "continue with the analysis of the outage please", "two"]
)
def test_has_a_class_of_its_own(text: str) -> None:
    assert not inherits(text)


@given(st.text(max_size=3 * EDGE_CHARS))
def test_is_deterministic_and_names_its_signals(text: str) -> None:
    once = read_text(text)
    assert once == read_text(text)
    assert (once.kind is None) or once.signals


def test_material_in_the_middle_is_not_read() -> None:
    paste = "Summarize this:\n" + "x " * EDGE_CHARS + " refactor implement deploy debug " + "y " * EDGE_CHARS
    assert "refactor" not in edges(paste)
    assert read_text(paste).kind is WorkKind.ROUTINE


def test_evidence_holds_no_content() -> None:
    assert all("." in name and " " not in name for name in read_text("Refactor secret-project in main.py").signals)


@pytest.mark.parametrize("text", ["yes" + " " * 1_000_000 + "x", "yes " * 40])
def test_a_long_text_is_no_mere_reply(text: str) -> None:
    assert not inherits(text)
