"""The wheel is complete: it runs from anywhere, presets included."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_the_wheel_carries_its_presets_and_runs_from_elsewhere(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"ppo_tui/presets/{path.name}" for path in (ROOT / "presets").glob("*.toml")} <= set(names)
    assert {f"ppo_tui/presets/curves/{path.name}" for path in (ROOT / "presets/curves").glob("*.csv")} <= set(names)
    assert "ppo_tui/tui/app.tcss" in names
    # The dependencies come from this environment; ppo_tui itself only from the wheel.
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False, symlinks=True)
    site = next((environment / "lib").glob("python*")) / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    (site / "borrowed.pth").write_text("\n".join(borrowed))
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    located = subprocess.run(
        [environment / "bin" / "python", "-c", "import ppo_tui; print(ppo_tui.__file__)"],
        cwd=tmp_path, env=variables, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert located.stdout.startswith(str(site))
    done = subprocess.run(
        [environment / "bin" / "python", "-m", "ppo_tui", "--preset", "cartpole", "--total-steps", "256"],
        cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "runs").is_dir()
