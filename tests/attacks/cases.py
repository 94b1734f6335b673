"""The cases: what stands before, what is done, which effects must not follow. And the policy that they are run under."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentd.sandbox.protocol import Limits, Profile
from attacks.canaries import Place

HERE = Path(__file__).parent
PROTECTED = (".git/hooks", ".git/config", ".claude", ".codex", ".cursor", ".vscode", ".mcp.json", ".envrc")
HIDDEN = ("**/.env", "**/*.pem")
LIMITS = Limits(wall_s=5, memory=512 << 20, tasks=40, file_bytes=256 << 20, output_bytes=1 << 20)


@dataclass(frozen=True)
class Case:
    """One known attack."""

    id: str
    kind: str
    why: str
    source: str
    action: dict[str, Any]
    must_not: list[dict[str, Any]]
    setup: dict[str, Any]
    uses: list[str]

    @property
    def missing(self) -> str:
        """The programs that it needs and that are not here."""
        return " ".join(name for name in self.uses if shutil.which(name, path="/usr/bin:/bin") is None)

    def printed(self, output: bytes) -> bool:
        """Whether a `print` effect is among the output."""
        return any(
            re.search(effect["regex"].encode(), output) for effect in self.must_not if effect["effect"] == "print"
        )

    def effects(self, place: Place, output: bytes, took_s: float) -> list[str]:
        """The effects that have happened, by kind."""
        seen = [
            effect["effect"]
            for effect in self.must_not
            if effect["effect"] not in ("print", "tty") and place.happened(effect, output, took_s)
        ]
        return [*seen, *(["print"] if self.printed(output) else [])]


def shell() -> list[Case]:
    """Every case of shell.jsonl."""
    found = []
    for line in (HERE / "shell.jsonl").read_text().splitlines():
        each = json.loads(line)
        found.append(
            Case(
                each["id"], each["class"], each["why"], each["source"], each["action"], each["must_not"],
                each.get("setup", {}), each.get("uses", []),
            )
        )  # fmt: skip
    return found


def profile(place: Place) -> Profile:
    """What the cases' policy says, for this place."""
    return Profile("attacks", str(place.ws), protected=PROTECTED, hidden=HIDDEN, home=str(place.home))


def environment(place: Place) -> dict[str, str]:
    """What a command is given; the secret of its caller is not in it."""
    return {
        "PATH": f"{place.bin}:/usr/bin:/bin",
        "HOME": str(place.home),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "TZ": "UTC",
    }
