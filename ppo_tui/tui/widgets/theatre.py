"""The head of `ppo-tui watch`, and the scores of its policies."""

from __future__ import annotations

import math

from rich.cells import cell_len
from textual.content import Content

from ...plotting import formats
from ...text import one_line
from ...training.evaluation.programme import AS_FAST_AS_IT_GOES, Choice, returns_text
from ..cells import cut, longest, padded
from ..theatre import TheatreController
from .panel import Panel, fit

_RETURNS = 8
"""Returns that the head names, at most."""


def speed_text(controller: TheatreController) -> str:
    """Such as ×2, or held."""
    speed = controller.programme.speed
    if controller.programme.held:
        return "‖ held"
    return "as fast as it goes" if speed == AS_FAST_AS_IT_GOES else f"×{speed:g}"


class TheatreHeader(Panel):
    """The policy, the game, and the returns so far."""

    def __init__(self, controller: TheatreController, *, id: str | None = None) -> None:
        super().__init__(controller, id=id)
        self._theatre = controller

    def draw(self, width: int, height: int) -> Content:
        theatre, view = self._theatre, self._theatre.view
        playing, started, finished = theatre.playing, view.started, view.finished
        name = Content.assemble((started.run if started else "ppo-tui watch", "bold"))
        if finished and not playing:
            return fit(Content.assemble(name, (f" · {one_line(finished.reason)}", "$error")), width)
        if playing is None:
            return fit(Content.assemble(name, (" · loading PyTorch and the environment …", "$warning")), width)
        names = playing.checkpoints
        who = theatre.choice(names[0]).title if len(names) == 1 else f"{len(names)} checkpoints, the same seeds"
        parts = [who, "greedy" if playing.greedy else "sampled", f"game {playing.game}"]
        if playing.scene != theatre.programme.scene:
            parts.append("the next scene …")
        elif len(names) == 1 and (returns := theatre.scores.of(names[0], playing.greedy)):
            parts.append(f"returns {returns_text(returns, _RETURNS)}")
        state = cut(f" {one_line(finished.reason)}" if finished else f" {speed_text(theatre)}", width)
        room = width - cell_len(state)
        left = Content(" · ").join([name, *map(Content, parts)])
        while len(parts) > 1 and left.cell_length > room:
            parts.pop()
            left = Content(" · ").join([name, *map(Content, parts)])
        return fit(left, room) + Content.styled(state, "$warning")


class ScoreBars(Panel):
    """A bar for the mean return of each policy.

    That of the games here, else of its training.
    """

    def __init__(self, controller: TheatreController, *, id: str | None = None) -> None:
        super().__init__(controller, id=id)
        self._theatre = controller

    def on_mount(self) -> None:
        self.entitle("Scores · mean return", ", . earlier, later · b beside")

    def draw(self, width: int, height: int) -> Content:
        theatre = self._theatre
        on_stage = theatre.programme.checkpoints
        greedy = theatre.programme.greedy
        choices = list(theatre.choices)
        if len(choices) > height:
            at = choices.index(theatre.chosen)
            first = min(max(0, at - height + 2), len(choices) - height)
            choices = choices[first : first + height]
        means = {choice.name: _mean(theatre, choice, greedy) for choice in theatre.choices}
        known = [mean for mean in means.values() if not math.isnan(mean)]
        low, high = min([0.0, *known]), max([0.0, *known])
        if known and max(known) < 0:
            low, high = min(known), max(known)
        name_width = min(longest(choice.title for choice in theatre.choices), max(9, width - 30))
        room = max(0, width - name_width - 27)
        lines = []
        for choice in choices:
            mean, count = means[choice.name], len(theatre.scores.of(choice.name, greedy))
            share = 0.0 if math.isnan(mean) or high <= low else (mean - low) / (high - low)
            told = f"{count} game{'s' * (count != 1)}" if count else "in training" if not math.isnan(mean) else ""
            shown = choice.name in on_stage
            full = round(share * room)
            lines.append(
                fit(
                    Content.assemble(
                        ("▸ " if shown else "  ", "bold $warning"),
                        (padded(choice.title, name_width), "bold" if shown else ""),
                        f" {formats.number(mean):>7} ",
                        ("━" * full, "$warning" if shown else "$primary"),
                        ("─" * (room - full), "$shadow"),
                        (f" {told}", "$quiet"),
                    ),
                    width,
                )
            )
        return Content("\n").join(lines)


def _mean(theatre: TheatreController, choice: Choice, greedy: bool) -> float:
    returns = theatre.scores.of(choice.name, greedy)
    if returns:
        return sum(returns) / len(returns)
    return math.nan if choice.score is None else choice.score
