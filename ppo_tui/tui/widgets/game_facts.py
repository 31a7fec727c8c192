"""The policy's view of the game, beside its picture."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from textual.content import Content

from ...env_names import NO_NAMES, EnvNames, Number, names_of
from ...plotting import formats
from ...plotting.series import bucket_means
from ...protocol import GameClip, GameFrame, Gaze
from ..cells import longest, padded
from ..clip_player import ClipPlayer
from ..controller import Controller
from ..metrics import sparkline
from .panel import LinedPanel, Panel, fit

FEW_NUMBERS = 8
"""Numbers of an observation that are shown beside a picture although they have no names."""

_ROOMY = 20
"""Lines from which on all of the last games are listed."""

_WITH_VALUE = 27
"""Cells from which on a bar has its number, too."""


class _Section(NamedTuple):
    """Lines of one subject; those of the highest rank go first."""

    rank: int
    lines: list[Content]


class GameFacts(LinedPanel):
    """Score, time, value, advantage, the last games, the policy, the observation.

    A bar for each action, the chosen one marked. What has no room is left out: the least important first.
    """

    def __init__(self, controller: Controller, player: ClipPlayer) -> None:
        super().__init__(controller)
        self._player = player

    def drawn_from(self) -> object:
        player, view = self._player, self.controller.view
        if player.clip is None or player.frame is None:
            return None
        games = tuple(view.last_returns.get(player.env, ()))
        return player.frame, player.clip.gaze, player.clip.action_names, games, view.started

    def lines(self, width: int, height: int) -> list[Content]:
        clip, frame = self._player.clip, self._player.frame
        if clip is None or frame is None:
            waiting = [fit(Content.styled(line, "$quiet"), width) for line in self._waiting()]
            return [*waiting, *self._games(width, height)][:height]
        names = env_names(self.controller)
        numbers = _numbers(frame)
        policy = _choices(clip, frame, width, names) if frame.probabilities else _components(frame, width, names)
        if height < len(numbers) + 2:  # below a small picture: all the numbers in one line
            line = _joined([Content.assemble((f"{n} ", "$quiet"), t) for n, t in _essential(frame)], width)
            return [fit(line, width), *policy][: max(1, height)]
        sections = [
            _Section(0, [_number(name, text, width) for name, text in _essential(frame)]),
            _Section(3, [_number(name, text, width) for name, text in numbers if name in ("advantage", "steps")]),
            _Section(4, self._curve(width)),
            _Section(5, self._games(width, height)),
            _Section(1, [Content(" " * width), *policy] if policy else []),
            _Section(2, self._gaze(clip, width)),
            _Section(6, self._observation(frame, width, names)),
        ]
        left, kept = height, set[int]()
        for number in sorted(range(len(sections)), key=lambda each: sections[each].rank):
            lines = sections[number].lines
            if lines and (len(lines) <= left or sections[number].rank <= 1):
                kept.add(number)
                left -= len(lines)
        shown = [line for number, section in enumerate(sections) if number in kept for line in section.lines]
        return shown[:height]

    def _waiting(self) -> list[str]:
        controller = self.controller
        if not controller.session.shows_game:
            name = controller.view.started.run if controller.view.started else "RUN"
            return ["a recorded run has no game frames:", f"ppo-tui watch {shlex.quote(name)} plays it", ""]
        if controller.view.finished:
            return ["the run has ended"]
        if controller.session.only_watches:
            return ["shown while", "another screen", "watches it"]
        if controller.view.started is None:
            return ["starting …"]
        return ["waiting for a", "rollout of", f"env {self._player.env} …"]

    def _curve(self, width: int) -> list[Content]:
        """The value over the episode, as far as it was seen."""
        values = np.array(self._player.values)
        room = width - 6
        if len(values) < 2 or room < 4:
            return []
        curve = sparkline(bucket_means(values, room))
        return [fit(Content.assemble(("value ", "$quiet"), (curve, "$curve-1")), width)]

    def _games(self, width: int, height: int) -> list[Content]:
        """The returns of the last games of this environment, the newest last.

        All of them where there is much room, else those that fit into a line.
        """
        returns = self.controller.view.last_returns.get(self._player.env)
        return list(_returns(tuple(returns), width, height >= _ROOMY)) if returns else []

    def _gaze(self, clip: GameClip, width: int) -> list[Content]:
        if clip.gaze is Gaze.NONE:
            return []
        seen = self._player.gaze_map is not None or (self._player.frame and self._player.frame.gradients)
        text = f"{clip.gaze} looks at" if seen else f"{clip.gaze}: no gradient"
        return [fit(Content.assemble(("◆ ", "$secondary"), text), width)]

    def _observation(self, frame: GameFrame, width: int, names: EnvNames) -> list[Content]:
        """The numbers of an observation beside its picture."""
        if frame.picture is None or not frame.observation:
            return []
        if len(frame.observation) > FEW_NUMBERS and not names.numbers:
            return []
        return [Content(" " * width), *observation_lines(frame, names, width)]


class GameObservation(Panel):
    """An observation without a picture: a bar for each number.

    Its length is the number's size within its clip, or within the known range.
    """

    def __init__(self, controller: Controller, player: ClipPlayer) -> None:
        super().__init__(controller)
        self._player = player

    def draw(self, width: int, height: int) -> Content:
        clip, frame = self._player.clip, self._player.frame
        if clip is None or frame is None or not frame.observation:
            return Content("")
        names = env_names(self.controller)
        if len(names.numbers) != len(frame.observation):
            reaches = np.abs(np.array([each.observation for each in clip.frames], float)).max(axis=0, initial=0.0)
            numbers = tuple(Number(f"x{index}", float(reach)) for index, reach in enumerate(np.nan_to_num(reaches)))
            names = EnvNames(names.actions, numbers)
        lines = observation_lines(frame, names, width)
        shown = len(lines) if len(lines) <= height else height - 1
        rest = [fit(Content.styled(f"and {len(lines) - shown} more", "$quiet"), width)] if shown < len(lines) else []
        return Content("\n").join([*lines[:shown], *rest])


def env_names(controller: Controller) -> EnvNames:
    """The names of the environment of the run on the screen."""
    started = controller.view.started
    config = started.config.get("env", {}) if started else {}
    return names_of(str(config.get("id", "")), config.get("kwargs")) if config else NO_NAMES


@lru_cache(maxsize=16)
def _returns(returns: tuple[float, ...], width: int, roomy: bool) -> tuple[Content, ...]:
    text, room = " ".join(formats.number(each) for each in returns), max(8, width - 6)
    lines = textwrap.wrap(text, room)
    if not roomy:
        lines = [text[-room:].partition(" ")[2] if len(text) > room else text]
    heads = ["games ", *[" " * 6] * (len(lines) - 1)]
    return tuple(fit(Content.assemble((head, "$quiet"), line), width) for head, line in zip(heads, lines, strict=True))


def _joined(parts: list[Content], width: int) -> Content:
    """The first parts side by side, as many as have room."""
    line = parts[0]
    for part in parts[1:]:
        if line.cell_length + 2 + part.cell_length > width:
            break
        line = Content("  ").join([line, part])
    return line


def _essential(frame: GameFrame) -> list[tuple[str, str]]:
    return [pair for pair in _numbers(frame) if pair[0] not in ("steps", "advantage")]


def _numbers(frame: GameFrame) -> list[tuple[str, str]]:
    numbers = [("score", formats.number(frame.score))]
    if frame.lives is not None:
        numbers.append(("lives", str(frame.lives)))
    if frame.t is not None:
        numbers.append(("steps", f"{frame.t:,}"))
    numbers.append(("value", formats.number(frame.value)))
    if frame.advantage is not None:
        numbers.append(("advantage", f"{'+' * (frame.advantage > 0)}{formats.number(frame.advantage)}"))
    return [*numbers, ("entropy", formats.number(frame.entropy))]


def _number(name: str, text: str, width: int) -> Content:
    return fit(Content.assemble((name, "$quiet"), " ", (f"{text:>{max(0, 15 - len(name))}}", "bold")), width)


def _choices(clip: GameClip, frame: GameFrame, width: int, names: EnvNames) -> list[Content]:
    """A line for each discrete action: name, bar and percent."""
    count = len(frame.probabilities)
    known = names.actions if len(names.actions) == count else tuple(f"action {index}" for index in range(count))
    texts = clip.action_names or known
    name_width = min(longest(texts), max(3, width - 11))
    room = max(0, width - name_width - 7)
    lines = []
    for index, (name, probability) in enumerate(zip(texts, frame.probabilities, strict=False)):
        share = probability or 0.0
        bars = round(share * room), room
        lines.append(_choice(name, name_width, bars, formats.percent(share), width, index == frame.action))
    return lines


@lru_cache(maxsize=256)
def _choice(name: str, name_width: int, bars: tuple[int, int], percent: str, width: int, chosen: bool) -> Content:
    """An action's name, a bar of some of the cells, and percent."""
    full, room = bars
    line = Content.assemble(
        ("▸" if chosen else " ", "bold $warning"),
        (padded(name, name_width), "bold" if chosen else ""),
        " ",
        ("━" * full, "$warning" if chosen else "$primary"),
        " " * (room - full),
        f" {percent}",
    )
    return fit(line, width)


