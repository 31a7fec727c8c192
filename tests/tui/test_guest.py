"""The screen is a guest of the run: whatever it raises, or its terminal sends, stops nothing."""

from __future__ import annotations

import asyncio
import json
import os
import re
import termios
import unicodedata
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.events import Click, DeliveryComplete, Key, Resize
from textual.geometry import Size
from textual.message import Message

import ppo_tui.tui
from ppo_tui.protocol import (
    Alarm,
    CheckpointSaved,
    CommandRefused,
    Event,
    Level,
    RunFinished,
    RunState,
    SettingChanged,
    StateChanged,
    UpdateFinished,
)
from ppo_tui.runs import RunDirectory
from ppo_tui.runs.client import ControlClient
from ppo_tui.tui.private_textual import KeyReader, ReportingApp
from ppo_tui.tui.screens.charts import MetricPicker
from ppo_tui.tui.session import HistoryRestarted
from ppo_tui.tui.theme import SafeCharacters
from tests.faults.random_keys import ECHO_KEY, REPORTS, SEQUENCES
from tests.tui.desk import FAILURE, desk
from tests.tui.failing import KINDS, WHERE, failing
from tests.tui.fake import recorded, started
from tests.tui.test_terminal import DEADLINE, Terminal


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What came of each screen, in one process with a terminal."""
    told = tmp_path_factory.mktemp("failures") / "told"
    terminal = Terminal("-m", "tests.tui.failing", str(told))
    try:
        terminal.read_until_end(4 * DEADLINE)
        assert told.exists(), terminal.output[-3000:].decode()
        assert termios.tcgetattr(terminal.slave) == terminal.before
        assert b"Traceback" not in terminal.output
        assert terminal.output.count(b"\x1b[?1049h") <= terminal.output.count(b"\x1b[?1049l")
    finally:
        terminal.close()
    return json.loads(told.read_text())


@pytest.mark.parametrize("where", [*WHERE, "worker", "thread"])
def test_an_error_anywhere_is_a_lost_terminal_and_says_why(failures: dict[str, str], where: str):
    assert failures[where].startswith("lost: ")
    assert failures[where].endswith(f"[/] in {where}")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_exceptions_of_any_kind_are_a_lost_terminal(failures: dict[str, str], kind: type[BaseException]):
    assert failures[kind.__name__].startswith("lost: ")
    assert kind.__name__ in failures[kind.__name__]


def test_the_screen_of_a_run_elsewhere_leaves_with_one_sentence(failures: dict[str, str]):
    assert failures["elsewhere"] == "refused 3 the screen failed: ValueError: [/] in elsewhere"


async def test_without_the_hook_of_textual_the_report_is_its_own(monkeypatch):
    monkeypatch.delattr(ReportingApp, "_handle_exception")
    monkeypatch.setattr("ppo_tui.tui.private_textual.active_message_pump", None)
    with pytest.raises(ValueError, match="boom"):
        async with desk() as it:
            it.app.call_later(failing(ValueError("boom")))
            await it.pilot.pause()
    assert it.app.failure
    assert "boom" in it.app.failure.details


# ── A real run ──────────────────────────────────────────────────────────────────────────────────────────────

FAILING_HEADER = """
from ppo_tui.tui.widgets.header import Header
lines = Header.lines
def fail(self, width, height):
    if self.controller.view.update >= 2:
        raise ValueError("no [/] header")
    return lines(self, width, height)
