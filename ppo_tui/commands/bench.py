"""How ``ppo-tui bench`` prints."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from ..training.bench import BenchReport, Variant
from .output import print_json


@contextlib.contextmanager
def progress() -> Iterator[Callable[[Variant], None]]:
    """A line on stderr about what is being measured."""
    console = Console(stderr=True)
    with console.status("starting") as status:
        yield lambda variant: status.update(f"measuring {_described(variant)}")


def print_report(report: BenchReport, *, as_json: bool) -> None:
    """Print the measurements on stdout, as a table or as one JSON object."""
    if as_json:
        content = msgspec.to_builtins(report) | {"suggestion": report.suggestion, "tradeoff": report.tradeoff}
        print_json(content)
        return
    console = Console()
    machine = f"{report.cores} cores of {report.cpu}, PyTorch {report.versions['torch']} on {report.device}"
    console.print(f"{report.env} on {machine}", markup=False, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, padding=0)
    phases = list(report.measurements[0].seconds)
    for heading in ("workers", "groups", "precision", "overlap", "steps/s", *phases, "emulate"):
        table.add_column(heading, justify="right")
    for index, measurement in enumerate(report.measurements):
        table.add_row(
            str(measurement.variant.workers),
            str(measurement.variant.groups),
            measurement.variant.precision,
            "yes" if measurement.variant.overlap else "no",
            f"{measurement.steps_per_second:,.0f}",
            *(f"{measurement.seconds[phase]:.3f}" for phase in phases),
            f"{measurement.emulate_seconds:.3f}",
            style="bold" if index == 0 else "",
        )
    console.print(table)
    console.print("Seconds of one update: the training thread by phase; all workers together: emulate.")
    console.print(f"The first row is what this configuration does by itself. {report.suggestion}.", markup=False)
    if report.tradeoff:
        console.print(f"Faster yet: {report.tradeoff}.", markup=False)


def _described(variant: Variant) -> str:
    workers = (
        f"{variant.workers} worker{'s' * (variant.workers != 1)} in {variant.groups} group{'s' * (variant.groups != 1)}"
    )
    return f"{workers}, {variant.precision}" + ", collecting while learning" * variant.overlap
