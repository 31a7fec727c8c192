"""Checks of cores, PyTorch, GPU, bfloat16, workers, memory, disk and sockets."""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ..machine import available_cores, available_memory, cpu_quota, memory_limit
from ..system.paths import SHARED_MEMORY
from ..system.sockets import MAX_PATH_BYTES, short_temporary_directory
from ..text import counted
from .finding import Finding, Status

BUSY = 0.5
"""Load, as a share of the cores, above which other processes slow training down."""

SHARED_BYTES = 64 * 2**20
"""Several times the need of the largest preset (Breakout: 8 environments × 132 frames × 7 kB = 7 MB)."""

LITTLE_MEMORY = 2**30
"""Bytes: a run of Breakout on two cores fills about 0.8 GB."""

_SMALL = re.compile("[0-9]{1,9}")
"""OMP_NUM_THREADS as a number: it may be a list, or anything."""

LITTLE_DISK, NO_DISK = 2 * 2**30, 200 * 2**20
"""Bytes: a run of Breakout keeps up to 200 MB of checkpoints and 100 MB of records."""


def check_cores() -> Finding:
    """Count the cores, size the workers for them, and read the load."""
    from ..config import load_preset
    from ..workers import resolve_workers

    cores, config, quota = available_cores(), load_preset("breakout"), cpu_quota()
    workers, groups = resolve_workers("auto", "auto", config.rollout.num_envs)
    granted = "" if quota is None else f" (a control group's quota grants {quota:g})"
    found = f"{cores} of {os.cpu_count()}{granted}; "
    found += f"breakout gets {counted(workers, 'worker')} in {counted(groups, 'group')} and learns on {cores}"
    load = os.getloadavg()[0]
    if load > BUSY * cores:
        remedy = f"other processes use {load:.1f} cores: training will be slower by that much"
        return Finding(Status.WARN, f"{found}; load {load:.1f}", remedy)
    if cores == 1:
        return Finding(Status.WARN, found, "on one core, environments and learner take turns: two are far faster")
    return Finding(Status.OK, f"{found}; load {load:.1f}")


def check_torch() -> Finding:
    """Load PyTorch and count its threads."""
    import torch

    found = f"{torch.__version__}, {counted(torch.get_num_threads(), 'thread')}"
    limit = os.environ.get("OMP_NUM_THREADS")
    if limit is not None and _SMALL.fullmatch(limit) and int(limit) < available_cores():
        remedy = "unset OMP_NUM_THREADS: ppo-tui sets the threads for each phase of training"
        return Finding(Status.WARN, f"{found}; OMP_NUM_THREADS={limit}", remedy)
    return Finding(Status.OK, found)


def check_gpu() -> Finding:
    """List the GPUs of PyTorch, and find any it cannot use."""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        return Finding(Status.OK, ", ".join(f"{gpu.name} with {gpu.total_memory / 2**30:.0f} GiB" for gpu in names))
    if torch.backends.mps.is_available():
        return Finding(Status.OK, "Apple's, as --device mps (this program has not been tested on one)")
    if Path("/dev/nvidia0").exists():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        remedy = "install the build for your driver: https://pytorch.org/get-started/locally/"
        return Finding(Status.WARN, f"there is one, but this PyTorch ({built}) cannot use it", remedy)
    return Finding(Status.OK, "none; everything runs on the CPU")


def check_bfloat16() -> Finding:
    """Find bfloat16 arithmetic, as ``policy.precision = "auto"`` does."""
    from ..training.device import bfloat16_of, resolve_device

    device = resolve_device("auto")
    found = bfloat16_of(device)
    kind = "CPU" if device.type == "cpu" else "GPU"
    if found is None:
        return Finding(Status.OK, f"none on this {kind}; policy.precision = auto takes float32")
    return Finding(Status.OK, f"on this {kind}: {found}; policy.precision = auto takes bf16")


