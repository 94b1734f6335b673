"""`agentctl`: the operator's command. Nouns and verbs; what was asked goes to stdout, everything else to stderr.

A command's module is imported when it is run or asked for help, so that the start stays quick; the listing needs none of
them, since it has the one-line helps here (a test compares them with the commands' own)."""

import importlib

import click

from agentd import __version__
from agentd.ctl.exits import EXIT_WORDS
from agentd.ctl.options import socket_option

COMMANDS = {
    "status": ("status", "What the daemon is and does now."),
    "logs": ("logs", "Decisions with their outcomes, and what else happened."),
    "explain": ("explain", "One decision: who, what, why, and what came of it."),
    "spend": ("spend", "What was spent, and what the budgets still hold."),
    "key": ("key", "Keys for upstreams, in the keyring of this box."),
    "agent": ("agent", "The agents that the policy knows, and their tokens."),
    "policy": ("policy", "Check, try, ask and read the policy."),
    "audit": ("audit", "Verify, export and shorten the record."),
    "halt": ("halt", "Stop the box, an agent or a tier, now."),
    "resume": ("halt", "Let go on what was stopped."),
    "doctor": ("doctor", "Is this box well, and what would mend it?"),
    "connect": ("connect", "Point a client at agentd, take it back, or prove it."),
    "install": ("install", "Put agentd on this box as a service, or bring it up to date."),
    "uninstall": ("install", "Take agentd off this box; record, keys and policy stay."),
    "completion": ("completion", "Completion for your shell."),
}
"""Command -> (module under `agentd.ctl.commands`, one-line help)."""

EPILOG = "\n".join(["\b", "Exit codes:", *(f"  {int(code):<3} {words}" for code, words in EXIT_WORDS.items())])


class LazyGroup(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of `COMMANDS`: from looking to acting."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"agentd.ctl.commands.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The listing, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in COMMANDS.items()])


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@socket_option
@click.version_option(__version__, prog_name="agentctl", message="%(prog)s %(version)s")
def cli() -> None:
    """See and steer agentd on this box.

    Talks to the daemon over its operator socket. On a terminal it draws tables, in a pipe it writes plain lines;
    --json on a command gives stable JSON instead. Times are UTC.
    """


def main() -> None:
    """Entry point of the command; ends the process with an exit code of `agentd.ctl.exits`."""
    cli(prog_name="agentctl")


if __name__ == "__main__":
    main()
