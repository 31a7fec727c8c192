"""How ``ppo-tui eval`` prints."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

import msgspec
from rich.console import Console

from ..training.evaluation.evaluate import Evaluation, Summary
from .output import print_json

LINE_SECONDS = 5.0
"""At most one line of progress in this time, where stderr is no terminal."""


@contextlib.contextmanager
def evaluation_progress(episodes: int) -> Iterator[Callable[[int, float], None]]:
    """Say on stderr how many games are done: a changing line on a terminal, a line now and then elsewhere."""
    console = Console(stderr=True)
    last = time.monotonic()

    def note(done: int, mean: float) -> None:
        nonlocal last
        text = f"{done} of {episodes} games, mean return {mean:,.2f}"
        if console.is_terminal:
            status.update(text)
        elif time.monotonic() - last >= LINE_SECONDS:
            last = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    with console.status("starting") if console.is_terminal else contextlib.nullcontext() as status:
        yield note


def print_evaluation(name: str, evaluation: Evaluation, *, as_json: bool) -> None:
    """Print a score on stdout, as lines or as one JSON object."""
    if as_json:
        content = {"run": name, **msgspec.to_builtins(evaluation)}
        print_json(content)
        return
    games = "game" if evaluation.episodes == 1 else "games"
    print(f"{name}, {evaluation.env} at step {evaluation.step:,}: {evaluation.episodes} {games}")
    print(f"  return  {_summary(evaluation.score)}")
    print(f"  length  {_summary(evaluation.length)}")
    if (threshold := evaluation.reward_threshold) is not None:
        said = "reached" if evaluation.score.mean >= threshold else "not reached"
        print(f"  solved from a mean return of {threshold:g} on: {said}")
    protocol = (f"{key.replace('_', ' ')} {_shown(value)}" for key, value in evaluation.protocol.items())
    print(f"  {'; '.join(protocol)}")
    print(f"  {evaluation.checkpoint}, {evaluation.seconds:.1f} s")


def _summary(summary: Summary) -> str:
    interval = "" if summary.interval is None else " [{:,.2f}, {:,.2f}]".format(*summary.interval)
    spread = "" if summary.std is None else f", std {summary.std:,.2f}"
    return (
        f"mean {summary.mean:,.2f}{interval}{spread}, median {summary.median:g}, "
        f"from {summary.min:g} to {summary.max:g}"
    )


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
