"""The editor's schema: the same keys as the parser, valid as a schema, current on disk."""

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from agentd.core.policy.editor import absent_words, json_schema
from agentd.core.policy.kinds import Key, Text
from agentd.core.policy.spec import FILE, SECTIONS
from agentd.core.types.documents import Mapping, Node, Scalar, Sequence
from agentd.document import read_document
from policies import GOOD, faults_of, good

ROOT = Path(__file__).parents[3]
POLICIES = sorted((ROOT / "etc").rglob("*.yaml"))


def plain(node: Node | None) -> Any:
    """A tree as an editor's YAML reader gives it: dates are strings there."""
    match node:
        case Mapping():
            return {key.text: plain(value) for key, value in node.entries}
        case Sequence():
            return [plain(item) for item in node.items]
        case Scalar(value=value, text=text):
            return value if isinstance(value, bool | int | float | str) or value is None else text
    return None


def valid(text: str) -> bool:
    root, _ = read_document(text, "p.yaml")
    return bool(jsonschema.Draft202012Validator(json_schema()).is_valid(plain(root)))


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_the_file_on_disk_is_current() -> None:
    kept = json.loads((ROOT / "etc" / "policy.schema.json").read_text())
    assert kept == json_schema(), "run: python docs/generate_policy.py"


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
def test_shipped_policies_are_valid(path: Path) -> None:
    root, _ = read_document(path.read_text(), path.name)
    jsonschema.validate(plain(root), json_schema(), jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("owner: ops@example.org\nreviewed", "ownr: x\nreviewed"),
        ("quota: 3", "quota: 0"),
        ("scope: tier", "scope: teir"),
        ("deadline: 60s", "deadline: 60"),
        ("limit: 2.50", "limit: -2.50"),
        ("unit: main.service", "unit: main"),
        ("max_output: 1000", "max_output: many"),
        ("classes: [routine, hard]", "classes: []"),
        ("retention: { days: 200 }", "retention: { days: 20 }"),
        ("retention: { days: 200 }", "retention: { days: 200 }\ntools: {}"),
        ("  main:\n", "  Main:\n"),
    ],
)
def test_schema_and_parser_refuse_the_same(old: str, new: str) -> None:
    assert valid(GOOD)
    assert not valid(good(old, new))
    assert faults_of(good(old, new))


def test_every_key_is_described() -> None:
    for section in SECTIONS:
        for key in section.keys:
            assert key.doc.endswith("."), f"{section.title}.{key.name}"
            assert key.example.startswith(f"{key.name}: "), f"{section.title}.{key.name}"
    assert set(json_schema()["properties"]) == {key.name for key in FILE.keys}


@pytest.mark.parametrize(
    ("default", "absent", "words"),
    [
        (None, "", "none"),
        ((), "", "none"),
        (("a", "b"), "", "[a, b]"),
        (False, "", "false"),
        (0, "", "0"),
        (None, "as it was", "as it was"),
    ],
)
def test_words_for_what_is_absent(default: object, absent: str, words: str) -> None:
    assert absent_words(Key("k", Text("a word"), "Doc.", "k: v", default=default, absent=absent)) == words
