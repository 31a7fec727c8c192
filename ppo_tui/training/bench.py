"""Measure training speed on this machine and suggest faster settings.

Measured are steps a second, and the time by phase.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

import msgspec

from ..config import Config
from ..machine import available_cores
from ..protocol import Event, UpdateFinished
from ..system.processor import cpu_model
from ..workers import resolve_workers
from .checkpoint.resume import versions
from .device import bfloat16_of, device_of, resolve_precision
from .trainer import Trainer

SIGNIFICANT = 1.05
"""Settings are suggested only if they are this many times as fast as the present ones: less is noise."""


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one measurement.

    `precision` and `overlap` change the numbers a little.
    """

    workers: int
    groups: int
    precision: str = "float32"
    overlap: bool = False

    def learns_as(self, other: Variant) -> bool:
        """Whether both compute the same numbers."""
        return (self.precision, self.overlap) == (other.precision, other.overlap)

    def difference(self, other: Variant) -> str:
        """The options to turn `other` into this variant."""
        settings = {
            "workers.count": (self.workers, other.workers),
            "workers.groups": (self.groups, other.groups),
            "policy.precision": (self.precision, other.precision),
            "run.overlap": (str(self.overlap).lower(), str(other.overlap).lower()),
        }
        return " ".join(f"--set {key}={own}" for key, (own, others) in settings.items() if own != others)


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of training with one variant.

    Attributes:
        steps_per_second: environment steps, learning included; the median over the measured updates.
        seconds: of one update, by phase: ``wait`` for workers, ``infer``, ``copy``, ``learn`` and ``other``; the mean.
        emulate_seconds: of all workers together for one update, beside those phases.
    """

    variant: Variant
    steps_per_second: float
    seconds: dict[str, float]
    emulate_seconds: float


class BenchReport(msgspec.Struct, frozen=True, kw_only=True):
    """The measurements of a configuration on this machine.

    Attributes:
        measurements: the first is of the configuration as it is.
    """

    env: str
    device: str
    cores: int
    cpu: str
    versions: dict[str, str]
    measurements: tuple[Measurement, ...]

    @property
    def suggestion(self) -> str:
        """A faster layout with the same numbers, or the slowest phase.

        In words; the phase is named where no layout is clearly faster.
        """
        own = self.measurements[0]
        best = self._fastest(alike=True)
        if best and best.steps_per_second >= SIGNIFICANT * own.steps_per_second:
            return self._promise(best)
        phase = max(own.seconds, key=own.seconds.__getitem__)
        share = own.seconds[phase] / sum(own.seconds.values())
        return f"no layout was clearly faster; most time ({share:.0%}) goes into: {_EXPLAINED[phase]}"

    @property
    def tradeoff(self) -> str | None:
        """A faster variant with other numbers, and its price; None without one."""
        best, alike = self._fastest(alike=False), self._fastest(alike=True)
        if best is None or (alike and best.steps_per_second < SIGNIFICANT * alike.steps_per_second):
            return None
        own = self.measurements[0].variant
        costs = []
        if best.variant.precision != own.precision:
            costs.append("networks computed with three digits instead of seven")
        if best.variant.overlap != own.overlap:
            costs.append("rollouts of a policy one update old")
        return f"{self._promise(best)}, at the price of {' and '.join(costs)}"

    def _fastest(self, *, alike: bool) -> Measurement | None:
        own = self.measurements[0].variant
        candidates = [each for each in self.measurements if each.variant.learns_as(own) == alike]
        return max(candidates, key=lambda each: each.steps_per_second, default=None)

    def _promise(self, measurement: Measurement) -> str:
        own = self.measurements[0]
        gain = measurement.steps_per_second / own.steps_per_second - 1
        return f"{measurement.variant.difference(own.variant)} was {gain:.0%} faster here"


_EXPLAINED = {
    "wait": "waiting for the environments (more cores, or more workers up to their number, would help)",
    "infer": "choosing actions (more environments a worker make larger batches)",
    "copy": "moving observations",
    "learn": "learning (a GPU, or fewer epochs, would help)",
    "other": "bookkeeping (more environments amortise it)",
}


def bench(config: Config, *, updates: int, on_measure: Callable[[Variant], None] = lambda variant: None) -> BenchReport:
    """Train for `updates` updates after a first one, with each sensible variant.

    Args:
        on_measure: called before each measurement.

    Raises:
        PPOTuiError: the configuration cannot run here.
    """
    config, _ = resolve_precision(config)
    measurements = []
    for variant in variants(config):
        on_measure(variant)
        measurements.append(_measure(config, variant, updates))
    return BenchReport(
        env=config.env.id,
        device=str(device_of(config)),
        cores=available_cores(),
        cpu=cpu_model(),
        versions=versions(),
        measurements=tuple(measurements),
    )


def variants(config: Config, cores: int | None = None) -> list[Variant]:
    """The configuration as it is, then variants worth trying.

    The numbers of workers fit `cores`, by default those of this machine.
    """
    cores, num_envs = cores or available_cores(), config.rollout.num_envs
    if config.run.algorithm == "a3c":  # whose workers are its environments
        return [Variant(workers=num_envs, groups=1, precision=config.policy.precision)]
    count, groups = resolve_workers(config.workers.count, config.workers.groups, num_envs, cores)
    own = Variant(workers=count, groups=groups, precision=config.policy.precision, overlap=config.run.overlap)
    counts = sorted({1, max(1, cores // 2), cores, 2 * cores})
    layouts = [(n, g) for n in counts if n <= num_envs for g in (1, 2) if g <= n]
    tried = [own, *(msgspec.structs.replace(own, workers=n, groups=g) for n, g in layouts)]
    device = device_of(config)
    precisions = ["float32", "bf16"] if bfloat16_of(device) else ["float32"]
    overlaps = (False,) if device.type == "mps" else (False, True)
    tried += [
        msgspec.structs.replace(own, precision=precision, overlap=overlap)
        for overlap in overlaps
        for precision in precisions
    ]
    return list(dict.fromkeys(tried))


def _measure(config: Config, variant: Variant, updates: int) -> Measurement:
    replace = msgspec.structs.replace
    config = replace(
        config,
        workers=replace(config.workers, count=variant.workers, groups=variant.groups),
        policy=replace(config.policy, precision=variant.precision),
        run=replace(config.run, total_steps=(updates + 1) * config.batch_size, overlap=variant.overlap, init_from=None),
    )
    collected = _Collected()
    result = Trainer(config, sinks=[collected]).run()
    result.raise_if_failed()
    measured = collected.metrics[1:]
    seconds = {phase: statistics.fmean(values) for phase, values in _by_phase(measured, config.batch_size)}
    busy = statistics.fmean(line["time/workers_busy"] for line in measured)
    return Measurement(
        variant=variant,
        steps_per_second=statistics.median(line["time/fps_update"] for line in measured),
        seconds=seconds,
        emulate_seconds=variant.workers * busy * (sum(seconds.values()) - seconds["learn"]),
    )


def _by_phase(metrics: list[dict], batch_size: int) -> Iterator[tuple[str, list[float]]]:
    """Pairs of a phase and its seconds in each update."""
    prefix = "time/share_"
    for key in metrics[0]:
        if key.startswith(prefix):
            yield key.removeprefix(prefix), [line[key] * batch_size / line["time/fps_update"] for line in metrics]


class _Collected:
    """A sink for the metrics of each update."""

    def __init__(self) -> None:
        self.metrics: list[dict] = []

    def emit(self, event: Event) -> None:
        if isinstance(event, UpdateFinished):
            self.metrics.append(event.metrics)
