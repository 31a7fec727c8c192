"""A run without an engine: its directory, its record and its control socket are real."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ppo_tui.config import Config, load_preset
from ppo_tui.protocol import Command, Event, RunStarted, RunState, StateChanged
from ppo_tui.runs import RunDirectory
from ppo_tui.runs.peer import Peer
from ppo_tui.runs.server import ControlServer
from ppo_tui.sinks import EventLog

DEADLINE = 10.0


class ServedRun:
    """Publishes events to the record and the server, as the event hub does."""

    def __init__(self, path: Path, *, again: bool = False) -> None:
        self.directory = RunDirectory.create(cartpole(), label="cartpole", path=path, again=again)
        self.log = EventLog(self.directory)
        self.commands: list[Command] = []
        self.server = ControlServer(self.directory, self.commands.append)
        self.server.start()

    def emit(self, *events: Event) -> None:
        for event in events:
            self.log.emit(event)
            self.server.emit(event)

    def train(self) -> None:
        """Publish the first events of every run."""
        self.emit(
            RunStarted(
                run=self.directory.name, config={"env": {"id": "CartPole-v1"}}, seed=1, total_steps=1000, num_envs=1,
                num_workers=1, rollout_steps=1, env_slices=((0, 1),), device="cpu", parameters=1, versions={},
            ),
            StateChanged(state=RunState.TRAINING),
        )  # fmt: skip

    @property
    def serves(self) -> bool:
        return any(thread is self.server._thread for thread in threading.enumerate())

    @property
    def peers(self) -> list[Peer]:
        """The clients of its socket."""
        return self.server._peers

    def close(self) -> None:
        self.server.close()
        self.log.close()
        self.directory.release()


def cartpole() -> Config:
    return load_preset("cartpole")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedRun]:
    run = ServedRun(tmp_path / "run")
    yield run
    run.close()
