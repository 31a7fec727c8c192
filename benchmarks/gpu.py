"""``python -m benchmarks.gpu``: ten minutes of measurements on a GPU.

Each part has a share of the time and is stopped when that is over. Its figures so far count, so that a slow machine
gives short measurements and not none.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.machine import machine_facts
from benchmarks.terminal import ROOT
from benchmarks.timing import update_rate
from ppo_tui.config import list_presets

BENCH_SHARE = 0.3
"""Of the whole time, for all measurements of speed together; the trainings share the rest."""

SAVE_SECONDS = 10.0
"""Of each part's time, for a run to save its checkpoint after it was asked to stop."""

ENDLESS = ("--total-steps", str(10**9))
"""A measurement of speed ends with its time."""

FIELDS: tuple[str, ...] = ("part", "preset", "seconds", "steps", "steps_per_second", "return", "note")


@dataclass(frozen=True)
class Part:
    """One run of the command line, for its share of the time.

    Attributes:
        needs: what must be there, besides the preset: ``cuda`` or nothing.
    """

    name: str
    preset: str
    seconds: float
    arguments: tuple[str, ...] = ()
    needs: str = ""


def parts(presets: list[str], total: float, bench_preset: str = "breakout") -> list[Part]:
    """Four measurements of speed, then a training of each preset.

    They take `total` seconds together.
    """
    variants = {
        "plain": (),
        "bf16": ("--set", "policy.precision=bf16"),
        "compile": ("--set", "run.compile=true"),
        "overlap": ("--set", "run.overlap=true"),
    }
    bench_share = BENCH_SHARE if presets else 1.0
    speed = [
        Part(
            f"bench-{name}",
            bench_preset,
            total * bench_share / len(variants),
            (*ENDLESS, *settings),
            "cuda" if name == "compile" else "",  # on a CPU, compiling takes longer than the share
        )
        for name, settings in variants.items()
    ]
    return speed + [Part("train", preset, total * (1 - bench_share) / len(presets)) for preset in presets]


def main(
    presets: Annotated[list[str] | None, typer.Argument(metavar="[PRESET]...", help="Presets to train.")] = None,
    minutes: Annotated[float, typer.Option(min=0.1, max=60, help="For everything together.")] = 10.0,
    device: Annotated[str, typer.Option(help="auto, cuda or cpu.")] = "auto",
    bench_preset: Annotated[str, typer.Option(help="Whose speed is measured.")] = "breakout",
    out: Annotated[Path, typer.Option(metavar="DIR", help="For the runs, gpu.json and gpu.csv.")] = ROOT
    / ".benchmarks"
    / "gpu",
) -> None:
    """Measure the speed plain, in bf16, compiled and overlapped; then train presets."""
    out = out.absolute() / time.strftime("%Y%m%d-%H%M%S")
    out.mkdir(parents=True)
    wanted = list(presets or ("pong-fast", "breakout-fast"))
    known = set(list_presets())
    for name in wanted:
        if name not in known:
            print(f"{name}: there is no such preset here; skipped", file=sys.stderr)
    cuda = torch.cuda.is_available() and device != "cpu"
    facts = machine_facts() | {"gpu": torch.cuda.get_device_name() if cuda else "none"}
    rows: list[dict[str, Any]] = []
    for part in parts([name for name in wanted if name in known], 60.0 * minutes, bench_preset):
        if part.needs == "cuda" and not cuda:
            rows.append(_row(part, note="skipped: it needs a GPU"))
        else:
            rows.append(measure(part, device, out))
        write(out, facts, rows)
        print(_line(rows[-1]), flush=True)
    print(f"everything is in {out}", file=sys.stderr)


def measure(part: Part, device: str, out: Path) -> dict[str, Any]:
    """Run a part for its time; return its row of the table."""
    run_dir = out / f"{part.name}-{part.preset}"
    command = [sys.executable, "-m", "ppo_tui", "--preset", part.preset, "--device", device, "--headless", "--quiet"]
    command += ["--run-dir", str(run_dir), *part.arguments]
    began = time.perf_counter()
    with (out / f"{run_dir.name}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        try:
            code = _stopped(process, part.seconds)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    lines = list(_metrics(run_dir))
    note = "" if code in (0, 143) else f"exit code {code}: see {run_dir.name}.log"
    return _row(part, lines, time.perf_counter() - began, note)


def _stopped(process: subprocess.Popen[bytes], seconds: float) -> int:
    """Let the process run and save in time; return its exit code."""
    saving = min(SAVE_SECONDS, seconds / 4)
    try:
        return process.wait(seconds - saving)
    except subprocess.TimeoutExpired:
        process.terminate()
    try:
        return process.wait(saving)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _metrics(run_dir: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a run's metrics, if there are any."""
    file = run_dir / "metrics.jsonl"
    for line in file.read_bytes().splitlines(keepends=True) if file.exists() else ():
        if line.endswith(b"\n"):
            yield json.loads(line)


def _row(part: Part, lines: list[dict[str, Any]] | None = None, seconds: float = 0.0, note: str = "") -> dict[str, Any]:
    """A row of the table, from the metrics of each update."""
    row: dict[str, Any] = dict.fromkeys(FIELDS)
    row |= {"part": part.name, "preset": part.preset, "seconds": round(seconds, 1), "note": note}
    if lines:
        ends = [line["time/time_elapsed"] for line in lines]
        row |= {"steps": lines[-1]["time/total_timesteps"], "return": lines[-1]["rollout/ep_rew_mean"]}
        if len(lines) > 1:
            batch = lines[1]["time/total_timesteps"] - lines[0]["time/total_timesteps"]
            row["steps_per_second"] = round(update_rate(ends, batch))
    elif not note:
        row["note"] = "no update was done in time"
    return row


def _line(row: dict[str, Any]) -> str:
    cells = [
        f"{row['part']:<14}{row['preset']:<16}{row['seconds']:>7} s",
        f"{row['steps'] or 0:>12,} steps{row['steps_per_second'] or 0:>9,} steps/s",
        f"return {'-' if row['return'] is None else round(row['return'], 2)}",
        row["note"],
    ]
    return "  ".join(cell for cell in cells if cell)


def write(out: Path, facts: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write ``gpu.json`` and ``gpu.csv``."""
    (out / "gpu.json").write_text(json.dumps({"machine": facts, "parts": rows}, indent=1) + "\n", "utf-8")
    with (out / "gpu.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, FIELDS)
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    typer.run(main)