def check_workers() -> Finding:
    """Start two workers as a run does and step their environments."""
    import functools

    import gymnasium
    import numpy as np

    from ..workers import WorkerPool

    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        make = functools.partial(gymnasium.make, "CartPole-v1")
        pool = WorkerPool([make, make], num_workers=2, log_path=Path(directory) / "workers.log", start_timeout=60.0)
        try:
            pool.reset(seed=0)
            pool.step(np.zeros(2, np.int64))
        finally:
            pool.close()
    return Finding(Status.OK, f"two started and stepped CartPole in {time.perf_counter() - began:.1f} s")


def check_memory() -> Finding:
    """Measure the memory, or read its limit."""
    total, limit = available_memory(), memory_limit()
    found = _size(total) + ("" if limit is None else " (a control group's limit)" if limit == total else "")
    if total < LITTLE_MEMORY:
        remedy = "use fewer workers (--workers N), or raise the limit; in a container: docker run --memory=4g"
        return Finding(Status.WARN, found, remedy)
    return Finding(Status.OK, found)


def check_shared_memory() -> Finding:
    """Measure the room for the workers' shared memory."""
    if not SHARED_MEMORY.is_dir():
        return Finding(Status.OK, f"no {SHARED_MEMORY} here; shared memory is in {tempfile.gettempdir()}")
    free, total = (getattr(shutil.disk_usage(SHARED_MEMORY), name) for name in ("free", "total"))
    found = f"{_size(free)} of {_size(total)} free in {SHARED_MEMORY}"
    if free < SHARED_BYTES:
        remedy = "observations will be shared through the disk; in a container: docker run --shm-size=1g"
        return Finding(Status.WARN, found, remedy)
    return Finding(Status.OK, found)


def check_disk() -> Finding:
    """Write into ``./runs``, and measure the room for checkpoints."""
    from ..runs import RUNS_DIR

    directory = _existing(RUNS_DIR.absolute())
    if os.path.lexists(RUNS_DIR) and not os.path.isdir(RUNS_DIR):  # a link that leads nowhere, too
        return Finding(Status.FAIL, f"{RUNS_DIR} is not a directory", "move it away, or start from another directory")
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        remedy = "start from a directory of your own, or give each run one: --run-dir DIR"
        return Finding(Status.FAIL, f"{directory.resolve()} cannot be written: {error.strerror}", remedy)
    free = shutil.disk_usage(directory).free
    found = f"{_size(free)} free for {RUNS_DIR}"
    if free < LITTLE_DISK:
        status = Status.FAIL if free < NO_DISK else Status.WARN
        return Finding(status, found, "make room, keep fewer checkpoints (run.keep_checkpoints), or use --run-dir DIR")
    return Finding(Status.OK, found)


def check_sockets() -> Finding:
    """Open a socket as a run does, to be controlled.

    It is in the run's directory, or in a private one where the path is too long.
    """
    from ..runs import RUNS_DIR

    parent = short_temporary_directory()
    with (
        tempfile.TemporaryDirectory(dir=parent) as directory,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener,
    ):
        listener.bind(f"{directory}/s")
    length = len(os.fsencode(RUNS_DIR.absolute() / ("n" * 20) / "control.sock"))
    if length > MAX_PATH_BYTES:
        return Finding(
            Status.OK,
            f"in {parent or tempfile.gettempdir()}: paths of {length} bytes here are longer than {MAX_PATH_BYTES}",
        )
    return Finding(Status.OK, f"in the run's directory ({length} of {MAX_PATH_BYTES} bytes of path)")


MACHINE: dict[str, Callable[[], Finding]] = {
    "cores": check_cores,
    "PyTorch": check_torch,
    "GPU": check_gpu,
    "bfloat16": check_bfloat16,
    "workers": check_workers,
    "memory": check_memory,
    "shared memory": check_shared_memory,
    "disk": check_disk,
    "control socket": check_sockets,
}


def _existing(path: Path) -> Path:
    """Find the nearest existing directory upwards."""
    return path if os.path.isdir(path) else _existing(path.parent)


def _size(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.0f} MiB"
