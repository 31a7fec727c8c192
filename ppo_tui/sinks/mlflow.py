"""MLflow, by its own library.

It writes to a server, a directory, or, with the whole of MLflow installed, a database.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..runs import RunDirectory

if TYPE_CHECKING:
    from mlflow import MlflowClient

MOST_CHARACTERS = 500
"""Limit of a parameter's value on every MLflow server."""


class MLflow:
    """One run of an experiment; a resumed run continues it.

    Its run id is kept in ``run.json``.

    Every call waits for the server. MLflow has threads to call in the background, but ten of them, which store the
    points of a curve in any order.
    """

    def __init__(self, run_dir: RunDirectory, *, uri: str, experiment: str) -> None:
        self._uri, self._experiment = uri, experiment
        self._run_id = str(run_dir.read().get("mlflow_run") or "")
        self._client: MlflowClient | None = None

    def begin(self, name: str, settings: dict[str, Any]) -> dict[str, str]:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        if "://" not in self._uri or self._uri.startswith("file:"):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # else MLflow insists on a database
        client = self._client = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
        if self._run_id:
            client.update_run(self._run_id, status="RUNNING")
            return {}
        found = client.get_experiment_by_name(self._experiment)
        experiment = found.experiment_id if found else client.create_experiment(self._experiment)
        self._run_id = client.create_run(experiment, run_name=name).info.run_id
        params = [Param(key, str(value)[:MOST_CHARACTERS]) for key, value in settings.items()]
        client.log_batch(self._run_id, params=params)
        return {"mlflow_run": self._run_id}

    def continue_from(self, step: int) -> None:
        pass

    def log(self, metrics: dict[str, float], step: int, time: float) -> None:
        from mlflow.entities import Metric

        points = [Metric(key, value, round(1000 * time), step) for key, value in metrics.items()]
        self._begun.log_batch(self._run_id, metrics=points)

    def log_setting(self, text: str, step: int, time: float) -> None:
        self._begun.set_tag(self._run_id, f"setting.{step}", text[:MOST_CHARACTERS])

    def end(self, exit_code: int) -> None:
        self._begun.set_terminated(self._run_id, "FINISHED" if exit_code == 0 else "FAILED")

    @property
    def _begun(self) -> MlflowClient:
        assert self._client is not None, "begin comes first"
        return self._client
