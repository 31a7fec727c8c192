"""A record of any origin is shown: odd configurations, numbers of any size, parts that do not fit each other."""

from __future__ import annotations

import json
import os
import random

import msgspec
import pytest

from ppo_tui.config import list_presets, load_preset, to_tables
from ppo_tui.config.loading import sound_tables
from ppo_tui.errors import UsageError
from ppo_tui.protocol import (
    Evaluated,
    Histogram,
    Rewound,
    SettingChanged,
    UpdateInspected,
    WorkerInfo,
    WorkersStatus,
    WorkerState,
    decode_event,
    encode,
)
from ppo_tui.tui.session import ReplaySession
from ppo_tui.tui.session.idle import StartSession
from ppo_tui.tui.start_app import StartApp
from tests.tui.desk import characters, desk
from tests.tui.fake import recorded, started
from tests.tui.odd_events import OddEvents
from tests.tui.test_guest import steers_a_terminal
from tests.tui.test_microscope import EVENT

SEED = int(os.environ.get("PPO_TUI_SEED") or random.SystemRandom().randrange(1 << 32))
"""Of this run of the tests; a failure prints it."""

KEYS = [
    *"12345mVvCASeagrtuUioxlfhdnp", "question_mark", "ctrl+p", "plus", "minus", "enter", "escape", "tab", "down", "up",
    "left", "right", "space", "slash", "end", "home", "pagedown",
]  # fmt: skip

HUGE = Histogram(low=-1e308, high=1e308, counts=(1, 2**62))
ODD = [
    msgspec.structs.replace(started(), config={"env": 7, "optim": {"learning_rate": "[red]"}, "ppo": {"gamma": [1]}}),
    WorkersStatus(workers=(WorkerInfo(index=-1, pid=-1, state=WorkerState.WAITING, num_envs=0, answer_share=1e308),)),
    Evaluated(path="step", step=1, update=1, metrics={}, best=True, seconds=1e308),
    SettingChanged(key="optim.learning_rate", old=None, new={"a": 1}, by="a\nb", step=1, update=1),
    msgspec.structs.replace(
        EVENT,
        ratio_up=HUGE,
        ratio_down=HUGE,
        advantages=HUGE,
        log_prob_mean=1e308,
        values=(1e308, -1e308),
        returns=(-1e308, 1e308),
        action_names=("[red]\n", "\x1b[31m", "漢" * 100_000),
        every=2**62,
    ),
    Rewound(path="x", step=0, update=0),
]
"""What ended a screen before."""


async def test_what_is_odd_in_a_record_is_shown():
    async with desk(*recorded(2)) as it:
        await it.say(*ODD)
        assert it.app.controller.view.settings["optim.learning_rate"] != "[red]"
        for key in ("V", "escape", "x", "escape", "e", "escape", "C", "escape", "x"):
            await it.press(key)
        await it.pilot.resize_terminal(90, 30)
        await it.pilot.pause()
        assert it.app.is_running


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
async def test_random_events_are_shown_on_every_screen(part: int):
    odd = OddEvents(SEED + part)
    print(f"PPO_TUI_SEED={SEED}")
    for _ in range(25):
        size = odd.random.choice([(80, 24), (120, 40), (200, 60)])
        async with desk(*recorded(2), size=size, fps=15.0) as it:
            events = [odd.next() for _ in range(odd.random.randrange(1, 12))]
            print(*[type(event).__name__ for event in events])
            for event in events:
                await it.say(event)
            for key in odd.random.choices(KEYS, k=12):
                await it.press(key)
            await it.press("escape", "escape", "escape", "V")
            assert it.app.is_running


# ── At the door ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_settings_of_every_preset_are_sound():
    for name in list_presets():
        config = load_preset(name)
        assert sound_tables(msgspec.to_builtins(config)) == to_tables(config)
    odd = {"ppo": {"gamma": "0.9", "epochs": 1e300}, "optim": None, "env": {"id": ["x"], "kwargs": 1}, "mine": 1}
    assert sound_tables(odd) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("step", 10**400),
        ("counts", []),
        ("means", [1.0]),
        ("columns", {"epoch": [1, 1]}),
        ("choices", [[]]),
    ],
)
def test_an_inspection_whose_parts_do_not_fit_is_no_event(key: str, value: object):
    fields = json.loads(encode(EVENT))
    fields["update" if key == "step" else key] = value
    if key == "counts":
        fields["advantages"] = {"low": 0.0, "high": 1.0, "counts": value}
    with pytest.raises(msgspec.ValidationError):
        decode_event(json.dumps(fields))
    assert isinstance(decode_event(encode(EVENT)), UpdateInspected)


