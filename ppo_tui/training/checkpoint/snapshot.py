"""Taking a run apart into a snapshot at an update boundary, and putting it together again."""

from __future__ import annotations

import math

import torch

from ...config import Config, build_config, to_tables
from ...distributed.ranks import ALONE, Ranks
from ...errors import UsageError
from ...ppo import ActorCritic, Learner
from ...workers import WorkerPool
from ..collect import CollectorState
from ..device import Threads
from ..metrics import EpisodeWindow
from ..rollouts import Rollouts
from ..settings import LiveSettings
from .contents import Snapshot, Tensors, load_weights, on_cpu
from .parts import gathered, of_all_envs, own_part
from .resume import changed_fixed_settings
from .state import CheckpointState, Origin
from .versions import code_fingerprint, cpu_model, versions


class Snapshots:
    """Everything of a run that the next update depends on, behind two methods: `take` and `load`.

    Args:
        origin: what this process computes on.
        ranks: those who train together. Snapshots are of all of them, and every rank has to make the same calls.
    """

    def __init__(
        self,
        config: Config,
        *,
        policy: ActorCritic,
        learner: Learner,
        rollouts: Rollouts,
        settings: LiveSettings,
        episodes: EpisodeWindow,
        origin: Origin,
        ranks: Ranks = ALONE,
    ) -> None:
        self._config, self.origin, self._ranks = config, origin, ranks
        self._num_envs = config.rollout.num_envs // ranks.size
        self._policy, self._learner, self._rollouts = policy, learner, rollouts
        self._settings, self._episodes = settings, episodes
        self._start: CollectorState | None = None

    @property
    def marked(self) -> bool:
        """Whether there is anything to take a snapshot of."""
        return self._start is not None

    def mark(self) -> None:
        """Remember where the next rollout starts from. A snapshot taken within that rollout leaves it out.

        This costs a millisecond or two for eight Atari games, and lets a run stop in the middle of a rollout at once,
        without losing an exact bit: the rollout is played again.
        """
        self._start = self._rollouts.save_state()

    def take(
        self, *, step: int, update: int, seconds: float, metrics: dict[str, float | None], best: float | None
    ) -> Snapshot | None:
        """The run as it was at the last `mark`, with weights as they are: not to be called while the learner learns.

        Only rank 0 has it.
        """
        learner = self._learner.state_dict()
        start = gathered(self._start or CollectorState({}, ()), self._ranks)
        if not self._ranks.leads:
            return None
        state = CheckpointState(
            step=step,
            update=update,
            seconds=seconds,
            config=to_tables(self._config),
            settings=self._settings.save(),
            learner={key: value for key, value in learner.items() if not isinstance(value, torch.Tensor)},
            episodes=self._episodes.total,
            best=best,
            metrics={key: value if value is None or math.isfinite(value) else None for key, value in metrics.items()},
            env_sizes=tuple(map(len, start.envs)),
            origin=self.origin,
        )
        return Snapshot(
            state=state,
            policy=on_cpu(self._policy.state_dict()),
            optimizer=on_cpu(learner),
            rollout={**start.tensors, **_window_tensors(self._episodes)},
            envs=start.envs,
        )

    def load(self, snapshot: Snapshot) -> None:
        """Weights, optimiser, generators, settings and windows as in `snapshot`; the environments follow in `begin`.

        Raises:
            UsageError: the snapshot is another run's; nothing has changed then.
        """
        before = build_config(snapshot.state.config)
        for key, (old, new) in changed_fixed_settings(before, self._config).items():
            raise UsageError(f"the checkpoint was saved with {key} = {old!r}, and this run has {new!r}")
        load_weights(self._policy, snapshot)
        self._learner.load_state_dict({**snapshot.optimizer, **snapshot.state.learner})
        stretch = before.planned_steps / self._config.planned_steps
        self._settings.restore(snapshot.state.settings, stretch=stretch)
        _load_window(self._episodes, snapshot)

    def begin(self, snapshot: Snapshot | None) -> dict[int, str]:
        """Bring the environments to where the next rollout starts, and `mark` it.

        Args:
            snapshot: where they go on; None, or one without environments, starts the first episodes.

        Returns:
            The environments that could not be restored and have begun a new episode, each with the reason.
        """
        if snapshot is None or not snapshot.envs:
            self._rollouts.reset()
            restarted = {}
        else:
            restarted = self._rollouts.load_state(
                own_part(CollectorState(snapshot.rollout, snapshot.envs), self._ranks)
            )
        self.mark()
        return of_all_envs(restarted, self._num_envs, self._ranks)

    def unsaved(self) -> dict[int, str]:
        """The environments that the last `mark` could not save, each with the reason."""
        return of_all_envs(self._start.unsaved() if self._start else {}, self._num_envs, self._ranks)


def describe_origin(pool: WorkerPool, device: torch.device, threads: Threads, ranks: Ranks = ALONE) -> Origin:
    """What this process, and those who train with it, compute on."""
    first = ranks.rank * pool.num_envs
    own = [pool.group_envs(group) for group in range(pool.num_groups)]
    groups = ranks.exchange([(first + envs.start, first + envs.stop) for envs in own], list[tuple[int, int]])
    return Origin(
        versions=versions(),
        code=code_fingerprint(),
        cpu=cpu_model(),
        device=str(device),
        act_threads=threads.act,
        learn_threads=threads.learn,
        groups=tuple(envs for of_rank in groups for envs in of_rank),
        ranks=ranks.size,
    )


def _window_tensors(window: EpisodeWindow) -> Tensors:
    return {
        "episode_returns": torch.tensor(list(window.returns), dtype=torch.float64),
        "episode_lengths": torch.tensor(list(window.lengths), dtype=torch.int64),
    }


def _load_window(window: EpisodeWindow, snapshot: Snapshot) -> None:
    window.returns.clear()
    window.lengths.clear()
    window.returns.extend(snapshot.rollout["episode_returns"].tolist())
    window.lengths.extend(snapshot.rollout["episode_lengths"].tolist())
    window.total = snapshot.state.episodes
