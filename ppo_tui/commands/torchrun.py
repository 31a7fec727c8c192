"""One run by several processes, which torchrun has started, here or on several machines, and starts anew when one dies.

Rank 0 prepares the run, writes its directory and prints; the others are told what to train, and are silent.
"""

from __future__ import annotations

import dataclasses
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..config import Config, build_config, to_tables
from ..distributed.torchrun import Place
from ..errors import ConfigError, PPOTuiError
from ..launch import SPIN_COUNT, PreparedRun, prepare, prepare_or_resume, run_headless, signals_to
from ..protocol import RunState
from ..runs import RUNS_DIR, RunDirectory, run_directories
from ..runs.hangup import ignore_hangups
from ..training import engine_class, examine, share_of_config, start_pool
from ..training.controls import CommandRelay

if TYPE_CHECKING:
    import torch

    from ..distributed.ranks import ProcessGroup
    from ..sinks.console import LineOptions


PrepareRun = Callable[[Place], PreparedRun | None]


class _Plan(msgspec.Struct):
    """What rank 0 tells the others before they begin.

    Attributes:
        exit_code: there is nothing to do but to leave with it.
        checkpoint: where the run goes on, among rank 0's files.
    """

    exit_code: int | None = None
    config: dict[str, Any] = {}
    name: str = ""
    checkpoint: str | None = None


def train_together(
    place: Place,
    prepare_run: PrepareRun,
    lines: LineOptions,
    *,
    config: Config | None = None,
) -> int:
    """Train with the other processes of torchrun and return the exit code.

    Args:
        prepare_run: called on rank 0 alone, with its place; None where there is nothing left to do.
        lines: how rank 0 prints.
        config: of the run, where every rank knows it before they meet.

    Raises:
        PPOTuiError: the run could not begin, here or on another rank.
    """
    if config is not None:
        share_of_config(config, place.size, place.local_size)
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    _end_with_torchrun()
    if place.size == 1:
        prepared = prepare_run(place)
        return 0 if prepared is None else run_headless(prepared, lines)
    from ..distributed.ranks import ProcessGroup

    group = ProcessGroup(local_size=place.local_size)
    try:
        # torchrun counts restarts on each machine by itself, those alone that were for a rank there.
        place = dataclasses.replace(place, restart=max(group.exchange(place.restart, int)))
        return _lead(place, group, prepare_run, lines) if group.leads else _follow(place, group)
    finally:
        group.close()


def _lead(place: Place, group: ProcessGroup, prepare_run: PrepareRun, lines: LineOptions) -> int:
    try:
        prepared = prepare_run(place)
    except PPOTuiError as error:
        code = error.exit_code
        group.agree(lambda: _Plan(exit_code=code), _Plan)
        raise
    if prepared is None:
        return group.agree(lambda: _Plan(exit_code=0), _Plan).exit_code
    try:
        checkpoint = str(prepared.resume.path) if prepared.resume else None
        name, config = prepared.directory.name, prepared.config
        group.agree(lambda: _Plan(config=to_tables(config), name=name, checkpoint=checkpoint), _Plan)
        _choose_device(place, group, config)
    except BaseException:
        prepared.close()
        raise
    return run_headless(dataclasses.replace(prepared, ranks=group), lines)


def _follow(place: Place, group: ProcessGroup) -> int:
    plan = group.agree(_Plan, _Plan)
    if plan.exit_code is not None:
        return plan.exit_code
    ignore_hangups()
    config = build_config(plan.config)
    info = examine(config)
    pool = start_pool(share_of_config(config, place.size, place.local_size), info=info, wait=False)
    relay = CommandRelay()
    try:
        _choose_device(place, group, config)
        with signals_to(relay.send, Path(os.devnull)):
            trainer = engine_class(config)(
                config,
                name=plan.name,
                pool=pool,
                env_info=info,
                resume_from=Path(plan.checkpoint) if plan.checkpoint else None,
                ranks=group,
            )
            relay.connect(trainer)
            result = trainer.run()
    finally:
        pool.close()
    if result.state is RunState.FAILED:
        print(f"ppo-tui: rank {place.rank}: {result.reason}", file=sys.stderr)
    return result.exit_code