def test_a_record_with_bytes_that_are_no_text_is_replayed_without_them(tmp_path):
    path = tmp_path / "events.jsonl"
    lines = [encode(event) for event in recorded(2)]
    odd = [b'{"event":"alarm","level":"error","message":"\xff\xfe"}', b"\xff", b"[" * 100_000, b"\0" * 1_000]
    path.write_bytes(b"\n".join([lines[0], *odd, *lines[1:], b""]))
    session = ReplaySession(path, clock=lambda: 0.0)
    session.start()
    assert session.duration > 0
    assert len(session.poll()) == 1


@pytest.mark.parametrize("kind", ["pipe", "device", "link", "folder"])
def test_a_record_that_is_no_file_is_refused_at_once(kind: str, tmp_path):
    path, other = tmp_path / "events.jsonl", tmp_path / "other"
    other.write_bytes(encode(started()) + b"\n")
    {
        "pipe": os.mkfifo,
        "device": lambda path: path.symlink_to("/dev/zero"),
        "link": lambda path: path.symlink_to(other),
        "folder": lambda path: path.mkdir(),
    }[kind](path)
    with pytest.raises(UsageError):
        ReplaySession(path)


# ── In the lists of runs ────────────────────────────────────────────────────────────────────────────────────

NAMES = (
    b"[red]",
    b"\x1b[31m\x9b",
    b"two\nlines",
    b"\xff\xfe",
    "\u202e".encode(),
    "漢".encode() * 80,
    b"n" * 255,
    b" ",
    b"$(touch PWNED)",
)
"""Of directories."""

STATES = ("a\nb\nc", "[/]", "\x1b[2J", "s" * 100_000)
METRICS = (
    b'{"time/total_timesteps": 1' + b"0" * 400 + b"}",
    b'{"time/total_timesteps": 7, "rollout/ep_rew_mean": 1e308, "time/time_elapsed": 5e-324}',
    b'{"time/total_timesteps": 8, "rollout/ep_rew_mean": -1e308, "time/time_elapsed": 1e-320}',
    b'{"time/total_timesteps": 9, "rollout/ep_rew_mean": 5e-324, "time/time_elapsed": 1e308}',
    b'{"rollout/ep_rew_mean": "\xff"}',
    b"[" * 10_000,
    b"\0" * 1_000,
)


@pytest.fixture
def odd_runs(tmp_path, monkeypatch) -> int:
    """A folder of odd runs as the current directory's; their number."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(NAMES):
        run = tmp_path / "runs" / os.fsdecode(name)
        run.mkdir(parents=True)
        facts = {
            "name": os.fsdecode(name)[:80] if number % 2 else None,
            "status": STATES[number % len(STATES)],
            "env": STATES[-1 - number % len(STATES)],
            "preset": "[red]\n",
            "started": 1e9 + number,
            "reason": "a\nb",
        }
        (run / "run.json").write_text(json.dumps(facts))
        (run / "metrics.jsonl").write_bytes(b"\n".join([*METRICS, b""]))
        (run / "events.jsonl").write_bytes(encode(started()) + b"\n" + METRICS[0] + b"\n")
    return len(NAMES)


def rows(picture: str) -> list[str]:
    """The lines of a screen, after a look for what would steer a terminal."""
    assert not steers_a_terminal(picture)
    return picture.splitlines()


async def test_odd_runs_stand_in_one_row_each_on_the_start_screen(odd_runs):
    app = StartApp(StartSession())
    async with app.run_test(size=(120, 40)) as pilot:
        await app.workers.wait_for_complete()
        await pilot.press("tab")
        seen: list[str] = []
        for _ in range(odd_runs):
            await pilot.pause()
            shown = rows(characters(app))
            assert len(shown) == 40
            assert f"Runs here · {odd_runs}" in "".join(shown)
            assert sum("enter attaches" in line or "enter replays it" in line for line in shown) == 1
            seen += shown
            await pilot.press("down")
        listed = [line.partition("┃")[2].lstrip("▸ ")[:2] for line in shown]
        assert sum(sign in ("✗ ", "? ", "■ ", "• ") for sign in listed) == odd_runs
        assert any("ppo-tui replay '$(touch PWNED)'" in line for line in seen), "to be copied into a shell"
        assert app.is_running


@pytest.mark.slow
async def test_odd_runs_stand_in_one_row_each_in_the_list_of_runs(odd_runs):
    async with desk(started(), size=(120, 40), notifications=True) as it:
        await it.press("r")
        await it.app.workers.wait_for_complete()
        await it.pilot.pause()
        for _ in range(odd_runs):
            await it.press("space", "down")
            assert len(rows(it.picture)) == 40
        await it.app.workers.wait_for_complete()
        for key in ("equals_sign", "escape", "c", "escape", "s", "s", "s", "slash", "x", "enter"):
            await it.press(key)
            assert len(rows(it.picture)) == 40
        assert it.app.is_running
