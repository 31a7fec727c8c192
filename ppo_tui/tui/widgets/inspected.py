"""Panes of the microscope: a picture each, and a sentence on it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import ClassVar

import msgspec
import numpy as np
from textual.content import Content

from ...explanations import explain
from ...plotting import formats
from ...plotting.braille import ASCII, BRAILLE, FloatArray, Glyphs
from ...plotting.picture import Picture
from ...plotting.plot import Line, plot
from ...plotting.samples import Bars, histogram_picture, scatter_picture
from ...plotting.series import Series, bucket_means
from ...protocol import Histogram, RunState, UpdateInspected
from .. import captions
from ..cells import cut, longest
from ..controller import Controller
from ..metrics import CLIPPED, ENTROPY, EXPLAINED, KL, Metric, sparkline
from ..theme import chart_style
from ..topics import Topic
from .game_facts import env_names
from .panel import Panel, bar, fit

_NAME = 24
"""Cells of the name of a layer or an action, at most."""


class Pane(Panel):
    """A picture of the newest inspected update, above its sentence.

    Args:
        ascii: draw with plain characters.
    """

    KEY = ""
    """Of its explanation, which has its title."""

    def __init__(self, controller: Controller, *, ascii: bool) -> None:
        super().__init__(controller)
        self.glyphs: Glyphs = ASCII if ascii else BRAILLE
        self.title = explain(self.KEY).name
        self.entitle(self.title)

    def topics(self) -> Sequence[Topic]:
        return [Topic(self.KEY, self.sentence())]

    # For subclasses:

    def figure(self, event: UpdateInspected, width: int, height: int) -> Content:
        raise NotImplementedError

    def caption(self, event: UpdateInspected) -> str:
        raise NotImplementedError

    # ────────

    def drawn_from(self) -> object:
        event = self.controller.view.inspections.newest
        return id(event) if event else self._missing()

    def sentence(self) -> str:
        """The caption, or the reason why there is none."""
        event = self.controller.view.inspections.newest
        return self.caption(event) if event else self._missing()

    def draw(self, width: int, height: int) -> Content:
        event, caption = self.controller.view.inspections.newest, self.sentence()
        if event is None:
            return self._below(Content(""), caption, width, height)
        room = self._room(caption, width, height)
        figure = self.figure(event, width, room) if _fits(width, room) else Content("")
        return self._below(figure, caption, width, height)

    def _room(self, caption: str, width: int, height: int) -> int:
        """Rows for the picture."""
        return height - len(_wrapped(caption, width, height))

    def _below(self, figure: Content, caption: str, width: int, height: int) -> Content:
        """The picture, and its caption in the last rows."""
        lines, rows = _wrapped(caption, width, height), figure.split("\n")
        room = height - len(lines)
        padded = [fit(row, width) for row in [*rows, *[Content("")] * room][:room]]
        return Content("\n").join([*padded, *(fit(Content(line), width) for line in lines)])

    def _missing(self) -> str:
        """The reason why there is nothing to see."""
        controller = self.controller
        view, session = controller.view, controller.session
        if view.configured("run.algorithm") == "a3c":
            return (
                "A3C: each worker learns by itself and at once from its own rollout; there are no ratios and no "
                "minibatches to look at. See the page over updates."
            )
        if session.is_record:
            return (
                "This record has no look at an update here: nobody had the microscope open. See the page over updates."
            )
        if view.finished:
            return "The run has ended, and nobody looked at its last updates. See the page over updates."
        if session.only_watches:
            return "Shown while another screen looks at the updates: this one only watches."
        if view.state is RunState.PAUSED:
            return "Measured from the next minibatch on: n takes one, p goes on."
        return "Measuring from the next minibatch on …"


def _wrapped(caption: str, width: int, height: int) -> list[str]:
    """The lines of a caption, at most a third of the height."""
    lines, most = textwrap.wrap(caption, max(8, width)), max(1, height // 3)
    if len(lines) > most:
        lines = [*lines[: most - 1], f"{lines[most - 1][: max(1, width - 2)]} …"]
    return lines


def _fits(width: int, height: int) -> bool:
    """Whether a picture can be read in so many cells."""
    return width >= 12 and height >= 3


def _content(picture: Picture) -> Content:
    """The cells of a picture as text."""
    rows = (Content.assemble(*((text, chart_style(style)) for text, style in row)) for row in picture.rows())
    return Content("\n").join(rows)


class Ratios(Pane):
    """Ratios, those with a positive advantage upwards; clipped ones loose."""

    KEY = "microscope/ratios"

    def caption(self, event: UpdateInspected) -> str:
        return captions.on_ratios(event)

    def figure(self, event: UpdateInspected, width: int, height: int) -> Content:
        self.entitle(self.title, f"epoch {event.epoch} of {event.epochs}")
        up, down = event.ratio_up, event.ratio_down
        middles = up.low + (np.arange(len(up.counts)) + 0.5) / len(up.counts) * (up.high - up.low)
        marks, risen, fallen = [(1.0, "1")], None, None
        if event.clip_low is not None and event.clip_high is not None:
            marks += [(at, captions.bound(at)) for at in (event.clip_low, event.clip_high)]
            risen, fallen = middles > event.clip_high, middles < event.clip_low
        bars = [
            Bars(np.array(up.counts), "curve-1", risen, "curve-2"),
            Bars(np.array(down.counts), "curve-3", fallen, "curve-2"),
        ]
        return _content(
            histogram_picture(width, height, bars, low=up.low, high=up.high, marks=marks, glyphs=self.glyphs)
        )


class Advantages(Pane):
    """Advantages, before any normalisation."""

    KEY = "microscope/advantages"

    def caption(self, event: UpdateInspected) -> str:
        return captions.on_advantages(event)

    def figure(self, event: UpdateInspected, width: int, height: int) -> Content:
        return _single(event.advantages, width, height, self.glyphs, zero=True)


class LogProbs(Pane):
    """Log-probabilities of the actions taken."""

    KEY = "microscope/log-probs"

    def caption(self, event: UpdateInspected) -> str:
        return captions.on_log_probs(event)

    def figure(self, event: UpdateInspected, width: int, height: int) -> Content:
        return _single(event.log_probs, width, height, self.glyphs, zero=False)


def _single(counted: Histogram, width: int, height: int, glyphs: Glyphs, *, zero: bool) -> Content:
    low, high = counted.low, counted.high
    marks = [(0.0, "0"), (low, formats.number(low)), (high, formats.number(high))] if zero and low < 0 < high else []
    bars = [Bars(np.array(counted.counts), "curve-1")]
    return _content(histogram_picture(width, height, bars, low=low, high=high, marks=marks, glyphs=glyphs))


class Values(Pane):
    """Value against return."""

    KEY = "microscope/values"

    def caption(self, event: UpdateInspected) -> str:
        return captions.on_values(event)

    def figure(self, event: UpdateInspected, width: int, height: int) -> Content:
        return _content(
            scatter_picture(width, height, _numbers(event.values), _numbers(event.returns), glyphs=self.glyphs)
        )


class _Minibatches(Pane):
    """Curves over the minibatches of the update, one above the other."""

    COLUMNS: ClassVar[tuple[str, ...]] = ()

    def figure(self, event: UpdateInspected, width: int, height: int) -> Content:
        x = 1.0 + float(event.every) * np.arange(len(event.columns.epoch), dtype=np.float64)
        lines = [
            Line(x, _numbers(getattr(event.columns, name)), f"curve-{number}", pane=number - 1)
            for number, name in enumerate(self.COLUMNS, start=1)
        ]
        end = max(2.0, float(event.epochs * event.minibatches))
        return _content(plot(lines, width, height, x_range=(1.0, end), glyphs=self.glyphs).picture)


class Divergence(_Minibatches):
    """KL and clip fraction, minibatch by minibatch."""

    KEY = "microscope/divergence"
    COLUMNS = ("approx_kl", "clip_fraction")

    def caption(self, event: UpdateInspected) -> str:
        return captions.on_divergence(event)


class Losses(_Minibatches):
    """The three losses, minibatch by minibatch."""

    KEY = "microscope/losses"
    COLUMNS = ("policy_loss", "value_loss", "entropy")

    def caption(self, event: UpdateInspected) -> str:
        return captions.on_losses(event)


class Layers(Pane):
    """The gradient norm and the dead units of each layer."""

    KEY = "microscope/layers"

    def caption(self, event: UpdateInspected) -> str:
        return captions.on_layers(event)

    def figure(self, event: UpdateInspected, width: int, height: int) -> Content:
        norms = _numbers([layer.grad_norm for layer in event.layers])
        most = float(np.nanmax(norms)) if np.isfinite(norms).any() else 0.0
        name_width = min(_NAME, width // 2, longest(layer.name for layer in event.layers))
        room = max(0, width - name_width - 25)
        rows = []
        for layer, norm in zip(event.layers, norms.tolist(), strict=True):
            dead = f"{layer.dead}/{layer.units} dead" if layer.units else ""
            share = norm / most if most > 0 and np.isfinite(norm) else 0.0
            rows.append(
                Content.assemble(
                    fit(Content(_end_of(layer.name, name_width)), name_width),
                    " ",
                    bar(share, room),
                    f" {formats.number(norm):>8} ",
                    (f"{dead:>14}", "$warning" if layer.dead else "$quiet"),
                )
            )
        return _cut(rows, width, height)


class Actions(Pane):
    """The actions taken, and their course over the inspected updates."""

    KEY = "microscope/actions"

    def _named(self, event: UpdateInspected) -> UpdateInspected:
        """`event`, with the names of classic environments' actions."""
        names = env_names(self.controller).actions
        fits = not event.action_names and len(event.choices) == 1 and len(event.choices[0]) == len(names)
        return msgspec.structs.replace(event, action_names=names) if fits else event

    def caption(self, event: UpdateInspected) -> str:
        return captions.on_actions(self._named(event))

    def figure(self, event: UpdateInspected, width: int, height: int) -> Content:
        event = self._named(event)
        course = self.controller.view.inspections.course
        columns = _numbers([number for _, numbers in course for number in numbers]).reshape(len(course), -1)
        if event.means:
            return _cut(self._dimensions(event, columns, width), width, height)
        names = [
            (captions.action_name(event, choice, action), share)
            for choice, shares in enumerate(event.choices)
            for action, share in enumerate(shares)
        ]
        name_width = min(_NAME, width // 3, longest(name for name, _ in names))
        room = max(4, (width - name_width - 8) // 2)
        rows = [
            Content.assemble(
                fit(Content(name), name_width),
                " ",
                bar(share, room),
                f" {formats.percent(share)} ",
                (_course(columns[:, number], width - name_width - 8 - room), "$curve-2"),
            )
            for number, (name, share) in enumerate(names)
        ]
        return _cut(rows, width, height)

    def _dimensions(self, event: UpdateInspected, columns: FloatArray, width: int) -> list[Content]:
        """A row for each dimension of continuous actions."""
        rows = []
        for number, (mean, std) in enumerate(zip(event.means, event.stds, strict=True)):
            numbers = f"{formats.number(mean):>8} ± {formats.number(std):<8}"
            spark = _course(columns[:, number], width - len(numbers) - 6)
            rows.append(Content.assemble((f"a{number:<4}", "$quiet"), numbers, " ", (spark, "$curve-2")))
        return rows


class OverUpdates(Pane):
    """The metrics of all updates, as every record has them."""

    KEY = "microscope/over-updates"
    METRICS: ClassVar[tuple[Metric, ...]] = (KL, CLIPPED, EXPLAINED, ENTROPY)

    def drawn_from(self) -> object:
        return tuple(self.controller.view.series[metric.key].version for metric in self.METRICS)

    @property
    def _known(self) -> list[tuple[Metric, Series]]:
        """The metrics with a number so far."""
        series = [(metric, self.controller.view.series[metric.key]) for metric in self.METRICS]
        return [(metric, each) for metric, each in series if np.isfinite(each.values).any()]

    def sentence(self) -> str:
        parts = [f"{metric.label} {formats.number(metric.sign * each.last)}" for metric, each in self._known]
        return f"From top to bottom: {', '.join(parts)}." if parts else "Known after the first update."

    def draw(self, width: int, height: int) -> Content:
        known, caption = self._known, self.sentence()
        lines = [
            Line(each.steps, metric.values(each), f"curve-{number}", pane=number - 1)
            for number, (metric, each) in enumerate(known, start=1)
        ]
        rows = self._room(caption, width, height)
        drawn = lines and _fits(width, rows)
        figure = _content(plot(lines, width, rows, glyphs=self.glyphs, unit="steps").picture) if drawn else Content("")
        return self._below(figure, caption, width, height)


PANES: tuple[type[Pane], ...] = (
    Ratios,
    Values,
    Divergence,
    Advantages,
    LogProbs,
    Losses,
    Layers,
    Actions,
    OverUpdates,
)
"""All panes, in their order."""


def _cut(rows: list[Content], width: int, height: int) -> Content:
    """As many rows as there is room for."""
    if len(rows) > height:
        left = len(rows) - height + 1
        rows = [*rows[: max(0, height - 1)], Content.styled(f"and {left} more", "$quiet")]
    return Content("\n").join([fit(row, width) for row in rows[: max(0, height)]])


def _end_of(name: str, width: int) -> str:
    """The last characters of a layer's name: they identify it."""
    return cut(name[::-1], width)[::-1]


def _course(values: FloatArray, room: int) -> str:
    """The newest values as a line of small bars."""
    return sparkline(bucket_means(values, room)) if room > 3 and len(values) > 1 else ""


def _numbers(values: Sequence[float | None]) -> FloatArray:
    """The numbers, NaN for None."""
    return np.array([np.nan if value is None else value for value in values], np.float64)
