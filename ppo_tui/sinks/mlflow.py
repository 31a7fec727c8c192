"""MLflow, by its own library: a server, a directory, or, with the whole of MLflow installed, a database."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from typing import Any

from ..runs import RunDirectory

MOST_CHARACTERS = 500
"""Of a parameter, everywhere."""

END_SECONDS = 30.0
"""How long the end of a run waits for what is still to be sent."""


class MLflow:
    """One run of an experiment; a resumed run goes on with it, by the identifier that ``run.json`` keeps.

    A thread tells the server what happens: one that is slow, or is not there and asked again for minutes, holds up
    neither training nor signals nor the end of the process. MLflow has threads for that too, but ten of them, which
    store the points of a curve in any order.
    """

    def __init__(self, run: RunDirectory, *, uri: str, experiment: str) -> None:
        self._directory, self._uri, self._experiment = run, uri, experiment
        self._calls: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._make_calls, name="mlflow", daemon=True)
        self._run = self._recorded = ""
        self._failure: Exception | None = None

    def begin(self, run: str, settings: dict[str, Any]) -> None:
        self._recorded = str(self._directory.read().get("mlflow_run") or "")
        self._thread.start()
        self._send(lambda: self._open(run, settings))

    def stand_at(self, step: int) -> None:
        pass

    def log(self, metrics: dict[str, float], step: int, time: float) -> None:
        self._send(lambda: self._add_points(metrics, step, round(1000 * time)))

    def note(self, text: str, step: int, time: float) -> None:
        self._send(lambda: self._client.set_tag(self._run, f"setting.{step}", text[:MOST_CHARACTERS]))

    def end(self, exit_code: int) -> None:
        self._send(lambda: self._client.set_terminated(self._run, "FINISHED" if exit_code == 0 else "FAILED"))
        self._calls.put(None)
        self._thread.join(END_SECONDS)
        self._check()
        if self._thread.is_alive():
            raise TimeoutError(f"no answer from {self._uri} within {END_SECONDS:g} s")

    def _send(self, call: Callable[[], Any]) -> None:
        self._check()
        self._calls.put(call)

    def _check(self) -> None:
        """Note which run has begun meanwhile, and raise what a call has raised; none after it is made."""
        if self._run and self._run != self._recorded:
            self._recorded = self._run
            self._directory.update(mlflow_run=self._run)
        if self._failure:
            raise self._failure

    def _make_calls(self) -> None:
        """Make one call after the other, until one fails or None comes; in a thread of its own."""
        try:
            while call := self._calls.get():
                call()
        except Exception as error:
            self._failure = error

    def _open(self, run: str, settings: dict[str, Any]) -> None:
        """Go on with the run that is on record, or begin one."""
        from mlflow import MlflowClient
        from mlflow.entities import Param

        if "://" not in self._uri or self._uri.startswith("file:"):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # which MLflow would rather see in a database
        self._client = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
        if self._recorded:
            self._run = self._recorded
            self._client.update_run(self._run, status="RUNNING")
            return
        found = self._client.get_experiment_by_name(self._experiment)
        experiment = found.experiment_id if found else self._client.create_experiment(self._experiment)
        self._run = self._client.create_run(experiment, run_name=run).info.run_id
        params = [Param(key, str(value)[:MOST_CHARACTERS]) for key, value in settings.items()]
        self._client.log_batch(self._run, params=params)

    def _add_points(self, metrics: dict[str, float], step: int, milliseconds: int) -> None:
        from mlflow.entities import Metric

        points = [Metric(key, value, milliseconds, step) for key, value in metrics.items()]
        self._client.log_batch(self._run, metrics=points)
