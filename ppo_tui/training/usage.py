"""How busy the machine is: its cores, and the GPU that trains."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable

import psutil
import torch


class MachineUsage:
    """Reads the use of the processors, once an update.

    Args:
        device: where the networks live; a GPU is measured through NVIDIA's driver library, where that is there.
    """

    def __init__(self, device: torch.device) -> None:
        psutil.cpu_percent()  # counts from here on
        self._gpu_percent = _gpu_meter(device)

    def metrics(self) -> dict[str, float | None]:
        """Percent (0..100) of all cores since the last call, and of the GPU over about the last second."""
        metrics: dict[str, float | None] = {"time/cpu_percent": psutil.cpu_percent()}
        if self._gpu_percent:
            metrics["time/gpu_percent"] = self._gpu_percent()
        return metrics


class _Utilization(ctypes.Structure):
    """``nvmlUtilization_t`` of NVIDIA's management library."""

    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


def _gpu_meter(device: torch.device) -> Callable[[], float | None] | None:
    """A function that reads the percent of time that a kernel ran on `device`; None where nobody can say."""
    if device.type != "cuda":
        return None
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libnvidia-ml.so.1")
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        handle, usage = ctypes.c_void_p(), _Utilization()
        if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)):
            return None

        def read() -> float | None:
            failed = library.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(usage))
            return None if failed else float(usage.gpu)

        return read
    return None
