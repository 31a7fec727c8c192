"""Notifications of a run's end, failure or stall, by webhook or command."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable

import msgspec

from ..config import Config, NotifyConfig
from ..protocol import Event, RunFinished, RunStarted, RunState, StateChanged
from ..runs import RunDirectory

_log = logging.getLogger(__name__)

DELIVERY_SECONDS = 10.0
"""Time for one message; a run that has ended waits no longer for it."""


def notifying_sinks(config: Config, run_dir: RunDirectory) -> list[Notifier]:
    """A sink, if `config` names a webhook or a command."""
    notify = config.notify
    return [Notifier(notify, run_dir)] if notify.webhook or notify.command else []


class Notifier:
    """Sends messages from threads of its own.

    A slow or broken receiver does not delay training.
    """

    def __init__(self, settings: NotifyConfig, run_dir: RunDirectory) -> None:
        self._settings, self._run_dir = settings, run_dir
        self._name, self._step = run_dir.path.name, 0
        self._last_event_at = time.monotonic()
        self._training = self._stall_reported = False
        self._over = threading.Event()
        self._deliveries: list[threading.Thread] = []

    def emit(self, event: Event) -> None:
        self._last_event_at = time.monotonic()
        self._stall_reported = False
        match event:
            case RunStarted():
                self._name = event.run
                if "stall" in self._settings.on:
                    threading.Thread(target=self._watch, name="stall watch", daemon=True).start()
            case StateChanged():
                self._training = event.state is RunState.TRAINING
            case RunFinished():
                self._over.set()
                kind = "failure" if event.state is RunState.FAILED else "finish"
                self._notify(kind, str(event.state), event.reason, event.step)
                self._wait()
            case _:
                self._step = getattr(event, "step", self._step)

    def _watch(self) -> None:
        """Look for a stall now and then, until the run has ended."""
        limit = self._settings.stall_seconds
        while not self._over.wait(min(limit / 4, 10.0)):
            still = time.monotonic() - self._last_event_at
            if self._training and still > limit and not self._stall_reported:
                self._stall_reported = True
                self._notify("stall", "training", f"no progress for {still:.0f} s", self._step)

    def _notify(self, kind: str, state: str, reason: str, step: int) -> None:
        if kind not in self._settings.on:
            return
        text = f"{self._name}: {state if kind != 'stall' else 'stalled'} at step {step:,}: {reason}"
        message = {
            "event": kind,
            "run": self._name,
            "run_dir": str(self._run_dir.path),
            "state": state,
            "step": step,
            "reason": reason,
        }
        for send, wanted in ((self._post, self._settings.webhook), (self._execute, self._settings.command)):
            if wanted is not None:
                thread = threading.Thread(
                    target=self._deliver, args=(send, wanted, message | {"text": text, "content": text}), daemon=True
                )
                thread.start()
                self._deliveries.append(thread)

    def _deliver(self, send: Callable[[str, dict[str, object]], None], wanted: str, message: dict[str, object]) -> None:
        try:
            send(wanted, message)
        except Exception as error:  # such as a wrong address or a missing command, which must not end the run
            _log.warning("the notification of a %s failed: %s", message["event"], error)

    @staticmethod
    def _post(webhook: str, message: dict[str, object]) -> None:
        # `text` is what Slack and Mattermost show, `content` what Discord does.
        headers = {"Content-Type": "application/json", "User-Agent": "ppo-tui"}
        request = urllib.request.Request(webhook, msgspec.json.encode(message), headers)
        with urllib.request.urlopen(request, timeout=DELIVERY_SECONDS):
            pass

    @staticmethod
    def _execute(command: str, message: dict[str, object]) -> None:
        names = ("event", "run", "run_dir", "state", "step", "reason")
        variables = {f"PPO_TUI_{name.upper()}": str(message[name]).replace("\0", "") for name in names}
        done = subprocess.run(
            shlex.split(command),
            input=msgspec.json.encode(message),
            env={**os.environ, **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=DELIVERY_SECONDS,
        )
        if done.returncode:
            last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise RuntimeError(f"{command} failed with exit code {done.returncode}" + (f": {last[0]}" if last else ""))

    def _wait(self) -> None:
        deadline = time.monotonic() + DELIVERY_SECONDS
        for thread in self._deliveries:
            thread.join(max(0.0, deadline - time.monotonic()))
