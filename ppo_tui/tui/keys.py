"""Every key, once: bindings, footer, help and command palette are made from these tables."""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding


@dataclass(frozen=True)
class Key:
    """One action that keys lead to.

    Attributes:
        id: what a keymap calls it.
        keys: Textual's names of the keys, separated by commas.
        action: the method ``action_…`` of the screen, with its arguments.
        label: one word for the footer; without it the key is not shown there.
        display: how footer and help write the keys.
        help: one sentence; without it another key's entry covers this one.
    """

    id: str
    keys: str
    action: str
    display: str
    help: str = ""
    label: str = ""
    group: str = ""


_ZOOMED = "A chart's own screen"

_ON_CHARTS: tuple[Key, ...] = (
    Key("next-chart", "tab", "next_chart(1)", "tab"),
    Key("previous-chart", "shift+tab", "next_chart(-1)", "⇧tab"),
    *(Key(f"chart-{number}", str(number), f"chart({number - 1})", str(number)) for number in range(2, 10)),
    Key(
        "cursor-right", "right", "cursor(1)", "←→",
        "Move the cursor over all charts and read the exact values (with shift: ten times as far).", "Cursor", "Charts",
    ),
    Key("cursor-left", "left", "cursor(-1)", "←"),
    Key("cursor-far-right", "shift+right", "cursor(10)", "⇧→"),
    Key("cursor-far-left", "shift+left", "cursor(-10)", "⇧←"),
    Key("zoom-in", "z", "zoom(0.5)", "z Z", "Show half as many steps (Z: twice as many).", "", "Charts"),
    Key("zoom-out", "Z", "zoom(2)", "Z"),
    Key("pan-right", "greater_than_sign", "pan(0.25)", "< >", "Move to earlier or later steps.", "", "Charts"),
    Key("pan-left", "less_than_sign", "pan(-0.25)", "<"),
    Key("log-axis", "y", "log_axis", "y", "Switch its axis between linear and logarithmic.", "", "Charts"),
    Key("smoothing", "o", "smoothing", "o", "Average its curves more, or not at all.", "", "Charts"),
    Key("reset-charts", "0", "reset_charts", "0", "All steps again, without the cursor.", "", "Charts"),
)  # fmt: skip
"""Keys that the main screen and a chart's own screen have in common."""

KEYS: tuple[Key, ...] = (
    Key("pause", "space,p", "pause", "p", "Pause, or go on.", "Pause", "Training"),
    Key("step", "s", "step", "s", "Run one update, then pause.", "Step", "Training"),
    Key("save", "c", "save", "c", "Save a checkpoint at the next update.", "Save", "Training"),
    Key("select-next", "down", "select(1)", "↑↓", "Select a setting.", "Set", "Settings"),
    Key("select-previous", "up", "select(-1)", "↑"),
    Key("nudge-up", "plus,equals_sign", "nudge(1)", "+-", "Raise or lower it by a step.", "Nudge", "Settings"),
    Key("nudge-down", "minus,underscore", "nudge(-1)", "-"),
    Key("edit", "enter", "edit", "⏎", "Type a value for it.", "Type", "Settings"),
    Key("chart-1", "1", "chart(0)", "1-9", "Choose a chart (tab: the next one).", "Chart", "Charts"),
    Key("maximise", "m", "maximise", "m", "Give it a screen of its own.", "Zoom", "Charts"),
    *_ON_CHARTS,
    Key("metrics", "a", "metrics", "a", "Add a chart of any metric, or take it away.", "", "Charts"),
    Key("game", "v", "game", "v", "Show or hide the game.", "Game", "Game"),
    Key("zoom-game", "V", "zoom_game", "V", "Give it the whole screen; esc goes back.", "", "Game"),
    Key("next-env", "right_square_bracket", "choose_env(1)", "[ ]", "Choose the environment to watch.", "", "Game"),
    Key("previous-env", "left_square_bracket", "choose_env(-1)", "["),
    Key("events", "l", "events", "l", "Read the whole log of events.", "", "Screens"),
    Key("traceback", "t", "traceback", "t", "Read the traceback of a failed run.", "Trace", "Screens"),
    Key("detach", "d", "detach", "d", "Leave the screen; the run goes on in the background.", "", "Screens"),
    Key(
        "take-control",
        "T",
        "take_control",
        "T",
        "Steer a run that another screen steers.",
        "",
        "Screens",
    ),
    Key("help", "question_mark,f1", "help", "?", "Show this help.", "Help", "Screens"),
    Key("quit", "q", "quit", "q", "Leave: save and stop, stop at once, or stay.", "Quit", "Screens"),
)

REPLAY_KEYS: tuple[Key, ...] = (
    Key("replay-hold", "space,p", "hold", "p", "Hold the replay, or let it go on.", "Hold", "Replay"),
    Key("replay-slower", "less_than_sign", "speed(-1)", "<", "Play half as fast.", "Slower", "Replay"),
    Key("replay-faster", "greater_than_sign", "speed(1)", ">", "Play twice as fast.", "Faster", "Replay"),
    Key("replay-back", "comma", "seek(-1)", ",", "Go back by a twentieth of the run.", "Back", "Replay"),
    Key("replay-on", "full_stop", "seek(1)", ".", "Go on by a twentieth of the run.", "On", "Replay"),
    Key("replay-begin", "home", "seek_to(0)", "home", "Go to the beginning.", "", "Replay"),
    Key("replay-end", "end", "seek_to(1)", "end", "Go to the end.", "", "Replay"),
)
"""Keys of a replay; they come before those of the main screen with the same names."""
CHART_KEYS: tuple[Key, ...] = (
    Key("close-chart", "escape,m,enter,q", "close", "esc", "Back to all charts (m and enter too).", "Back", _ZOOMED),
    Key("chart-1", "1", "chart(0)", "1"),
    *_ON_CHARTS,
    Key("cursor-right-hl", "l", "cursor(1)", "h l", "Move the cursor (H and L: ten times as far).", "", _ZOOMED),
    Key("cursor-left-hl", "h", "cursor(-1)", "h"),
    Key("cursor-far-right-hl", "L", "cursor(10)", "L"),
    Key("cursor-far-left-hl", "H", "cursor(-10)", "H"),
    Key("next-mark", "j,down", "mark(1)", "j k", "To the next or previous mark (↓ and ↑ too).", "Mark", _ZOOMED),
    Key("previous-mark", "k,up", "mark(-1)", "k"),
    Key("zoom-in-plus", "plus,equals_sign", "zoom(0.5)", "+-", "Show half or twice as many steps.", "Zoom", _ZOOMED),
    Key("zoom-out-minus", "minus,underscore", "zoom(2)", "-"),
)
"""Every key of a chart's own screen."""

INTERRUPT_HELP = "Leave as with q; twice: stop without a checkpoint."


def bindings(keys: tuple[Key, ...] = KEYS) -> list[Binding]:
    """A table as Textual wants it."""
    return [
        Binding(
            key.keys,
            key.action,
            key.label,
            show=bool(key.label),
            key_display=key.display,
            tooltip=key.help,
            id=key.id,
        )
        for key in keys
    ]
