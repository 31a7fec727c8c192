"""Commands to install extras and upgrade fit the way ppo-tui was installed."""

from __future__ import annotations

import json
import shlex
import sys
import types
from pathlib import Path

import pytest

from ppo_tui.extras import install_command, is_installed, upgrade_command

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


def test_names_with_a_space_or_a_quote_are_one_word_of_the_command(tmp_path: Path):
    prefix = tmp_path / "my $(touch PWNED)"
    prefix.mkdir()
    (prefix / "pipx_metadata.json").touch()
    assert shlex.split(install_command("plot", prefix=prefix, origin=""))[2] == prefix.name
    assert shlex.split(upgrade_command(prefix=prefix))[2] == prefix.name
    (prefix / "pipx_metadata.json").rename(prefix / "uv-receipt.toml")
    url = "file:///o'brien/ppo_tui.whl"
    command = install_command("plot", prefix=prefix, origin=json.dumps({"url": url}))
    assert shlex.split(command)[3] == f"ppo-tui[plot] @ {url}"


def test_a_folder_that_a_package_left_behind_is_no_package(tmp_path: Path, monkeypatch):
    (tmp_path / "left_behind" / "run-1").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    assert not is_installed("left_behind")
    assert not is_installed("never_there")
    assert is_installed("json")
    monkeypatch.setitem(sys.modules, "odd", types.ModuleType("odd"))
    sys.modules["odd"].__spec__ = None
    assert not is_installed("odd")
