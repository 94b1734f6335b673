"""Writes what is generated from the description of the policy file: etc/policy.schema.json, and the key tables of
docs/policy.md between their marks. Run it after a change of agentd/core/policy/{spec,entries,cases}.py:

    .venv/bin/python docs/generate_policy.py

A test fails while either is out of date.
"""

import json
import re
from pathlib import Path

from agentd.core.policy.editor import absent_words, json_schema
from agentd.core.policy.kinds import ListOf, MapOf, Record
from agentd.core.policy.spec import SECTIONS

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "policy.md"
SCHEMA = ROOT / "etc" / "policy.schema.json"

MARKED = re.compile(r"(?<=<!-- keys: )(?P<title>[a-z]+)(?P<head> -->\n).*?(?=<!-- end -->)", re.DOTALL)
"""What stands between `<!-- keys: agents -->` and `<!-- end -->` is generated."""


def schema_text() -> str:
    """The editor's schema, as it is kept."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


def with_tables(text: str) -> str:
    """The reference with its tables made anew. Raises `KeyError` for a mark that names no section."""
    sections = {section.title: section for section in SECTIONS}
    return MARKED.sub(lambda match: f"{match['title']}{match['head']}{table(sections[match['title']])}", text)


def table(section: Record) -> str:
    """One section's keys: name, meaning, what may stand there, and what its absence means."""
    rows = ["| key | meaning | value | if absent | example |", "|---|---|---|---|---|"]
    for key in section.keys:
        absent = "**must be there**" if key.required else absent_words(key)
        cells = (f"`{key.name}`", key.doc, _value(key.kind), absent, f"`{key.example}`")
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _value(kind: object) -> str:
    match kind:
        case Record(title=title):
            return f"see [{title}](#{title})"
        case ListOf(item=Record(title=title)):
            return f"a list, see [{title}](#{title})"
        case MapOf(item=Record(title=title)):
            return f"names, each with its own map: see [{title}](#{title})"
        case MapOf(ref=str() as ref):
            return f"names of entries of `{ref}`, each with an amount"
    return str(getattr(kind, "words", ""))


def main() -> None:
    """Write both."""
    SCHEMA.write_text(schema_text())
    REFERENCE.write_text(with_tables(REFERENCE.read_text()))


if __name__ == "__main__":
    main()
