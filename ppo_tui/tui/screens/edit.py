"""The live settings: their ranges, drafts, and the effect of changes."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content

from ...config.live import LIVE_FIELDS
from ...plotting import formats
from ...protocol import RunState
from ...sinks.wording import describe_source
from ...text import one_line
from .. import keys
from ..controller import Controller
from ..topics import Explains, Topic
from ..widgets.key_line import KeyLine
from ..widgets.listing import Listing
from ..widgets.plain import Static, Vertical
from ..widgets.value_input import ValueInput
from .run_screen import RunScreen


class EditScreen(Explains, RunScreen):
    """The settings: drafted here, and asked for together.

    The engine takes them up between two updates.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(keys.EDIT)]

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self._listing = Listing(controller, empty="settings are known once the run has started", id="listing")
        self._listing.entitle("Settings")
        self._details = Static(id="details")
        self._preview = Static(id="preview")
        self._value = ValueInput(controller, id="value")
        self._value.display = False

    def compose(self) -> ComposeResult:
        yield self.header
        with Vertical(id="body"):
            yield self._listing
            yield self._details
            yield self._preview
        yield self._value
        yield KeyLine()

    def on_mount(self) -> None:
        self._preview.entitle("Draft")

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        self._listing.cursor = self.controller.editor.position

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable changes without effect."""
        if action in ("nudge", "type", "apply") and self.controller.unsteerable:
            return None
        return super().check_action(action, parameters)

    def topics(self) -> tuple[list[Topic], int]:
        keys = self.controller.editor.keys
        return [Topic(key) for key in keys] or [Topic("panel/settings")], self.controller.editor.position

    def renew(self) -> None:
        super().renew()
        heading = f"{'setting':<14} {'in force':>9}  {'→ wanted':<10} {'allowed range':<14} unit"
        self._listing.show(Content(heading), [self._row(key) for key in self.controller.editor.keys])
        self._describe()

    def _row(self, key: str) -> Content:
        editor, live = self.controller.editor, LIVE_FIELDS[key].live
        wanted = ""
        if key in editor.drafts:
            wanted = f"→ {formats.setting(editor.drafts[key])}"
        elif key in editor.pending:
            wanted = f"… {formats.setting(editor.pending[key].value)}"
        off = ", off" if live.optional else ""
        span = "as typed" if live.typed else f"{formats.setting(live.low)} – {formats.setting(live.high)}"
        allowed = f"{span}{off}"
        return Content.assemble(
            f"{formats.setting_name(key):<14} {formats.setting(self.controller.view.settings[key]):>9}  ",
            (f"{wanted:<10} ", "bold $warning"),
            (f"{allowed:<14} {live.unit}", "$quiet"),
            (f" · {note}" if (note := editor.note(key)) else "", "$quiet"),
        )

    def _describe(self) -> None:
        editor = self.controller.editor
        if field := editor.field:
            nudge = f"×{field.live.step:g}" if field.live.scale == "log" else f"{field.live.step:g}"
            keys = "⏎ takes a new value." if field.live.typed else f"+ and − change it by {nudge}."
            self._details.update(
                Content.assemble((field.key, "bold"), f"  {field.description}{self._course(field.key)} {keys}")
            )
        lines = [self._change(key) for key in editor.drafts]
        waiting = [
            f"{formats.setting_name(key)} {formats.setting(asked.value)}" for key, asked in editor.pending.items()
        ]
        if why := self.controller.unsteerable:
            lines = [Content.assemble((why, "bold $warning"))]
        elif lines:
            lines.append(Content.assemble(("a applies it ", "bold"), f"{self._when()}; esc discards the draft"))
        elif waiting:
            lines.append(Content(f"requested: {', '.join(waiting)}; takes effect {self._when()}"))
        else:
            lines.append(Content.assemble(("no draft: + − or enter to change the value, a to apply", "$quiet")))
            if weights := self.controller.view.weights:
                lines.append(Content.assemble((f"weights from {one_line(describe_source(weights))}", "$quiet")))
        self._preview.update(Content("\n").join(lines))

    def _course(self, key: str) -> str:
        """A sentence on the schedule of a setting, or nothing."""
        if self.controller.editor.adapted(key):
            return " It follows the divergence; a change starts it anew."
        course = self.controller.view.course(key)
        if course is None:
            return ""
        return f" Schedule: {course.text}; a change {'ends the warm-up' if course.warmup_steps else 'rescales that'}."

    def _change(self, key: str) -> Content:
        """The effect of a draft, and its size."""
        old, new = self.controller.editor.value(key), self.controller.editor.drafts[key]
        change = f" ({100 * (new / old - 1):+.0f} %)" if old and new else ""
        if course := self.controller.view.course(key, after_edit=True):
            change += f", then {course.text}"
        return Content.assemble(
            f"{formats.setting_name(key)}  {formats.setting(old)} → ", (formats.setting(new), "bold $warning"), change
        )

    def _when(self) -> str:
        """The time of the next update boundary."""
        view = self.controller.view
        boundary = f"after update {view.update + 1:,}"
        if view.state is RunState.PAUSED:
            return f"{boundary}, once the run continues"
        seconds = view.seconds_per_update
        return f"{boundary}, within {max(1, round(seconds))} s" if seconds else boundary

    def show_chosen(self) -> None:
        """Put the cursor on the editor's setting."""
        self._listing.cursor = self.controller.editor.position
        self.renew()

    # ── Keys ────────────────────────────────────────────────────────────────────────────────────────────────

    def action_move(self, across: int, down: int) -> None:
        self._listing.move(across, down)

    def action_page(self, direction: int) -> None:
        self._listing.page(direction)

    def action_end(self, direction: int) -> None:
        self._listing.end(direction)

    def on_listing_moved(self) -> None:
        editor = self.controller.editor
        editor.select(self._listing.cursor - editor.position)
        self._describe()

    def on_listing_chosen(self) -> None:
        if self.check_action("type", ()):
            self.action_type()

    def action_nudge(self, direction: int) -> None:
        self.controller.editor.draft_nudge(direction)
        self.renew()

    def action_type(self) -> None:
        if field := self.controller.editor.field:
            self._value.show(field)

    def on_value_input_closed(self) -> None:
        self.renew()

    def action_apply(self) -> None:
        if not self.controller.apply_drafts():
            self.app.notify("there is no draft to apply", timeout=2)
        self.renew()

    def action_back(self) -> None:
        if self.controller.editor.drafts:
            self.controller.editor.drafts.clear()
            self.renew()
        else:
            super().action_back()