def _components(frame: GameFrame, width: int, names: EnvNames) -> list[Content]:
    """Lines for each component of an action.

    The action, and the normal distribution that it came from, if it did.
    """
    lines = []
    actions = frame.action if isinstance(frame.action, tuple) else ()
    known = names.actions if len(names.actions) == len(actions) else ()
    texts = known or tuple(f"a{index}" for index in range(len(actions)))
    if not frame.means:
        return [_number(name, formats.number(action), width) for name, action in zip(texts, actions, strict=True)]
    for name, action, mean, std in zip(texts, actions, frame.means, frame.stds, strict=True):
        lines.append(_signed_line(name, action, 2.0, width, name_width=len(name)))
        spread = f"{formats.number(mean, 2)} ± {formats.number(std, 2)}"
        lines.append(fit(Content.assemble("   ", (f"{spread:>{max(0, width - 3)}}", "$quiet")), width))
    return lines


def observation_lines(frame: GameFrame, names: EnvNames, width: int) -> list[Content]:
    """A bar for each number of an observation, the most influential marked."""
    known = names.numbers if len(names.numbers) == len(frame.observation) else ()
    numbers: Sequence[Number] = known or [
        Number(f"x{index}", abs(value or 0.0)) for index, value in enumerate(frame.observation)
    ]
    weights = [abs(each or 0.0) for each in frame.gradients]
    strongest = max(weights, default=0.0)
    name_width = max((len(number.name) for number in numbers), default=0)
    lines = []
    for index, (number, value) in enumerate(zip(numbers, frame.observation, strict=True)):
        looked_at = strongest > 0 and index < len(weights) and weights[index] >= strongest / 2
        name = f"{'◆' if looked_at else ' '}{number.name}" if strongest > 0 else number.name
        line = _signed_line(name, value, number.reach, width, name_width=name_width + (strongest > 0))
        lines.append(line.stylize("$secondary", 0, len(name)) if looked_at else line)
    return lines


def _signed_line(name: str, value: float | None, scale: float, width: int, *, name_width: int = 4) -> Content:
    """`name`, perhaps the number, and a bar from the middle."""
    name_width = max(4, name_width)
    with_value = width >= _WITH_VALUE or name_width <= 6
    half = max(1, (width - name_width - (9 if with_value else 2)) // 2)
    share = min(1.0, abs(value) / scale) if value is not None and scale > 0 else 0.0
    full = round(share * half)
    left, right = (full, 0) if value is not None and value < 0 else (0, full)
    return fit(
        Content.assemble(
            (f"{name:<{name_width}}", "$quiet"),
            f"{formats.number(value):>7} " if with_value else " ",
            ("─" * (half - left), "$shadow"),
            ("━" * left, "$primary"),
            ("┼", "$quiet"),
            ("━" * right, "$primary"),
            ("─" * (half - right), "$shadow"),
        ),
        width,
    )
