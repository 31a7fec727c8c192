"""The screen without the private interfaces of Textual."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import ppo_tui.tui

SCREEN = '''
import asyncio, importlib, sys, types

import pyte
from rich.console import Console

import textual.app, textual.screen, textual._compositor, textual._styles_cache


class OfInstances:
    """A method, or a property, that the class itself does not have."""

    def __init__(self, member):
        self.member = member

    def __get__(self, instance, owner):
        if instance is None:
            raise AttributeError
        return self.member.__get__(instance, owner)


module, name, member = sys.argv[1].rpartition(".")[0], *sys.argv[1].split(".")[-2:]
if member == "CompositorUpdate":  # only who imports it from now on misses it
    without = types.ModuleType("textual._compositor")
    without.Compositor = textual._compositor.Compositor
    sys.modules["textual._compositor"] = without
elif sys.argv[2:] == ["instance"]:
    owner = getattr(importlib.import_module(module.rpartition(".")[0]), name)
    init = owner.__init__
    owner.__init__ = lambda self, *args, **kwargs: init(self, *args, **kwargs)
else:
    owner = getattr(importlib.import_module(module.rpartition(".")[0]), name)
    setattr(owner, member, OfInstances(owner.__dict__[member]))

from ppo_tui.protocol import Alarm, Level, Pause
from tests.tui.desk import desk
from tests.tui.fake import recorded

assert "ppo_tui.tui.widgets.direct_painting" not in sys.modules


async def main():
    terminal = pyte.Screen(120, 40)
    stream, console = pyte.Stream(terminal), Console(force_terminal=True, color_system="truecolor")
    async with desk(*recorded(40)) as it:
        it.app._display = lambda screen, update: update and stream.feed(update.render_segments(console))
        it.app.screen.refresh()
        for number in range(3):
            await it.say(Alarm(level=Level.WARNING, message=f"alarm {number}"))
            await it.pass_time(1.0)
            assert f"alarm {number}" in it.picture
            assert "\\n".join(terminal.display) == it.picture
        await it.press("p", "right", "question_mark")
        assert it.session.sent == [Pause()]
        assert "Pause, or resume" in "\\n".join(terminal.display)


asyncio.run(main())
'''


@pytest.mark.parametrize(
    "name",
    [
        ("textual._compositor.CompositorUpdate",),
        ("textual.app.App._display",),
        ("textual._compositor.Compositor.layers_visible",),
        ("textual._styles_cache.StylesCache.set_dirty",),
        ("textual.screen.Screen._compositor", "instance"),
        ("textual.widget.Widget._styles_cache", "instance"),
    ],
    ids=lambda name: name[0],
)
def test_without_a_private_name_the_screen_paints_and_takes_keys(name):
    subprocess.run([sys.executable, "-c", SCREEN, *name], check=True, timeout=120)


def test_private_interfaces_of_textual_stand_in_three_files():
    """Imports of private modules or names, and private attributes of other objects."""
    private = re.compile(
        r"from textual[\w.]*\._|from textual[\w.]* import (\w+, )*_|(?<!\bself)(?<!\bcls)(?<=\w)\._[a-z]"
    )
    found = {
        path.name
        for path in Path(ppo_tui.tui.__file__).parent.rglob("*.py")
        if any(private.search(line) for line in path.read_text("utf-8").splitlines())
    }
    assert found == {"direct_painting.py", "private_textual.py", "private_textual_image.py"}
