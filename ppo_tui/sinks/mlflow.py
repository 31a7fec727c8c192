"""MLflow, by its own library.

It writes to a server, a directory, or, with the whole of MLflow installed, a database.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..runs import RunDirectory

if TYPE_CHECKING:
    from mlflow import MlflowClient

MOST_CHARACTERS = 500
"""Limit of a parameter's value on every MLflow server."""

END_SECONDS = 30.0
"""Time for the end of a run to send the queued calls."""

_Call = Callable[["MlflowClient"], Any]


class MLflow:
    """One run of an experiment; a resumed run continues it.

    Its run id is kept in ``run.json``.

    A thread makes the calls: a server that is slow, or is down and retried for minutes, delays neither training nor
    signals nor the end of the process. MLflow has threads for that too, but ten of them, which store the points of a
    curve in any order.
    """

    def __init__(self, run_dir: RunDirectory, *, uri: str, experiment: str) -> None:
        self._run_dir, self._uri, self._experiment = run_dir, uri, experiment
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._make_calls, name="mlflow", daemon=True)
        self._run_id = self._recorded_id = ""
        self._failure: Exception | None = None

    def begin(self, name: str, settings: dict[str, Any]) -> None:
        self._recorded_id = str(self._run_dir.read().get("mlflow_run") or "")
        self._thread.start()
        self._send(lambda client: self._open(client, name, settings))

    def continue_from(self, step: int) -> None:
        pass

    def log(self, metrics: dict[str, float], step: int, time: float) -> None:
        self._send(lambda client: self._add_points(client, metrics, step, round(1000 * time)))

    def log_setting(self, text: str, step: int, time: float) -> None:
        self._send(lambda client: client.set_tag(self._run_id, f"setting.{step}", text[:MOST_CHARACTERS]))

    def end(self, exit_code: int) -> None:
        status = "FINISHED" if exit_code == 0 else "FAILED"
        self._send(lambda client: client.set_terminated(self._run_id, status))
        self._calls.put(None)
        self._thread.join(END_SECONDS)
        self._check()
        if self._thread.is_alive():
            raise TimeoutError(f"no answer from {self._uri} within {END_SECONDS:g} s")

    def _send(self, call: _Call) -> None:
        self._check()
        self._calls.put(call)

    def _check(self) -> None:
        """Record the id of a new run; raise a failed call's exception.

        No call is made after a failed one.
        """
        if self._run_id and self._run_id != self._recorded_id:
            self._recorded_id = self._run_id
            self._run_dir.update(mlflow_run=self._run_id)
        if self._failure:
            raise self._failure

    def _make_calls(self) -> None:
        """Make the queued calls until one fails or None comes."""
        try:
            client = self._connect()
            while call := self._calls.get():
                call(client)
        except Exception as error:
            self._failure = error

    def _connect(self) -> MlflowClient:
        from mlflow import MlflowClient

        if "://" not in self._uri or self._uri.startswith("file:"):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # else MLflow insists on a database
        return MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)

    def _open(self, client: MlflowClient, name: str, settings: dict[str, Any]) -> None:
        """Continue the recorded run, or begin a new one."""
        from mlflow.entities import Param

        if self._recorded_id:
            self._run_id = self._recorded_id
            client.update_run(self._run_id, status="RUNNING")
            return
        found = client.get_experiment_by_name(self._experiment)
        experiment = found.experiment_id if found else client.create_experiment(self._experiment)
        self._run_id = client.create_run(experiment, run_name=name).info.run_id
        params = [Param(key, str(value)[:MOST_CHARACTERS]) for key, value in settings.items()]
        client.log_batch(self._run_id, params=params)

    def _add_points(self, client: MlflowClient, metrics: dict[str, float], step: int, milliseconds: int) -> None:
        from mlflow.entities import Metric

        points = [Metric(key, value, milliseconds, step) for key, value in metrics.items()]
        client.log_batch(self._run_id, metrics=points)
