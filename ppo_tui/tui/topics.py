"""Topics: the things on the screen with a card."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..explanations import ALARMS, Verdict, explain, is_metric
from ..plotting import formats
from ..protocol import GameFrame, WorkerInfo
from ..sinks.wording import describe_distance
from .advice import written
from .controller import Controller
from .log_entries import LogEntry
from .metrics import PHASES
from .verdicts import UNKNOWN, judge, missing, reading

_MOST_WORKERS = 12
"""Workers with a value of their own in a card."""


@dataclass(frozen=True)
class Topic:
    """A thing to explain.

    Attributes:
        key: of its explanation.
        detail: its own text, such as an event's or a mark's.
        worker: the index of the worker that a number belongs to, None for all.
    """

    key: str
    detail: str = ""
    worker: int | None = None


class Explains:
    """A mixin: a screen with things to explain."""

    @abstractmethod
    def topics(self) -> tuple[Sequence[Topic], int]:
        """The things on the screen, and the index of the chosen one."""


def of_event(entry: LogEntry) -> Topic:
    """The topic of a line of the log, with its whole text."""
    return Topic(entry.topic or f"event/{entry.kind.value}", entry.text)


def of_workers(index: int | None = None) -> list[Topic]:
    """The topics of the workers' panel: of one worker, or of all."""
    names = ("state", "speed", "waiting", "episodes", "return", "restarts", "memory")
    own = [Topic(f"worker/{name}", worker=index) for name in names]
    return own if index is not None else [Topic("panel/workers"), *own]


GAME_TOPICS = tuple(
    Topic(key) for key in ("panel/game", *(f"game/{name}" for name in ("score", "value", "entropy", "policy")))
)

HEADER_TOPICS = tuple(
    Topic(f"header/{name}")
    for name in ("state", "forecast", "stop", "steps", "speed", "elapsed", "left", "rollout", "update", "time")
)


_DISTANCE = re.compile(r" \S+: \S+ (?:to go|episodes)| held \d+/|plateau in ")
"""The stop rules in the head's first line."""


