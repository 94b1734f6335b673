"""The command as a whole: help, start-up, exit codes, and a page of documentation that cannot go stale."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from agentd.ctl.exits import EXIT_WORDS, Exit
from agentd.ctl.main import COMMANDS, cli
from agentd.ctl.reference import _walk, reference
from ctl.office import run

PAGE = Path(__file__).parents[2] / "docs" / "agentctl.md"


def all_commands() -> list[tuple[str, click.Command]]:
    return [(path, command) for path, command, _ in _walk(cli, None, "agentctl")]


def test_the_listing_says_what_the_commands_say_of_themselves() -> None:
    context = click.Context(cli)
    for name, (_, words) in COMMANDS.items():
        command = cli.get_command(context, name)
        assert command is not None
        assert command.get_short_help_str(200) == words
        assert command.name == name


@pytest.mark.parametrize(("path", "command"), all_commands())
def test_each_command_and_option_has_help(path: str, command: click.Command) -> None:
    assert command.help
    for option in command.params:
        assert not isinstance(option, click.Option) or option.help, f"{path} {option.name}"
    result = run(*path.split()[1:], "--help")
    assert result.code == 0
    assert result.out.startswith(f"Usage: {path}")


@pytest.mark.parametrize(("path", "command"), all_commands())
def test_each_command_that_asks_has_json(path: str, command: click.Command) -> None:
    if isinstance(command, click.Group) or path in ("agentctl completion", "agentctl audit export"):
        return
    assert "as_json" in {option.name for option in command.params}


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == reference(), "python -m agentd.ctl.reference > docs/agentctl.md"


def test_exit_codes_stand_in_help_and_page() -> None:
    assert set(EXIT_WORDS) == set(Exit)
    shown = run("--help").out
    for code, words in EXIT_WORDS.items():
        assert f"    {int(code):<3} {words}" in shown
        assert f"| {int(code)} | {words} |" in PAGE.read_text()


def test_what_is_not_known_is_a_usage_error() -> None:
    assert run("nonsense").code == Exit.USAGE
    assert run("status", "--nonsense").code == Exit.USAGE
    assert run("policy", "nonsense").code == Exit.USAGE
    assert run("halt").code == Exit.USAGE


def test_version() -> None:
    from agentd import __version__

    assert run("--version").out == f"agentctl {__version__}\n"


HEAVY = ("rich", "asyncio", "aiohttp", "yaml", "cryptography", "sqlite3", "msgspec", "keyring")


def test_start_up_imports_nothing_heavy() -> None:
    """The measure of start-up that does not depend on the machine: what is imported for a help and for an answer."""
    code = (
        "import sys; from agentd.ctl.main import cli\n"
        "try: cli.main(args=sys.argv[1:], prog_name='agentctl')\n"
        "except SystemExit: pass\n"
        f"print([name for name in (*{HEAVY!r}, *{{'http.client'}}) if name in sys.modules], file=sys.stderr)"
    )
    loaded = {}
    for args in (["--help"], ["--socket", "/nonexistent", "status"]):
        done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
        loaded[args[0]] = done.stderr.strip().splitlines()[-1]
    assert loaded == {"--help": "[]", "--socket": "['http.client']"}


@pytest.mark.parametrize(
    ("shell", "sign"),
    [("bash", "complete -o nosort -F"), ("zsh", "#compdef agentctl"), ("fish", "complete --no-files")],
)
def test_completion(shell: str, sign: str) -> None:
    result = run("completion", shell)
    assert result.code == 0
    assert sign in result.out
    assert "_AGENTCTL_COMPLETE" in result.out


def test_completion_completes() -> None:
    environment = {
        "_AGENTCTL_COMPLETE": "bash_complete",
        "COMP_WORDS": "agentctl po",
        "COMP_CWORD": "1",
        "PATH": "/usr/bin:/bin",
    }
    command = [sys.executable, "-c", "from agentd.ctl.main import main; main()"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.stdout == "plain,policy\n"


def test_completion_of_another_shell_is_a_usage_error() -> None:
    assert run("completion", "tcsh").code == Exit.USAGE
