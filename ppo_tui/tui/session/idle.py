"""No run at all: the session of the start screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...protocol import Event
from .base import Session


@dataclass(frozen=True)
class Choice:
    """The user's choice on the start screen.

    Attributes:
        name: of the preset to start, or the directory of the run.
    """

    action: Literal["start", "attach", "replay"]
    name: str


class StartSession(Session):
    """A session without a run, for the choice of one.

    Attributes:
        choice: None until the user has chosen.
    """

    owns_run = False
    can_steer = False
    shows_game = False

    def __init__(self) -> None:
        self.choice: Choice | None = None

    @property
    def live(self) -> bool:
        return False

    def poll(self) -> list[Event]:
        return []

    def close(self, timeout: float) -> bool:
        return True
