"""Cores, PyTorch, processes, memory, disk, sockets."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from .finding import Finding, Status

BUSY = 0.5
"""Cores that others use, as a share of those there are, from which on they make a training slower."""

SHARED_MEMORY = Path("/dev/shm")
"""Where Linux keeps what processes share; without room there it goes to the disk."""

SHARED_BYTES = 64 * 2**20
"""What the largest preset shares, several times over (Breakout: 8 environments × 132 frames × 7 kB = 7 MB)."""

LITTLE_DISK, NO_DISK = 2 * 2**30, 200 * 2**20
"""Bytes: a run of Breakout keeps up to 200 MB of checkpoints and 100 MB of records."""


def check_cores() -> Finding:
    """The cores, what automatic sizing makes of them, and how busy they are."""
    from ..config import load_preset
    from ..workers import available_cores, resolve_workers

    cores, config = available_cores(), load_preset("breakout")
    workers, groups = resolve_workers("auto", "auto", config.rollout.num_envs)
    found = f"{cores} of {os.cpu_count()}; breakout gets {workers} workers in {groups} groups, and learns on {cores}"
    load = os.getloadavg()[0]
    if load > BUSY * cores:
        remedy = f"others use {load:.1f} cores: a training will be that much slower"
        return Finding(Status.WARN, f"{found}; load {load:.1f}", remedy)
    if cores == 1:
        return Finding(Status.WARN, found, "with one core, environments and learner take turns: two are far faster")
    return Finding(Status.OK, f"{found}; load {load:.1f}")


def check_torch() -> Finding:
    """PyTorch and its threads."""
    import torch

    from ..workers import available_cores

    found = f"{torch.__version__}, {torch.get_num_threads()} threads"
    limit = os.environ.get("OMP_NUM_THREADS")
    if limit is not None and limit.isdigit() and int(limit) < available_cores():
        remedy = "unset OMP_NUM_THREADS: PyTorch is given as many as suit each phase of a training"
        return Finding(Status.WARN, f"{found}; OMP_NUM_THREADS={limit}", remedy)
    return Finding(Status.OK, found)


def check_gpu() -> Finding:
    """What PyTorch can compute on, and whether there is a GPU that it cannot."""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        return Finding(Status.OK, ", ".join(f"{gpu.name} with {gpu.total_memory / 2**30:.0f} GiB" for gpu in names))
    if Path("/dev/nvidia0").exists():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        remedy = "install the build for your driver: https://pytorch.org/get-started/locally/"
        return Finding(Status.WARN, f"there is one, but PyTorch ({built}) cannot use it", remedy)
    return Finding(Status.OK, "none; everything runs on the CPU")


def check_workers() -> Finding:
    """Start two workers as a run does, and step their environments."""
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
    return Finding(Status.OK, f"two started, and stepped CartPole, in {time.perf_counter() - began:.1f} s")


def check_shared_memory() -> Finding:
    """Room for what the workers write into."""
    if not SHARED_MEMORY.is_dir():
        return Finding(Status.OK, f"no {SHARED_MEMORY} here; what is shared lies in {tempfile.gettempdir()}")
    free, total = (getattr(shutil.disk_usage(SHARED_MEMORY), name) for name in ("free", "total"))
    found = f"{_size(free)} of {_size(total)} free in {SHARED_MEMORY}"
    if free < SHARED_BYTES:
        remedy = "observations will be shared through the disk; in a container: docker run --shm-size=1g"
        return Finding(Status.WARN, found, remedy)
    return Finding(Status.OK, found)


def check_disk() -> Finding:
    """That ``./runs`` can be written, with room for checkpoints."""
    from ..runs import RUNS_DIR

    place = _existing(RUNS_DIR.absolute())
    if RUNS_DIR.exists() and not RUNS_DIR.is_dir():
        return Finding(Status.FAIL, f"{RUNS_DIR} here is no directory", "move it away, or start from another directory")
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        remedy = "start from a directory of your own, or give each run one: --run-dir DIR"
        return Finding(Status.FAIL, f"{place.resolve()} cannot be written: {error.strerror}", remedy)
    free = shutil.disk_usage(place).free
    found = f"{_size(free)} free for {RUNS_DIR}"
    if free < LITTLE_DISK:
        status = Status.FAIL if free < NO_DISK else Status.WARN
        return Finding(status, found, "make room, keep fewer checkpoints (run.keep_checkpoints), or use --run-dir DIR")
    return Finding(Status.OK, found)


def check_sockets() -> Finding:
    """That a run can be reached: a socket in its directory, or in a private one where that path is too long."""
    from ..runs import RUNS_DIR
    from ..runs.address import MAX_PATH_BYTES

    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(f"{directory}/s")
    length = len(os.fsencode(RUNS_DIR.absolute() / ("n" * 20) / "control.sock"))
    if length > MAX_PATH_BYTES:
        return Finding(
            Status.OK, f"paths of {length} bytes are beyond {MAX_PATH_BYTES}: a run's is in {tempfile.gettempdir()}"
        )
    return Finding(Status.OK, f"in the run's directory ({length} of {MAX_PATH_BYTES} bytes of path)")


MACHINE: dict[str, Callable[[], Finding]] = {
    "cores": check_cores,
    "PyTorch": check_torch,
    "GPU": check_gpu,
    "workers": check_workers,
    "shared memory": check_shared_memory,
    "disk": check_disk,
    "control socket": check_sockets,
}


def _existing(path: Path) -> Path:
    """The nearest directory upwards that is there."""
    return path if path.is_dir() else _existing(path.parent)


def _size(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.0f} MiB"
