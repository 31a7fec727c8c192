"""The place of this process among torchrun's ranks. Imports no torch."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import UsageError

_NO_ID = "none"
"""torchrun's name for a job without a name."""


@dataclass(frozen=True)
class Place:
    """The place of one rank among all ranks of a run.

    Attributes:
        rank: 0 to `size` − 1, over all machines.
        local_rank: 0 to `local_size` − 1, on this machine.
        job: torchrun's job, the same over its restarts; empty for a process that trains alone.
        restart, max_restarts: number of restarts so far, and its limit.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    job: str = ""
    restart: int = 0
    max_restarts: int = 0

    @classmethod
    def here(cls, environment: Mapping[str, str] = os.environ) -> Place:
        """This process's place, from torchrun's environment variables; alone without them.

        Raises:
            UsageError: a variable is no number or out of range.
        """
        if not {"RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID"} <= environment.keys():
            return cls()
        place = cls(
            rank=_number(environment, "RANK"),
            size=_number(environment, "WORLD_SIZE"),
            local_rank=_number(environment, "LOCAL_RANK"),
            local_size=_number(environment, "LOCAL_WORLD_SIZE"),
            job=_job(environment["TORCHELASTIC_RUN_ID"]),
            restart=_number(environment, "TORCHELASTIC_RESTART_COUNT"),
            max_restarts=_number(environment, "TORCHELASTIC_MAX_RESTARTS"),
        )
        for key, value, size in (
            ("RANK", place.rank, place.size),
            ("LOCAL_RANK", place.local_rank, place.local_size),
        ):
            if value >= size:
                raise UsageError(
                    f"{key} = {value}: expected less than {size}, the number of ranks", hint="let torchrun set it"
                )
        return place

    @property
    def by_torchrun(self) -> bool:
        """Whether torchrun started this process."""
        return bool(self.job)


def _number(environment: Mapping[str, str], key: str) -> int:
    text = environment.get(key, "0")
    if not text.isdecimal():
        raise UsageError(f"{key} = {text!r} in the environment: expected a whole number", hint="let torchrun set it")
    return int(text)


def _job(run_id: str) -> str:
    """The job's name; without one, the machine and process id of torchrun."""
    return run_id if run_id != _NO_ID else f"{socket.gethostname()}:{os.getppid()}"
