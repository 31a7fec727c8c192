"""Telling somebody outside that a run has ended, failed or stalled: by a webhook, a command, or both."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import threading
import time
import urllib.request

import msgspec

from ..config import Config, NotifyConfig
from ..protocol import Event, RunFinished, RunStarted, RunState, StateChanged
from ..runs import RunDirectory

_log = logging.getLogger(__name__)

DELIVERY_SECONDS = 10.0
"""How long one message may take; a run that is over waits no longer for it."""


def notifying_sinks(config: Config, run: RunDirectory) -> list[Notifier]:
    """A sink where `config` names anybody to tell."""
    notify = config.notify
    return [Notifier(notify, run)] if notify.webhook or notify.command else []


class Notifier:
    """Sends messages from threads of its own: nothing that is slow or broken there holds up the training."""

    def __init__(self, settings: NotifyConfig, run: RunDirectory) -> None:
        self._settings, self._run = settings, run
        self._name, self._step = run.path.name, 0
        self._moved = time.monotonic()
        self._training = self._told_of_stall = False
        self._over = threading.Event()
        self._deliveries: list[threading.Thread] = []

    def emit(self, event: Event) -> None:
        self._moved = time.monotonic()
        self._told_of_stall = False
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
                self._tell(kind, str(event.state), event.reason, event.step)
                self._wait()
            case _:
                self._step = getattr(event, "step", self._step)

    def _watch(self) -> None:
        """Look for a stall now and then, until the run is over."""
        limit = self._settings.stall_seconds
        while not self._over.wait(min(limit / 4, 10.0)):
            still = time.monotonic() - self._moved
            if self._training and still > limit and not self._told_of_stall:
                self._told_of_stall = True
                self._tell("stall", "training", f"nothing has moved for {still:.0f} s", self._step)

    def _tell(self, kind: str, state: str, reason: str, step: int) -> None:
        if kind not in self._settings.on:
            return
        text = f"{self._name}: {state if kind != 'stall' else 'stalled'} at step {step:,}: {reason}"
        message = {
            "event": kind,
            "run": self._name,
            "run_dir": str(self._run.path),
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

    def _deliver(self, send, wanted: str, message: dict[str, object]) -> None:
        try:
            send(wanted, message)
        except Exception as error:  # an address that is wrong, a command that is not there: the run does not care
            _log.warning("a %s could not be told: %s", message["event"], error)

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
            raise RuntimeError(f"{command} left with {done.returncode}" + (f": {last[0]}" if last else ""))

    def _wait(self) -> None:
        deadline = time.monotonic() + DELIVERY_SECONDS
        for thread in self._deliveries:
            thread.join(max(0.0, deadline - time.monotonic()))
