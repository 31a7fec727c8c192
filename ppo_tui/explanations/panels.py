"""The panels, fields, columns, signs and events of the screen in words."""

from __future__ import annotations

from .card import Explanation

_SCREEN = "screen.md"


def _panel(name: str, title: str, text: str, usual: str = "", advice: str = "", link: str = _SCREEN) -> Explanation:
    return Explanation(key=f"panel/{name}", name=title, text=text, usual=usual, advice=advice, link=link)


def _field(key: str, name: str, text: str, formula: str = "", usual: str = "", link: str = _SCREEN) -> Explanation:
    return Explanation(key=key, name=name, text=text, formula=formula, usual=usual, link=link)


PANELS = (
    _panel("charts", "Charts", "The course of the run's numbers over its environment steps.", "↑ ↓ choose, ⏎ zooms"),
    _panel(
        "workers",
        "Workers",
        "The processes that step the environments, one row each, over the last rollout.",
        "all alike; waiting for the learner is normal",
        "◂ marks one that the others wait for: look what else runs on its core.",
        "diagnostics.md#slow-worker",
    ),
    _panel(
        "settings",
        "Settings",
        "The hyper-parameters that can be changed while the run trains, with the values in force.",
        advice="e opens them all, with ranges and drafts.",
        link="settings.md",
    ),
    _panel("events", "Events", "Checkpoints, edits, evaluations, alarms and best episodes, the newest below."),
    _panel("metrics", "Metrics", "Every number of the newest update, with its range over the run.", link="metrics.md"),
    _panel(
        "game",
        "Game",
        "One environment, live and step by step, with what the policy makes of each.",
        advice="[ and ] choose the environment, V gives it the whole screen.",
    ),
    _panel(
        "alarm",
        "Alarm",
        "What is wrong with the training now, as long as it holds.",
        advice="F drafts the edit that is suggested.",
        link="diagnostics.md",
    ),
    _panel(
        "checkpoints",
        "Checkpoints",
        "The saved states of the run: weights, optimiser, generators and environments.",
        advice="⏎ goes back to one.",
        link="runs.md#the-run-directory",
    ),
    _panel("changes", "Changes", "Every change of a setting: who, what, when.", link="settings.md"),
    _panel("runs", "Runs", "All runs in this directory, to be compared with this one.", link="runs.md"),
)

HEADER = (
    _field("header/state", "state", "What the run does: starting, training, paused, saving, or how it ended."),
    _field(
        "header/forecast",
        "forecast",
        "The next milestone of the return, if the run goes on as the preset's measured run did.",
        "steps left to the milestone in the measured curve / steps a second",
        "a guess: runs differ by their seeds",
        "presets.md#what-to-expect-when",
    ),
    _field(
        "header/stop",
        "stop rules",
        "What is missing until a stop rule ends the run: to the goal, or the checks in a row at which it was reached, "
        "or the steps of a plateau that are left.",
        "goal − metric, in its own unit",
        link="runs.md#stop-when-it-is-good",
    ),
    _field(
        "header/steps",
        "steps",
        "Environment steps so far, of all that are planned.",
        "updates × environments × steps of a rollout",
        link="settings.md#run",
    ),
    _field(
        "header/speed",
        "steps/s",
        "Environment steps a second over the last 20 updates, or 5 seconds if these are longer. Pauses are left out.",
    ),
    _field("header/elapsed", "elapsed", "The time that the run has taken so far, pauses included."),
    _field("header/left", "left", "The time that the rest takes at the present speed.", "steps left / steps a second"),
    _field(
        "header/rollout",
        "rollout",
        "The progress of collecting: steps of each environment, of those in a rollout.",
        "t of T (rollout.steps)",
        link="settings.md#rollout",
    ),
    _field(
        "header/update",
        "update",
        "The progress of learning from the rollout: passes (epochs) and their minibatches.",
        "epoch of ppo.epochs, minibatch of ppo.minibatches",
        link="mathematics.md#all-together",
    ),
    _field(
        "header/time",
        "time",
        "Where the time of the last ten updates went: emulate, infer, learn and the rest.",
        "mean of time/share_…",
        "emulate and learn take most of it",
        "performance.md#what-is-measured",
    ),
)

WORKERS = (
    _field("worker/state", "state", "▸ stepping, · waiting for actions, ○ starting, ↻ restarted, ✗ dead."),
    _field("worker/speed", "steps/s", "Steps a second of a worker's environments, over the last rollout alone."),
    _field(
        "worker/waiting",
        "waiting",
        "The share of the last rollout in which a worker waited for actions.",
        "1 − seconds stepping / seconds of the rollout",
        "any: the worker waits for the learner and for the others; only ◂ holds them up",
        "diagnostics.md#slow-worker",
    ),
    _field("worker/episodes", "eps", "Episodes finished in a worker's environments since the start."),
    _field("worker/return", "return", "The raw return of the last episode that ended there."),
    _field(
        "worker/restarts",
        "↻",
        "How often a worker was replaced because it died or hung; the run goes on with the same numbers.",
        usual="0",
        link="reliability.md",
    ),
    _field("worker/memory", "MB", "The private memory of a worker's process, in megabytes."),
)

