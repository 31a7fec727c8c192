"""The package: its metadata, its workflows, and a wheel that runs from anywhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import ppo_tui
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
FOR_DEVELOPERS = {"bench", "dev", "docs", "peers"}
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"[\w./-]+@(v\d+|release/v\d+)")


def classifiers(beginning: str) -> set[str]:
    found = (line.removeprefix(beginning) for line in PROJECT["classifiers"] if line.startswith(beginning))
    return {rest for rest in found if re.fullmatch(r"\d\.\d+", rest)}


def workflow(name: str) -> dict:
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text("utf-8"))


def test_ale_py_0_12_0_is_left_out():
    """It was reported as withdrawn and without ROMs; 0.12.1 replaced it."""
    (ranges,) = (Requirement(line).specifier for line in PROJECT["dependencies"] if line.startswith("ale-py"))
    assert "0.12.0" not in ranges
    assert "0.12.1" in ranges
    assert "0.11.2" in ranges


def test_every_package_is_pinned_within_its_range():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()[1:]
    pins = {name.lower().replace("_", "-"): version for name, _, version in (line.partition("==") for line in lines)}
    extras = PROJECT["optional-dependencies"]
    for line in [*PROJECT["dependencies"], *(line for extra in extras.values() for line in extra)]:
        requirement = Requirement(line)
        assert pins[requirement.name.lower()] in requirement.specifier, line


def test_make_keeps_what_python_has_compiled_even_where_the_environment_says_not_to():
    makefile = f"include {ROOT / 'Makefile'}\nprobe:\n\t@env\n"
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    command = ["make", "--silent", "-f", "-", "probe"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, input=makefile, capture_output=True, text=True, check=True
    )
    assert "PATH=" in done.stdout
    assert "PYTHONDONTWRITEBYTECODE" not in done.stdout


def test_the_pythons_promised_are_those_that_the_workflow_tests():
    promised = classifiers("Programming Language :: Python :: ")
    tested = {version for job in workflow("ci.yml")["jobs"].values() for version in versions(job)}
    assert promised == tested
    assert min(promised, key=Version) in SpecifierSet(PROJECT["requires-python"])


def versions(job: dict) -> set[str]:
    matrix = job.get("strategy", {}).get("matrix", {})
    return {*matrix.get("python", ()), *(each["python"] for each in matrix.get("include", ()))}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_and_pins_its_actions(path: Path):
    found = workflow(path.name)
    assert found["permissions"] == {"contents": "read"}
    for name, job in found["jobs"].items():
        publishes = name == "publish"
        assert job.get("permissions", {"id-token": "write"} if publishes else {}) == (
            {"id-token": "write"} if publishes else {}
        )
        assert job["timeout-minutes"]
        for step in job["steps"]:
            if action := step.get("uses"):
                assert PINNED.fullmatch(action), action
            assert "secrets." not in str(step)


def test_the_workflows_call_targets_of_the_makefile():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for path in WORKFLOWS:
        for target in re.findall(r"make (test[\w-]*)", path.read_text("utf-8")):
            assert target in targets | {"test-portable"}, target


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"title", "message", "authors", "license", "abstract"} <= set(citation)
    assert citation["version"] == ppo_tui.__version__
    assert citation["license"] == PROJECT["license"]


def test_every_extra_for_users_is_in_the_table_of_the_readme():
    rows = set(re.findall(r"^\| `(\w+)` \| [^|]+ \| [\d.]+ \|$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE))
    assert rows == set(PROJECT["optional-dependencies"]) - FOR_DEVELOPERS


@pytest.mark.slow
def test_the_wheel_carries_its_presets_and_runs_from_elsewhere(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, ROOT], check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")  # built from the source archive, which is thereby complete
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"ppo_tui/presets/{path.name}" for path in (ROOT / "presets").glob("*.toml")} <= names
    assert {f"ppo_tui/presets/curves/{path.name}" for path in (ROOT / "presets/curves").glob("*.csv")} <= names
    assert {"ppo_tui/tui/app.tcss", "ppo_tui/reporting/page.css", "ppo_tui/py.typed"} <= names
    assert {name.partition("/")[0] for name in names} == {"ppo_tui", f"ppo_tui-{ppo_tui.__version__}.dist-info"}
    assert not [name for name in names if "test" in Path(name).name]
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
