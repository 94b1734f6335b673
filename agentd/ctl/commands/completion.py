"""`agentctl completion`: completion for a shell."""

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command(short_help="Completion for your shell.")
@click.argument("shell", type=click.Choice(list(SHELLS)))
def completion(*, shell: str) -> None:
    """Write the completion script for a shell.

    \b
      bash:  agentctl completion bash > ~/.local/share/bash-completion/completions/agentctl
      zsh:   agentctl completion zsh  > "${fpath[1]}/_agentctl"
      fish:  agentctl completion fish > ~/.config/fish/completions/agentctl.fish
    """  # noqa: D301 - \b is an escape here: click keeps the lines after it
    root = click.get_current_context().find_root().command
    made = SHELLS[shell](root, {}, "agentctl", "_AGENTCTL_COMPLETE")
    # The base class alone: bash's own method would start a bash to ask for its version.
    click.echo(ShellComplete.source(made))
