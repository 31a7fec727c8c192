"""The commands that look after machines and many runs at once. Heavy imports happen inside them."""

from __future__ import annotations

from typing import Annotated

import typer

from .errors import RunFailedError


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> int:
    """Check this installation and this machine: packages, cores, GPU, games, terminal, memory, disk.

    Exit codes: 0 nothing failed, 3 something did.
    """
    from .checkup import examine_machine
    from .checkup.show import print_findings

    return 0 if print_findings(examine_machine(), as_json=as_json) else RunFailedError.exit_code
