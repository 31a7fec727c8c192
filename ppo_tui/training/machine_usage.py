"""Use of the machine's cores and GPU."""

from __future__ import annotations

from collections.abc import Callable

import psutil
import torch

from ..system.library import gpu_usage_reader


class CoresMeter:
    """Use of all cores since the meter was last read."""

    def __init__(self) -> None:
        self._before = self._read()

    @staticmethod
    def _read() -> tuple[float, float]:
        """Seconds at work and in all, of all cores together."""
        times = psutil.cpu_times()
        # Linux counts guests among its users, too.
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        return total - times.idle - getattr(times, "iowait", 0.0), total

    def percent(self) -> float | None:
        """Percent (0..100) at work since the last call.

        None if that was just now.
        """
        (busy_before, before), (busy, total) = self._before, self._read()
        if total <= before:
            return None
        self._before = busy, total
        return min(100.0, max(0.0, 100 * (busy - busy_before) / (total - before)))


class MachineUsage:
    """Use of the processors, read once an update.

    Args:
        device: of the networks; a GPU is measured through NVIDIA's driver library, if that is installed.
    """

    def __init__(self, device: torch.device) -> None:
        psutil.cpu_percent()  # the first call only starts its measurement
        self._gpu_percent = _gpu_meter(device)
        self._interim = CoresMeter()

    def metrics(self) -> dict[str, float | None]:
        """Percent (0..100) in use of all cores and of the GPU.

        The cores since the last call, the GPU over about the last second.
        """
        return {"time/cpu_percent": psutil.cpu_percent(), **self._gpu()}

    def interim(self) -> dict[str, float | None]:
        """The same in the middle of an update, without effect on `metrics`.

        The cores since the last call of this.
        """
        return {"time/cpu_percent": self._interim.percent(), **self._gpu()}

    def _gpu(self) -> dict[str, float | None]:
        return {"time/gpu_percent": self._gpu_percent()} if self._gpu_percent else {}


def _gpu_meter(device: torch.device) -> Callable[[], float | None] | None:
    """A function to measure the GPU's use; None if unknown.

    It returns the percent of time with a kernel on `device`.
    """
    if device.type != "cuda":
        return None
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)  # not in every build of PyTorch
    return gpu_usage_reader(f"GPU-{uuid}") if uuid else None
