"""The pinned alarm: one line while an alarm holds."""

from __future__ import annotations

from textual import events
from textual.content import Content
from textual.message import Message

from ...explanations import ALARMS, alarm_key
from ...protocol import Level
from ..advice import advice_of, written
from ..controller import Controller
from ..topics import Topic
from .panel import Panel, fit


class AlarmLine(Panel):
    """The most severe alarm, the advised edit, and the keys.

    Attributes:
        unread: an alarm has come whose reason was not read: enter shows it.
    """

    class Asked(Message):
        """A click asks why."""

    def __init__(self, controller: Controller, *, id: str | None = None) -> None:
        super().__init__(controller, id=id)
        self._read: frozenset[str] = frozenset()
        self.display = False

    @property
    def unread(self) -> bool:
        return not self._read.issuperset(alarm.name for alarm in self.controller.view.worst_alarms)

    def mark_read(self) -> None:
        """Count all present alarms as read."""
        self._read = frozenset(self.controller.view.alarms)
        self.renew()

    def renew(self) -> None:
        alarms = self.controller.view.worst_alarms
        self._read &= {alarm.name for alarm in alarms}
        if self.display != bool(alarms):
            self.display = bool(alarms)
            self.set_class(bool(alarms), "-holds")
        super().renew()

    def topics(self) -> list[Topic]:
        """The present alarms, with their whole text."""
        return [Topic(alarm_key(alarm.name), alarm.text) for alarm in self.controller.view.worst_alarms]

    def draw(self, width: int, height: int) -> Content:
        alarms = self.controller.view.worst_alarms
        if not alarms:
            return Content("")
        alarm, text = alarms[0], ALARMS[alarms[0].name]
        more = f" 1 of {len(alarms)}" if len(alarms) > 1 else ""
        number = f"{text.label} {written(alarm)}".strip()
        keys = [advice_of(alarm, self.controller), "⏎ why" if self.unread else ""]
        room = width - len(more)
        for what in (f"{text.title}: {number}", number):
            line = f"! {' · '.join(filter(None, [what, *keys]))}"
            if len(line) <= room:
                break
        style = "bold $error" if alarm.level is Level.ERROR else "bold $warning"
        return fit(Content.styled(line, style), room) + Content.styled(more, style)

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.post_message(self.Asked())
