"""Write clips into a file: GIF by Pillow, MP4 (H.264) by PyAV."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import RunFailedError, UsageError, did_you_mean
from ..extras import install_command, is_installed
from ..files import check_output
from ..pictures import PictureDecoder
from ..protocol import Event, GameClip

_PACKAGES = {".gif": "PIL", ".mp4": "av"}
_GIF_COLOURS = 128


def check_recording(path: Path) -> None:
    """Refuse an impossible recording, before anything is played.

    Raises:
        UsageError: the format is unknown, its package is not installed, or the directory is missing.
    """
    suffix = path.suffix.lower()
    if suffix not in _PACKAGES:
        hint = did_you_mean(suffix, _PACKAGES, otherwise=f"use one of {', '.join(_PACKAGES)}")
        raise UsageError(f"--record {str(path)!r}: a recording's name ends with its format", hint=hint)
    if not is_installed(_PACKAGES[suffix]):
        raise UsageError(
            f"--record {str(path)!r}: the package that writes {suffix} files is not installed",
            hint=install_command("record"),
        )
    check_output("--record", path)


class _VideoWriter(Protocol):
    """A file of one format."""

    def add(self, picture: np.ndarray) -> None: ...

    def close(self) -> None: ...


class Recording:
    """A sink for the pictures of clips; close it after the last.

    Attributes:
        frames: pictures written so far.
    """

    def __init__(self, path: Path) -> None:
        self.frames = 0
        self._path = path
        self._writer: _VideoWriter | None = None

    def emit(self, event: Event) -> None:
        """Add the pictures of a clip; ignore other events.

        Raises:
            RunFailedError: the environment shows no pictures, or the file cannot be written.
        """
        if not isinstance(event, GameClip):
            return
        if not event.channels:
            raise RunFailedError(
                f"nothing to record in {self._path}: the environment shows no pictures",
                hint="it needs a render mode rgb_array; without --record its observations are shown",
            )
        decoder = PictureDecoder(event.height, event.width, event.channels)
        try:
            for frame in event.frames:
                decoder.decode(frame.picture or b"")
                self._writer = self._writer or self._open(event)
                self._writer.add(np.broadcast_to(decoder.picture, (*decoder.picture.shape[:2], 3)))
                self.frames += 1
        except OSError as error:
            raise self._failed(error) from None

    def close(self) -> None:
        """Finish the file.

        Raises:
            RunFailedError: it cannot be written.
        """
        try:
            if self._writer:
                self._writer.close()
        except OSError as error:
            raise self._failed(error) from None

    def _open(self, clip: GameClip) -> _VideoWriter:
        writer = _GifWriter if self._path.suffix.lower() == ".gif" else _Mp4Writer
        return writer(self._path, clip)

    def _failed(self, error: OSError) -> RunFailedError:
        return RunFailedError(f"{self._path} cannot be written: {error.strerror or error}")


class _GifWriter:
    """Keeps frames as palette images, as Pillow writes a GIF at once."""

    def __init__(self, path: Path, clip: GameClip) -> None:
        self._path = path
        self._fps = clip.fps
        self._images: list[Any] = []

    def add(self, picture: np.ndarray) -> None:
        from PIL import Image

        self._images.append(Image.fromarray(picture.copy()).quantize(_GIF_COLOURS, dither=Image.Dither.NONE))

    def close(self) -> None:
        first, *others = self._images
        # A GIF counts hundredths of a second: frames of 60 and 70 ms make 15 a second.
        ends = [10 * round(100 * number / self._fps) for number in range(len(self._images) + 1)]
        durations = [end - start for start, end in itertools.pairwise(ends)]
        first.save(self._path, save_all=True, append_images=others, duration=durations, loop=0)


class _Mp4Writer:
    """Writes H.264 in every player's pixel format, with even sides."""

    def __init__(self, path: Path, clip: GameClip) -> None:
        import av

        self._container = av.open(str(path), "w")
        self._stream = self._container.add_stream("libx264", rate=round(clip.fps))
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"crf": "18"}
        self._stream.width, self._stream.height = clip.width + clip.width % 2, clip.height + clip.height % 2

    def add(self, picture: np.ndarray) -> None:
        from av import VideoFrame

        height, width = picture.shape[:2]
        even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        self._container.mux(self._stream.encode(VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()
