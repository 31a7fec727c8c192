"""The live game: its picture, and the policy's view of it."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message

from ...plotting import formats
from ...protocol import GameClip, GameFrame
from ..controller import Controller
from .game_picture import GamePicture
from .panel import Panel, fit
from .plain import Container

_BESIDE_WIDTH = 40
"""Cells from which on the facts stand beside the picture and not below it."""


class Game(Container):
    """The Game panel: plays clips while visible."""

    class Zoomed(Message):
        """The user clicked on the game."""

    def __init__(self, controller: Controller, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.controller = controller
        self._picture = GamePicture(controller, id="game-picture")
        self._observation = GameObservation(controller, id="game-observation")
        self._facts = GameFacts(controller, id="game-facts")

    def compose(self) -> ComposeResult:
        yield self._picture
        yield self._observation
        yield self._facts

    def on_mount(self) -> None:
        self._observation.display = False
        self.name_env()
        if self.controller.clip_player.fps > 0:
            self.set_interval(1 / self.controller.clip_player.fps, self._play)

    def on_click(self) -> None:
        self.post_message(self.Zoomed())

    @property
    def to_be_seen(self) -> bool:
        """Tell whether it is visible: displayed, and on the active screen."""
        return self.display and self.is_attached and self.screen.is_active

    def name_env(self) -> None:
        """Name the environment in the border."""
        started = self.controller.view.started
        number = f"env {self.controller.clip_player.env}" + (f" of {started.num_envs}" if started else "")
        self.entitle(f"6 Game · {number}", "[ ] env · V zoom · v hide")

    def renew(self) -> None:
        """Show the present frame, or a waiting line."""
        self.name_env()
        pictures = self._is_picture
        if self._picture.display != pictures:
            self._picture.display, self._observation.display = pictures, not pictures
        self._picture.renew()
        self._observation.renew()
        self._facts.renew()

    def on_resize(self) -> None:
        self.set_class(self.content_size.width >= _BESIDE_WIDTH, "-beside")

    def _play(self) -> None:
        if not (self.to_be_seen and self.size.area and self.controller.clip_player.advance()):
            return
        if self._is_picture == self._picture.display:
            self._picture.renew()
            self._observation.renew()
        else:
            self.renew()

    def renew_facts(self) -> None:
        """Show the environment and the frame's numbers.

        Less often than frames, so that they can be read.
        """
        if self.to_be_seen:
            self.name_env()
            self._facts.renew()

    @property
    def _is_picture(self) -> bool:
        return self.controller.clip_player.frame is None or self.controller.clip_player.frame.picture is not None


class GameFacts(Panel):
    """Score, lives, value, entropy, and the policy.

    A bar for each action, the chosen one marked.
    """

    def draw(self, width: int, height: int) -> Content:
        clip, frame = self.controller.clip_player.clip, self.controller.clip_player.frame
        if clip is None or frame is None:
            return Content("\n").join([fit(Content.styled(line, "$quiet"), width) for line in self._waiting()[:height]])
        numbers = [("score", formats.number(frame.score))]
        if frame.lives is not None:
            numbers.append(("lives", str(frame.lives)))
        numbers += [("value", formats.number(frame.value)), ("entropy", formats.number(frame.entropy))]
        lines = [_number(name, text, width) for name, text in numbers]
        room = height - len(lines)
        if room < 2 and height >= 1:  # below a small picture: all the numbers in one line
            lines = [fit(Content("  ").join(Content.assemble((f"{n} ", "$quiet"), t) for n, t in numbers), width)]
            room = height - 1
        policy = _choices(clip, frame, width) if frame.probabilities else _components(frame, width)
        if room > len(policy):
            lines.append(Content(" " * width))
        return Content("\n").join([*lines, *policy[: height - len(lines)]])

    def _waiting(self) -> list[str]:
        if self.controller.view.finished:
            return ["the run has ended"]
        if self.controller.session.only_watches:
            return ["shown while", "another screen", "watches it"]
        return ["waiting for a", "rollout of", f"env {self.controller.clip_player.env} …"]


class GameObservation(Panel):
    """An observation without a picture: a bar for each number.

    Its length is the number's size within its clip.
    """

    def draw(self, width: int, height: int) -> Content:
        clip, frame = self.controller.clip_player.clip, self.controller.clip_player.frame
        if clip is None or frame is None or not frame.observation:
            return Content("")
        shown = len(frame.observation) if len(frame.observation) <= height else height - 1
        lines = []
        for index, value in enumerate(frame.observation[:shown]):
            scale = max((abs(each.observation[index] or 0.0) for each in clip.frames), default=0.0)
            lines.append(_signed_line(f"x{index}", value, scale, width))
        if shown < len(frame.observation):
            lines.append(fit(Content.styled(f"and {len(frame.observation) - shown} more", "$quiet"), width))
        return Content("\n").join(lines)


def _number(name: str, text: str, width: int) -> Content:
    return fit(Content.assemble((f"{name:<8}", "$quiet"), (f"{text:>8}", "bold")), width)


def _choices(clip: GameClip, frame: GameFrame, width: int) -> list[Content]:
    """A line for each discrete action: name, bar and percent."""
    names = clip.action_names or tuple(f"action {index}" for index in range(len(frame.probabilities)))
    name_width = min(max(map(len, names)), max(3, width - 12))
    room = max(0, width - name_width - 7)
    lines = []
    for index, (name, probability) in enumerate(zip(names, frame.probabilities, strict=False)):
        chosen = index == frame.action
        share = probability or 0.0
        full = round(share * room)
        lines.append(
            fit(
                Content.assemble(
                    ("▸" if chosen else " ", "bold $warning"),
                    (fit(Content(name), name_width).plain, "bold" if chosen else ""),
                    " ",
                    ("━" * full, "$warning" if chosen else "$primary"),
                    " " * (room - full),
                    f" {formats.percent(share)}",
                ),
                width,
            )
        )
    return lines


def _components(frame: GameFrame, width: int) -> list[Content]:
    """Lines for each component of an action.

    The action, and the normal distribution that it came from, if it did.
    """
    lines = []
    actions = frame.action if isinstance(frame.action, tuple) else ()
    if not frame.means:
        return [_number(f"a{index}", formats.number(action), width) for index, action in enumerate(actions)]
    for index, (action, mean, std) in enumerate(zip(actions, frame.means, frame.stds, strict=True)):
        lines.append(_signed_line(f"a{index}", action, 2.0, width))
        spread = f"{formats.number(mean, 2)} ± {formats.number(std, 2)}"
        lines.append(fit(Content.assemble("   ", (f"{spread:>{max(0, width - 3)}}", "$quiet")), width))
    return lines


def _signed_line(name: str, value: float | None, scale: float, width: int) -> Content:
    """`name`, the number, and a bar to either side of a middle."""
    half = max(1, (width - 13) // 2)
    share = min(1.0, abs(value) / scale) if value is not None and scale > 0 else 0.0
    full = round(share * half)
    left, right = (full, 0) if value is not None and value < 0 else (0, full)
    return fit(
        Content.assemble(
            (f"{name:<4}", "$quiet"),
            f"{formats.number(value):>7} ",
            ("─" * (half - left), "$shadow"),
            ("━" * left, "$primary"),
            ("┼", "$quiet"),
            ("━" * right, "$primary"),
            ("─" * (half - right), "$shadow"),
        ),
        width,
    )
