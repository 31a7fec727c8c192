"""`ppo-tui doctor`: a check of this installation and this machine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..errors import RunFailedError
from .options import JsonOption

if TYPE_CHECKING:
    from ..checkup import Finding, Status

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}
_NAME_WIDTH = 15


def doctor(as_json: JsonOption = False) -> int:
    """Check this installation and this machine.

    It looks at platform, packages, cores, GPU, Atari games, terminal, memory, disk and sockets.

    Exit codes: 0 no check failed, 3 one did.
    """
    from ..checkup import examine_machine

    return 0 if print_findings(examine_machine(), as_json=as_json) else RunFailedError.exit_code


def print_findings(found: Iterable[tuple[str, Finding]], *, as_json: bool) -> bool:
    """Print findings on stdout, as lines or as a JSON array.

    Returns:
        Whether no check failed.
    """
    return _print_json(found) if as_json else _print_lines(found)


def _print_json(found: Iterable[tuple[str, Finding]]) -> bool:
    import msgspec

    from ..checkup import Status
    from .output import print_json

    findings = [{"check": name, **msgspec.structs.asdict(finding)} for name, finding in found]
    print_json(findings)
    return all(finding["status"] is not Status.FAIL for finding in findings)


def _print_lines(found: Iterable[tuple[str, Finding]]) -> bool:
    from rich.text import Text

    from ..checkup import Status
    from ..console import PrintableConsole

    console = PrintableConsole(highlight=False, soft_wrap=True)
    counts = dict.fromkeys(Status, 0)
    for name, finding in found:
        counts[finding.status] += 1
        # Findings come from outside: they are never markup.
        status = (f"{finding.status:<5} ", _COLOURS[finding.status])
        console.print(Text.assemble(status, (f"{name:<{_NAME_WIDTH}}", "bold"), finding.found))
        if finding.remedy:
            console.print(Text.assemble(" " * (6 + _NAME_WIDTH), (f"→ {finding.remedy}", "dim")))
    console.print(_summary(counts))
    return not counts[Status.FAIL]


def _summary(counts: dict[Status, int]) -> str:
    from ..checkup import Status

    if counts[Status.FAIL]:
        return f"{counts[Status.FAIL]} failed: training would fail too, or parts of it"
    if counts[Status.WARN]:
        return f"everything works; {counts[Status.WARN]} could be better"
    return "everything is as it should be"
