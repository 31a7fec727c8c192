"""From the command line to a sweep and back: its directory, its lock, signals, its results."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..config import load_preset, preset_path
from ..errors import RunFailedError, UsageError
from ..runs import RUNS_DIR
from ..runs.directory import RunLock
from ..sweeps import Definition, read_search, read_seeds
from ..sweeps.space import default_search
from ..sweeps.sweep import Sweep
from ..workers import available_cores
from .sweep_table import print_results

DEFAULT_TRIALS = 20


class _Terminated(Exception):
    """SIGTERM, as an exception: the runs are saved on its way out."""


def run_sweep(
    preset: str,
    *,
    trials: int | None,
    processes: int | None,
    search: Sequence[str],
    seeds: str | None,
    overrides: Sequence[str],
    metric: str,
    name: str | None,
    prune: bool,
    as_json: bool,
    allow_import: bool,
) -> int:
    """Run it, print its results and return the exit code; the arguments are the command's.

    Raises:
        UsageError: it could not be begun, and nothing was; the message says why.
    """
    config = load_preset(preset, overrides=overrides, allow_import=allow_import)
    if not search and (trials or 0) != 1 and not (seeds and trials is None):
        search = default_search(config)
    space = read_search(preset, overrides, search, allow_import=allow_import)
    definition = Definition(
        preset=preset,
        overrides=tuple(overrides),
        search=tuple(search),
        seeds=read_seeds(seeds) or (config.run.seed,),
        metric=metric,
    )
    directory = (RUNS_DIR / (name or f"{preset_path(preset).stem}-sweep")).absolute()
    with _held(directory), _terminable():
        definition.settle(directory)
        sweep = Sweep(
            directory,
            definition,
            space,
            trials=trials or (DEFAULT_TRIALS if search else 1),
            processes=processes or available_cores(),
            prune=prune,
            allow_import=allow_import,
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
        try:
            sweep.run()
        except (KeyboardInterrupt, _Terminated) as stop:
            print("stopped, and saved; the same command goes on", file=sys.stderr)
            return 128 + (signal.SIGTERM if isinstance(stop, _Terminated) else signal.SIGINT)
        results = sweep.results()
    print_results(results, metric=metric, as_json=as_json)
    return 0 if any(result.state == "complete" for result in results) else RunFailedError.exit_code


@contextlib.contextmanager
def _held(directory: Path) -> Iterator[None]:
    """The sweep's directory, made where there is none, in which no other process is at work.

    Raises:
        UsageError: one is, a run lives there, or the disk refuses.
    """
    if (directory / "run.json").exists():
        raise UsageError(f"{directory} holds a run", hint="choose another --name")
    lock = RunLock(directory / "sweep.lock")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise UsageError(f"{directory} cannot be written: {error.strerror}", hint="choose another --name") from None
    except UsageError as error:
        raise UsageError(error.message, hint="it is being swept already") from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM into an exception."""

    def terminate(*_: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
