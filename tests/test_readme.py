"""The pages of commands and presets are complete; the README's links lead somewhere."""

from __future__ import annotations

import re

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text("utf-8")
OPTION = r"(?<![\w-])--[a-z][a-z-]*"
UNDOCUMENTED = {"--help", "--version", "--show-completion"}


def test_every_option_is_on_the_page_of_commands(ppo_tui):
    page = (ROOT / "docs" / "commands.md").read_text("utf-8")
    documented = set(re.findall(OPTION, page))
    overview = ppo_tui("--help").stdout
    commands = re.findall(r"^  ([a-z]+) ", overview.partition("Commands:")[2], re.MULTILINE)
    assert {"resume", "eval", "doctor"} <= set(commands)
    for command in commands:
        assert f"ppo-tui {command}" in page
    for text in (overview, *(ppo_tui(command, "--help").stdout for command in commands)):
        assert set(re.findall(OPTION, text)) - UNDOCUMENTED <= documented


def test_every_preset_is_on_the_page_of_presets(ppo_tui):
    page = (ROOT / "docs" / "presets.md").read_text("utf-8")
    for line in ppo_tui("presets").stdout.splitlines():
        assert f"`{line.split()[0]}`" in page


def test_every_linked_file_exists():
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists(), target
