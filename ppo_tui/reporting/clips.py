"""Clips for a report: an episode of each run's best policy."""

from __future__ import annotations

import base64
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..errors import PPOTuiError, UsageError
from ..protocol import EpisodeFinished, Event, Stop
from ..runs import RunDirectory
from ..runs.registry import LATEST
from ..runs.select import find_checkpoint
from ..sinks.recording import Recording
from ..training.evaluation.setup import start_evaluation

CLIP_FRAMES = 300
"""Longest clip: twenty seconds of an Atari game."""

STILLS = 5

BEST = "best"


@dataclass(frozen=True)
class ReportClip:
    """Pictures as data URIs.

    Attributes:
        animation: a GIF of the beginning of the episode.
        stills: PNGs, evenly spread over it.
        score: raw return of the episode, or None if it lasts longer than the clip.
    """

    checkpoint: str
    step: int
    animation: str
    stills: tuple[str, ...]
    score: float | None


def record_clip(run_dir: RunDirectory, *, device: str = "auto", allow_import: bool = False) -> ReportClip:
    """Record the beginning of an episode.

    The best checkpoint of the run plays, or its newest.

    Raises:
        PPOTuiError: there is no whole checkpoint; the environment is not installed here, renders no pictures, or its
            worker could not start.
    """
    from ..training.evaluation.watch import WatchEngine

    try:
        checkpoint = find_checkpoint(str(run_dir.path), BEST).checkpoint
    except UsageError:
        checkpoint = find_checkpoint(str(run_dir.path), LATEST).checkpoint
    setup = start_evaluation(checkpoint, episodes=1, num_envs=1, steps=1, device=device, allow_import=allow_import)
    score: float | None = None
    with tempfile.TemporaryDirectory() as directory:
        gif = Path(directory) / "game.gif"
        recording = Recording(gif)

        def emit(event: Event) -> None:
            nonlocal score
            if isinstance(event, EpisodeFinished):
                score = event.episode_return
            recording.emit(event)
            if recording.frames >= CLIP_FRAMES:
                engine.send(Stop())

        engine = WatchEngine(setup, name="report", episodes=1, emit=emit, paced=False)
        engine.run()
        recording.close()
        if not recording.frames:
            raise PPOTuiError("the environment renders no pictures")
        content = gif.read_bytes()
    return ReportClip(
        checkpoint=checkpoint.path.name,
        step=checkpoint.state.step,
        animation=_data_uri("image/gif", content),
        stills=tuple(_stills(content)),
        score=score,
    )


def _stills(gif: bytes) -> list[str]:
    from PIL import GifImagePlugin

    stills = []
    with GifImagePlugin.GifImageFile(io.BytesIO(gif)) as animation:
        last = animation.n_frames - 1
        for frame in dict.fromkeys(round(last * number / (STILLS - 1)) for number in range(STILLS)):
            animation.seek(frame)
            buffer = io.BytesIO()
            animation.convert("RGB").save(buffer, "PNG", optimize=True)
            stills.append(_data_uri("image/png", buffer.getvalue()))
    return stills


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
