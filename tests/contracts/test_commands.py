"""What every command has: --json where it prints, ids that a shell completes (examples: test_manners)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner
from serving import MAIN

from grouper import policy_ids, scheme_ids
from grouper.cli import cli

NO_FACTS = {"serve", "pipe", "completion", "tables schema"}
"""Commands whose output is not facts: a service, JSON lines, a script, a schema."""


def commands(group: click.Group = cli, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        full = f"{path} {name}".strip()
        if isinstance(command, click.Group):
            yield from commands(command, full)
        else:
            yield full, command


COMMANDS = dict(commands())


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - NO_FACTS))
def test_what_prints_facts_prints_json(name: str) -> None:
    options = {o for p in COMMANDS[name].params for o in p.opts}
    assert "--json" in options


def test_every_scheme_and_policy_is_completed() -> None:
    for name, command in COMMANDS.items():
        for p in command.params:
            if not {"--scheme", "--policy"} & set(p.opts):
                continue
            ids = policy_ids() if "--policy" in p.opts else scheme_ids()
            with click.Context(command) as context:
                found = [c.value for c in p.shell_complete(context, "")]
                assert found == list(ids), (name, p.name)
                (other,) = p.shell_complete(context, "./my")
                assert (other.value, other.type) == ("./my", "file")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(shell: str) -> None:
    said = CliRunner().invoke(cli, ["completion", shell])
    assert said.exit_code == 0
    assert "_GROUPER_COMPLETE" in said.output


def test_a_shell_asks_and_is_answered() -> None:
    asked = {"COMP_WORDS": "grouper group x --scheme chs", "COMP_CWORD": "4"}
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv[0] = 'grouper'; {MAIN}"],
        env={**os.environ, **asked, "_GROUPER_COMPLETE": "bash_complete"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "plain,chs-drg-1.1\n" in done.stdout
