"""The walls between the rooms, as data, and the check of them.

Two kinds. The contracts in pyproject.toml (import-linter) say what a room must *not* reach, by however many steps. The table
below says what each room *may* import directly, so that a new module, or a new library, is nobody's by default.

    python walls.py ROOT < sabotages.json      [["agentd/core/types/money.py", "import os"], ...]

prints what is broken in the package under ROOT, as a JSON list for each sabotage: the line is put at the end of the file,
the check runs, the file is put back. In a process of its own, because an import graph is found by the name of a package, and
in the process of the tests that name is taken.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import grimp
from importlinter import configuration
from importlinter.application import use_cases

PURE = frozenset(
    "__future__ abc base64 binascii bisect calendar collections copy dataclasses datetime decimal difflib email enum fnmatch "
    "fractions functools hashlib heapq hmac html ipaddress itertools json math msgspec operator re string struct textwrap types "
    "typing typing_extensions unicodedata urllib zlib".split()
)
"""Libraries that compute and do nothing else. `datetime` is here for arithmetic and `urllib` for `urllib.parse`; the clock of
the one and `urllib.request` are banned by ruff."""

GRAMMARS = frozenset({"tree_sitter", "tree_sitter_bash"})
"""Parsers that compute trees from bytes and do nothing else; for the reading of shell text alone."""

STDLIB = frozenset(sys.stdlib_module_names)
PORTS = (
    "agentd.gate.ports",
    "agentd.gate.ports_operator",
    "agentd.gate.ports_tokens",
    "agentd.core.types",
    "agentd.core.accounting",
    "agentd.core.dialects",
    "agentd.data",
)


@dataclass(frozen=True, slots=True)
class Room:
    """What the modules below a name may import. `libraries` None: any."""

    name: str
    may: tuple[str, ...] = ()
    libraries: frozenset[str] | None = None


ROOMS = (
    Room("agentd.core.types", libraries=PURE),
    Room("agentd.core.policy.shell", ("agentd.core.policy", "agentd.core.types"), PURE | GRAMMARS),
    Room("agentd.core", ("agentd.core",), PURE),
    Room("agentd.gate", ("agentd.core",), STDLIB | {"msgspec"}),
    Room("agentd.edge.api", PORTS),
    Room("agentd.edge.enforce", PORTS),
    Room("agentd.edge.ledger", PORTS),
    Room("agentd.edge.host", PORTS),
    Room("agentd.sandbox", libraries=STDLIB),
    Room(
        "agentd.ctl",
        ("agentd.core.types", "agentd.core.policy.parse", "agentd.core.accounting.chain", "agentd.document"),
    ),
    Room("agentd.simulator", ("agentd.core.types", "agentd.core.accounting", "agentd.data", "agentd.edge.host.clock")),
    Room("agentd.document", ("agentd.core.types", "agentd.core.policy"), STDLIB | {"yaml"}),
    Room("agentd.data", libraries=STDLIB),
)
"""The first one that fits counts. Modules that stand in no room (daemon, settings, ...) join the rooms and may know all."""


def broken(root: Path) -> list[str]:
    """Every wall that does not hold in the package under `root`, one sentence each."""
    configuration.configure()
    use_cases._register_built_in_contract_types()  # what its command line does first; there is no public name for it
    options = use_cases.read_user_options(str(root / "pyproject.toml"))
    report = use_cases.create_report(options, cache_dir=None)
    found = [contract.name for contract, check in report.get_contracts_and_checks() if not check.kept]
    graph = grimp.build_graph("agentd", include_external_packages=True, cache_dir=None)
    for importer in sorted(graph.modules):
        room = next((room for room in ROOMS if _within(importer, room.name)), None)
        if room is not None:
            found += [_sentence(room, importer, name) for name in _strangers(graph, room, importer)]
    return found


def _strangers(graph: grimp.ImportGraph, room: Room, importer: str) -> list[str]:
    imported = sorted(graph.find_modules_directly_imported_by(importer))
    return [name for name in imported if not _allowed(room, name)]


def _allowed(room: Room, name: str) -> bool:
    if name == "agentd":  # the version
        return True
    if _within(name, "agentd"):
        return any(_within(name, allowed) for allowed in (room.name, *room.may))
    return room.libraries is None or name.partition(".")[0] in room.libraries


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def _sentence(room: Room, importer: str, imported: str) -> str:
    return f"{room.name} may not import {imported} (as {importer} does)"


def main(root: Path) -> None:
    """See the head of the file."""
    os.chdir(root)
    sys.path.insert(0, str(root))
    results = []
    for name, line in json.load(sys.stdin):
        file = root / name
        before = file.read_bytes() if file.exists() else None
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes((before or b'"""New."""\n') + f"\n{line}\n".encode())
        results.append(broken(root))
        if before is None:
            file.unlink()
        else:
            file.write_bytes(before)
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
