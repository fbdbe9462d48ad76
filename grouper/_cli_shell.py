"""Completion by the shell (命令补全): commands and options by click, schemes and policies by their ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class


def scheme_names() -> Sequence[str]:
    """List the shipped schemes."""
    from grouper.tables import scheme_ids

    return scheme_ids()


def policy_names() -> Sequence[str]:
    """List the shipped policies."""
    from grouper.tables import policy_ids

    return policy_ids()


def all_names() -> Sequence[str]:
    """List both."""
    return [*scheme_names(), *policy_names()]


NAMES: dict[str, Callable[[], Sequence[str]]] = {
    **dict.fromkeys(("scheme", "schemes", "base", "previous", "a", "b"), scheme_names),
    **dict.fromkeys(("policy", "policies", "inherits"), policy_names),
    "name": all_names,
}
"""Parameters that take an id or a path, and the ids."""

METAVARS = ("ID|PATH", "A", "B")


class Named(click.types.StringParamType):
    """A text that is an id or a path: ids are completed, and where none begins so, paths."""

    def __init__(self, ids: Callable[[], Sequence[str]]) -> None:
        self.ids = ids

    def shell_complete(self, _: Any, __: Any, incomplete: str) -> list[CompletionItem]:
        """Return the ids that begin so."""
        found = [CompletionItem(i) for i in self.ids() if i.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]


def commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command below a group that is no group itself, with the words that call it."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield (*path, name), command


def register(cli: click.Group) -> None:
    """Add the command, and complete ids in all others."""
    for _, command in commands(cli):
        for param in command.params:
            if param.metavar in METAVARS and param.name in NAMES:
                param.type = Named(NAMES[param.name])

    @cli.command()
    @click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
    def completion(shell: str) -> int:
        """Print what makes a shell complete commands, options, schemes and policies.

        \b
        grouper completion bash > ~/.local/share/bash-completion/completions/grouper
        grouper completion zsh > ~/.zfunc/_grouper
        grouper completion fish > ~/.config/fish/completions/grouper.fish
        """
        made = get_completion_class(shell)
        assert made is not None
        click.echo(made(cli, {}, "grouper", "_GROUPER_COMPLETE").source())
        return 0
