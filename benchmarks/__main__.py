"""``python -m benchmarks``: ours and the peers in turns.

All do the same work.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.effort import QUICK, Effort
from benchmarks.machine import machine_facts
from benchmarks.report import Figures, SuiteResult, as_json, machine_line, table
from benchmarks.suites import Case, Suite, find_suites
from benchmarks.terminal import ROOT
from ppo_tui.errors import PPOTuiError, RunFailedError, UsageError

CASE_TIMEOUT_SECONDS = 1800.0

TABLE_WIDTH = 120
"""Columns of the tables where stdout is no terminal and has no width."""


def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[SUITE]...", help="All of them by default.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns that every case gets.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of sampling in each measurement.")] = Effort.seconds,
    updates: Annotated[int, typer.Option(min=1, help="Of training in each, after a warm-up.")] = Effort.updates,
    memory_updates: Annotated[int, typer.Option(min=4, help="Over which memory is watched.")] = Effort.memory_updates,
    quick: Annotated[bool, typer.Option("--quick", help="One short round: does everything run?")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Tables for a Markdown file.")] = False,
    json_path: Annotated[Path, typer.Option("--json", help="Where every figure of every round is written.")] = ROOT
    / ".benchmarks"
    / "results.json",
) -> None:
    """Measure ppo-tui against its peers and against the limit of this machine."""
    try:
        suites = find_suites(names or [])
        require_peers(suites)
    except PPOTuiError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    effort = QUICK if quick else Effort(seconds=seconds, updates=updates, memory_updates=memory_updates)
    rounds = 1 if quick else rounds
    facts = machine_facts()
    console = Console(width=None if sys.stdout.isatty() else TABLE_WIDTH)
    console.print(machine_line(facts), style="dim", highlight=False, soft_wrap=True)
    results = []
    for suite in suites:
        results.append(measure_suite(suite, 1 if suite.one_round else rounds, effort))
        console.print()
        console.print(table(results[-1], markdown=markdown))
    write_json(json_path, results, facts, {"rounds": rounds, **vars(effort)})
    print(f"every figure is in {json_path}", file=sys.stderr)
    raise typer.Exit(1 if any(result.failures for result in results) else 0)


def require_peers(suites: Iterable[Suite]) -> None:
    """Refuse to measure peers without an installation.

    Raises:
        UsageError: a peer of `suites` is not installed.
    """
    wanted = {case.needs for suite in suites for case in suite.cases if case.needs}
    missing = sorted(name for name in wanted if not _is_installed(name))
    if missing:
        raise UsageError(
            f"not installed: {', '.join(missing)}",
            hint='run `make bench`, or pip install -c constraints.txt -e ".[bench]"',
        )


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def measure_suite(suite: Suite, rounds: int, effort: Effort) -> SuiteResult:
    """Measure each case once a round, against drift between the cases."""
    result = SuiteResult(suite)
    for number, case in _turns(suite, rounds):
        print(f"{suite.name}, round {number} of {rounds}: {case.name}", file=sys.stderr, flush=True)
        try:
            result.add(case.name, measure_case(case, effort))
        except RunFailedError as error:
            print(error, file=sys.stderr)
            result.add_failure(case.name, error.message)
    return result


def _turns(suite: Suite, rounds: int) -> Iterator[tuple[int, Case]]:
    for number in range(1, rounds + 1):
        for case in suite.cases:
            yield number, case


def measure_case(case: Case, effort: Effort) -> Figures:
    """The figures of one case, from a fresh process.

    Raises:
        RunFailedError: the process failed or took too long; the hint is the end of what it said.
    """
    options = [f"--{name.replace('_', '-')}={value}" for name, value in vars(effort).items()]
    command = [sys.executable, "-m", "benchmarks.case", case.name, *options]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=CASE_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        raise RunFailedError(f"no result within {CASE_TIMEOUT_SECONDS:.0f} s") from None
    if done.returncode != 0:
        raise RunFailedError(f"exit code {done.returncode}", hint=done.stderr[-2000:])
    return json.loads(done.stdout)


def write_json(
    path: Path, results: Iterable[SuiteResult], machine: dict[str, str | int | float], options: dict[str, float]
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(as_json(results, machine, options), indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    typer.run(main)
