"""The card: one thing of the screen in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input

from ...explanations import explain as explanation_of
from ...explanations import find, group_of
from ..advice import advice_of
from ..controller import Controller
from ..topics import Topic, title_of, value_of, verdict_of
from ..verdicts import sign
from ..widgets.plain import Static, VerticalScroll
from .once import Dialog

_LABELS = 9
"""Cells of the labels on the left of a card."""


class CardScreen(Dialog[None]):
    """Cards of the things on a screen, one at a time.

    Args:
        topics: those of the screen, in its order.
        index: of the first one to show.

    Attributes:
        topics: those that the arrows go through.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Close"),
        Binding("q,i,enter", "dismiss", show=False),
        Binding("right,down,l,j", "go(1)", show=False),
        Binding("left,up,h,k", "go(-1)", show=False),
        Binding("pagedown,space", "scroll(1)", show=False),
        Binding("pageup", "scroll(-1)", show=False),
        Binding("F", "app.draft_advice", show=False),
        Binding("slash", "find", show=False),
    ]
    DEFAULT_CSS = """
    CardScreen .dialog { width: 78; max-height: 100%; }
    CardScreen Input { display: none; margin: 0; }
    CardScreen Input.-open { display: block; }
    CardScreen #card { height: auto; padding: 1 1; }
    """

    def __init__(self, controller: Controller, topics: Sequence[Topic], index: int = 0) -> None:
        super().__init__()
        self._controller = controller
        self.topics, self._index = list(topics), index
        self._card = Static(id="card")
        self._find = Input(placeholder="find a number, a setting, a panel", compact=True)
        self._box = VerticalScroll(self._find, self._card, classes="dialog -tall")
        self._box.can_focus = False
        self._written = Content("")

    def compose(self) -> ComposeResult:
        yield self._box

    def on_mount(self) -> None:
        self.renew()

    @property
    def topic(self) -> Topic:
        return self.topics[self._index]

    def renew(self) -> None:
        """Write the card anew, if it reads differently."""
        place = f"{self._index + 1} of {len(self.topics)} · " if len(self.topics) > 1 else ""
        self._box.entitle(title_of(self.topic), f"{place}←→ next · / find · esc closes")
        content = card(self.topic, self._controller)
        if content.plain != self._written.plain:
            self._written = content
            self._card.update(content)

    def action_go(self, direction: int) -> None:
        self._index = (self._index + direction) % len(self.topics)
        self._box.scroll_home(animate=False)
        self.renew()

    def action_scroll(self, direction: int) -> None:
        (self._box.scroll_page_down if direction > 0 else self._box.scroll_page_up)(animate=False)

    def action_find(self) -> None:
        self._find.add_class("-open")
        self._find.focus()

    def action_back(self) -> None:
        """Leave the search, or the card."""
        if self._find.has_class("-open"):
            self._close_search()
        else:
            self.dismiss()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show the card of the best match, if any."""
        if event.value.strip() and (found := find(event.value)):
            self.topics, self._index = [Topic(each.key) for each in found], 0
            self.renew()

    def on_input_submitted(self) -> None:
        """Keep the matches; a single one gets its group for neighbours."""
        if len(self.topics) == 1:
            key = self.topic.key
            self.topics = [Topic(each.key) for each in group_of(key)]
            self._index = next(number for number, each in enumerate(self.topics) if each.key == key)
        self._close_search()
        self.renew()

    def _close_search(self) -> None:
        self._find.remove_class("-open")
        self.set_focus(None)


def card(topic: Topic, controller: Controller) -> Content:
    """The text of a card."""
    explanation = explanation_of(topic.key)
    rows: list[tuple[str, Content]] = []
    if topic.detail:
        rows.append(("says", Content.assemble((topic.detail, "bold"))))
    if now := value_of(topic, controller):
        rows.append(("now", Content.assemble((now, "bold"), *_judged(topic, controller))))
    if alarm := controller.view.alarms.get(topic.key.removeprefix("alarm/")):
        rows.append(("edit", Content.assemble((advice_of(alarm, controller), "bold $warning"))))
    healthy = "healthy" if explanation.healthy or topic.key.startswith("alarm/") else "usual"
    texts: Sequence[tuple[str, Callable[[], str]]] = (
        (healthy, lambda: explanation.range),
        ("formula", lambda: explanation.formula),
        ("try", lambda: explanation.advice),
        ("read", lambda: f"docs/{explanation.link}"),
    )
    rows = [(label, content) for label, content in rows if content.plain]
    rows += [(label, Content(_bare(text()))) for label, text in texts if text()]
    lines = [Content(_bare(explanation.text)), Content("")]
    name = Content.assemble((topic.key, "$quiet")) if _is_a_key(topic.key) else None
    for label, content in rows:
        lines += _row(label, content)
    if name is not None:
        lines += _row("key", name)
    return Content("\n").join(lines)


def _bare(text: str) -> str:
    """`text` without the pages' marks of code."""
    return text.replace("`", "")


def _is_a_key(key: str) -> bool:
    """Whether metrics.jsonl or a configuration has this name."""
    return "/" not in key or key.partition("/")[0] in ("train", "rollout", "time", "eval", "env")


def _judged(topic: Topic, controller: Controller) -> list[str | tuple[str, str]]:
    """The verdict behind a value: its sign and its words."""
    if (verdict := verdict_of(topic, controller)) is None:
        return []
    symbol, style = sign(verdict)
    words = {"ok": "within the healthy range", "high": "above the healthy range", "low": "below the healthy range"}
    beyond = ", and beyond the limit of an alarm" if verdict.grave else ""
    return ["  ", (f"{symbol} {verdict.word}", style), f": {words[verdict.grade.value]}{beyond}"]


_TEXT_CELLS = 62


def _row(label: str, content: Content) -> list[Content]:
    first, *rest = content.wrap(_TEXT_CELLS) or [Content("")]
    head = Content.assemble((f"{label:<{_LABELS}}", "$quiet"))
    return [head + first, *(Content(" " * _LABELS) + line for line in rest)]
