"""`docs/agentctl.md`, made of the commands' own help so that it cannot say anything else.

`python -m agentd.ctl.reference > docs/agentctl.md` writes it; a test compares the two."""

from collections.abc import Iterator

import click

from agentd.ctl.exits import EXIT_WORDS
from agentd.ctl.main import cli

WIDTH = 100
"""Columns of the help texts: what a page shows without scrolling."""

HEAD = """# agentctl

The operator's command. It talks to the daemon over the operator socket and to nobody else. stdout holds what was asked,
stderr everything else; on a terminal tables are drawn, in a pipe each row is one plain line, and `--json` gives stable
JSON. Times are UTC, money is US dollars; in JSON money is a whole number of nano-dollars (`_nusd`). Control and
bidirectional characters in data are written out (`\\x1b`, `\\u202e`), never sent to the terminal.

This page is made of the commands' own help: `python -m agentd.ctl.reference > docs/agentctl.md`.

## Where the daemon is looked for

`--socket PATH`, else `AGENTD_OPERATOR_SOCKET`, else the first of these that is there: `/run/agentd/operator.sock`,
`$XDG_RUNTIME_DIR/agentd/operator.sock`, `/run/user/UID/agentd/operator.sock`, `~/.local/state/agentd/run/operator.sock`.

## Exit codes

| code | means |
|---|---|
"""


def reference() -> str:
    """The page."""
    codes = "".join(f"| {int(code)} | {words} |\n" for code, words in EXIT_WORDS.items())
    parts = [_section(path, command, context) for path, command, context in _walk(cli, None, "agentctl")]
    return HEAD + codes + "\n" + "\n".join(parts)


def _walk(
    command: click.Command, parent: click.Context | None, name: str
) -> Iterator[tuple[str, click.Command, click.Context]]:
    """A command and all below it, with the context that knows its whole name."""
    settings = command.context_settings
    context = click.Context(command, parent, name, terminal_width=WIDTH, max_content_width=WIDTH, **settings)
    yield context.command_path, command, context
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found is not None:
                yield from _walk(found, context, below)


def _section(path: str, command: click.Command, context: click.Context) -> str:
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    return f"## {path}\n\n```text\n{text}\n```\n"


if __name__ == "__main__":
    click.echo(reference(), nl=False)
