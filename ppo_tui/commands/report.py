"""`ppo-tui report`: runs as one HTML page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import PPOTuiError
from .options import LATEST, AllowImportOption, DeviceOption, OptionalRunsArgument, OutputOption, chosen_runs


def report(
    runs: OptionalRunsArgument = None,
    output: OutputOption = None,
    game: Annotated[bool, typer.Option("--game/--no-game", help="Record an episode of each run's best policy.")] = True,
    device: DeviceOption = "auto",
    allow_import: AllowImportOption = False,
) -> None:
    """Write a self-contained HTML page about runs.

    By default about the latest one. It holds curves, settings, their changes, events and pictures of the game.
    """
    found = list({run.path.resolve(): run for name in runs or [LATEST] for run in chosen_runs(name)}.values())
    others = f"-and-{len(found) - 1}-more" if len(found) > 1 else ""
    path = output or Path(f"{found[0].path.name}{others}-report.html")
    from ..reporting.page import ReportedRun, check_report, colour, write_report

    check_report(path)
    from ..reporting.clips import record_clip
    from ..reporting.record import read_record
    from .output import whole_runs

    reported = []
    for index, record in enumerate(whole_runs(found, read_record)):
        clip, reason = None, ""
        if game:
            print(f"{record.name}: recording an episode", file=sys.stderr)
            try:
                clip = record_clip(record.directory, device=device, allow_import=allow_import)
            except PPOTuiError as error:
                reason = error.message
        reported.append(ReportedRun(record, colour(index), clip, reason))
    size = write_report(path, reported)
    print(f"{path} ({size / 1e6:.1f} MB)")
