"""Training and resuming under torchrun.

torchrun starts the ranks, and restarts all of them when one dies. Rank 0 prepares the run, writes its directory and
prints; the others get its plan and are silent.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..boundary import explain
from ..config import Config, build_config, to_tables
from ..distributed.torchrun import Place
from ..errors import ConfigError
from ..launch import PreparedRun, TrainRequest, prepare_or_resume, run_headless
from ..launch.workers import SPIN_COUNT
from ..protocol import RunState
from ..runs import RUNS_DIR, RunDirectory, run_directories
from ..runs.hangup import ignore_hangups
from ..runs.signals import signals_to
from ..system.processes import when_process_ends
from ..training import examine, share_of_config, start_pool
from ..training.inbox import Inbox

if TYPE_CHECKING:
    import torch

    from ..distributed.ranks import ProcessGroup
    from ..sinks.console import LineOptions

PrepareRun = Callable[[Place], PreparedRun | None]


class _Plan(msgspec.Struct):
    """Message of rank 0 to the others before they begin.

    Attributes:
        exit_code: set where there is nothing to train: exit with it.
        checkpoint: to resume from, among rank 0's files.
    """

    exit_code: int | None = None
    config: dict[str, Any] = {}
    name: str = ""
    checkpoint: str | None = None


def train_together(
    place: Place,
    prepare_run: PrepareRun,
    lines: LineOptions | None,
    *,
    config: Config | None = None,
) -> int:
    """Train with the other ranks and return the exit code.

    Args:
        prepare_run: called on rank 0 alone, with its place; returns None if there is nothing left to do.
        lines: output of rank 0.
        config: of the run, where every rank knows it beforehand.

    Raises:
        PPOTuiError: the run could not begin, here or on another rank.
    """
    if config is not None:
        share_of_config(config, place.size, place.local_size)
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    _terminate_with_torchrun()
    if place.size == 1:
        prepared = prepare_run(place)
        return 0 if prepared is None else run_headless(prepared, lines)
    from ..distributed.ranks import ProcessGroup

    ranks = ProcessGroup(local_size=place.local_size)
    try:
        # torchrun on each machine counts only the restarts for a rank of its own.
        place = dataclasses.replace(place, restart=max(ranks.exchange(place.restart, int)))
        return _lead(place, ranks, prepare_run, lines) if ranks.leads else _follow(place, ranks)
    finally:
        ranks.close()


def _lead(place: Place, ranks: ProcessGroup, prepare_run: PrepareRun, lines: LineOptions | None) -> int:
    try:
        prepared = prepare_run(place)
    except BaseException as error:
        _, code = explain(error)  # the others would wait for a plan
        ranks.agree(lambda: _Plan(exit_code=code), _Plan)
        raise
    if prepared is None:
        ranks.agree(lambda: _Plan(exit_code=0), _Plan)
        return 0
    try:
        checkpoint = str(prepared.resume.path) if prepared.resume else None
        name, config = prepared.directory.name, prepared.config
        ranks.agree(lambda: _Plan(config=to_tables(config), name=name, checkpoint=checkpoint), _Plan)
        _choose_device(place, ranks, config)
    except BaseException:
        prepared.close()
        raise
    return run_headless(dataclasses.replace(prepared, ranks=ranks), lines)


def _follow(place: Place, ranks: ProcessGroup) -> int:
    plan = ranks.agree(_Plan, _Plan)
    if plan.exit_code is not None:
        return plan.exit_code
    from ..training import Trainer

    ignore_hangups()
    config = build_config(plan.config)
    info = examine(config)
    pool = start_pool(share_of_config(config, place.size, place.local_size), info=info, luck=[place.rank])
    inbox = Inbox()
    try:
        _choose_device(place, ranks, config)
        with signals_to(inbox.send):
            trainer = Trainer(
                config,
                name=plan.name,
                pool=pool,
                env_info=info,
                resume_from=Path(plan.checkpoint) if plan.checkpoint else None,
                inbox=inbox,
                ranks=ranks,
            )
            result = trainer.run()
    finally:
        pool.close()
    if result.state is RunState.FAILED:
        print(f"ppo-tui: rank {place.rank}: {result.reason}", file=sys.stderr)
    return result.exit_code


def _choose_device(place: Place, ranks: ProcessGroup, config: Config) -> None:
    """Give each rank its own GPU, or all of them the CPU.

    Raises:
        ConfigError: there are too few GPUs, or only some of the machines have any.
    """
    device = _device(place, config)
    ranks.compute_on(device)
    kinds = ranks.exchange(device.type, str)
    if len(set(kinds)) > 1:
        found = ", ".join(f"rank {rank} {kind}" for rank, kind in enumerate(kinds))
        raise ConfigError(
            f"run.device = {config.run.device!r}: all ranks need the same kind: {found}", hint="--device cpu"
        )


def _device(place: Place, config: Config) -> torch.device:
    import torch

    wanted, found = config.run.device, torch.cuda.device_count()
    if wanted == "cpu" or (wanted == "auto" and not found):
        return torch.device("cpu")
    if wanted == "mps":
        raise ConfigError(
            "run.device = 'mps': the processes of torchrun compute on GPUs of NVIDIA, or on the CPU",
            hint="use --device cpu, or one process without torchrun",
        )
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


def _terminate_with_torchrun() -> None:
    """Send SIGTERM to this process when torchrun ends.

    Nothing else would end it then, or restart it. The kernel's own way (PR_SET_PDEATHSIG) does not fit: it fires once
    for each of torchrun's threads.
    """
    when_process_ends(os.getppid(), lambda: os.kill(os.getpid(), signal.SIGTERM))


# ── Starting, and restarting ────────────────────────────────────────────────────────────────────────────────


def prepare_for_job(place: Place, request: TrainRequest) -> PreparedRun | None:
    """Prepare the run, or continue the one begun by this job.

    Returns:
        None if all steps of the run are done.

    Raises:
        UsageError, RunFailedError: as `prepare_or_resume`.
    """
    begun = _run_of_job(place, request)
    if begun is not None:
        request = dataclasses.replace(request, name=None, run_dir=begun.path, resume=True)
    prepared = prepare_or_resume(request)
    if prepared is None:
        return None
    prepared.directory.update(job=place.job)
    if begun is None:
        return prepared
    point = f"update {prepared.resume.state.update:,}" if prepared.resume else "the beginning: there was no checkpoint"
    note = f"restart {place.restart}/{place.max_restarts} from {point}"
    return dataclasses.replace(prepared, notes=(note, *prepared.notes))


def _run_of_job(place: Place, request: TrainRequest) -> RunDirectory | None:
    """Find the newest run of this preset and this job of torchrun.

    A finished one counts only if the job has restarted.
    """
    named = request.run_dir or (RUNS_DIR / request.name if request.name else None)
    for directory in [RunDirectory(named)] if named else run_directories():
        facts = directory.read()
        begun_here = (facts.get("job"), facts.get("preset")) == (place.job, request.label)
        if begun_here and (place.restart or facts.get("status") != "finished"):
            return directory
    return None
