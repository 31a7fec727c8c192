"""`ppo-tui eval`: the score of a trained policy over whole episodes."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from .options import (
    LATEST,
    AllowImportOption,
    CheckpointOption,
    DeviceOption,
    GreedyOption,
    JsonOption,
    MaxStepsOption,
    PolicyArgument,
    SeedOption,
    chosen_checkpoint,
)

if TYPE_CHECKING:
    from ..training.evaluation.evaluate import Evaluation, Summary

_LABELS = {"games": "episodes"}
"""Names in the text for keys of the JSON's protocol."""


def evaluate(
    run: PolicyArgument = LATEST,
    episodes: Annotated[int, typer.Option(min=1, max=1_000_000, metavar="N", help="Episodes to play.")] = 100,
    greedy: GreedyOption = None,
    checkpoint: CheckpointOption = "latest",
    seed: SeedOption = 0,
    max_steps: MaxStepsOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    allow_import: AllowImportOption = False,
) -> None:
    """Score a trained policy over many episodes.

    The score is the mean of raw episode returns, with a 95 % confidence interval.
    """
    chosen = chosen_checkpoint(run, checkpoint)
    from ..training.evaluation.evaluate import evaluate as score

    with _progress(episodes) as on_progress:
        evaluation = score(
            chosen.checkpoint,
            episodes=episodes,
            seed=seed,
            greedy=greedy,
            device=device,
            max_steps=max_steps,
            allow_import=allow_import,
            on_progress=on_progress,
        )
    print_evaluation(chosen.name, evaluation, as_json=as_json)


@contextlib.contextmanager
def _progress(episodes: int) -> Iterator[Callable[[int, float, int], None]]:
    """Show progress on stderr: one changing line, or lines without a terminal."""
    from ..console import PrintableConsole
    from ..plotting.formats import score
    from .output import LINE_SECONDS

    def text(done: int, mean: float, steps: int) -> str:
        return f"{done} of {episodes} episodes, " + (f"mean return {score(mean)}" if done else f"{steps:,} steps")

    console = PrintableConsole(stderr=True)
    if console.is_terminal:
        with console.status("starting") as status:
            yield lambda done, mean, steps: status.update(text(done, mean, steps))
        return
    last = time.monotonic()

    def print_line(done: int, mean: float, steps: int) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_SECONDS:
            last = time.monotonic()
            print(text(done, mean, steps), file=sys.stderr, flush=True)

    yield print_line


def print_evaluation(name: str, evaluation: Evaluation, *, as_json: bool) -> None:
    """Print a score on stdout, as lines or as one JSON object."""
    if as_json:
        import msgspec

        from .output import print_json

        print_json({"run": name, **msgspec.to_builtins(evaluation)})
        return
    episodes = "episode" if evaluation.episodes == 1 else "episodes"
    print(f"{name}, {evaluation.env} at step {evaluation.step:,}: {evaluation.episodes} {episodes}")
    print(f"  return  {_summary(evaluation.score)}")
    print(f"  length  {_summary(evaluation.length)}")
    for name, summary in evaluation.numbers.items():
        print(f"  {name} at the end  {_summary(summary)}")
    if evaluation.limit_reached:
        print(f"  {evaluation.limit_reached}, and count with their return so far")
    if (threshold := evaluation.reward_threshold) is not None:
        verdict = "reached" if evaluation.score.mean >= threshold else "not reached"
        print(f"  solved from a mean return of {threshold:g} on: {verdict}")
    protocol = (
        f"{_LABELS.get(key, key.replace('_', ' '))} {_shown(value)}" for key, value in evaluation.protocol.items()
    )
    print(f"  {'; '.join(protocol)}")
    print(f"  {evaluation.checkpoint}, {evaluation.seconds:.1f} s")


def _summary(summary: Summary) -> str:
    from ..plotting.formats import interval, score

    ends = "" if summary.interval is None else f" {interval(*summary.interval)}"
    spread = "" if summary.std is None else f", std {score(summary.std)}"
    return (
        f"mean {score(summary.mean)}{ends}{spread}, median {summary.median:g}, from {summary.min:g} to {summary.max:g}"
    )


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
