"""The README's examples run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=["trainer", "pool"])
def test_the_library_examples_run(example: str, tmp_path):
    script = tmp_path / "example.py"
    script.write_text(example)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_the_first_example_takes_ten_lines():
    assert len(EXAMPLES[0].strip().splitlines()) <= 10


def test_every_option_and_preset_is_in_the_readme(ppo_tui):
    for option in set(re.findall(r"--[a-z-]+", ppo_tui("--help").stdout)) - {
        "--help",
        "--show-completion",
        "--version",
    }:
        assert option in README
    for line in ppo_tui("presets").stdout.splitlines():
        assert f"`{line.split()[0]}`" in README


def test_every_linked_file_exists():
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists(), target
