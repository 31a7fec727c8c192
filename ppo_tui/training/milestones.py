"""The reference of a run, and news of milestones. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from ..config import Config, load_preset
from ..expectations import Reference, Standing, read_curve
from ..plotting import formats
from ..protocol import Alarm, Event, Level, RunStarted, UpdateFinished
from .checkpoint.resume import changed_experiment


def find_reference(preset: str, config: Config) -> Reference | None:
    """The measured curve to compare a run of `preset` with.

    None without one, and for another environment or other rules in it, whose returns are no comparison. Where other
    settings differ that decide numbers, it is the preset's as shipped, and is marked so.

    Args:
        preset: the name that the run was begun by.

    Raises:
        UsageError: the file of the curve is damaged.
        OSError: it cannot be read.
    """
    if (reference := read_curve(preset)) is None:
        return None
    changed = changed_experiment(load_preset(preset, allow_import=True), config)
    if any(key.startswith("env.") for key in changed):
        return None
    return msgspec.structs.replace(reference, same=not changed)


class MilestoneNews:
    """A sink with news of the milestones of a run.

    Args:
        publish: takes the news.
        past: metrics of the checkpoint that the run continues from; what was reached there is no news.
    """

    def __init__(self, publish: Callable[[Event], None], past: Mapping[str, float | None] | None = None) -> None:
        self._publish = publish
        self._past = dict(past or {})
        self._standing = Standing()

    def emit(self, event: Event) -> None:
        standing = self._standing
        before = len(standing.reached)
        standing.apply(event)
        if isinstance(event, RunStarted):
            standing.apply(UpdateFinished(update=0, step=0, metrics=self._past))
        elif len(standing.reached) > before:
            milestone, step = standing.reached[-1]
            self._publish(Alarm(level=Level.INFO, message=self._word(milestone, step, event.elapsed)))

    def _word(self, milestone: float, step: int, seconds: float) -> str:
        standing = self._standing
        assert standing.reference is not None, "milestones come from a reference"
        there = standing.reference.reached(milestone)
        name = f"reference {'' if standing.same else f'({standing.label}) '}"
        took = "did not reach it" if there is None else formats.count(there)
        return f"reached {milestone:g} at {formats.count(step)} steps, {formats.about(seconds)}; {name}{took}"