Header.lines = fail
from ppo_tui.__main__ import main
main()
"""


def test_a_run_outlives_its_screen_and_ends_as_a_headless_one_does(tmp_path: Path):
    run = RunDirectory(tmp_path / "run")
    options = ("--preset", "cartpole", "--workers", "2", "--total-steps", "1_000_000_000")
    terminal = Terminal("-c", FAILING_HEADER, *options, "--run-dir", str(run.path))
    try:
        terminal.read_until(b"Ctrl+C saves and stops it")
        told = terminal.output[terminal.output.rindex(b"\x1b[?1049l") :].decode()
        assert "the screen failed (ValueError: no [/] header)" in told
        assert str(run.log) in told
        assert f"ppo-tui attach {run.path}" in told
        assert "no [/] header" in run.log.read_text()
        assert run.read()["status"] == "running"
        with ControlClient(run) as attached:
            attached.subscribe(client="screen", wish="watch", history=True)
            alarm = next(event for event in attached.messages() if isinstance(event, Alarm))
        assert "no [/] header" in alarm.message
        assert "Traceback" in alarm.details
        os.write(terminal.master, b"\x03")
        terminal.read_until(b"its screen failed")
        terminal.read_until_end(DEADLINE)
        assert terminal.process.returncode == 130
        assert b"Traceback" not in terminal.output
        assert termios.tcgetattr(terminal.slave) == terminal.before
        assert (run.read()["status"], run.read()["stopped_by"]) == ("stopped", "SIGINT")
        assert "Traceback" in run.log.read_text()
    finally:
        terminal.close()


# ── What a terminal sends ───────────────────────────────────────────────────────────────────────────────────


def keys_of(messages: list[Message]) -> list[str]:
    return [message.key for message in messages if isinstance(message, Key)]


@pytest.mark.parametrize(
    ("parts", "keys"),
    [
        ([b"\xff", b"q"], ["�", "q"]),
        ([b"\xc3", b"\xa9"], ["é"]),
        ([b"\xc3", b"q"], ["�", "q"]),
        (["µ".encode("latin-1"), b"\r"], ["�", "enter"]),
        ([b"\x1b[99999999u", b"q"], ["q"]),  # no such character
    ],
)
def test_bytes_that_are_no_text_are_replaced(parts, keys):
    reader = KeyReader()
    read = [key for part in parts for key in keys_of(reader.feed(part))]
    assert [
        key.replace("replacement_character", "�").replace("latin_small_letter_e_with_acute", "é") for key in read
    ] == keys


@given(st.lists(st.binary(max_size=60) | st.sampled_from([*REPORTS, *SEQUENCES]), max_size=20))
def test_after_any_bytes_the_next_key_is_read(parts):
    reader = KeyReader()
    for part in parts:
        reader.feed(part)
    reader.feed(b"\x1b[201~")  # the end of a paste, if one has begun
    assert "f20" in [key for _ in range(2) for key in keys_of(reader.feed(ECHO_KEY))]


def test_a_paste_without_an_end_does_not_swallow_all_keys(monkeypatch):
    monkeypatch.setattr("ppo_tui.tui.private_textual.PASTE_SECONDS", -1.0)
    reader = KeyReader()
    assert keys_of(reader.feed(b"\x1b[200~q")) == []
    reader.pass_time()
    assert keys_of(reader.feed(b"q")) == ["q"]


def test_without_the_parser_of_textual_there_is_no_reader(monkeypatch):
    monkeypatch.setattr("ppo_tui.tui.private_textual.XTermParser", None)
    with pytest.raises(NotImplementedError):
        KeyReader()


async def test_a_window_of_a_million_columns_is_shown_in_a_corner(monkeypatch):
    monkeypatch.setattr("ppo_tui.tui.terminal_app.LARGEST", largest := Size(100, 50))
    async with desk(size=(80, 24)) as it:
        huge = Size(1_000_000, 1_000_000)
        it.app.post_message(Resize(huge, huge))
        await it.pilot.pause(0.1)
        assert it.app.screen.size == it.app.size == largest


# ── Text is text ────────────────────────────────────────────────────────────────────────────────────────────

MARKUP = ['[/] [ "[red]x[@click=app.quit]y', "\x1b]0;PWN\x07\x9b2J\u202e\ud800"]
"""Texts that markup or a terminal would take for more."""


def steers_a_terminal(text: str) -> bool:
    return any(unicodedata.category(character) in {"Cc", "Cf", "Cs"} for character in text.replace("\n", ""))


def hostile(text: str) -> list[Event]:
    """A record with `text` wherever others have a say."""
    config = {**started().config, "env": {"id": text}}
    first = msgspec.structs.replace(started(), run=text, device=text, run_dir=text, config=config)
    return [
        first,
        *list(recorded(30))[1:],
        StateChanged(state=RunState.TRAINING, reason=text),
        Alarm(level=Level.ERROR, message=text, details=text, suggestion=text),
        CommandRefused(message=text, by=text),
        CheckpointSaved(path=text, step=1, update=1, reason=text, seconds=1.0),
        SettingChanged(key="ppo.gamma", old=text, new=text, by=text, step=1, update=1),
        UpdateFinished(update=31, step=31 * 1024, metrics={text: 1.0}),
    ]


@pytest.mark.parametrize("text", MARKUP)
async def test_any_text_is_shown_as_it_is_on_every_screen(text: str):
    finished = RunFinished(state=RunState.FAILED, exit_code=3, reason=text, details=text, step=1, update=1)
    async with desk(*hostile(text), notifications=True) as it:
        for keys in ("", "m", "4", "C", "A", "r", "e", "a", "ctrl+p"):
            if keys:
                await it.press(keys)
            assert not steers_a_terminal(it.picture), keys
            await it.press("escape", "escape")
        await it.press("4", "slash", *(text if text.isprintable() else "x"), "enter")
        it.app.notify(text, title=text)
        await it.say(finished)
        await it.press("t")
        await it.pilot.pause(0.1)
        assert not steers_a_terminal(it.picture)
        assert it.app.is_running
        if text.isprintable():
            assert text in it.picture
        assert "PWN" not in it.app.export_screenshot() or not steers_a_terminal(it.app.export_screenshot())


async def test_the_place_of_a_screenshot_is_told_as_it_is(tmp_path: Path):
    place = tmp_path / "[red]"
    place.mkdir()
    async with desk(notifications=True, size=(200, 40)) as it:
        it.app.post_message(DeliveryComplete("key", path=place, name="screenshot"))
        await it.pilot.pause(0.2)
        assert "Saved screenshot to" in it.picture
        assert "[red]" in it.picture


async def test_a_screenshot_is_saved_here_or_it_is_told_why_not(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with desk(notifications=True, size=(200, 40)) as it:
        for name, said in (("here.svg", "Saved screenshot to here.svg"), ("gone/there.svg", "No such file")):
            it.app.deliver_screenshot(name)
            async with asyncio.timeout(60):
                while said not in it.picture:
                    await it.pilot.pause(0.05)
        assert (tmp_path / "here.svg").read_text().startswith("<svg")
    assert it.app.deliver_screenshot() is None, "chosen at the very end"


async def test_drafts_end_with_the_history_that_they_belong_to():
    async with desk() as it:
        await it.press("e", "plus")
        assert it.app.controller.editor.drafts
        await it.say(HistoryRestarted())
        assert not it.app.controller.editor.drafts
        await it.press("plus", "a", "enter")
        assert it.app.is_running


async def test_a_failure_without_a_reason_has_a_traceback_all_the_same():
    finished = RunFinished(state=RunState.FAILED, exit_code=3, reason="", details="Traceback", step=1, update=1)
    async with desk(finished) as it:
        await it.press("t")
        assert "Traceback" in it.picture


def test_only_one_file_takes_titles_and_texts_to_textual():
    """Elsewhere they would be markup."""
    suspicious = re.compile(
        r"border_(sub)?title|from textual\.containers|from textual\.widgets import .*\b(Static|Label|Button)\b"
    )
    found = {
        path.name
        for path in Path(ppo_tui.tui.__file__).parent.rglob("*.py")
        if any(suspicious.search(line) for line in path.read_text("utf-8").splitlines())
    }
    assert found == {"plain.py"}


@given(st.text())
def test_characters_that_steer_are_replaced_in_the_same_room(text):
    (safe,) = SafeCharacters().apply([Segment(text)], Color(0, 0, 0))
    assert not steers_a_terminal(safe.text)
    assert cell_len(safe.text) == cell_len(text)


# ── Screens are left once ───────────────────────────────────────────────────────────────────────────────────


async def test_a_repeated_key_leaves_a_dialog_once():
    async with desk(UpdateFinished(update=1, step=1, metrics={"train/n": 1.0}), *recorded(3)) as it:
        await it.press("a")
        assert isinstance(it.app.screen, MetricPicker)
        added = set(it.app.main.charts.added)
        for _ in range(3):
            it.app.simulate_key("enter")
        await it.pilot.pause()
        assert it.app.screen is it.app.main
        assert len(set(it.app.main.charts.added) ^ added) == 1


@pytest.mark.parametrize("key", ["q", "S", "A", "question_mark", "V", "e", "C", "r", "m", "ctrl+p", "t"])
async def test_however_often_a_screen_is_left_the_main_one_stays(key: str):
    async with desk(*recorded(3), FAILURE if key == "t" else StateChanged(state=RunState.TRAINING), fps=15.0) as it:
        for _ in range(2):
            it.app.simulate_key(key)
            it.app.simulate_key(key)
            await it.pilot.pause()
            for _ in range(5):
                it.app.simulate_key("escape")
            await it.pilot.pause()
        assert it.app.screen is it.app.main


async def test_clicks_beside_the_palette_close_it_once():
    async with desk() as it:
        await it.press("ctrl+p")
        palette = it.app.screen
        for _ in range(3):
            click = Click(palette, 1, 39, 0, 0, 1, False, False, False, screen_x=1, screen_y=39)
            palette.post_message(click)
        await it.pilot.pause()
        assert it.app.screen is it.app.main
