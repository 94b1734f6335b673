"""The description of the file, and what is generated from it."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from agentd.core.policy.kinds import ListOf, MapOf, Record, Ref
from agentd.core.policy.schema import Policy
from agentd.core.policy.spec import DEFAULT_LABELS, FILE, SECTIONS, UNENFORCED
from policies import GOOD, good, said

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_policy", ROOT / "docs" / "generate_policy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_current(generate: ModuleType) -> None:
    text = (ROOT / "docs" / "policy.md").read_text()
    assert generate.with_tables(text) == text, "run: python docs/generate_policy.py"


def test_the_schema_is_current(generate: ModuleType) -> None:
    assert (ROOT / "etc" / "policy.schema.json").read_text() == generate.schema_text()


def test_the_reference_holds_every_section_and_key(generate: ModuleType) -> None:
    text = (ROOT / "docs" / "policy.md").read_text()
    assert re.findall(r"<!-- keys: (\w+) -->", text) == [section.title for section in SECTIONS]
    for section in SECTIONS:
        for key in section.keys:
            assert f"| `{key.name}` | {key.doc}" in text


def test_a_stale_table_is_seen(generate: ModuleType) -> None:
    text = (ROOT / "docs" / "policy.md").read_text()
    assert generate.with_tables(text.replace("| `version` |", "| `versoin` |")) == text


def records(kind: object) -> set[str]:
    """Titles of all records within a kind."""
    match kind:
        case Record():
            return {kind.title}.union(*(records(key.kind) for key in kind.keys))
        case ListOf() | MapOf():
            return records(kind.item)
    return set()


def refs(kind: object) -> set[str]:
    """Sections that names within a kind refer to."""
    match kind:
        case Record():
            return set().union(*(refs(key.kind) for key in kind.keys))
        case MapOf(ref=ref):
            return refs(kind.item) | ({ref} if ref else set())
        case ListOf():
            return refs(kind.item)
        case Ref():
            return {kind.to}
    return set()


def test_every_record_of_the_file_is_a_section() -> None:
    assert records(FILE) == {section.title for section in SECTIONS}


def test_names_refer_to_sections_of_the_file() -> None:
    assert refs(FILE) <= {key.name for key in FILE.keys}


def test_every_section_becomes_part_of_the_policy() -> None:
    fields = {"retention_days" if key.name == "retention" else key.name for key in FILE.keys}
    assert fields == set(Policy.__dataclass_fields__) - {"source", "index"}


@pytest.mark.parametrize("section", UNENFORCED)
def test_sections_that_nothing_enforces_are_refused(section: str) -> None:
    text = good("version: 1", f"version: 1\n{section}: {{}}")
    assert said(text) == [(section, f"`{section}` is not enforced by this version")]
    assert FILE.key(section) is None


def test_default_labels_go_from_public_up() -> None:
    assert DEFAULT_LABELS[0] == "public"
    assert said(good("labels: [public, private]\n", "")) == []


@pytest.mark.parametrize("key", [key.name for key in FILE.keys if key.required])
def test_required_keys_of_the_file(key: str) -> None:
    lines = GOOD.splitlines(keepends=True)
    start = next(index for index, line in enumerate(lines) if line.startswith(f"{key}:"))
    end = next(index for index in range(start + 1, len(lines)) if not lines[index].startswith(" "))
    assert ("", f"`{key}` is missing") in said("".join(lines[:start] + lines[end:]))
