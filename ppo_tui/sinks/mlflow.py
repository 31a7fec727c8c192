"""MLflow, by its own library: a server, a directory, or, with the whole of MLflow installed, a database."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ..runs import RunDirectory

MOST_CHARACTERS = 500
"""Of a parameter, everywhere."""


class MLflow:
    """One run of an experiment; a resumed run goes on with it, by the identifier that ``run.json`` keeps.

    A thread sends it what happens, so that no server that is slow holds up the training. MLflow has threads for that
    too, but ten of them, which store the points of a curve in any order.
    """

    def __init__(self, run: RunDirectory, *, uri: str, experiment: str) -> None:
        self._directory, self._uri, self._experiment = run, uri, experiment
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mlflow")
        self._sending: deque[Future[Any]] = deque()

    def begin(self, run: str, settings: dict[str, Any]) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        if "://" not in self._uri or self._uri.startswith("file:"):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # which MLflow would rather see in a database
        self._client = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
        known = self._directory.read().get("mlflow_run")
        if known:
            self._run = str(known)
            self._client.update_run(self._run, status="RUNNING")
            return
        found = self._client.get_experiment_by_name(self._experiment)
        experiment = found.experiment_id if found else self._client.create_experiment(self._experiment)
        self._run = self._client.create_run(experiment, run_name=run).info.run_id
        self._directory.update(mlflow_run=self._run)
        params = [Param(key, str(value)[:MOST_CHARACTERS]) for key, value in settings.items()]
        self._client.log_batch(self._run, params=params)

    def stand_at(self, step: int) -> None:
        pass

    def log(self, metrics: dict[str, float], step: int, time: float) -> None:
        from mlflow.entities import Metric

        stamp = round(1000 * time)
        self._send(self._client.log_batch, [Metric(key, value, stamp, step) for key, value in metrics.items()])

    def note(self, text: str, step: int, time: float) -> None:
        self._send(self._client.set_tag, f"setting.{step}", text[:MOST_CHARACTERS])

    def end(self, exit_code: int) -> None:
        self._send(self._client.set_terminated, "FINISHED" if exit_code == 0 else "FAILED")
        self._check(wait=True)
        self._thread.shutdown()

    def _send(self, send: Callable[..., Any], *what: Any) -> None:
        self._check(wait=False)
        self._sending.append(self._thread.submit(send, self._run, *what))

    def _check(self, *, wait: bool) -> None:
        """Raise what a call to MLflow raised: one that has come back or, if `wait`, any."""
        try:
            while self._sending and (wait or self._sending[0].done()):
                self._sending.popleft().result()
        except Exception:
            self._thread.shutdown(wait=False, cancel_futures=True)
            raise
