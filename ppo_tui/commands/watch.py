"""`ppo-tui watch`: a trained policy at play."""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..directories import opened
from ..errors import PPOTuiError, UsageError
from ..runs.entries import CHECKPOINTS
from .options import (
    LATEST,
    AllowImportOption,
    AsciiOption,
    CheckpointOption,
    DeviceOption,
    FpsOption,
    GreedyOption,
    MaxStepsOption,
    PixelsOption,
    PolicyArgument,
    SeedOption,
    ThemeOption,
    chosen_checkpoint,
    has_screen,
    screen_options,
)

if TYPE_CHECKING:
    from ..protocol import Event
    from ..runs import RunDirectory
    from ..runs.select import ChosenCheckpoint
    from ..training.evaluation.programme import Choice, Scores
    from ..training.evaluation.setup import EvaluationSetup
    from ..training.evaluation.watch import WatchEngine
    from ..tui.screen_options import ScreenOptions

SEEDED_EPISODES = 1_000
"""Episodes with a seed of their own where there is no last one; later ones follow from the last seed."""


def watch(
    run: PolicyArgument = LATEST,
    episodes: Annotated[
        int | None,
        typer.Option(
            min=1, max=1_000_000, metavar="N", help="Episodes to play (default: no end on the screen, 1 in a file)."
        ),
    ] = None,
    greedy: GreedyOption = None,
    checkpoint: CheckpointOption = "latest",
    seed: SeedOption = 0,
    max_steps: MaxStepsOption = None,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="FILE.gif|.mp4", help="Record the episodes; needs no terminal."),
    ] = None,
    fps: FpsOption = None,
    pixels: PixelsOption = None,
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="Begin with the untrained policy beside the checkpoint.")
    ] = False,
    device: DeviceOption = "auto",
    theme: ThemeOption = None,
    ascii: AsciiOption = False,
    allow_import: AllowImportOption = False,
) -> int:
    """Watch trained policies play, with their probabilities and values.

    It plays the episodes of eval with the same seed, and learns nothing. Keys choose the speed, the next game, and
    earlier or later checkpoints; several can play side by side.
    """
    screen = has_screen()
    if record is None and not screen:
        raise UsageError("watch needs a terminal", hint="or a file: --record game.gif")
    chosen = chosen_checkpoint(run, checkpoint)
    name = chosen.name
    if record is not None:
        from ..sinks.recording import check_recording

        check_recording(record)
    options = screen_options(theme, ascii, fps, pixels)
    from ..training.evaluation.setup import start_evaluation

    setup = start_evaluation(
        chosen.checkpoint,
        episodes=episodes or SEEDED_EPISODES,
        num_envs=1,
        steps=1,
        seed=seed,
        greedy=greedy,
        device=device,
        max_steps=max_steps,
        allow_import=allow_import,
    )
    with _recording(record, chosen.run_dir, chosen.checkpoint.state.step) as record_event:
        if screen:
            return _watch_on_screen(
                setup,
                options,
                chosen=chosen,
                episodes=episodes,
                side_by_side=side_by_side,
                record_event=record_event,
            )
        return _watch_headless(setup, name=name, episodes=episodes or 1, record_event=record_event)


@contextlib.contextmanager
def _recording(file: Path | None, run_dir: RunDirectory | None, step: int) -> Iterator[Callable[[Event], None]]:
    """Record the clips among the events into `file`, if there is one.

    Args:
        run_dir: of the run, whose TensorBoard then shows a recorded GIF at `step` too.
    """
    if file is None:
        yield lambda event: None
        return
    from ..sinks.recording import Recording

    recording = Recording(file)
    try:
        yield recording.emit
    finally:
        recording.close()
        if recording.frames:
            print(f"{recording.frames:,} frames in {file}")
            if file.suffix.lower() == ".gif" and run_dir is not None:
                from ..sinks.tensorboard import add_recording

                add_recording(run_dir, file, step)