def of_header(line: str, row: int, x: int) -> Topic:
    """The topic under column `x` of a line of the head."""
    if row == 0:
        right = line[2 * len(line) // 3 :] if x > 2 * len(line) // 3 else ""
        if _DISTANCE.search(right):
            return Topic("header/stop")
        return Topic("header/forecast" if "about" in right else "header/state")
    if row == 1:
        labels = {"steps/s": "speed", "elapsed": "elapsed", "left": "left"}
        ends = ((line.rfind(word) + len(word), name) for word, name in labels.items() if line.rfind(word) > 0)
        found = next((name for end, name in sorted(ends) if x < end), "left")
        return Topic("header/steps" if x < len(line) // 2 else f"header/{found}")
    if row == 2:
        return Topic("header/rollout" if x < len(line) // 2 else "header/update")
    for _, word, keys in PHASES:
        if (match := re.search(rf"\S {word} +\S+", line)) and match.start() <= x < match.end():
            return Topic(keys[0])
    return Topic("header/time")


# ── Values now ──────────────────────────────────────────────────────────────────────────────────────────────


def value_of(topic: Topic, controller: Controller) -> str:
    """The value of a topic now, in words, if any."""
    kind, _, name = topic.key.partition("/")
    if kind == "alarm":
        return _alarm(controller, name)
    if topic.detail:
        return ""
    if is_metric(topic.key) or not name:
        return reading(controller.view, topic.key)
    if kind == "header":
        return _HEADER[name](controller)
    if kind == "worker":
        return _of_workers(controller.view.workers, name, topic.worker)
    if kind == "game" and name in _GAME:
        frame = controller.clip_player.frame
        return _GAME[name](frame) if frame else controller.game_missing or UNKNOWN
    return ""


def verdict_of(topic: Topic, controller: Controller) -> Verdict | None:
    """The verdict on a topic's value now; None without one."""
    if not is_metric(topic.key) or missing(controller.view, topic.key):
        return None
    return judge(controller.view, topic.key)


def _alarm(controller: Controller, name: str) -> str:
    alarm = controller.view.alarms.get(name)
    return f"{ALARMS[name].label} {written(alarm)}" if alarm else "healthy"


def _forecast(controller: Controller) -> str:
    forecast = controller.view.forecast
    if forecast is None:
        return UNKNOWN if controller.view.standing.expects else "this preset has no measured curve"
    return f"return {forecast.milestone:g} in about {formats.about(forecast.seconds)}"


def _stop(controller: Controller) -> str:
    stop = controller.view.stop
    return (describe_distance(stop) if stop else "") or "no stop rule"


def _rollout(controller: Controller) -> str:
    rollout = controller.view.rollout
    return f"{rollout.t:,} of {rollout.length:,}" if rollout else UNKNOWN


def _update(controller: Controller) -> str:
    learning = controller.view.learning
    if learning is None:
        return f"{controller.view.update:,} done" if controller.view.update else UNKNOWN
    return f"epoch {learning.epoch} of {learning.epochs}, minibatch {learning.minibatch} of {learning.minibatches}"


def _phases(controller: Controller) -> str:
    shares = [f"{word} {reading(controller.view, keys[0])}" for _, word, keys in PHASES]
    return UNKNOWN if UNKNOWN in shares[0] else ", ".join(shares)


def _known(text: str) -> str:
    return UNKNOWN if text == formats.NOTHING else text


_HEADER: dict[str, Callable[[Controller], str]] = {
    "state": lambda controller: str(controller.view.state) + (f": {why}" if (why := controller.view.reason) else ""),
    "forecast": _forecast,
    "stop": _stop,
    "steps": lambda controller: (
        f"{controller.view.step:,} of {controller.view.total_steps:,}" if controller.view.started else UNKNOWN
    ),
    "speed": lambda controller: formats.number(controller.view.fps) if controller.view.fps else UNKNOWN,
    "elapsed": lambda controller: formats.duration(controller.elapsed),
    "left": lambda controller: "none" if controller.view.finished else _known(formats.duration(controller.view.eta)),
    "rollout": _rollout,
    "update": _update,
    "time": _phases,
}

_WORKER: dict[str, Callable[[WorkerInfo], str]] = {
    "state": lambda worker: str(worker.state),
    "speed": lambda worker: formats.count(worker.steps_per_second),
    "waiting": lambda worker: formats.percent(worker.wait_share).strip(),
    "episodes": lambda worker: formats.count(worker.episodes),
    "return": lambda worker: formats.number(worker.last_return),
    "restarts": lambda worker: str(worker.restarts),
    "memory": lambda worker: f"{worker.memory_mb:.0f} MB",
}


def _of_workers(workers: Sequence[WorkerInfo], name: str, index: int | None) -> str:
    shown: Iterable[WorkerInfo] = [worker for worker in workers if index in (None, worker.index)][:_MOST_WORKERS]
    values = [f"{worker.index}: {_WORKER[name](worker)}" for worker in shown]
    return "   ".join(values) + (" …" if index is None and len(workers) > _MOST_WORKERS else "") or UNKNOWN


def _policy(frame: GameFrame) -> str:
    if frame.probabilities:
        return "   ".join(formats.percent(share or 0.0).strip() for share in frame.probabilities[:_MOST_WORKERS])
    return "   ".join(
        f"{formats.number(mean)} ± {formats.number(std)}" for mean, std in zip(frame.means, frame.stds, strict=True)
    )


_GAME: dict[str, Callable[[GameFrame], str]] = {
    "score": lambda frame: formats.number(frame.score),
    "lives": lambda frame: "none" if frame.lives is None else str(frame.lives),
    "value": lambda frame: formats.number(frame.value),
    "entropy": lambda frame: formats.number(frame.entropy),
    "policy": _policy,
    "observation": lambda frame: "   ".join(map(formats.number, frame.observation[:_MOST_WORKERS])),
}


def title_of(topic: Topic) -> str:
    """The name of a topic, with its worker's number if any."""
    name = explain(topic.key).name
    return name if topic.worker is None else f"worker {topic.worker}: {name}"