def _choose_device(place: Place, group: ProcessGroup, config: Config) -> None:
    """Let each rank compute on a GPU of its own, or all of them on CPUs.

    Raises:
        ConfigError: there are too few GPUs, or only some of the machines have any.
    """
    group.compute_on(_device(place, config))
    kinds = group.exchange(group.device.type, str)
    if len(set(kinds)) > 1:
        found = ", ".join(f"rank {rank} {kind}" for rank, kind in enumerate(kinds))
        raise ConfigError(f"run.device = {config.run.device!r}: all ranks have to agree: {found}", hint="--device cpu")


def _device(place: Place, config: Config) -> torch.device:
    import torch

    wanted, found = config.run.device, torch.cuda.device_count()
    if wanted == "cpu" or (wanted == "auto" and not found):
        return torch.device("cpu")
    if ":" in wanted:
        raise ConfigError(
            f"run.device = {wanted!r}: each of {place.local_size} processes on this machine computes on its own GPU",
            hint="use --device cuda",
        )
    if place.local_size > found:
        raise ConfigError(
            f"run.device = {wanted!r}: {place.local_size} processes train together on this machine, and PyTorch finds "
            f"{found} GPUs",
            hint=f"use torchrun --nproc-per-node {found}" if found else "use --device cpu",
        )
    return torch.device("cuda", place.local_rank)


def _end_with_torchrun() -> None:
    """Let this process be told by SIGTERM when torchrun is gone: nobody would start it again, or wait for it.

    The kernel could do so by itself (PR_SET_PDEATHSIG), but does it once for each of torchrun's threads.
    """
    try:
        torchrun = os.pidfd_open(os.getppid())
    except (AttributeError, OSError):  # not on Linux, or it is gone already
        return

    def watch() -> None:
        select.select([torchrun], [], [])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="torchrun", daemon=True).start()


# ── Beginning, and beginning again ──────────────────────────────────────────────────────────────────────────


def prepare_for_job(
    place: Place,
    config: Config,
    *,
    overrides: Sequence[str],
    label: str,
    name: str | None,
    run_dir: Path | None,
    allow_import: bool,
    resume: bool,
) -> PreparedRun | None:
    """Begin the run, or go on with the one that this job of torchrun's has begun; None where all its steps are done.

    Args:
        resume: go on with any run of this name or in this directory.

    Raises:
        UsageError, RunFailedError: as `prepare` and `prepare_or_resume`.
    """
    begun = _run_of(place, label, name, run_dir)
    if begun is None and not resume:
        prepared = prepare(config, label=label, name=name, run_dir=run_dir)
    else:
        prepared = prepare_or_resume(
            config,
            overrides=overrides,
            label=label,
            name=name if begun is None else None,
            run_dir=run_dir if begun is None else begun.path,
            allow_import=allow_import,
        )
        if prepared is None:
            return None
    prepared.directory.update(job=place.job)
    if begun is None:
        return prepared
    point = f"update {prepared.resume.state.update:,}" if prepared.resume else "the beginning: there was no checkpoint"
    note = f"restart {place.restart}/{place.max_restarts} from {point}"
    return dataclasses.replace(prepared, notes=(note, *prepared.notes))


def _run_of(place: Place, label: str, name: str | None, run_dir: Path | None) -> RunDirectory | None:
    """The newest run of this preset that this job has begun; one that is done counts only in a restart of the job."""
    named = run_dir or (RUNS_DIR / name if name else None)
    for run in [RunDirectory(named)] if named else run_directories():
        facts = run.read()
        begun_here = (facts.get("job"), facts.get("preset")) == (place.job, label)
        if begun_here and (place.restart or facts.get("status") != "finished"):
            return run
    return None
