"""`ppo-tui bench`: the speed of a preset on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from .options import (
    JsonOption,
    OptionalPresetOption,
    PresetArgument,
    SettingsOption,
    chosen_preset,
    overrides_of,
)

if TYPE_CHECKING:
    from ..training.bench import BenchReport, Variant


def bench(
    word: PresetArgument = None,
    option: OptionalPresetOption = None,
    settings: SettingsOption = None,
    updates: Annotated[
        int, typer.Option(min=1, max=100_000, metavar="N", help="Updates to measure for each variant.")
    ] = 3,
    as_json: JsonOption = False,
) -> None:
    """Measure the training speed on this machine.

    It prints steps/s, the time of each phase, and settings that would be faster.
    """
    from ..config import load_preset
    from ..training.start import examine

    preset = chosen_preset(word, option)
    config = load_preset("breakout" if preset is None else preset, overrides=overrides_of(settings, {}))
    examine(config)
    from ..training.bench import bench as measure

    with _progress() as on_measure:
        report = measure(config, updates=updates, on_measure=on_measure)
    print_report(report, as_json=as_json)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[Variant], None]]:
    """Show the variant under measurement on stderr."""
    from ..console import PrintableConsole

    with PrintableConsole(stderr=True).status("starting") as status:
        yield lambda variant: status.update(f"measuring {_described(variant)}")


def print_report(report: BenchReport, *, as_json: bool) -> None:
    """Print the measurements on stdout, as a table or as JSON."""
    if as_json:
        import msgspec

        from .output import print_json

        print_json(msgspec.to_builtins(report) | {"suggestion": report.suggestion, "tradeoff": report.tradeoff})
        return
    from rich import box
    from rich.table import Table

    from ..console import PrintableConsole

    console = PrintableConsole()
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
    console.print("Seconds per update: phases of the training thread; emulate is all workers together.")
    console.print(table)
    suggestion = report.suggestion[:1].upper() + report.suggestion[1:]
    console.print(f"The first row is this configuration as it is. {suggestion}.", markup=False)
    if report.tradeoff:
        console.print(f"Faster yet: {report.tradeoff}.", markup=False)


def _described(variant: Variant) -> str:
    workers = f"{variant.workers} worker{'s' * (variant.workers != 1)}"
    groups = f"{variant.groups} group{'s' * (variant.groups != 1)}"
    return f"{workers} in {groups}, {variant.precision}" + ", collecting while learning" * variant.overlap