def _watch_on_screen(
    setup: EvaluationSetup,
    options: ScreenOptions,
    *,
    chosen: ChosenCheckpoint,
    episodes: int | None,
    side_by_side: bool,
    record_event: Callable[[Event], None],
) -> int:
    """Play on the screen until the user leaves; return the exit code."""
    from ..training.evaluation.programme import Programme, Scores
    from ..training.inbox import Inbox
    from ..tui import terminal
    from ..tui.session import WatchSession
    from ..tui.theatre import cast_of

    inbox, scores, name = Inbox(), Scores(), chosen.name
    choices = _choices(chosen)
    own = next(number for number, each in enumerate(choices) if each.name == chosen.checkpoint.path.name)
    checkpoints = cast_of(choices[: own + 1], 2 if side_by_side else 1)
    programme = Programme(checkpoints=checkpoints, greedy=setup.greedy)

    def make_engine(emit: Callable[[Event], None]) -> WatchEngine:
        from ..training.evaluation.watch import WatchEngine

        def emit_to_all(event: Event) -> None:
            emit(event)
            scores.apply(event)
            if getattr(event, "env", 0) == 0:
                record_event(event)

        return WatchEngine(
            setup,
            name=name,
            episodes=episodes,
            emit=emit_to_all,
            paced=True,
            inbox=inbox,
            choices=choices,
            programme=programme,
        )

    session = WatchSession(make_engine, inbox, choices=choices, programme=programme)
    try:
        outcome = terminal.run_screen(session, options)
    finally:
        setup.pool.close()
    _print_summary(name, choices, scores)
    if session.finished is not None and session.finished.exit_code:
        print(f"{name}: {session.finished.reason}", file=sys.stderr)
        return session.finished.exit_code
    return outcome.exit_code


def _choices(chosen: ChosenCheckpoint) -> tuple[Choice, ...]:
    """The policies of a run, from the untrained one on, with scores."""
    from ..training.checkpoint.files import list_checkpoints
    from ..training.evaluation.programme import UNTRAINED, Choice

    own = chosen.checkpoint
    found = {own.path.name: Choice(own.path.name, own.state.step, path=own.path)}
    if run_dir := chosen.run_dir:
        links: dict[str, list[str]] = {}
        with contextlib.suppress(OSError, PPOTuiError), run_dir.opened() as directory:
            checkpoints = directory / CHECKPOINTS
            for path, manifest in list_checkpoints(checkpoints)[0]:
                found.setdefault(path.name, Choice(path.name, manifest.step, path=run_dir.checkpoints / path.name))
            with opened(checkpoints) as held:
                for link in ("latest", "best"):
                    if held.stat(link):
                        links.setdefault(held.target(link), []).append(link)
        scores = _training_scores(run_dir)
        found = {
            name: choice._replace(label=", ".join(links.get(name, ())), score=scores(choice.step))
            for name, choice in found.items()
        }
    return (Choice(UNTRAINED), *sorted(found.values(), key=lambda choice: choice.step))


def _training_scores(run_dir: RunDirectory) -> Callable[[int], float | None]:
    """The mean return of the training at a step, of the record."""
    import numpy as np

    from ..expectations import MEAN_RETURN
    from ..runs.history import recorded_metrics

    try:
        series = recorded_metrics(run_dir).get(MEAN_RETURN)
    except (OSError, PPOTuiError):
        series = None
    if series is None:
        return lambda step: None
    steps, values = series.steps, series.values

    def at(step: int) -> float | None:
        index = int(np.searchsorted(steps, step, side="right")) - 1
        return float(values[index]) if index >= 0 and np.isfinite(values[index]) else None

    return at


def _print_summary(name: str, choices: Sequence[Choice], scores: Scores) -> None:
    """Print the returns of the games played, a line for each policy."""
    from ..training.evaluation.programme import returns_text

    for choice in choices:
        for greedy in (True, False):
            if returns := scores.of(choice.name, greedy):
                games = "1 game" if len(returns) == 1 else f"{len(returns):,} games"
                manner = "greedy" if greedy else "sampled"
                print(f"{name} · {choice.title} · {manner} · {games} · returns {returns_text(returns, 10)}")
    if scores.returns:
        print(f"next: ppo-tui eval {shlex.quote(name)} scores it over 100 games; ppo-tui report {shlex.quote(name)}")


def _watch_headless(setup: EvaluationSetup, *, name: str, episodes: int, record_event: Callable[[Event], None]) -> int:
    """Play as fast as possible and print each return on stderr."""
    from ..protocol import Alarm, EpisodeFinished, GameClip
    from ..training.evaluation.watch import WatchEngine
    from .output import LINE_SECONDS

    frames, last = 0, time.monotonic()

    def emit(event: Event) -> None:
        nonlocal frames, last
        match event:
            case EpisodeFinished():
                print(f"return {event.episode_return:g} in {event.length:,} steps", file=sys.stderr)
            case Alarm():
                print(event.text, file=sys.stderr)
            case GameClip():
                frames += len(event.frames)
                if time.monotonic() - last >= LINE_SECONDS:
                    last = time.monotonic()
                    print(f"{frames:,} frames", file=sys.stderr, flush=True)
        record_event(event)

    WatchEngine(setup, name=name, episodes=episodes, emit=emit, paced=False).run()
    return 0
