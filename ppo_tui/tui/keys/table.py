"""The table of all keys, and the places of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

APP, TRAIN, LIST, EDIT, CHART, RUNS = "app", "train", "list", "edit", "chart", "runs"
"""Contexts of keys: everywhere, the main screen, lists, the settings, a single chart, and all runs (a list with a
chart)."""

GAME, REPLAY, VISIT, MICROSCOPE = "game", "replay", "visit", "microscope"
"""And the game's own screen, a replay, and the visit of another run, whose keys come before the main screen's, and the
microscope."""

CHARTS_PANEL, SETTINGS_PANEL = "charts-panel", "settings-panel"
"""And the main screen while one of these panels has the keyboard."""

PANELS = (CHARTS_PANEL, SETTINGS_PANEL)

WATCH = "watch"
"""And the screen of `ppo-tui watch`, which has no others."""

START = "start"
"""The start screen, before any run."""


@dataclass(frozen=True)
class Key:
    """One action and its keys.

    Attributes:
        id: its name in a keymap.
        keys: Textual's names of the keys, separated by commas.
        action: the method ``action_…`` of the screen (or of the app), with its arguments.
        display: the writing of the keys in footer and help.
        help: one sentence; empty where another key's entry covers this one.
        label: one word for the footer; empty for none there.
        contexts: the screens that bind it; the action belongs to the screen.
        title: its name in the palette; that of the keymap by default.
        footers: the screens with its label in their footers; all of `contexts` by default.
    """

    id: str
    keys: str
    action: str
    display: str
    help: str = ""
    label: str = ""
    group: str = ""
    contexts: tuple[str, ...] = (TRAIN,)
    title: str = ""
    footers: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """Its name for people: Log axis."""
        return self.title or self.id.replace("-", " ").capitalize()

    def shown_in(self, context: str) -> bool:
        """Tell whether the footer of `context` has it."""
        return bool(self.label) and (self.footers is None or context in self.footers)


_APP, _PLACES, _RUNS = (APP,), (TRAIN, LIST, EDIT, CHART, START), (RUNS,)
_CHARTS, _GAMES = (TRAIN, CHART, RUNS), (TRAIN, GAME, WATCH)

KEYS: tuple[Key, ...] = (
    Key("pause", "space,p", "pause", "p", "Pause, or resume (space too).", "Pause", "Training", _APP),
    Key("step", "s", "step", "s", "Run one update, then pause.", "Step", "Training", _APP),
    Key("step-many", "S", "step_many", "S", "Run a number of updates, then pause.", "", "Training", _APP),
    Key("save", "c", "save", "c", "Save a checkpoint at the next update.", "Save", "Training", _APP),
    Key("detach", "d", "detach", "d", "Leave the screen; the run continues in the background.", "", "Training", _APP),
    Key("take-control", "T", "take_control", "T", "Steer a run that another screen steers.", "", "Training", _APP),
    Key(
        "edit",
        "e",
        "edit",
        "e",
        "Open the settings: ranges, drafts, effects of changes.",
        "Edit",
        "Settings",
        _APP,
        title="Settings",
    ),
    Key(
        "nudge-up",
        "plus,equals_sign",
        "nudge(1)",
        "+-",
        "Raise or lower the selected setting by a step (in the settings).",
        "Change",
        "Settings",
        (SETTINGS_PANEL, EDIT),
    ),
    Key("nudge-down", "minus,underscore", "nudge(-1)", "-", contexts=(SETTINGS_PANEL, EDIT)),
    Key("type", "enter", "type", "⏎", "Type a value (in the settings).", "Type", "Settings", (EDIT,)),
    Key("apply", "a", "apply", "a", "Apply the drafts (in the settings).", "Apply", "Settings", (EDIT,)),
    Key("draft", "F", "draft_advice", "F", "Draft the change that the alarm advises.", "", "Settings", _APP),
    Key("undo", "u", "undo", "u", "Undo the newest change of a setting.", "", "Settings", _APP),
    Key("redo", "ctrl+r", "redo", "^r", "Redo the change undone last.", "", "Settings", _APP),
    Key(
        "audit",
        "A",
        "changes",
        "A",
        "List all changes of settings: who, what, when.",
        "",
        "Settings",
        _APP,
        title="Changes",
    ),
    *(
        Key(f"panel-{number}", str(number), f"panel({number})", str(number), help_, "", "Panels")
        for number, help_ in (
            (1, "Go to the charts."),
            (2, "Go to the workers."),
            (3, "Go to the settings."),
            (4, "Go to the events."),
            (5, "Go to the metrics."),
            (6, "Go to the game."),
        )
    ),
    Key("next-panel", "tab", "next_panel(1)", "tab", "Go to the next panel (shift+tab: the one before).", "", "Panels"),
    Key("previous-panel", "shift+tab", "next_panel(-1)", "⇧tab"),
    Key(
        "up",
        "up,k",
        "move(0, -1)",
        "↑↓←→",
        "Move in a panel or a list, or the cursor over the curves; so do h j k l. They never change anything.",
        "",
        "Panels",
        _PLACES,
    ),
    Key("down", "down,j", "move(0, 1)", "↓", contexts=_PLACES),
    Key("left", "left,h", "move(-1, 0)", "← →", label="Move", contexts=_PLACES, footers=(CHART,)),
    Key("right", "right,l", "move(1, 0)", "→", contexts=_PLACES),
    Key("page-up", "pageup", "page(-1)", "⇞⇟", "Move by a page; home and end: to the ends.", "", "Panels", _PLACES),
    Key("page-down", "pagedown", "page(1)", "⇟", contexts=_PLACES),
    Key("top", "home", "end(-1)", "home", contexts=_PLACES),
    Key("bottom", "end", "end(1)", "end", contexts=_PLACES),
    Key(
        "maximise",
        "enter,m",
        "maximise",
        "⏎",
        "Give the panel or the chart all the room (m too).",
        "Zoom",
        "Panels",
        (TRAIN, CHART),
        footers=(TRAIN,),
    ),
    Key("choose", "enter", "choose", "⏎", contexts=(LIST,), label="Choose"),
    Key(
        "start",
        "enter",
        "choose",
        "⏎",
        "Start the preset, attach to the run, or replay one that has ended (on the start screen).",
        "Open",
        "Start",
        (START,),
    ),
    Key("next-side", "tab,shift+tab", "next_side", "tab", "Change the side (start screen).", "Side", "Start", (START,)),
    Key(
        "open-run",
        "enter",
        "choose",
        "⏎",
        "Attach to a running run, or replay one that has ended.",
        "Open",
        "Runs",
        _RUNS,
    ),
    Key(
        "mark-run",
        "space",
        "mark",
        "space",
        "Lay the run's return over the charts, or take it away.",
        "Mark",
        "Runs",
        _RUNS,
    ),
    Key(
        "watch",
        "w",
        "watch",
        "w",
        "Watch the newest policy play: of the chosen run, or of a finished one.",
        "Watch",
        "Runs",
        (RUNS, TRAIN),
    ),
    Key("stop-run", "X", "stop_run", "X", "Save and stop a running run.", "Stop", "Runs", _RUNS),
    Key(
        "resume-run", "R", "resume_run", "R", "Resume a run that has ended, in the background.", "Resume", "Runs", _RUNS
    ),
    Key(
        "delete-run",
        "D",
        "delete_run",
        "D",
        "Delete a run that has ended, with its checkpoints.",
        "Delete",
        "Runs",
        _RUNS,
    ),
    Key(
        "compare-runs", "c", "compare", "c", "Compare the marked runs: returns, steps, time.", "Compare", "Runs", _RUNS
    ),
    Key(
        "differing-settings",
        "equals_sign",
        "settings",
        "=",
        "Show the settings that differ between the marked runs.",
        "Settings",
        "Runs",
        _RUNS,
    ),
    Key(
        "sort-runs",
        "s",
        "sort",
        "s",
        "Sort by another column: start, name, return, steps, state.",
        "Sort",
        "Runs",
        _RUNS,
    ),
    Key("fold-sweep", "right", "move(1, 0)", "← →", "Show or hide the trials of a sweep.", "", "Runs", _RUNS),
    Key(
        "come-home",
        "escape",
        "back",
        "esc",
        "Come back from another run to this screen's own.",
        "Back",
        "Runs",
        (VISIT,),
    ),
    Key(
        "filter",
        "slash",
        "filter",
        "/",
        "Filter the events, the metrics, or the list.",
        "Filter",
        "Panels",
        (TRAIN, LIST, START),
    ),
    Key(
        "back",
        "escape",
        "back",
        "esc",
        "Go back: from a filter, a zoom, a screen.",
        "Back",
        "Panels",
        _PLACES,
        footers=(LIST, EDIT, CHART),
    ),
    Key(
        "far-right",
        "shift+right,L",
        "cursor(10)",
        "⇧→",
        "Move the cursor ten times as far (L; ⇧← and H: back).",
        "",
        "Charts",
        _CHARTS,
    ),
    Key("far-left", "shift+left,H", "cursor(-10)", "⇧←", contexts=_CHARTS),
    Key(
        "zoom-in",
        "z",
        "zoom(0.5)",
        "z Z",
        "Show half as many steps (Z: twice as many); + and - too, in the charts.",
        "",
        "Charts",
        _CHARTS,
    ),
    Key("zoom-out", "Z", "zoom(2)", "Z", contexts=_CHARTS),
    Key(
        "zoom-in-plus",
        "plus,equals_sign",
        "magnify(0.5)",
        "+-",
        label="Zoom",
        contexts=(CHARTS_PANEL, CHART),
        footers=(CHART,),
    ),
    Key("zoom-out-minus", "minus,underscore", "magnify(2)", "-", contexts=(CHARTS_PANEL, CHART)),
    Key(
        "pan-right",
        "greater_than_sign",
        "pan(0.25)",
        "< >",
        "Move to earlier or later steps.",
        "Pan",
        "Charts",
        _CHARTS,
        footers=(CHART,),
    ),
    Key("pan-left", "less_than_sign", "pan(-0.25)", "<", contexts=_CHARTS),
    Key(
        "log-axis",
        "y",
        "log_axis",
        "y",
        "Switch a chart's axis between linear and logarithmic.",
        "Log",
        "Charts",
        _CHARTS,
        footers=(CHART,),
    ),
    Key(
        "smoothing",
        "o",
        "smoothing",
        "o",
        "Average a chart's curves more, or not at all.",
        "Smooth",
        "Charts",
        _CHARTS,
        footers=(CHART,),
    ),
    Key(
        "chart-pixels",
        "P",
        "pixels",
        "P",
        "Draw the charts in the terminal's own pixels, or in characters again.",
        "",
        "Charts",
        _CHARTS,
    ),
    Key(
        "reset-charts",
        "0",
        "reset_charts",
        "0",
        "All steps again, without the cursor.",
        "All",
        "Charts",
        _CHARTS,
        footers=(CHART,),
    ),
    Key("metrics", "a", "metrics", "a", "Add a chart of any metric, or take it away.", "", "Charts"),
    Key("next-chart", "tab", "next_chart(1)", "tab", label="Next", contexts=(CHART,)),
    Key("previous-chart", "shift+tab", "next_chart(-1)", "⇧tab", contexts=(CHART,)),
    Key("game", "v", "game", "v", "Show or hide the game.", "Game", "Game"),
    Key("zoom-game", "V", "zoom_game", "V", "Give the game the whole screen.", "", "Game"),
    Key(
        "next-env",
        "right_square_bracket",
        "choose_env(1)",
        "[ ]",
        "Choose the environment to watch.",
        "Env",
        "Game",
        (TRAIN, GAME),
        footers=(GAME,),
    ),
    Key("previous-env", "left_square_bracket", "choose_env(-1)", "[", contexts=(TRAIN, GAME)),
    Key("gaze", "g", "gaze", "g", "Show what moves the action, then the value, then nothing.", "Gaze", "Game", _GAMES),
    Key("mosaic", "enter", "mosaic", "⏎", "On the game's screen: one environment, or all.", "All/one", "Game", (GAME,)),
    Key("close-game", "escape,m,v,V", "dismiss", "esc", contexts=(GAME,), label="Back"),
    Key("replay-hold", "space,p", "pause_replay", "p", "Pause the replay, or resume it.", "Pause", "Replay", (REPLAY,)),
    Key("replay-slower", "less_than_sign", "speed(-1)", "<", "Play half as fast.", "Slower", "Replay", (REPLAY,)),
    Key("replay-faster", "greater_than_sign", "speed(1)", ">", "Play twice as fast.", "Faster", "Replay", (REPLAY,)),
    Key("replay-back", "comma", "seek(-1)", ",", "Go back by a twentieth of the run.", "Back", "Replay", (REPLAY,)),
    Key("replay-on", "full_stop", "seek(1)", ".", "Go on by a twentieth of the run.", "On", "Replay", (REPLAY,)),
    Key("replay-begin", "home", "seek_to(0)", "home", "Go to the beginning.", "", "Replay", (REPLAY,)),
    Key("replay-end", "end", "seek_to(1)", "end", "Go to the end.", "", "Replay", (REPLAY,)),
    Key(
        "microscope",
        "x",
        "microscope",
        "x",
        "Look at the newest update: clipped ratios, advantages, values, gradients, minibatch by minibatch.",
        "",
        "Microscope",
        _APP,
    ),
    Key(
        "next-minibatch",
        "n",
        "next_minibatch",
        "n",
        "Learn from one more minibatch, then pause (in the microscope).",
        "Minibatch",
        "Microscope",
        (MICROSCOPE,),
    ),
    Key(
        "next-page",
        "right,down,tab,pagedown,l,j",
        "turn(1)",
        "← →",
        "Turn the pages of the microscope.",
        "Page",
        "Microscope",
        (MICROSCOPE,),
    ),
    Key("previous-page", "left,up,shift+tab,pageup,h,k", "turn(-1)", "←", contexts=(MICROSCOPE,)),
    Key("close-microscope", "escape", "back", "esc", label="Back", contexts=(MICROSCOPE,)),
    Key("watch-hold", "space,p", "hold", "p", "Hold the game, or go on.", "Hold", "Watch", (WATCH,)),
    Key("watch-slower", "less_than_sign", "speed(-1)", "<", "Play half as fast.", "Slower", "Watch", (WATCH,)),
    Key(
        "watch-faster",
        "greater_than_sign",
        "speed(1)",
        ">",
        "Play twice as fast, at last as fast as it goes.",
        "Faster",
        "Watch",
        (WATCH,),
    ),
    Key("watch-next", "n", "next_game", "n", "Go to the next game.", "Next", "Watch", (WATCH,)),
    Key("watch-earlier", "comma", "checkpoint(-1)", ",", "Watch an earlier checkpoint.", "Earlier", "Watch", (WATCH,)),
    Key("watch-later", "full_stop", "checkpoint(1)", ".", "Watch a later checkpoint.", "Later", "Watch", (WATCH,)),
    Key("watch-beside", "b", "beside", "b", "Let more checkpoints play beside it.", "Beside", "Watch", (WATCH,)),
    Key(
        "watch-greedy",
        "s",
        "greedy",
        "s",
        "Sample actions as in training, or take the most probable.",
        "Sampled",
        "Watch",
        (WATCH,),
    ),
    Key("watch-leave", "escape", "quit", "esc", "Leave what is watched.", "", "Watch", (WATCH,)),
    Key("checkpoints", "C", "checkpoints", "C", "See the checkpoints; go back (rewind) to one.", "", "Screens", _APP),
    Key("runs", "r", "runs", "r", "See all runs here.", "Runs", "Screens", _APP),
    Key(
        "explain",
        "i",
        "explain",
        "i",
        "Explain the chosen thing: a card with its formula, healthy range, value now, and advice.",
        "Why",
        "Screens",
        _APP,
    ),
    Key("traceback", "t", "traceback", "t", "Read the traceback of a failed run.", "Trace", "Screens", _APP),
    Key("help", "question_mark,f1", "help", "?", "Show this help (F1 too).", "Help", "Screens", _APP),
    Key(
        "palette",
        "ctrl+p",
        "command_palette",
        "^p",
        "All of this by name; it takes `lr 1e-4` too.",
        "Commands",
        "Screens",
        _APP,
        title="Commands",
    ),
    Key("quit", "q", "quit", "q", "Leave: detach, save and stop, stop at once, or stay.", "Quit", "Screens", _APP),
)

INTERRUPT = "ctrl+c"
"""The key that always leaves; a keymap cannot give it to another action."""

INTERRUPT_HELP = "Leave as with q; twice: stop without a checkpoint."

_IN_THEATRE = {"help": "Show this help (F1 too).", "palette": "All of this by name.", "quit": "Leave."}

THEATRE: tuple[Key, ...] = tuple(
    replace(key, help=_IN_THEATRE.get(key.id, key.help))
    for key in KEYS
    if WATCH in key.contexts or key.id in _IN_THEATRE
)
"""The keys of the screen of `ppo-tui watch`."""
