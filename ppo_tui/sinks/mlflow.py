"""MLflow, by its own library: a server, a directory, or, with the whole of MLflow installed, a database."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ..runs import RunDirectory

MOST_CHARACTERS = 500
"""Of a parameter, everywhere."""

END_SECONDS = 30.0
"""How long the end of a run waits for what is still to be sent."""


_Call = tuple[Callable[[], str | None], Future[str | None]]
"""What is to be done, and where its result goes: the identifier of a run that has begun, or nothing."""


class MLflow:
    """One run of an experiment; a resumed run goes on with it, by the identifier that ``run.json`` keeps.

    A thread tells the server what happens: one that is slow, or is not there and asked again for minutes, holds up
    neither training nor signals nor the end of the process. MLflow has threads for that too, but ten of them, which
    store the points of a curve in any order.
    """

    def __init__(self, run: RunDirectory, *, uri: str, experiment: str) -> None:
        self._directory, self._uri, self._experiment = run, uri, experiment
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._sending: deque[Future[str | None]] = deque()

    def begin(self, run: str, settings: dict[str, Any]) -> None:
        known = self._directory.read().get("mlflow_run")
        threading.Thread(target=self._make_calls, name="mlflow", daemon=True).start()
        self._send(lambda: self._open(run, settings, known))

    def stand_at(self, step: int) -> None:
        pass

    def log(self, metrics: dict[str, float], step: int, time: float) -> None:
        self._send(lambda: self._add_points(metrics, step, round(1000 * time)))

    def note(self, text: str, step: int, time: float) -> None:
        self._send(lambda: self._client.set_tag(self._run, f"setting.{step}", text[:MOST_CHARACTERS]))

    def end(self, exit_code: int) -> None:
        self._send(lambda: self._client.set_terminated(self._run, "FINISHED" if exit_code == 0 else "FAILED"))
        self._calls.put(None)
        self._check(END_SECONDS)

    def _send(self, make: Callable[[], str | None]) -> None:
        self._check()
        self._sending.append(Future())
        self._calls.put((make, self._sending[-1]))

    def _check(self, seconds: float = 0.0) -> None:
        """Look at the calls that have come back, or wait so long for all of them.

        Raises:
            TimeoutError: some have not.
            Exception: whatever one of them has raised; none after it is made.
        """
        deadline = time.monotonic() + seconds
        while self._sending and (seconds or self._sending[0].done()):
            try:
                opened = self._sending[0].result(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                if self._sending[0].done():
                    raise
                raise TimeoutError(f"no answer from {self._uri} within {seconds:g} s") from None
            self._sending.popleft()
            if opened:
                self._directory.update(mlflow_run=opened)

    def _make_calls(self) -> None:
        """Make one call after the other, until one fails or None comes; in a thread of its own."""
        while call := self._calls.get():
            make, result = call
            try:
                result.set_result(make())
            except Exception as error:
                result.set_exception(error)
                return

    def _open(self, run: str, settings: dict[str, Any], known: str | None) -> str | None:
        """Go on with the run that is `known`, or begin one, and return its identifier."""
        from mlflow import MlflowClient
        from mlflow.entities import Param

        if "://" not in self._uri or self._uri.startswith("file:"):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # which MLflow would rather see in a database
        self._client = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
        if known:
            self._run = known
            self._client.update_run(known, status="RUNNING")
            return None
        found = self._client.get_experiment_by_name(self._experiment)
        experiment = found.experiment_id if found else self._client.create_experiment(self._experiment)
        self._run = self._client.create_run(experiment, run_name=run).info.run_id
        params = [Param(key, str(value)[:MOST_CHARACTERS]) for key, value in settings.items()]
        self._client.log_batch(self._run, params=params)
        return self._run

    def _add_points(self, metrics: dict[str, float], step: int, milliseconds: int) -> None:
        from mlflow.entities import Metric

        points = [Metric(key, value, milliseconds, step) for key, value in metrics.items()]
        self._client.log_batch(self._run, metrics=points)
