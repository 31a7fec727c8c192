"""The first line of every docstring is short and plain (CONTRIBUTING.md, "English")."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.conftest import ROOT

FOLDERS = ("ppo_tui", "benchmarks", "docs")
MAX_WORDS = 12
RELATIVE = re.compile(r"\b(what|that|who|whose|whom|which|where)\b")

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def documented() -> Iterator[tuple[str, Documented, str | None]]:
    """Place, node and docstring of everything outside the tests that can have one."""
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, Documented):
                place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)} {getattr(node, 'name', 'module')}"
                yield place, node, ast.get_docstring(node)


def fault(line: str) -> str | None:
    """The rule broken by the first line of a docstring, or None."""
    words, relative = len(line.split()), RELATIVE.search(line.lower())
    if words > MAX_WORDS:
        return f"{words} words, at most {MAX_WORDS}"
    return f"the relative pronoun {relative[0]!r}" if relative else None


def test_first_lines_of_docstrings_are_short_and_without_relative_clauses():
    lines = [(place, text.splitlines()[0]) for place, _, text in documented() if text]
    assert len(lines) > 1000
    faults = [f"{place}: {broken}: {line}" for place, line in lines if (broken := fault(line))]
    assert not faults, "\n" + "\n".join(faults)


def test_every_module_says_in_a_docstring_what_it_holds():
    bare = [place for place, node, text in documented() if isinstance(node, ast.Module) and not text]
    assert not bare, "\n" + "\n".join(bare)
