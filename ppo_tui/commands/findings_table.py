"""The report: a line for each check, on a terminal as soon as it is known."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from rich.console import Console
from rich.text import Text

from ..checkup.finding import Finding, Status
from .output import print_json

_COLOURS = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red"}
_NAME = 15


def print_findings(found: Iterable[tuple[str, Finding]], *, as_json: bool) -> bool:
    """Print them on stdout, as lines or as a JSON array; whether nothing has failed."""
    return _print_json(found) if as_json else _print_lines(found)


def _print_json(found: Iterable[tuple[str, Finding]]) -> bool:
    findings = [{"check": name, **msgspec.structs.asdict(finding)} for name, finding in found]
    print_json(findings)
    return all(finding["status"] is not Status.FAIL for finding in findings)


def _print_lines(found: Iterable[tuple[str, Finding]]) -> bool:
    console = Console(highlight=False, soft_wrap=True)
    counts = dict.fromkeys(Status, 0)
    for name, finding in found:
        counts[finding.status] += 1
        # What is found comes from outside: it is never markup.
        status = (f"{finding.status:<5} ", _COLOURS[finding.status])
        console.print(Text.assemble(status, (f"{name:<{_NAME}}", "bold"), finding.found))
        if finding.remedy:
            console.print(Text.assemble(" " * (6 + _NAME), (f"→ {finding.remedy}", "dim")))
    console.print(_summary(counts))
    return not counts[Status.FAIL]


def _summary(counts: dict[Status, int]) -> str:
    if counts[Status.FAIL]:
        return f"{counts[Status.FAIL]} failed: a training would too, or part of it"
    if counts[Status.WARN]:
        return f"everything works; {counts[Status.WARN]} could be better"
    return "everything is as it should be"
