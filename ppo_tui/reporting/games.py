"""Pictures of a run's game: its policy plays once more, and is filmed."""

from __future__ import annotations

import base64
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..errors import PPOTuiError
from ..protocol import EpisodeFinished, Event, Stop
from ..runs import RunDirectory
from ..runs.registry import LATEST
from ..runs.select import find_checkpoint
from ..sinks.recording import Recording
from ..training.checkpoint.files import MANIFEST_FILE
from ..training.evaluation.setup import start_evaluation

FILM_FRAMES = 300
"""Of the film in the page: twenty seconds of an Atari game."""

STILLS = 5

BEST = "best"


@dataclass(frozen=True)
class Film:
    """Pictures as data URIs.

    Attributes:
        animation: a GIF of the beginning of the game.
        stills: PNGs, evenly spread over it.
        score: raw return of the game, or None where it goes on after the film.
    """

    checkpoint: str
    step: int
    animation: str
    stills: tuple[str, ...]
    score: float | None


def film_run(run: RunDirectory, *, device: str = "auto", allow_import: bool = False) -> Film:
    """Let the best checkpoint of `run`, or else its newest one, play a game of evaluation, and film its beginning.

    Raises:
        PPOTuiError: there is no whole checkpoint; the environment is not installed here, shows no pictures, or its
            worker could not start.
    """
    from ..training.evaluation.watch import WatchEngine

    best = (run.checkpoints / BEST / MANIFEST_FILE).is_file()
    path = find_checkpoint(str(run.path), BEST if best else LATEST).path
    stage = start_evaluation(path, episodes=1, num_envs=1, steps=1, device=device, allow_import=allow_import)
    score: float | None = None
    with tempfile.TemporaryDirectory() as directory:
        gif = Path(directory) / "game.gif"
        recording = Recording(gif)

        def emit(event: Event) -> None:
            nonlocal score
            if isinstance(event, EpisodeFinished):
                score = event.episode_return
            recording.emit(event)
            if recording.frames >= FILM_FRAMES:
                watching.send(Stop())

        watching = WatchEngine(stage, name="report", episodes=1, emit=emit, fps=None)
        watching.run()
        recording.close()
        if not recording.frames:
            raise PPOTuiError("the environment shows no pictures")
        content = gif.read_bytes()
    return Film(
        checkpoint=path.name,
        step=stage.state.step,
        animation=_data_uri("image/gif", content),
        stills=tuple(_stills(content)),
        score=score,
    )


def _stills(gif: bytes) -> list[str]:
    from PIL import Image

    stills = []
    with Image.open(io.BytesIO(gif)) as film:
        last = film.n_frames - 1
        for frame in dict.fromkeys(round(last * number / (STILLS - 1)) for number in range(STILLS)):
            film.seek(frame)
            buffer = io.BytesIO()
            film.convert("RGB").save(buffer, "PNG", optimize=True)
            stills.append(_data_uri("image/png", buffer.getvalue()))
    return stills


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
