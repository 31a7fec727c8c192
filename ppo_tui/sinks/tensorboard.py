"""Event files for TensorBoard, with the tags of Stable-Baselines3, so that its curves and ours lie over one another."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..runs import RunDirectory

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

SCORE = "rollout/ep_rew_mean"
"""The metric that the page of hyper-parameters compares runs by."""

FLUSH_SECONDS = 10


class TensorBoard:
    """Writes ``tensorboard/`` in the run's directory. What a rewind has made void is hidden by TensorBoard itself."""

    def __init__(self, run: RunDirectory) -> None:
        self._directory = run.tensorboard
        self._writer: SummaryWriter | None = None
        self._void_from: int | None = None

    def begin(self, run: str, settings: dict[str, Any]) -> None:
        from torch.utils.tensorboard.summary import hparams

        for summary in hparams(settings, {SCORE: 0.0}):
            self._open().file_writer.add_summary(summary)

    def stand_at(self, step: int) -> None:
        self._close()
        self._void_from = step + 1

    def log(self, metrics: dict[str, float], step: int, time: float) -> None:
        writer = self._open()
        for key, value in metrics.items():
            writer.add_scalar(key, value, step, walltime=time)

    def note(self, text: str, step: int, time: float) -> None:
        self._open().add_text("settings", text, step, walltime=time)

    def end(self, exit_code: int) -> None:
        self._close()

    def _open(self) -> SummaryWriter:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._directory), purge_step=self._void_from, flush_secs=FLUSH_SECONDS)
        return self._writer

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def add_film(directory: Path, gif: Path, step: int) -> None:
    """Show a recorded game among the images of TensorBoard, as ``eval/game`` at `step`.

    Without TensorBoard nothing happens: a run whose files came from elsewhere.
    """
    if importlib.util.find_spec("tensorboard") is None:
        return
    from tensorboard.compat.proto.summary_pb2 import Summary
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(directory)) as writer:
        image = Summary.Image(encoded_image_string=gif.read_bytes())
        writer.file_writer.add_summary(Summary(value=[Summary.Value(tag="eval/game", image=image)]), step)
