"""A catalogue of runs for an open list, reading only changes."""

from __future__ import annotations

from pathlib import Path

from .creation import RUNS_DIR
from .directory import RunDirectory
from .progress import Point, Progress
from .registry import Place, RunSummary, in_order, run_places, summarise_at


class Catalogue:
    """All runs below a directory, with their metrics read one by one.

    For one thread at a time.
    """

    def __init__(self, runs_dir: Path = RUNS_DIR) -> None:
        self._runs_dir = runs_dir
        self._places: dict[str, Place] = {}
        self._progress: dict[str, Progress] = {}

    def look(self) -> list[RunSummary]:
        """All runs, as `list_runs` orders them, with their known progress."""
        found: list[RunSummary] = []
        places: dict[str, Place] = {}
        for place in run_places(self._runs_dir):
            path = str(place.path.absolute())
            if run := summarise_at(place, self._progress.setdefault(path, Progress())):
                found.append(run)
                places[run.path] = place
        self._places = places
        self._progress = {path: progress for path, progress in self._progress.items() if path in places}
        return in_order(found)

    def read(self, path: str) -> RunSummary | None:
        """The run with all of its metrics so far; None without one."""
        if (place := self._places.get(path)) is None:
            return None
        progress = self._progress.setdefault(path, Progress())
        try:
            with RunDirectory(place.path).opened() as directory:
                progress.read(directory)
        except OSError:
            return None
        return summarise_at(place, progress)

    def curve(self, path: str) -> tuple[Point, ...]:
        """The mean return of a run, as far as read."""
        return tuple(self._progress[path].curve) if path in self._progress else ()
