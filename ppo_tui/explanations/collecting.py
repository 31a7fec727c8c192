"""The metrics of episodes, time and evaluations in words."""

from __future__ import annotations

from .alarms import ALARMS
from .card import Explanation, Healthy

_SCREEN, _SPEED, _SCORING = "screen.md", "performance.md#what-is-measured", "scoring.md#scoring-while-it-trains"


def _time(name: str, label: str, text: str, usual: str) -> Explanation:
    return Explanation(
        key=f"time/share_{name}",
        name=label,
        text=text,
        formula="seconds in this phase / seconds of the update",
        usual=usual,
        link=_SPEED,
    )


COLLECTING = (
    Explanation(
        key="rollout/ep_rew_mean",
        name="return",
        text="The mean return of the last 100 episodes: what the whole training is for.",
        formula="mean of Σ rewards, raw and over whole episodes",
        usual="rises, with plateaus; compare it with the preset's measured curve",
        advice="Flat for long: look at the KL (does the policy move?), the entropy (does it explore?) and the "
        "explained variance (does the critic learn?).",
        link="presets.md#what-to-expect-when",
    ),
    Explanation(
        key="rollout/ep_len_mean",
        name="length",
        text="The mean length of the last 100 episodes, in steps of the agent.",
        formula="mean of steps from reset to end",
        usual="longer where survival pays, shorter where arriving does",
        link=_SCREEN,
    ),
    Explanation(
        key="episode/return",
        name="episode return",
        text="The return of a single episode: the sum of its raw rewards.",
        formula="Σ rewards from reset to end",
        usual="scatters widely around the mean; a stochastic policy plays no two games alike",
        link=_SCREEN,
    ),
    Explanation(
        key="time/fps",
        name="steps/s",
        text="Environment steps a second since the start of the run, learning included.",
        formula="steps of all environments / seconds",
        usual="steady; another process on the machine lowers it",
        advice="`ppo-tui bench` finds the fastest layout of workers on this machine.",
        link=_SPEED,
    ),
    Explanation(
        key="time/fps_update",
        name="steps/s now",
        text="Environment steps a second in the newest update, learning included.",
        formula="steps of the update / its seconds",
        usual="jumps with the machine's load; `time/fps` is the mean",
        link=_SPEED,
    ),
    Explanation(
        key="time/total_timesteps",
        name="steps",
        text="Environment steps of the run so far, all environments together: the axis of every chart.",
        formula="updates × environments × steps of a rollout",
        usual="grows to run.total_steps",
        link="settings.md#run",
    ),
    Explanation(
        key="time/iterations",
        name="updates",
        text="Updates so far: a rollout is collected, then learnt from.",
        usual="grows by one a rollout",
        link="mathematics.md",
    ),
    Explanation(
        key="time/time_elapsed",
        name="elapsed",
        text="Seconds of the run so far, pauses left out.",
        usual="grows",
        link="runs.md",
    ),
    Explanation(
        key="time/share_wait",
        name="emulate",
        text="The share of an update in which the learner waits for the workers' environments.",
        formula="seconds in this phase / seconds of the update",
        healthy=Healthy(
            high=ALARMS["starved-learner"].well,
            most=ALARMS["starved-learner"].limit,
            percent=True,
            remark="3 % (Breakout) to 30 % (Acrobot) on two cores",
        ),
        advice="High: more workers where cores are free (`ppo-tui bench`), run.overlap, a faster environment.",
        link="diagnostics.md#starved-learner",
        judged=lambda facts: facts.configured("run.algorithm") == "ppo",
    ),
    _time(
        "infer",
        "infer",
        "The share of an update in which the policy computes actions for the environments.",
        "5 to 30 %: it falls with more environments",
    ),
    _time("copy", "copy", "The share of an update in which observations are copied into the rollout.", "a few percent"),
    _time(
        "learn",
        "learn",
        "The share of an update in which the learner takes its gradient steps.",
        "more than half for images on a CPU; little for small networks",
    ),
    _time("other", "other", "The rest of an update: bookkeeping, checkpoints, metrics.", "a few percent"),
    Explanation(
        key="time/workers_busy",
        name="workers busy",
        text="The mean share of a rollout in which the workers step their environments; else they wait for actions.",
        formula="mean over workers of seconds stepping / seconds of the rollout",
        usual="any: workers that wait for the learner are normal, and no fault",
        link=_SPEED,
    ),
    Explanation(
        key="time/cpu_percent",
        name="CPU",
        text="Processor time in use on the whole machine since the last update, other programs included.",
        formula="100 × busy time / time of all cores",
        usual="60 to 100 when a run has the machine to itself",
        advice="Low: more environments or workers. `ppo-tui doctor` shows who else uses the cores.",
        link="diagnostics.md#this-machine",
    ),
    Explanation(
        key="time/gpu_percent",
        name="GPU",
        text="The share of the last second in which the GPU computed anything.",
        formula="100 × seconds with a kernel / seconds",
        usual="low for small networks, which is no fault",
        advice="Low: more environments, larger minibatches, run.compile, run.overlap.",
        link="performance.md#ten-minutes-on-a-gpu",
    ),
    Explanation(
        key="eval/ep_rew_mean",
        name="evaluated return",
        text="The mean return of a saved policy over eval.episodes episodes, played in another process.",
        formula="mean of Σ rewards over the evaluation",
        usual="rises; above the training's return where the greedy policy is the better one",
        link=_SCORING,
    ),
    Explanation(
        key="eval/ep_rew_std",
        name="its spread",
        text="The standard deviation of the returns of an evaluation's episodes.",
        usual="any: it shows how far single episodes differ",
        link=_SCORING,
    ),
    Explanation(
        key="eval/ep_rew_low",
        name="lower bound",
        text="The lower end of the 95 % confidence interval of the mean return of an evaluation.",
        usual="nearer to the mean with more eval.episodes",
        link=_SCORING,
    ),
    Explanation(
        key="eval/ep_rew_high",
        name="upper bound",
        text="The upper end of the 95 % confidence interval of the mean return of an evaluation.",
        usual="nearer to the mean with more eval.episodes",
        link=_SCORING,
    ),
    Explanation(
        key="eval/ep_len_mean",
        name="evaluated length",
        text="The mean length of an evaluation's episodes, in steps of the agent.",
        usual="as in training",
        link=_SCORING,
    ),
    Explanation(
        key="eval/episodes",
        name="evaluated episodes",
        text="Episodes that an evaluation has played.",
        usual="eval.episodes",
        link=_SCORING,
    ),
    Explanation(
        key="eval/limited_episodes",
        name="cut episodes",
        text="Episodes of an evaluation that were ended after eval.max_steps, with their return so far.",
        healthy=Healthy(high=0.0),
        advice="Raise eval.max_steps, unless an endless episode is what the policy is for.",
        link=_SCORING,
    ),
    Explanation(
        key="eval/total_timesteps",
        name="evaluated step",
        text="Environment steps of the run at the checkpoint that was evaluated.",
        usual="behind the run by one evaluation",
        link=_SCORING,
    ),
)
