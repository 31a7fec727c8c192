"""Recordings hold the frames of the clips, in their colours and at their pace."""

from __future__ import annotations

import numpy as np
import pytest

from ppo_tui.errors import RunFailedError, UsageError
from ppo_tui.pictures import PictureEncoder
from ppo_tui.protocol import GameClip, GameFrame
from ppo_tui.sinks.recording import Recording, check_recording

FPS = 15.0


def clip(pictures: list[np.ndarray]) -> GameClip:
    encoder = PictureEncoder()
    height, width, channels = pictures[0].shape
    frames = tuple(GameFrame(picture=encoder.encode(p), action=0, value=0.0, entropy=0.0) for p in pictures)
    return GameClip(env=0, step=0, fps=FPS, height=height, width=width, channels=channels, frames=frames)


def squares(count: int, channels: int = 3) -> list[np.ndarray]:
    """A bright square that moves by a column a frame; the sides are odd on purpose."""
    pictures = np.zeros((count, 21, 33, channels), np.uint8)
    for number, picture in enumerate(pictures):
        picture[5:12, number : number + 4] = (200, 72, 72)[:channels]
    return list(pictures)


def record(path, *clips: GameClip) -> int:
    recording = Recording(path)
    for each in clips:
        recording.emit(each)
    recording.close()
    return recording.frames


@pytest.mark.parametrize("channels", [1, 3])
def test_a_gif_has_every_frame_at_its_time(tmp_path, channels):
    image = pytest.importorskip("PIL.Image")
    pictures = squares(25, channels)
    assert record(tmp_path / "game.gif", clip(pictures[:10]), clip(pictures[10:])) == 25
    with image.open(tmp_path / "game.gif") as video:
        assert video.n_frames == 25
        durations = []
        for number, picture in enumerate(pictures):
            video.seek(number)
            durations.append(video.info["duration"])
            shown = np.asarray(video.convert("RGB"))
            assert np.abs(shown.astype(int) - picture).max() <= 2
        assert sum(durations) == pytest.approx(1000 * 25 / FPS, abs=10)
        assert video.info["loop"] == 0


def test_an_mp4_has_every_frame(tmp_path):
    av = pytest.importorskip("av")
    pictures = squares(25)
    record(tmp_path / "game.mp4", clip(pictures[:10]), clip(pictures[10:]))
    with av.open(str(tmp_path / "game.mp4")) as video:
        stream = video.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert float(stream.average_rate) == FPS
        shown = [frame.to_ndarray(format="rgb24") for frame in video.decode(stream)]
    assert len(shown) == 25
    assert np.abs(shown[20][:21, :33].astype(int) - pictures[20]).mean() < 8


def test_what_cannot_be_drawn_cannot_be_recorded(tmp_path):
    frame = GameFrame(observation=(1.0,), action=0, value=0.0, entropy=0.0)
    with pytest.raises(RunFailedError, match="no pictures"):
        Recording(tmp_path / "game.gif").emit(GameClip(env=0, step=0, fps=FPS, frames=(frame,)))


def test_a_file_that_cannot_be_written_is_one_message(tmp_path):
    pytest.importorskip("PIL")
    (tmp_path / "game.gif").mkdir()
    with pytest.raises(RunFailedError, match=r"game\.gif cannot be written"):
        record(tmp_path / "game.gif", clip(squares(3)))


@pytest.mark.parametrize(
    ("name", "words"),
    [("game.avi", r"\.gif, \.mp4"), ("game.gfi", r"did you mean '\.gif'"), ("no/game.gif", "no direc")],
)
def test_bad_names_are_refused_beforehand(tmp_path, name, words):
    pytest.importorskip("PIL")
    with pytest.raises(UsageError, match=words):
        check_recording(tmp_path / name)
