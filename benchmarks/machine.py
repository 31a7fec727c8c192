"""The machine and the versions behind a benchmark's figures."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import psutil

import ppo_tui
from ppo_tui.system.processor import cpu_model
from ppo_tui.workers import available_cores

_PACKAGES = ("torch", "numpy", "gymnasium", "ale-py", "opencv-python-headless", "textual")
_PEERS = ("stable-baselines3", "envpool")


def machine_facts() -> dict[str, str | int | float]:
    """Processor, cores, memory, system, load before the start, and versions."""
    facts: dict[str, str | int | float] = {
        "cpu": cpu_model(),
        "cores": available_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "ppo-tui": ppo_tui.__version__,
    }
    for package in (*_PACKAGES, *_PEERS):
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            facts[package] = "not installed"
    return facts
