"""MLflow, by its own library: a server, a directory, or, with the whole of MLflow installed, a database."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..runs import RunDirectory

if TYPE_CHECKING:
    from mlflow.utils.async_logging.run_operations import RunOperations

MOST_CHARACTERS = 500
"""Of a parameter, everywhere."""


class MLflow:
    """One run of an experiment; a resumed run goes on with it, by the identifier that ``run.json`` keeps."""

    def __init__(self, run: RunDirectory, *, uri: str, experiment: str) -> None:
        self._directory, self._uri, self._experiment = run, uri, experiment
        self._sent: RunOperations | None = None

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
        points = [Metric(key, value, stamp, step) for key, value in metrics.items()]
        # From a thread of MLflow's own, in order: no server that is slow holds up the training.
        self._sent = self._client.log_batch(self._run, metrics=points, synchronous=False)

    def note(self, text: str, step: int, time: float) -> None:
        self._client.set_tag(self._run, f"setting.{step}", text[:MOST_CHARACTERS])

    def end(self, exit_code: int) -> None:
        if self._sent is not None:
            self._sent.wait()
        self._client.set_terminated(self._run, "FINISHED" if exit_code == 0 else "FAILED")