GAME = (
    _field("game/score", "score", "The raw return of the episode on the screen so far.", "Σ rewards since its reset"),
    _field("game/lives", "lives", "Lives left in a game that has some."),
    _field(
        "game/value",
        "value",
        "What the critic expects from here on: the discounted rewards to come.",
        "V(s) ≈ Σ γᵏ r",
        "falls before a lost life, rises before a reward, once the critic has learnt",
        "mathematics.md#the-critic",
    ),
    _field(
        "game/entropy",
        "entropy",
        "How undecided the policy is in this state, in nats.",
        "− Σ π(a|s) ln π(a|s)",
        "high where no action matters, near 0 where one does",
        "mathematics.md#what-to-look-at",
    ),
    _field(
        "game/policy",
        "actions",
        "The probability of each action, ▸ the one taken; of continuous ones the action, and mean ± spread.",
        "π(a|s)",
        "spread out at first, then one action stands out",
        "mathematics.md",
    ),
    _field("game/observation", "observation", "The numbers that the policy sees, where there is no picture."),
)

MICROSCOPE = (
    _field(
        "microscope/ratios",
        "Ratio r · better than expected ▲  worse ▼",
        "How much likelier the policy now makes the actions of the rollout, those with a positive advantage upwards. "
        "Orange ones are beyond the clip bound and no longer push.",
        "r = π_new(a|s) / π_old(a|s)",
        "1 before the first step; then a narrow heap around 1, wider from epoch to epoch",
        "mathematics.md#clip-a-pessimistic-bound",
    ),
    _field(
        "microscope/values",
        "Return (up) against value (across)",
        "A dot for each step: the critic's value across, the return that came of it upwards; exact on the diagonal.",
        "explained variance = 1 − Var(return − value) / Var(return)",
        "a cloud at first, then a band along the diagonal",
        "mathematics.md#the-critic",
    ),
    _field(
        "microscope/divergence",
        "KL (above), clipped (below) by minibatch",
        "How far the policy has moved, and the share of clipped steps, at each minibatch of the update.",
        "KL ≈ mean(r − 1 − ln r); clipped: |r − 1| > clip range",
        "0 at the first minibatch, then rising; a jump means that a step was too large",
        "mathematics.md#what-to-look-at",
    ),
    _field(
        "microscope/advantages",
        "Advantages",
        "How much better or worse than the critic expected each step went, before any normalisation.",
        "A = Σ (γλ)ᵏ δ,  δ = r + γ V(s') − V(s)",
        "around 0; rare rewards make a long tail",
        "mathematics.md#advantages",
    ),
    _field(
        "microscope/log-probs",
        "Log-probability of the action taken",
        "How sure the policy is of the actions that it took: 0 is certain, −2.3 is one in ten.",
        "ln π(a|s)",
        "all near −ln(number of actions) at first, then a heap at 0",
        "mathematics.md#what-to-look-at",
    ),
    _field(
        "microscope/losses",
        "Policy loss, value loss, entropy by minibatch",
        "The three terms of the objective at each minibatch of the update.",
        "loss = policy loss + value coef · value loss − entropy coef · entropy",
        "the value loss falls; the policy loss is small and noisy; the entropy hardly moves within an update",
        "mathematics.md#all-together",
    ),
    _field(
        "microscope/layers",
        "Gradient norm and dead units by layer",
        "How strongly the newest minibatch pulls at each layer, and how many of its units are dead.",
        "‖∂loss/∂weights‖; units dead on every sample / all units",
        "of like size in all layers, and few dead units",
        "diagnostics.md#dead-units",
    ),
    _field(
        "microscope/actions",
        "Actions taken, and their course over updates",
        "The share of each action in the rollout; of continuous ones mean ± standard deviation.",
        usual="even at first; one near 100 % leaves nothing to explore",
        link="mathematics.md#what-to-look-at",
    ),
    _field(
        "microscope/over-updates",
        "Over all updates",
        "Approximate KL, clipped share, explained variance and entropy of every update so far.",
        link="metrics.md",
    ),
)

MARKS = (
    _field("mark/edit", "± edit", "A setting was changed here.", link="settings.md"),
    _field("mark/checkpoint", "▴ checkpoint", "A checkpoint was saved here.", link="runs.md#the-run-directory"),
    _field(
        "mark/rewind",
        "↶ rewind",
        "The run went back to this step; what it abandoned stays as a dashed shadow.",
        link="runs.md",
    ),
    _field(
        "mark/reference",
        "measured curve",
        "The mean return of the preset's measured runs, a grey line behind this run's.",
        link="presets.md#what-to-expect-when",
    ),
    _field(
        "mark/threshold",
        "solved",
        "The return at which the environment counts as solved; ★ where the mean of 100 games first reached it.",
        link="screen.md",
    ),
)

EVENTS = (
    _field("event/state", "• state", "The run began, paused, went on or ended."),
    _field("event/episode", "★ best episode", "An episode returned more than any before it."),
    _field(
        "event/checkpoint",
        "↓ checkpoint",
        "The run saved its state, or went back to one.",
        link="runs.md#the-run-directory",
    ),
    _field(
        "event/evaluation",
        "◆ evaluation",
        "A saved policy was scored in another process, while the training went on.",
        link="scoring.md#scoring-while-it-trains",
    ),
    _field("event/edit", "± edit", "A setting was changed, by whom and from what.", link="settings.md"),
    _field("event/info", "i message", "News that needs nothing done."),
    _field("event/warning", "! warning", "Something is wrong, and the run goes on.", link="diagnostics.md"),
    _field("event/error", "✗ error", "Something failed.", link="reliability.md"),
)
