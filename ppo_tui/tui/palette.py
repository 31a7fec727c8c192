"""The command palette: keys by name, and settings as in ``lr 1e-4``."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol, cast

from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.markup import escape
from textual.widgets import OptionList

from ..config.live import LIVE_FIELDS, find_live_key, parse_live_value, typed_value
from ..errors import ConfigError
from ..sinks.wording import describe_change
from ..text import one_line
from . import keys
from .controller import Controller
from .widgets.plain import has_lines

_ASSIGNMENT = re.compile(r"(?P<name>[A-Za-z_.\- ]*[A-Za-z_])\s*[ =:]\s*(?P<value>[-+.\d]\S*|off|none)", re.IGNORECASE)


class Commander(Protocol):
    """The app, as far as the palette needs it."""

    user_keys: Mapping[str, str]
    controller: Controller

    def set_value(self, key: str, value: Any) -> None: ...


class Palette(CommandPalette):
    """Textual's palette, left once as a `Dialog` is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pagedown", "page(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
    ]

    def action_page(self, direction: int) -> None:
        if has_lines(options := self.query_one(OptionList)):
            options.action_page_down() if direction > 0 else options.action_page_up()

    def dismiss(self, result: None = None) -> AwaitComplete:
        return super().dismiss(result) if self.is_active else AwaitComplete.nothing()


class RunCommands(Provider):
    """The commands of the palette.

    Textual takes the help of each for markup.
    """

    @property
    def _commander(self) -> Commander:
        return cast(Commander, self.app)

    async def discover(self) -> Hits:
        for name, help_, do in self._commands():
            yield DiscoveryHit(Content(name), do, text=name, help=escape(help_))

    async def search(self, query: str) -> Hits:
        if assignment := _ASSIGNMENT.fullmatch(query.strip()):
            yield self._assignment(assignment["name"], assignment["value"])
        matcher = self.matcher(query)
        for name, help_, do in self._commands():
            if (score := matcher.match(f"{name} {help_}")) > 0:
                yield Hit(score, matcher.highlight(name), do, text=name, help=escape(help_))

    def _assignment(self, name: str, value: str) -> Hit:
        """The change as typed, or the error in it."""
        settings = self._commander.controller.view.settings
        try:
            key = find_live_key(name)
            new = parse_live_value(key, typed_value(value))
            if key not in settings:
                raise ConfigError(f"{key} cannot be changed yet", hint="wait until the run has started")
        except ConfigError as error:
            text = one_line(str(error))
            return Hit(1.0, Content(text), functools.partial(self.app.notify, text, severity="warning"), text=text)
        label = describe_change(key, settings[key], new, self._commander.controller.view.course(key, after_edit=True))
        help_ = f"Change {key} at the next update. {LIVE_FIELDS[key].description}"
        do = functools.partial(self._commander.set_value, key, new)
        return Hit(1.0, Content(label), do, text=label, help=escape(help_))

    def _commands(self) -> Iterator[tuple[str, str, Any]]:
        """Every usable key: its name, its help, and its effect."""
        for key in keys.KEYS:
            owner = self.app if keys.APP in key.contexts else self.screen
            name = key.action.partition("(")[0]
            if key.help and hasattr(owner, f"action_{name}") and owner.check_action(name, ()):
                written = keys.display(key, self._commander.user_keys)
                do = functools.partial(self.app.run_action, key.action, owner)
                yield f"{key.id.replace('-', ' ').capitalize()}  ({written})", key.help, do
