"""TensorBoard's event files, with the tags of Stable-Baselines3.

The curves of both lie in the same charts.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..directories import Directory
from ..expectations import MEAN_RETURN
from ..extras import is_installed
from ..runs import RunDirectory
from ..runs.entries import TENSORBOARD

if TYPE_CHECKING:
    from torch.utils.tensorboard import FileWriter, SummaryWriter

FLUSH_SECONDS = 10

MOST_KEPT = 8
"""Events that are kept, each for other tags; a metric that some updates lack doubles their number."""


class TensorBoard:
    """Writes ``tensorboard/`` in the run directory.

    TensorBoard itself hides points abandoned by a rewind.
    """

    def __init__(self, run_dir: RunDirectory) -> None:
        self._run_dir = run_dir
        self._directory: Directory | None = None
        self._writer: SummaryWriter | None = None
        self._purge_step: int | None = None
        self._kept: dict[tuple[str, ...], Any] = {}

    def begin(self, name: str, settings: dict[str, Any]) -> dict[str, str]:
        from torch.utils.tensorboard.summary import hparams

        for summary in hparams(settings, {MEAN_RETURN: 0.0}):
            _file_of(self._open()).add_summary(summary)
        return {}

    def continue_from(self, step: int) -> None:
        self._close()
        self._purge_step = step + 1

    def log(self, metrics: dict[str, float], step: int, time: float) -> None:
        """Add one event with all metrics of an update or evaluation.

        Events are kept, and filled anew. For protobuf counts what it frees, and gives all free memory back to the
        system now and then; the training had to take it anew.
        """
        tags = tuple(metrics)
        if (event := self._kept.get(tags)) is None:
            if len(self._kept) == MOST_KEPT:
                self._kept.clear()
            event = self._kept[tags] = _event_of(tags)
        for place, value in zip(event.summary.value, metrics.values(), strict=True):
            place.simple_value = value
        _file_of(self._open()).add_event(event, step, time)

    def log_setting(self, text: str, step: int, time: float) -> None:
        self._open().add_text("settings", text, step, walltime=time)

    def end(self, exit_code: int) -> None:
        self._close()

    def _open(self) -> SummaryWriter:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            with self._run_dir.opened() as directory:
                self._directory = directory.subdirectory(TENSORBOARD, make=True)
            path = str(self._directory.for_libraries)
            self._writer = SummaryWriter(path, purge_step=self._purge_step, flush_secs=FLUSH_SECONDS)
        return self._writer

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._directory is not None:
            self._directory.close()
            self._directory = None


def add_recording(run_dir: RunDirectory, gif: Path, step: int) -> None:
    """Add a recording to the images of TensorBoard, as ``eval/game`` at `step`.

    Without TensorBoard nothing happens: the run may come from another machine. The same holds for a run without
    ``tensorboard/``.

    Raises:
        RefusedFileError: ``tensorboard`` is a link, or no directory.
    """
    if not is_installed("tensorboard"):
        return
    with run_dir.opened() as directory:
        if directory.stat(TENSORBOARD) is None:
            return
        with directory.subdirectory(TENSORBOARD) as tensorboard:
            _add_picture(tensorboard.for_libraries, gif, step)


def _add_picture(directory: Path, gif: Path, step: int) -> None:
    from torch.utils.tensorboard import SummaryWriter

    event = _event_of(("eval/game",))
    event.summary.value[0].image.encoded_image_string = gif.read_bytes()
    with SummaryWriter(str(directory)) as writer:
        _file_of(writer).add_event(event, step)


def _event_of(tags: Iterable[str]) -> Any:
    """An event of TensorBoard's, with an empty value for each tag."""
    from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue] # generated

    event = Event()
    for tag in tags:
        event.summary.value.add(tag=tag)
    return event


def _file_of(writer: SummaryWriter) -> FileWriter:
    """The file of an open writer."""
    assert writer.file_writer is not None, "it is open"
    return writer.file_writer
