"""The command palette: everything by name, and settings as in ``lr 1e-4``."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast

from textual.app import SystemCommand
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider, SearchIcon
from textual.content import Content
from textual.markup import escape
from textual.screen import Screen
from textual.widgets import OptionList

from ..config.live import LIVE_FIELDS, find_live_key, parse_live_value, typed_value
from ..errors import ConfigError
from ..plotting import formats
from ..sinks.wording import describe_change
from ..text import one_line
from . import keys
from .controller import Controller
from .screen_options import Look
from .theme import BY_NAME
from .view import EPISODE_RETURNS
from .widgets.plain import has_lines

_ASSIGNMENT = re.compile(r"(?P<name>[A-Za-z_.\- ]*[A-Za-z_])\s*[ =:]\s*(?P<value>[-+.\d]\S*|off|none)", re.IGNORECASE)
_ATTEMPT = re.compile(r"(?P<name>[A-Za-z_.\- ]*[A-Za-z_])\s*[ =:]\s*(?P<value>\S+)")

_FIRST_GROUPS = ("Training", "Settings", "Screens")
"""Groups of keys that steer the run or show it from elsewhere; they come first."""

_LAST_GROUPS = ("Panels",)
"""Movement, for which the keys themselves are quicker."""

_IN_NAME, _IN_HELP, _IN_ORDER = 0.9, 0.6, 0.3
"""Scores of a match: all words begin words of the name, or of its help, or its letters stand there in order."""


class Commander(Protocol):
    """The app, as far as the palette needs it."""

    user_keys: Mapping[str, str]
    look: Look
    controller: Controller

    def set_value(self, key: str, value: Any) -> None: ...

    def edit_setting(self, key: str) -> None: ...

    def show_metric(self, key: str) -> None: ...

    def get_system_commands(self, screen: Screen[object]) -> Iterator[SystemCommand]: ...


class Palette(CommandPalette):
    """Textual's palette, left once as a `Dialog` is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pagedown", "page(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
    ]

    def on_mount(self) -> None:
        # The icon of its own is wider on some terminals than on others, and makes four bytes of each character.
        self.query_one(SearchIcon).icon = "▸"

    def action_page(self, direction: int) -> None:
        if has_lines(options := self.query_one(OptionList)):
            options.action_page_down() if direction > 0 else options.action_page_up()

    def dismiss(self, result: None = None) -> AwaitComplete:
        return super().dismiss(result) if self.is_active else AwaitComplete.nothing()


@dataclass(frozen=True)
class Target:
    """One of the things to do from the palette.

    Attributes:
        name: its words are looked for first.
        note: stands behind the name: a key, or a present value.
    """

    name: str
    note: str
    help: str
    do: Callable[[], Any]

    @property
    def text(self) -> str:
        return f"{self.name}  {self.note}" if self.note else self.name

    def score(self, query: str, in_order: Callable[[str], float]) -> float:
        """The strength of a match in 0..1.

        `in_order` is that of letters in their order in a name.
        """
        wanted = _words(query)
        if not wanted:
            return 0.0
        if _begin(wanted, _words(self.name)):
            return _IN_NAME
        if _begin(wanted, [*_words(self.name), *_words(self.help)]):
            return _IN_HELP
        return _IN_ORDER * min(1.0, in_order(self.name))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())


def _begin(wanted: list[str], words: list[str]) -> bool:
    """Tell whether each wanted word begins one of `words`."""
    return all(any(word.startswith(each) for word in words) for each in wanted)


