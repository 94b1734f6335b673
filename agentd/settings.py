"""Where agentd lives and how it is run: flags over `agentd.yaml` over the defaults of system or user mode.

System mode is what the systemd unit gets: /run/agentd, /var/lib/agentd, /etc/agentd. User mode, which is the rest, is a trial:
the same layout under the XDG directories, with agent and operator under one uid, which is no boundary.
The policy is not here: it is reloaded, these are read once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from agentd.core.accounting.retention import DAY_S, FLOOR_S
from agentd.core.types.errors import AgentdError

SYSTEM_RUN = Path("/run/agentd")
SYSTEM_STATE = Path("/var/lib/agentd")
SYSTEM_CONFIG = Path("/etc/agentd")
AGENTS_GROUP = "agentd-agents"
OPERATORS_GROUP = "agentd-operators"
SHIPPED_POLICY = Path(__file__).resolve().parent.parent / "etc" / "policy.yaml"


@dataclass(frozen=True, slots=True)
class Keeping:
    """`record:` of the settings: `keep` is how long lines are kept, in seconds; None: for ever."""

    keep_s: int | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """How this daemon runs. Seconds are the clocks of the stages of shutdown."""

    policy: Path
    state: Path
    run: Path
    user_mode: bool
    simulate: bool = False
    tcp: str | None = None  # "127.0.0.1:8710": the agents' door over TCP; None opens none
    finish_s: float = 20.0  # streams in flight may end by themselves
    cut_s: float = 5.0  # then they are cut, and their lines closed
    record: Keeping = Keeping()  # how long the record is kept
    new_ledger: str | None = None  # the reason for beginning a new chain beside a lost one

    @property
    def agent_socket(self) -> Path:
        """The agents' door."""
        return self.run / "agent.sock"

    @property
    def operator_socket(self) -> Path:
        """The operator's door."""
        return self.run / "operator.sock"

    @property
    def simulator_socket(self) -> Path:
        """The stand-in for the upstream, in a directory of its own that only this uid enters."""
        return self.state / "simulator.sock"


class SettingsRefused(AgentdError):
    """The settings file or a flag cannot be used."""


def settings_from(environ: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """The settings in force. `flags`: policy, state, run, simulate, tcp, system, config, new_ledger; None is "not given".

    Raises `SettingsRefused` naming the file or flag and the cure.
    """
    system = bool(flags.get("system")) or "STATE_DIRECTORY" in environ  # systemd names it to its services
    base = _system_defaults() if system else _user_defaults(environ)
    given = flags.get("config")
    config = Path(given) if given else base.policy.parent / "agentd.yaml"
    from_file: dict[str, Any] = {**_file_values(config, required=bool(given))}
    base = replace(base, **from_file)
    chosen: dict[str, Any] = {
        name: _typed(name, flags[name])
        for name in ("policy", "state", "run", "simulate", "tcp", "new_ledger")
        if flags.get(name)
    }
    return replace(base, **chosen)


def _system_defaults() -> Settings:
    return Settings(SYSTEM_CONFIG / "policy.yaml", SYSTEM_STATE, SYSTEM_RUN, user_mode=False)


def _user_defaults(environ: Mapping[str, str]) -> Settings:
    config = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "agentd"
    run = (
        Path(environ["XDG_RUNTIME_DIR"]) / "agentd"
        if environ.get("XDG_RUNTIME_DIR")
        else _state_home(environ) / "agentd" / "run"
    )
    policy = config / "policy.yaml"
    return Settings(policy if policy.exists() else SHIPPED_POLICY, _state_home(environ) / "agentd", run, user_mode=True)


def _state_home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")


def _file_values(path: Path, *, required: bool) -> dict[str, object]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if required:
            raise SettingsRefused(
                "settings.missing", f"there is no settings file {path}", "Leave --config out to run with defaults."
            ) from None
        return {}
    except OSError as error:
        raise SettingsRefused("settings.unreadable", f"{path} cannot be read: {error.strerror}") from None
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise SettingsRefused("settings.syntax", f"{path}: {error}") from None
    if not isinstance(values, dict):
        raise SettingsRefused("settings.syntax", f"{path}: a map of settings is expected")
    known = {field.name for field in fields(Settings)} - {"user_mode", "new_ledger"}
    unknown = sorted(set(values) - known)
    if unknown:
        raise SettingsRefused(
            "settings.unknown", f"{path}: unknown setting {unknown[0]}", f"Known are: {', '.join(sorted(known))}."
        )
    return {name: _typed(name, value) for name, value in values.items()}


def _typed(name: str, value: object) -> object:
    """A value as its setting wants it. Numbers that are written as text are taken; a word for yes or no is not."""
    try:
        if name in ("finish_s", "cut_s"):
            return float(str(value))
        if name == "record":
            return _keeping(value)
        if name == "simulate" and isinstance(value, bool):
            return value
        if isinstance(value, str):
            return value if name in ("new_ledger", "tcp") else Path(value)
    except ValueError:
        pass
    raise SettingsRefused(
        "settings.type", f"setting {name} cannot be {value!r}", "docs/architecture.md lists what each takes."
    )


def _keeping(value: object) -> Keeping:
    """`{keep: 90d}` (d or w), or `{keep: forever}`. Raises `ValueError`, and `SettingsRefused` for less than budgets need."""
    if not isinstance(value, dict) or set(value) != {"keep"}:
        raise ValueError(value)
    if value["keep"] == "forever":
        return Keeping()
    found = re.fullmatch(r"([0-9]{1,5})([dw])", str(value["keep"]))
    if found is None:
        raise ValueError(value)
    keep_s = int(found[1]) * (7 * DAY_S if found[2] == "w" else DAY_S)
    if keep_s < FLOOR_S:
        message = f"setting record.keep cannot be {value['keep']}: budgets and quotas look back {FLOOR_S // DAY_S} days"
        raise SettingsRefused("settings.range", message, f"record: {{keep: {FLOOR_S // DAY_S}d}} or longer, or forever.")
    return Keeping(keep_s)
