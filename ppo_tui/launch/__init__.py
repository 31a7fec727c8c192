"""Prepare a run and train it, headless or behind the screen."""

from .headless import run_headless
from .prepare import prepare, prepare_or_resume
from .prepared import PreparedRun
from .request import TrainRequest
from .resume import prepare_resume
from .screen import run_with_screen

__all__ = [
    "PreparedRun",
    "TrainRequest",
    "prepare",
    "prepare_or_resume",
    "prepare_resume",
    "run_headless",
    "run_with_screen",
]
