"""Public names loaded on first use (PEP 562).

Importing a package then costs only the names taken from it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def lazy_exports(package: str, origins: dict[str, str]) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a package with public names from its submodules.

    Args:
        package: its ``__name__``.
        origins: public name → the module that defines it, relative to the package, such as ``.trainer``.
    """

    def load(name: str) -> Any:
        if name not in origins:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(origins[name], package), name)

    return load
