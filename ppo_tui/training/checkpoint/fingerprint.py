"""A fingerprint of numeric code. Imports no torch.

It follows syntax and not text: definitions that move to another module or change places, comments, docstrings,
annotations, imports and messages of errors leave it as it is. ``python -m ppo_tui.training.checkpoint.fingerprint``
prints it.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

NUMERIC_MODULES = (
    "distributed/ranks.py",
    "envs",
    "ppo",
    "training/a3c",
    "training/collect.py",
    "training/controls.py",
    "training/device.py",
    "training/inbox.py",
    "training/live_settings.py",
    "training/overlap.py",
    "training/ppo_engine.py",
    "training/recovery.py",
    "training/trainer.py",
    "workers/worker.py",
)
"""Modules and packages of this program that step environments, choose actions and learn."""

SAME_NUMBERS = {
    "120c5f020285": "5648bfa9ee6b",  # the last version whose fingerprint was one of whole files
    "a24975b8206a": "5648bfa9ee6b",
    "107d759ea1b4": "5648bfa9ee6b",
    "fc230a0c5164": "5648bfa9ee6b",
    "33fd8015a082": "5648bfa9ee6b",
    "ad4c2b5e1d68": "5648bfa9ee6b",
    "6aa84620fe87": "5648bfa9ee6b",
    "e1436bbb8642": "5648bfa9ee6b",
    "9c883235669e": "5648bfa9ee6b",
    "aa1aa9f3adbd": "5648bfa9ee6b",
    "1964e754bd12": "5648bfa9ee6b",
    "4aaa5588c1d9": "5648bfa9ee6b",
    "9661338dd033": "5648bfa9ee6b",
    "966aeee966a7": "5648bfa9ee6b",
}
"""Former fingerprint → today's, of versions whose numbers are the same, bit for bit.

A checkpoint with one of these resumes without ``--force``. After a change of numeric code, `code_fingerprint` is
another one, and a test requires an update of this table:

- The change has been shown to change no bit (a resumed run ends as one of the version before does): add the fingerprint
  of before, and give every entry today's.
- It changes numbers: empty the table.
"""


def same_numbers(one: str, other: str) -> bool:
    """Whether programs with these fingerprints compute the same numbers."""
    return SAME_NUMBERS.get(one, one) == SAME_NUMBERS.get(other, other)


@functools.cache
def code_fingerprint() -> str:
    """Twelve digits, different for different numeric code."""
    return fingerprint_of(file.read_bytes() for file in numeric_files())


def numeric_files() -> list[Path]:
    """The files of `NUMERIC_MODULES`, without ``__init__.py``.

    An ``__init__.py`` only exports names.
    """
    root = Path(__file__).resolve().parents[2]
    paths = [root / module for module in NUMERIC_MODULES]
    files = [file for path in paths for file in ([path] if path.suffix else path.rglob("*.py"))]
    return [file for file in files if file.name != "__init__.py"]


def fingerprint_of(sources: Iterable[bytes]) -> str:
    """The fingerprint of all top-level definitions in these sources."""
    hashes = sorted(
        hashlib.sha256(_canonical(statement).encode()).digest()
        for source in sources
        for statement in ast.parse(source).body
        if not _computes_nothing(statement, in_class=False)
    )
    return hashlib.sha256(b"".join(hashes)).hexdigest()[:12]


_SKIPPED_FIELDS = {"annotation", "returns", "ctx", "kind", "type_comment", "type_params"}


def _canonical(statement: ast.stmt) -> str:
    parts: list[str] = []
    _write(statement, parts.append)
    return "".join(parts)


def _write(node: Any, write: Callable[[str], None], *, in_class: bool = False) -> None:
    """Write the numeric part of a syntax tree, independent of Python's version."""
    if isinstance(node, list):
        write("[")
        for item in node:
            if not _computes_nothing(item, in_class=in_class):
                _write(item, write, in_class=in_class)
        write("]")
    elif not isinstance(node, ast.AST):
        write(repr(node))
    elif isinstance(node, ast.AnnAssign) and node.value and not in_class:
        _write(ast.Assign([node.target], node.value), write)
    elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        _write(ast.Raise(node.exc.func, node.cause), write)
    elif isinstance(node, ast.Call) and _name(node.func).endswith("Error"):
        _write(node.func, write)
    elif isinstance(node, ast.Call) and _name(node.func) == "cast":
        _write(node.args[1], write)
    else:
        write(f"{type(node).__name__}(")
        for name, value in ast.iter_fields(node):
            if name not in _SKIPPED_FIELDS and value is not None and value != []:
                write(f"{name}=")
                _write(value, write, in_class=isinstance(node, ast.ClassDef) and name == "body")
        write(")")


def _computes_nothing(node: Any, *, in_class: bool) -> bool:
    """Whether `node` is an import, prose or for type checkers alone."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Expr(ast.Constant(str())) | ast.If(ast.Name("TYPE_CHECKING")):
            return True
        case ast.AnnAssign(value=None):
            return not in_class
    return False


def _name(function: ast.expr) -> str:
    """The last part of a dotted name, or nothing."""
    return getattr(function, "attr", getattr(function, "id", ""))


if __name__ == "__main__":
    print(code_fingerprint())
