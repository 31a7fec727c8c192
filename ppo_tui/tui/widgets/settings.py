"""The live hyper-parameters: a list, or pages of one line."""

from __future__ import annotations

from textual.content import Content

from ...plotting import formats
from ..topics import Topic
from .panel import Panel, fit


class Settings(Panel):
    """Values in force, values asked for, and the cursor."""

    def on_mount(self) -> None:
        self.renew()

    def renew(self) -> None:
        pending = len(self.controller.editor.pending)
        self.entitle(f"3 Settings · {pending} pending" if pending else "3 Settings")
        super().renew()

    def topics(self) -> list[Topic]:
        return [Topic(key) for key in self.controller.editor.keys] or [Topic("panel/settings")]

    @property
    def topic(self) -> Topic | None:
        selected = self.controller.editor.selected
        return Topic(selected) if selected else Topic("panel/settings")

    def topic_at(self, x: int, y: int) -> Topic | None:
        keys, height = self.controller.editor.keys, self.content_size.height
        if height < 3 or not 0 <= self._first(height) + y < len(keys):
            return self.topic
        return Topic(keys[self._first(height) + y])

    def _first(self, height: int) -> int:
        """The first visible setting."""
        editor = self.controller.editor
        return min(max(0, editor.position - height // 2), max(0, len(editor.keys) - height))

    def move(self, across: int, down: int) -> None:
        """Move the cursor; across too, while settings stand side by side."""
        if keys := self.controller.editor.keys:
            steps = down or (across if self.content_size.height < 3 else 0)
            editor = self.controller.editor
            if abs(steps) > 1:  # a page stops at the ends, a single step goes around them
                steps = max(-editor.position, min(steps, len(keys) - 1 - editor.position))
            editor.select(steps)
            self.renew()

    def drawn_from(self) -> object:
        view, editor = self.controller.view, self.controller.editor
        return view.settled, dict(editor.pending), editor.selected

    def draw(self, width: int, height: int) -> Content:
        editor = self.controller.editor
        if not editor.keys:
            label = "settings " if height < 3 else ""
            return fit(Content.assemble((label, "$quiet"), "known once the run has started"), width)
        if height < 3:
            return self._strip(width)
        keys = editor.keys
        first = self._first(height)
        return Content("\n").join(fit(self._row(key), width) for key in keys[first : first + height])

    def _row(self, key: str) -> Content:
        editor = self.controller.editor
        chosen = key == editor.selected
        note = (editor.note(key), "$quiet")
        if key in editor.pending:
            note = (f"→ {formats.setting(editor.value(key))}", "bold $warning")
        style = "bold reverse" if chosen else ""
        value = formats.setting(self.controller.view.settings[key])
        name = f"{'▸' if chosen else ' '} {formats.setting_name(key):<13} {value:>8} "
        return Content.assemble((name, style), note)

    def _strip(self, width: int) -> Content:
        """The page of the selected setting.

        Pages keep their order, so that the cursor moves and not the list.
        """
        label = "settings "
        pages = self._pages(width - len(label) - 6)
        number, page = next((n, p) for n, p in enumerate(pages, start=1) if self.controller.editor.selected in p)
        entries = Content("  ").join(self._entry(key) for key in page)
        line = Content.assemble((label, "$quiet"), entries)
        position = Content.assemble((f" {number}/{len(pages)}", "$quiet"))
        return fit(line, max(0, width - position.cell_length)) + position

    def _pages(self, room: int) -> list[list[str]]:
        pages: list[list[str]] = [[]]
        used = 0
        for key in self.controller.editor.keys:
            length = self._entry(key).cell_length + 2
            if pages[-1] and used + length > room:
                pages.append([])
                used = 0
            pages[-1].append(key)
            used += length
        return pages

    def _entry(self, key: str) -> Content:
        editor = self.controller.editor
        chosen = key == editor.selected
        value = formats.setting(self.controller.view.settings[key])
        text = f"{'▸' if chosen else ''}{formats.setting_name(key)} {value}"
        pending = f" → {formats.setting(editor.value(key))} pending" if key in editor.pending else ""
        return Content.assemble((text, "bold reverse" if chosen else ""), (pending, "bold $warning"))
