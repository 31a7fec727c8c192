"""Each way to install: from the wheel into an empty environment, to a game on the screen."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import ppo_tui
from benchmarks.installing import CONSTRAINTS, INSTALL_SECONDS, PYTHON, WAYS, Uvx, Way, build_wheel, first_picture

pytestmark = pytest.mark.slow

UNWANTED = ("torchvision", "nvidia-cublas", "matplotlib", "tensorboard", "pytest", "box2d")
"""Packages of extras, of developers, and of a PyTorch of several gigabytes."""

DRAW = """
import gymnasium
env = gymnasium.make("CartPole-v1", render_mode="rgb_array")
env.reset()
print(env.render().shape)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module", params=[name for name in WAYS if name != "make run"])
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Iterator[Way]:
    """An empty environment with ppo-tui from the wheel; about a gigabyte, removed at once."""
    kind = WAYS[request.param]
    if kind.tool_path() is None:
        pytest.skip(f"{kind.tool} is not installed here: pip install {kind.tool}")
    way = kind(tmp_path_factory.mktemp("way") / "empty")
    try:
        way.install(wheel)
        yield way
    finally:
        shutil.rmtree(way.folder, ignore_errors=True)


def test_the_command_is_there_without_what_training_does_not_need(way: Way):
    assert way.run(*way.command, "--version").strip().endswith(ppo_tui.__version__)
    assert way.run(*way.python, "-m", "ppo_tui", "--version") == way.run(*way.command, "--version")
    assert way.run(*way.python, "-c", "import ppo_tui; print(ppo_tui.__file__)").startswith(str(way.folder))
    packages = "from importlib.metadata import distributions; print(*(each.name.lower() for each in distributions()))"
    installed = set(way.run(*way.python, "-c", packages).split())
    assert {"ppo-tui", "torch", "ale-py", "pygame-ce"} <= installed
    assert not installed & set(UNWANTED)


def test_the_first_picture_shows_a_game_that_is_learnt(way: Way):
    folder = way.folder / "first"
    folder.mkdir()
    first_picture([*way.command, "cartpole"], folder, way.variables)
    assert way.run(*way.python, "-c", DRAW).strip() == "(400, 600, 3)"
    listed = json.loads(way.run(*way.command, "runs", folder / "runs", "--json"))
    assert [run["name"] for run in listed] == ["cartpole-1"]


def test_breakout_needs_no_extra(way: Way):
    way.run(*way.command, "breakout", "--headless", "--total-steps", "1024")
    assert (way.folder / "runs" / "breakout-1" / "checkpoints" / "latest").exists()


def test_the_doctor_is_content(way: Way):
    findings = {each["check"]: each for each in json.loads(way.run(*way.command, "doctor", "--json"))}
    for check in ("Python", "packages", "Atari"):
        assert findings[check]["status"] == "ok"
    assert "installed: none" in findings["optional"]["found"]


def test_the_remedy_for_an_absent_extra_installs_it(way: Way, wheel: Path):
    """As it is printed; the constraints alone are added, by the variables of each installer."""
    way.run(*way.command, "cartpole", "--headless", "--total-steps", "256", "--name", "served")
    way.variables |= {"PIP_CONSTRAINT": str(CONSTRAINTS), "UV_CONSTRAINT": str(CONSTRAINTS), "UV_PYTHON": str(PYTHON)}
    refusal = way.run(
        "bash", "-c", f"{shlex.join([*way.command, 'serve', 'runs/served', '--port', '1'])} 2>&1; test $? = 2"
    )
    assert "textual-serve, which shows the screen in browsers, is not installed" in refusal
    remedy = shlex.split(refusal.strip().splitlines()[-1])
    program = WAYS[way.name].tool_path() if way.name != "pip" else str(way.environment / "bin" / "pip")
    if isinstance(way, Uvx):
        assert remedy[0] == "uvx"
        way.run(str(program), *remedy[1:-2], "python", "-c", "import textual_serve, ppo_tui")
        return
    way.run(str(program), *remedy[1:], seconds=INSTALL_SECONDS)
    way.run(*way.python, "-c", "import textual_serve, ppo_tui")


def test_an_upgrade_keeps_the_runs(way: Way, wheel: Path):
    if isinstance(way, Uvx):
        pytest.skip("uvx installs nothing")
    way.run(*way.command, "cartpole", "--headless", "--total-steps", "512", "--name", "kept")
    again = {
        "pip": [way.environment / "bin" / "pip", "install", "--force-reinstall", "--no-deps", wheel],
        "pipx": [
            WAYS["pipx"].tool_path() or "",
            "runpip",
            "ppo-tui",
            "install",
            "--force-reinstall",
            "--no-deps",
            wheel,
        ],
        "uv tool": [WAYS["uv tool"].tool_path() or "", "tool", "upgrade", "--reinstall-package", "ppo-tui", "ppo-tui"],
    }[way.name]
    way.run(*again)
    way.run(*way.command, "resume", "kept", "--headless", "--total-steps", "1024")
