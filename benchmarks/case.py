"""One measurement, in its own process.

``python -m benchmarks.case ours --updates 8`` prints a line of JSON.

Environment processes that a contender starts by spawning import this module again, so it imports nothing heavy.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Annotated

import typer

from benchmarks.effort import Effort
from benchmarks.suites import find_case


def main(
    name: Annotated[str, typer.Argument(help="The case, as the table of `python -m benchmarks` names it.")],
    seconds: float = Effort.seconds,
    updates: int = Effort.updates,
    memory_updates: int = Effort.memory_updates,
) -> None:
    """Print the figures of one case as one line of JSON.

    Nothing else goes to stdout.
    """
    # Emulators and peers greet on stdout, some of them from C: all of that goes where diagnostics go.
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    case = find_case(name)
    module, _, function = case.function.partition(":")
    measure = getattr(importlib.import_module(module), function)
    effort = Effort(seconds=seconds, updates=updates, memory_updates=memory_updates)
    json.dump(measure(effort, **case.arguments), results)
    results.write("\n")
    results.flush()
    sys.stdout.flush()


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
