"""Dependencies run downwards, and light things stay light."""

from __future__ import annotations

import graphlib
import subprocess
import sys
import textwrap

import grimp
import pytest

from tests.conftest import ROOT


def test_the_layers_of_the_design_hold():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run([*command, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_files_import_each_other_in_a_circle():
    """Imports inside functions count; those for types alone do not exist when the program runs."""
    graph = grimp.build_graph("ppo_tui", exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    graphlib.TopologicalSorter(imports).prepare()  # a CycleError names the files of a circle


def loaded_after(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after running `code`."""
    script = textwrap.dedent(code) + "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import ppo_tui", {"torch", "textual", "gymnasium", "numpy", "typer", "rich"}),
        ("import ppo_tui.__main__", {"torch", "textual", "gymnasium", "numpy", "typer", "rich"}),
        ("import ppo_tui.cli", {"torch", "textual", "gymnasium", "numpy"}),
        ("from ppo_tui.config import load_preset; load_preset('breakout')", {"torch", "textual", "gymnasium"}),
        ("import ppo_tui.workers.worker, ppo_tui.envs.atari", {"torch", "textual", "rich", "typer"}),
        ("from ppo_tui.training import start_pool", {"torch", "textual"}),
        ("import ppo_tui.launch", {"torch", "textual"}),
        ("import ppo_tui.tui", {"torch"}),
        ("from ppo_tui import Trainer; import ppo_tui.sinks.console", {"textual"}),
        ("import ppo_tui.ppo.losses, ppo_tui.ppo.gae", {"textual", "multiprocessing.pool"}),
    ],
)
def test_importing_loads_no_more_than_it_needs(code: str, absent: set[str]):
    assert not loaded_after(code) & absent


def test_a_headless_run_never_loads_textual(tmp_path):
    code = f"""
        import sys
        from ppo_tui.cli import app
        sys.argv = ["ppo-tui", "--preset", "cartpole", "--headless", "--total-steps", "256",
                    "--run-dir", {str(tmp_path / "run")!r}]
        out, sys.stdout = sys.stdout, sys.stderr
        app(standalone_mode=False)
        sys.stdout = out
    """
    loaded = loaded_after(code)
    assert "torch" in loaded
    assert "textual" not in loaded