class RunCommands(Provider):
    """The commands of the palette.

    Textual takes the help of each for markup.

    Attributes:
        KEYS: those whose actions are commands, where they can be used.
    """

    KEYS: ClassVar[Sequence[keys.Key]] = keys.KEYS

    @property
    def _commander(self) -> Commander:
        return cast(Commander, self.app)

    async def discover(self) -> Hits:
        for target in (*self._commands(*_FIRST_GROUPS), *self._settings(), *self._other_commands(), *self._looks()):
            yield DiscoveryHit(Content(target.text), target.do, text=target.text, help=escape(target.help))

    async def search(self, query: str) -> Hits:
        if assignment := _ASSIGNMENT.fullmatch(query.strip()):
            yield self._assignment(assignment["name"], assignment["value"])
        in_order, found = self.matcher(query).match, False
        for target in self._targets():
            if (score := target.score(query, in_order)) > 0:
                found = True
                shown = _emphasised(target.text, query)
                yield Hit(score, shown, target.do, text=target.text, help=escape(target.help))
        attempt = _ATTEMPT.fullmatch(query.strip())
        if attempt and not assignment and not found:
            yield self._assignment(attempt["name"], attempt["value"])

    def _assignment(self, name: str, value: str) -> Hit:
        """The change as typed, or the error in it."""
        settings = self._commander.controller.view.settings
        try:
            key = find_live_key(name)
            new = typed_value(value)
            if isinstance(new, str):
                raise ConfigError(f"{formats.setting_name(key)}: {value!r} is no number")
            new = parse_live_value(key, new)
            if key not in settings:
                raise ConfigError(f"{key} cannot be changed yet", hint="wait until the run has started")
        except ConfigError as error:
            text = one_line(str(error))
            return Hit(1.0, Content(text), functools.partial(self.app.notify, text, severity="warning"), text=text)
        label = describe_change(key, settings[key], new, self._commander.controller.view.course(key, after_edit=True))
        help_ = f"Change {key} at the next update. {LIVE_FIELDS[key].description}"
        do = functools.partial(self._commander.set_value, key, new)
        return Hit(1.0, Content(label), do, text=label, help=escape(help_))

    def _targets(self) -> Iterator[Target]:
        yield from self._commands(*_FIRST_GROUPS)
        yield from self._settings()
        yield from self._metrics()
        yield from self._other_commands()
        yield from self._looks()

    def _commands(self, *groups: str) -> Iterator[Target]:
        """Every usable key of these groups."""
        for key in (key for group in groups for key in self.KEYS if key.group == group):
            owner = self.app if keys.APP in key.contexts else self.screen
            name = key.action.partition("(")[0]
            useful = key.help and name != "command_palette"
            if useful and hasattr(owner, f"action_{name}") and owner.check_action(name, ()):
                written = keys.display(key, self._commander.user_keys, ascii=self._commander.look.ascii)
                do = functools.partial(self.app.run_action, key.action, owner)
                yield Target(key.name, f"({written})", key.help, do)

    def _other_commands(self) -> Iterator[Target]:
        groups = dict.fromkeys(key.group for key in self.KEYS if key.group not in (*_FIRST_GROUPS, *_LAST_GROUPS))
        yield from self._commands(*groups, *_LAST_GROUPS)

    def _settings(self) -> Iterator[Target]:
        """The live settings with their present values."""
        editor, settings = self._commander.controller.editor, self._commander.controller.view.settings
        for key in editor.keys:
            do = functools.partial(self._commander.edit_setting, key)
            yield Target(
                f"Setting {formats.setting_name(key)}", formats.setting(settings[key]), LIVE_FIELDS[key].description, do
            )

    def _metrics(self) -> Iterator[Target]:
        """The metrics so far, each with its newest value."""
        for key, series in sorted(self._commander.controller.view.series.items()):
            if key != EPISODE_RETURNS and len(series):
                do = functools.partial(self._commander.show_metric, key)
                yield Target(f"Chart {key}", formats.number(series.last), "Go to its chart.", do)

    def _looks(self) -> Iterator[Target]:
        """Themes and pictures of the screen."""
        for name, own in BY_NAME.items():
            do = functools.partial(setattr, self.app, "theme", own.name)
            yield Target(f"Theme {name}", "", "Change the colours of the screen.", do)
        for command in self._commander.get_system_commands(self.screen):
            yield Target(command.title, "", command.help, command.callback)


def _emphasised(text: str, query: str) -> Content:
    """`text` with the beginnings found by `query` in reverse."""
    content = Content(text)
    for word in _words(query):
        if found := re.search(rf"(?<![^\W_]){re.escape(word)}", text, re.IGNORECASE):
            content = content.stylize("reverse", *found.span())
    return content
