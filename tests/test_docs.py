"""Pages of docs/: generated ones are current, and the site builds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ppo_tui.explanations import groups
from tests.conftest import ROOT

DOCS = ROOT / "docs"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def python(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", ["architecture", "diagnostics", "keys", "metrics", "settings"])
def test_a_generated_page_is_up_to_date(name: str):
    done = python("-c", f"import write_{name}; print(write_{name}.page(), end='')", cwd=DOCS)
    assert (DOCS / f"{name}.md").read_text("utf-8") == done.stdout, f"run python docs/write_{name}.py\n{done.stderr}"


def test_the_programs_for_pictures_and_curves_fit_the_package():
    done = python("-c", "import take_picture, take_session, write_curve", cwd=DOCS)
    assert done.returncode == 0, done.stderr


def test_the_table_of_healthy_values_in_the_mathematics_is_that_of_the_cards():
    code = "import write_metrics; print(write_metrics.with_table(write_metrics.MATHEMATICS.read_text('utf-8')), end='')"
    assert (DOCS / "mathematics.md").read_text("utf-8") == python("-c", code, cwd=DOCS).stdout


def test_every_card_links_to_a_section():
    for each in (each for group in groups().values() for each in group):
        page, _, section = each.link.partition("#")
        text = (DOCS / page).read_text("utf-8")
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not section or section in anchors or f"({section})=" in text, f"{each.key}: {each.link}"


def test_the_picture_of_the_layers_is_that_of_the_import_contract():
    done = python("-c", "import write_architecture; print(write_architecture.picture(), end='')", cwd=DOCS)
    assert (DOCS / "images" / "layers.svg").read_text("utf-8") == done.stdout, "run python docs/write_architecture.py"


def test_every_file_named_in_the_docs_exists():
    """Of the package and of the tests; with or without the package's name."""
    for page in [*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        for name in re.findall(r"`((?:\w+/)+\w+\.py)\b", page.read_text("utf-8")):
            assert (ROOT / name).exists() or (ROOT / "ppo_tui" / name).exists(), f"{page.name}: {name}"


def test_the_pages_make_a_site_without_a_warning(tmp_path: Path):
    """Broken links, orphaned pages and moved code are warnings."""
    done = python("-m", "sphinx", "--fail-on-warning", "--quiet", "-b", "html", DOCS, tmp_path / "site", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    mathematics = (tmp_path / "site" / "mathematics.html").read_text("utf-8")
    assert "def</span>" in mathematics or "clipped_surrogate_loss" in mathematics
