"""`--help`, and the options of `ppo-tui` itself."""

from __future__ import annotations

import re
from collections import defaultdict

import typer

from ppo_tui.cli import app

MEANS_SOMETHING_ELSE = {"--episodes", "--metric"}
"""Options with a help of their own in each command."""


def test_every_command_is_a_whole_sentence_in_the_overview(ppo_tui):
    overview = ppo_tui("--help", COLUMNS="80").stdout.partition("Commands:")[2]
    lines = overview.strip().splitlines()
    assert len(lines) >= 16
    for line in lines:
        assert re.fullmatch(r"  \w+ +[A-Z].*[^.]\.", f"  {line.strip()}"), line


def test_commands_share_the_declaration_of_an_option():
    root = typer.main.get_command(app)
    helps = defaultdict(set)
    for command in (root, *root.commands.values()):
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.name != "help":
                helps[parameter.opts[0]].add(parameter.help)
    assert {option for option, texts in helps.items() if len(texts) > 1} == MEANS_SOMETHING_ELSE


def test_debug_shows_the_traceback_of_a_command_s_error_too(ppo_tui):
    hidden, shown = ppo_tui("eval", "nothing"), ppo_tui("--debug", "eval", "nothing")
    assert "Traceback" not in hidden.stderr
    assert "Traceback" in shown.stderr
    assert (hidden.returncode, shown.returncode) == (2, 2)
