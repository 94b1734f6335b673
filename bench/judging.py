"""What judging a shell text costs: read, looked into, held against a profile's rules. In this process, as the gate does it.

Two texts of 1,000 characters, since the cost is that of the commands in a text and hardly that of its characters: the lines of
an agent's ordinary day, and lines of short commands, pipes and substitutions as dense as people write them.
"""

import statistics
import time
from dataclasses import dataclass

from agentd.core.policy.shell.judge import Setting, judge
from agentd.core.policy.shell.rules import Effect, Rule, Ruleset
from agentd.core.policy.shell.unwrap import read_text

CHARS = 1_000
ROUNDS = 300

ORDINARY = (
    "cd /srv/agent/ws && git status --short --branch",
    "git log -1 --format='%H %an %s' && git diff --stat HEAD~1",
    "rg -n 'def main' src tests --glob '*.py' | head -n 20",
    "sed -n '1,120p' src/app/settings.py",
    "find . -name '*.py' -not -path './.git/*' -newer pyproject.toml",
    "python3 -c \"import json; print(json.load(open('data/items.json'))['page'])\"",
    "python3 -m pytest -q tests/test_settings.py -k 'reads and not slow' 2>&1 | tail -n 40",
    "cat > notes/plan.md <<'EOF'\nFirst the settings are read, then the sockets are opened.\nNothing else changes.\nEOF",
    "git add src/app/settings.py tests/test_settings.py && git commit -q -m 'settings: read the second file, too'",
    "timeout 60 make -j2 build > build.log 2>&1 || tail -n 30 build.log",
    "mkdir -p out/report && cp README.md out/report/ && tar czf out/report.tgz -C out report",
    "ls -la src/app && wc -l src/app/*.py",
)

DENSE = 'cd src && grep -rn "def main" . | sort -u | head -n 20 > /tmp/out; for f in *.py; do echo "$f $(wc -l < "$f")"; done'

_PROGRAMS = (
    "cd git rg sed find python3 pytest cat timeout make tail mkdir cp tar ls wc "  # what the texts run
    "grep sort head echo xargs env sh bash mv touch awk jq diff"
)


@dataclass(frozen=True, slots=True)
class Judged:
    """Milliseconds for a text of 1,000 characters, and how many commands are in it."""

    ms: float
    commands: int


def measure() -> tuple[Judged, Judged]:
    """The ordinary text and the dense one, medians."""
    ordinary = _filled(ORDINARY)
    dense = _filled((DENSE,) * 12)
    return _judged(ordinary), _judged(dense)


def _filled(lines: tuple[str, ...]) -> str:
    """Lines up to 1,000 characters, the last one cut where it is a list of words, so that all have the same length."""
    text = "\n".join(lines)
    whole = text[:CHARS].rpartition("\n")[0]
    return whole + "\necho " + "x" * (CHARS - len(whole) - 6)


def _judged(text: str) -> Judged:
    ruleset, setting = _ruleset(), Setting("/srv/agent/ws", "/srv/agent", "/srv/agent/ws")
    verdict = judge(ruleset, read_text(text), setting)
    if verdict.effect is not Effect.ALLOW or len(text) != CHARS:
        raise SystemExit(f"bench: the profile does not allow its own text: {verdict.reason}")
    took: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter_ns()
        judge(ruleset, read_text(text), setting)
        took.append((time.perf_counter_ns() - began) / 1e6)
    return Judged(statistics.median(took), len(verdict.considered))


def _ruleset() -> Ruleset:
    """Fifteen rules: programs by name with their roots, paths that nothing touches, programs that nobody runs."""
    readable, writable = ("workspace/**", "temp", "system"), ("workspace/**", "temp")
    programs = _PROGRAMS.split()
    allows = [
        Rule(
            f"some-{start}",
            Effect.ALLOW,
            "ops",
            programs=tuple(programs[start::10]),
            reads=readable,
            writes=writable,
            unknown=True,
        )
        for start in range(10)
    ]
    secrets = ("home/.ssh/**", "home/.aws/**", "**/.env", "**/*.pem")
    return Ruleset(
        "bench",
        (
            Rule("secrets", Effect.DENY, "ops", reads=secrets, writes=secrets),
            Rule("protected", Effect.DENY, "ops", writes=("workspace/.git/hooks/**", "workspace/.git/config")),
            Rule("root", Effect.DENY, "ops", programs=("sudo", "su", "doas")),
            Rule("wild", Effect.ASK, "ops", programs=("rm",), flags_all=("-r", "-f")),
            *allows,
            Rule("files", Effect.ALLOW, "ops", programs=("",), reads=readable, writes=writable, unknown=True),
        ),
    )
