"""Commands to install extras and upgrade fit the way ppo-tui was installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ppo_tui.extras import install_command, upgrade_command

WHEEL = "file:///home/ada/ppo_tui-0.1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("place", "marker", "install", "upgrade"),
    [
        ("venv", "pyvenv.cfg", "pip install 'ppo-tui[plot,report]'", "pip install --upgrade ppo-tui"),
        ("tools/ppo-tui", "uv-receipt.toml", "uv tool install 'ppo-tui[plot,report]'", "uv tool upgrade ppo-tui"),
        (
            "pipx/venvs/ppo-tui",
            "pipx_metadata.json",
            "pipx runpip ppo-tui install 'ppo-tui[plot,report]'",
            "pipx upgrade ppo-tui",
        ),
        (
            "cache/archive-v0/f00",
            "pyvenv.cfg",
            "uvx --from 'ppo-tui[plot,report]' ppo-tui …",
            "uvx ppo-tui@latest …",
        ),
    ],
    ids=["pip", "uv tool", "pipx", "uvx"],
)
def test_the_commands_fit_the_environment(tmp_path: Path, place: str, marker: str, install: str, upgrade: str):
    prefix = tmp_path / place
    prefix.mkdir(parents=True)
    (prefix / marker).touch()
    assert install_command("plot", "report", prefix=prefix, origin="") == install
    assert upgrade_command(prefix=prefix) == upgrade


@pytest.mark.parametrize(
    ("origin", "requirement"),
    [
        (json.dumps({"url": WHEEL, "archive_info": {}}), f"ppo-tui[plot] @ {WHEEL}"),
        (json.dumps({"url": "file:///home/ada/clone", "dir_info": {"editable": True}}), "ppo-tui[plot]"),
        ("{", "ppo-tui[plot]"),
        ("[]", "ppo-tui[plot]"),
        ('{"url": 7}', "ppo-tui[plot]"),
    ],
)
def test_uv_is_told_the_file_that_it_installed_from(tmp_path: Path, origin: str, requirement: str):
    (tmp_path / "uv-receipt.toml").touch()
    assert install_command("plot", prefix=tmp_path, origin=origin) == f"uv tool install '{requirement}'"
