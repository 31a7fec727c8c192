"""`ppo-tui watch`: a trained policy at play."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from .options import (
    LATEST,
    AllowImportOption,
    AsciiOption,
    CheckpointOption,
    DeviceOption,
    FpsOption,
    GreedyOption,
    MaxStepsOption,
    PolicyArgument,
    SeedOption,
    ThemeOption,
    has_screen,
    name_latest,
    screen_options,
)

if TYPE_CHECKING:
    from ..protocol import Event
    from ..runs import RunDirectory
    from ..training.evaluation.setup import EvaluationSetup
    from ..training.evaluation.watch import WatchEngine
    from ..tui.screen_options import ScreenOptions

LINE_SECONDS = 5.0
"""Least time between two lines of progress."""

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
    device: DeviceOption = "auto",
    theme: ThemeOption = None,
    ascii: AsciiOption = False,
    allow_import: AllowImportOption = False,
) -> int:
    """Watch a trained policy play, with its probabilities and values.

    It plays the episodes of eval with the same seed, and learns nothing.
    """
    screen = has_screen()
    if record is None and not screen:
        raise UsageError("watch needs a terminal", hint="or a file: --record game.gif")
    from ..runs.select import find_checkpoint
    from .output import print_skipped

    chosen = find_checkpoint(run, checkpoint)
    name_latest(run, chosen.run_dir, "saved")
    print_skipped(chosen.skipped)
    name = chosen.name
    if record is not None:
        from ..sinks.recording import check_recording

        check_recording(record)
    options = screen_options(theme, ascii, fps)
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
            return _watch_on_screen(setup, options, name=name, episodes=episodes, record_event=record_event)
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
    name: str,
    episodes: int | None,
    record_event: Callable[[Event], None],
) -> int:
    """Play on the screen until the user leaves; return the exit code."""
    from ..training.controls import Inbox
    from ..tui import terminal
    from ..tui.session import WatchSession

    fps, inbox = terminal.frame_rate(options), Inbox()

    def make_engine(emit: Callable[[Event], None]) -> WatchEngine:
        from ..training.evaluation.watch import WatchEngine

        def emit_to_both(event: Event) -> None:
            emit(event)
            record_event(event)

        return WatchEngine(setup, name=name, episodes=episodes, emit=emit_to_both, fps=fps, inbox=inbox)

    session = WatchSession(make_engine, inbox)
    try:
        outcome = terminal.run_screen(session, options)
    finally:
        setup.pool.close()
    if session.finished is not None and session.finished.exit_code:
        print(f"{name}: {session.finished.reason}", file=sys.stderr)
        return session.finished.exit_code
    return outcome.exit_code


def _watch_headless(setup: EvaluationSetup, *, name: str, episodes: int, record_event: Callable[[Event], None]) -> int:
    """Play as fast as possible and print each return on stderr."""
    from ..protocol import Alarm, EpisodeFinished, GameClip
    from ..training.evaluation.watch import WatchEngine

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

    WatchEngine(setup, name=name, episodes=episodes, emit=emit, fps=None).run()
    return 0
