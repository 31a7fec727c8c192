"""Showing a trained policy at play: on the screen, in a file, or both."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..protocol import EpisodeFinished, Event
from ..training.evaluation.setup import EvaluationSetup

if TYPE_CHECKING:
    from ..sinks.recording import Recording
    from ..training.evaluation.watch import WatchEngine
    from ..tui.screen_options import ScreenOptions


def watch_on_screen(
    stage: EvaluationSetup,
    options: ScreenOptions,
    *,
    name: str,
    episodes: int | None,
    record: Path | None,
    board: Path | None = None,
) -> int:
    """Play on the screen until the user leaves, and return the exit code.

    Args:
        board: the run's directory of TensorBoard, which shows a recorded GIF too.
    """
    from ..tui import terminal
    from ..tui.session import WatchSession

    recording = _recording(record)
    fps = terminal.frame_rate(options)

    def make_engine(emit: Callable[[Event], None]) -> WatchEngine:
        from ..training.evaluation.watch import WatchEngine

        def emit_to_all(event: Event) -> None:
            emit(event)
            if recording:
                recording.emit(event)

        return WatchEngine(stage, name=name, episodes=episodes, emit=emit_to_all, fps=fps)

    session = WatchSession(make_engine)
    try:
        outcome = terminal.run_screen(session, options)
    finally:
        stage.pool.close()
        _finish(recording, record, board, stage.state.step)
    if session.finished is not None and session.finished.exit_code:
        print(f"{name}: {session.finished.reason}", file=sys.stderr)
        return session.finished.exit_code
    return outcome.exit_code


def watch_into_file(
    stage: EvaluationSetup, record: Path, *, name: str, episodes: int, board: Path | None = None
) -> int:
    """Play as fast as it goes, record the games, and return the exit code; `board` as for `watch_on_screen`."""
    from ..training.evaluation.watch import WatchEngine

    recording = _recording(record)

    def emit(event: Event) -> None:
        if isinstance(event, EpisodeFinished):
            print(f"return {event.episode_return:g} in {event.length:,} steps", file=sys.stderr)
        recording.emit(event)

    try:
        WatchEngine(stage, name=name, episodes=episodes, emit=emit, fps=None).run()
    finally:
        _finish(recording, record, board, stage.state.step)
    return 0


def _recording(record: Path | None) -> Recording | None:
    if record is None:
        return None
    from ..sinks.recording import Recording

    return Recording(record)


def _finish(recording: Recording | None, record: Path | None, board: Path | None, step: int) -> None:
    if not recording:
        return
    recording.close()
    if recording.frames:
        print(f"{recording.frames:,} frames in {record}")
        if record.suffix.lower() == ".gif" and board is not None and board.is_dir():
            from ..sinks.tensorboard import add_recording

            add_recording(board, record, step)
