"""Run the tests without what is Linux's alone, in this process and in all that it starts."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


def begin() -> None:
    """Take the names away here, and put `sitecustomize` on the path of child processes."""
    os.environ["PYTHONPATH"] = path_of_children(os.environ.get("PYTHONPATH", ""))
    if not hasattr(sys.modules.get("sitecustomize"), "LINUX_ALONE"):
        runpy.run_path(str(_FOLDER / "sitecustomize.py"))
    start = subprocess.Popen.__init__

    def with_path(self: Any, *arguments: Any, env: Any = None, **options: Any) -> None:
        if env is not None:  # tests give their children a path of their own
            env = {**env, "PYTHONPATH": path_of_children(env.get("PYTHONPATH", ""))}
        start(self, *arguments, env=env, **options)

    subprocess.Popen.__init__ = with_path


def path_of_children(path: str) -> str:
    """`path`, a ``PYTHONPATH``, with this folder in front."""
    parts = [part for part in path.split(os.pathsep) if part and part != str(_FOLDER)]
    return os.pathsep.join([str(_FOLDER), *parts])
