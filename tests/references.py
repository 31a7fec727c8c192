"""A reference curve for the fake run of `tests.tui.fake`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import msgspec

from ppo_tui.expectations import Reference
from ppo_tui.protocol import Event, RunStarted


def breakout_reference() -> Reference:
    """A plausible curve of Breakout: it learns somewhat earlier than the fake run."""
    steps = tuple(1_024.0 + round(index * 9_998_976 / 99) for index in range(100))
    mean = tuple(round(420 / (1 + math.exp(-9 * (step / 10_000_000 - 0.40))), 3) for step in steps)
    return Reference(
        preset="breakout",
        seeds=3,
        machine="2 cores of a test",
        date="2026-11-28",
        version="0.1.0",
        command="ppo-tui --preset breakout",
        milestones=(10.0, 30.0, 100.0, 300.0, 400.0),
        steps=steps,
        mean=mean,
        low=tuple(0.8 * value for value in mean),
        high=tuple(1.2 * value for value in mean),
        seconds=tuple(step / 450 for step in steps),
    )


def with_reference(events: Iterable[Event], reference: Reference) -> Iterator[Event]:
    """`events` of a run that knows `reference`."""
    for event in events:
        if isinstance(event, RunStarted):
            event = msgspec.structs.replace(event, reference=msgspec.to_builtins(reference))
        yield event
