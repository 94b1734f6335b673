"""The rules of the file gate as the policy file gives them, frozen. Where nothing is said, the answer is no."""

from dataclasses import dataclass, field

from agentd.core.policy.files.names import NamePattern, pattern
from agentd.core.types.files import FileLimits

READ, WRITE, DELETE = "read", "write", "delete"
ACCESSES = frozenset({READ, WRITE, DELETE})

NEVER_READ = ("**/.env", "**/.env.*", "**/*.pem", "**/*.key", "**/id_rsa", "**/id_ed25519", "**/.ssh/**", "**/.aws/**")
"""Where secrets lie in a work tree. `.env.example` is caught, too: whoever wants it read gives patterns
of their own."""

NEVER_WRITE = (
    ".git/**", ".gitmodules", ".husky/**",
    ".claude/**", ".codex/**", ".cursor/**", ".vscode/**", ".idea/**", ".openclaw/**", ".mcp.json", ".envrc",
)  # fmt: skip
"""What another program takes for instructions at its next start, whether it is there yet or not.

All of `.git`: beside hooks and configuration, a `commondir` or a plain file `.git` lead git to others. Git itself runs in the
cage, which has a view of its own."""

DEFAULT_LIMITS = FileLimits(max_bytes=8 * 2**20, max_entries=2_000, deadline_s=10.0)
"""Eight MiB are more than a model reads, two thousand names more than it looks through; ten seconds outlast a slow disk."""


@dataclass(frozen=True, slots=True)
class Root:
    """A directory that agents may work in."""

    name: str
    path: str  # absolute, without `.`, `..` or a slash at the end
    owner: str
    access: frozenset[str] = frozenset({READ})
    ask: frozenset[str] = frozenset()  # accesses that an operator must grant
    label: str = ""
    limits: FileLimits = DEFAULT_LIMITS
    rule: str = ""  # where it stands: "files.roots.work (policy.yaml:12)"


@dataclass(frozen=True, slots=True)
class FileRules:
    """All of it. `base`: what a relative path begins at, a root's path. Raises nothing; the reader of the policy checks."""

    roots: tuple[Root, ...]
    base: str
    never_read: tuple[NamePattern, ...] = field(default_factory=lambda: tuple(map(pattern, NEVER_READ)))
    never_write: tuple[NamePattern, ...] = field(default_factory=lambda: tuple(map(pattern, NEVER_WRITE)))
    rule: str = "files"
