"""Measuring a configuration on this machine: steps a second, where the time goes, and whether it could be faster."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

import msgspec
import torch

from ..config import Config
from ..protocol import Event, UpdateFinished
from ..workers import available_cores, resolve_workers
from .start import engine_class
from .versions import cpu_model, versions

SIGNIFICANT = 1.05
"""A layout is suggested only where it is this many times as fast as the automatic one: less is noise."""


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Workers and groups of one measurement."""

    workers: int
    groups: int

    def __str__(self) -> str:
        return f"workers.count={self.workers} workers.groups={self.groups}"


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What training cost with one layout.

    Attributes:
        steps_per_second: environment steps, learning included; the median over the measured updates.
        seconds: of one update, by phase: ``wait`` for workers, ``infer``, ``copy``, ``learn`` and ``other``; the mean.
        emulate_seconds: that all workers together spent stepping for one update, beside those phases.
    """

    layout: Layout
    steps_per_second: float
    seconds: dict[str, float]
    emulate_seconds: float


class BenchReport(msgspec.Struct, frozen=True, kw_only=True):
    """The measurements of a configuration on this machine.

    Attributes:
        measurements: the first is of the layout that the configuration gives by itself.
    """

    env: str
    device: str
    cores: int
    cpu: str
    versions: dict[str, str]
    measurements: tuple[Measurement, ...]

    @property
    def suggestion(self) -> str:
        """What to change, in words, and what it would bring."""
        own, best = self.measurements[0], max(self.measurements, key=lambda m: m.steps_per_second)
        gain = best.steps_per_second / own.steps_per_second
        if gain >= SIGNIFICANT:
            return f"--set {str(best.layout).replace(' ', ' --set ')} was {gain - 1:.0%} faster here"
        phase = max(own.seconds, key=own.seconds.__getitem__)
        share = own.seconds[phase] / sum(own.seconds.values())
        return f"no layout was clearly faster; most time ({share:.0%}) goes into: {_EXPLAINED[phase]}"


_EXPLAINED = {
    "wait": "waiting for the environments (more cores, or more workers up to their number, would help)",
    "infer": "choosing actions (more environments a worker make larger batches)",
    "copy": "moving observations",
    "learn": "learning (a GPU, or fewer epochs, would help)",
    "other": "bookkeeping (more environments amortise it)",
}


def bench(config: Config, *, updates: int, on_measure: Callable[[Layout], None] = lambda layout: None) -> BenchReport:
    """Train for `updates` updates, after one to warm up, with each sensible layout of workers and groups.

    Args:
        on_measure: called before each measurement.

    Raises:
        PPOTuiError: the configuration cannot run here.
    """
    measurements = []
    for layout in layouts(config):
        on_measure(layout)
        measurements.append(_measure(config, layout, updates))
    return BenchReport(
        env=config.env.id,
        device=config.run.device if config.run.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu",
        cores=available_cores(),
        cpu=cpu_model(),
        versions=versions(),
        measurements=tuple(measurements),
    )


def layouts(config: Config, cores: int | None = None) -> list[Layout]:
    """The layout of `config` itself, then the others worth trying on this many cores."""
    cores, num_envs = cores or available_cores(), config.rollout.num_envs
    count, groups = resolve_workers(config.workers.count, config.workers.groups, num_envs, cores)
    counts = sorted({1, max(1, cores // 2), cores, 2 * cores})
    tried = [Layout(workers=count, groups=groups)]
    if config.run.algorithm == "a3c":  # whose workers are its environments
        return [Layout(workers=num_envs, groups=1)]
    tried += [Layout(workers=n, groups=g) for n in counts if n <= num_envs for g in (1, 2) if g <= n]
    return list(dict.fromkeys(tried))


def _measure(config: Config, layout: Layout, updates: int) -> Measurement:
    workers = msgspec.structs.replace(config.workers, count=layout.workers, groups=layout.groups)
    run = msgspec.structs.replace(config.run, total_steps=(updates + 1) * config.batch_size)
    config = msgspec.structs.replace(config, workers=workers, run=run)
    collected = _Collected()
    result = engine_class(config)(config, sinks=[collected]).run()
    result.raise_if_failed()
    measured = collected.metrics[1:]
    seconds = {phase: statistics.fmean(values) for phase, values in _by_phase(measured, config.batch_size)}
    busy = statistics.fmean(line["time/workers_busy"] for line in measured)
    return Measurement(
        layout=layout,
        steps_per_second=statistics.median(line["time/fps_update"] for line in measured),
        seconds=seconds,
        emulate_seconds=layout.workers * busy * (sum(seconds.values()) - seconds["learn"]),
    )


def _by_phase(metrics: list[dict], batch_size: int) -> Iterator[tuple[str, list[float]]]:
    """Phase → its seconds in each update."""
    prefix = "time/share_"
    for key in metrics[0]:
        if key.startswith(prefix):
            yield key.removeprefix(prefix), [line[key] * batch_size / line["time/fps_update"] for line in metrics]


class _Collected:
    """A sink that keeps the metrics of each update."""

    def __init__(self) -> None:
        self.metrics: list[dict] = []

    def emit(self, event: Event) -> None:
        if isinstance(event, UpdateFinished):
            self.metrics.append(event.metrics)
