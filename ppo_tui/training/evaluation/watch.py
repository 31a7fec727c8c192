"""An engine to play trained policies, without learning.

It plays for the screen, or into a file.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from ...errors import PPOTuiError
from ...ppo import ActorCritic, build_policy
from ...protocol import Alarm, Command, EpisodeFinished, Event, Level, RunFinished, RunStarted, RunState, StateChanged
from ...workers.clip_recorder import GAME_FPS
from ..checkpoint.files import OpenedCheckpoint
from ..checkpoint.snapshot import build_saved_policy, read_checkpoint
from ..device import device_of
from ..game_clips import MAX_FRAMES, ClipDraft, ClipEncoder
from ..inbox import Inbox
from ..metrics import run_started
from .evaluate import PlayedEpisode, PolicyPlayer
from .programme import AS_FAST_AS_IT_GOES, Choice, NowPlaying, Programme
from .setup import EvaluationSetup, another_pool

CLIP_SECONDS, FIRST_SECONDS = 1.0, 0.3
"""Length of a clip as it is shown; the first one of a scene is shorter, as somebody waits for it."""

LEAD_SECONDS = 0.5
"""A clip is published this long before the previous one ends. The screen looks for it several times in this period."""

END_SECONDS = 1.0
"""The last picture of a game stays this long."""

FAST_SECONDS = 0.2
"""A clip that is played as fast as it goes is published after this long."""


class Stage:
    """A policy at play, in an environment of its own.

    Args:
        number: of the stage, which is that of the environment in events.
    """

    def __init__(self, setup: EvaluationSetup, number: int) -> None:
        self.setup, self.number = setup, number
        self.player: PolicyPlayer | None = None
        self.ended = False
        self._encoder: ClipEncoder | None = None
        self._draft: ClipDraft | None = None

    def begin(self, policy: ActorCritic, game: int, greedy: bool) -> PolicyPlayer:
        """Begin a game, with the episode's own seed and noise."""
        seeds = self.setup.episode_seeds
        noise = self.setup.action_seed + game - 1
        setup = dataclasses.replace(self.setup, greedy=greedy, action_seed=noise)
        self.player = PolicyPlayer(setup, policy=policy, first_seed=seeds[(game - 1) % len(seeds)])
        self.ended = False
        self._encoder = ClipEncoder(
            policy,
            self.player.rollout,
            action_names=setup.info.action_meanings or (),
            advantages=not setup.config.ppo.normalize_rewards,
        )
        return self.player

    def begin_clip(self, draft: ClipDraft) -> None:
        """Record from the next step on."""
        self._draft = draft
        self.setup.pool.start_recording(0, draft.wanted)

    def advance(self) -> tuple[PlayedEpisode | None, bool]:
        """Play a step.

        Returns the episode that ended in it, if one did, and whether the clip is full.
        """
        assert self.player is not None, "a game has begun"
        assert self._draft is not None, "so has a clip"
        episode = next(iter(list(self.player.advance())), None)
        recorded = self.setup.pool.fetch_recording(0, stop=False)
        if recorded is not None and self._encoder is not None:
            self._encoder.add(self._draft, recorded, gamma=self.setup.config.ppo.gamma)
        self.ended = episode is not None
        return episode, recorded is not None and recorded.full

    def end_clip(self) -> Event | None:
        """The recorded clip, with the stage's number; None without a frame."""
        draft, self._draft = self._draft, None
        self.setup.pool.fetch_recording(0, stop=True)
        if draft is None or not draft.frames or self._encoder is None:
            return None
        return msgspec.structs.replace(self._encoder.clip(draft), env=self.number)


class WatchEngine:
    """An engine to play game after game.

    Args:
        name: of the run.
        episodes: number of games to play; None plays until a `Stop`.
        emit: takes the events.
        paced: keep to the pace of a screen, which sends a `Programme`; else play for a receiver of any speed.
        inbox: of the commands; all but `Stop` and `Programme` are ignored.
        choices: the policies that a `Programme` names; without any, the setup's checkpoint plays.
        programme: what to begin with; needed with `choices`.
    """

    def __init__(
        self,
        setup: EvaluationSetup,
        *,
        name: str,
        episodes: int | None,
        emit: Callable[[Event], None],
        paced: bool,
        inbox: Inbox | None = None,
        choices: Sequence[Choice] = (),
        programme: Programme | None = None,
    ) -> None:
        own = Choice(setup.checkpoint.path.name, setup.checkpoint.state.step, path=setup.checkpoint.path)
        self._setup, self._name, self._episodes, self._paced = setup, name, episodes, paced
        self._emit = emit
        self._inbox = inbox or Inbox()
        self._choices = {choice.name: choice for choice in choices or (own,)}
        self._programme = programme or Programme(checkpoints=(own.name,), greedy=setup.greedy)
        self._policies: dict[str, ActorCritic] = {}
        self._stages = [Stage(setup, 0)]
        self._playing: list[Stage] = []
        self._cast: tuple[str, ...] = ()
        self._game = self._programme.game
        self._done = 0
        self._scene: int | None = None
        self._follows = False
        self._began = time.monotonic()
        self._shown_until = 0.0
        self._unpublished: list[EpisodeFinished | Alarm] = []

    def send(self, command: Command) -> None:
        """Send a command, from any thread."""
        self._inbox.send(command)

    def run(self) -> None:
        """Play until the games are done or a `Stop` arrives.

        The workers are closed then.

        Raises:
            As `PolicyPlayer` does.
        """
        try:
            self._obey()
            while not self._over:
                if self._scene != self._programme.scene:
                    self._cut()
                elif self._programme.held:
                    self._obey(wait=True)
                else:
                    self._play_clip()
            self._publish_episodes()
            step = self._step
        finally:
            for stage in self._stages:
                stage.setup.pool.close()
        state = RunState.STOPPED if self._inbox.stop_requested else RunState.FINISHED
        reason = "1 episode played" if self._done == 1 else f"{self._done:,} episodes played"
        self._publish(RunFinished(state=state, exit_code=0, reason=reason, step=step, update=0))

    @property
    def _over(self) -> bool:
        return self._inbox.stop_requested or (self._episodes is not None and self._done >= self._episodes)

    @property
    def _step(self) -> int:
        return sum(stage.player.step for stage in self._playing if stage.player)

    # ── Commands ────────────────────────────────────────────────────────────────────────────────────────────

    def _obey(self, *, wait: bool = False, timeout: float | None = None) -> None:
        """Take in commands; another speed moves the end of the shown clip."""
        while command := self._inbox.receive(wait=wait, timeout=timeout):
            wait = False
            if isinstance(command, Programme):
                before, self._programme = self._programme, command
                now = time.monotonic()
                left = max(0.0, self._shown_until - now) * before.speed / command.speed
                self._shown_until = now + (0.0 if math.isnan(left) else left)

    def _interrupted(self) -> bool:
        """Take in commands; whether they end the present clip."""
        self._obey()
        return self._inbox.stop_requested or self._programme.scene != self._scene

    def _cut(self) -> None:
        """Begin the game of the programme."""
        self._publish_episodes()
        programme = self._programme
        self._scene, self._game = programme.scene, programme.game
        self._shown_until = time.monotonic()
        while len(self._stages) < len(programme.checkpoints):
            pool = another_pool(self._setup)
            self._stages.append(Stage(dataclasses.replace(self._setup, pool=pool), len(self._stages)))
        self._playing = self._stages[: len(programme.checkpoints)]
        self._cast = tuple(map(self._readable, programme.checkpoints))
        self._begin_game()

    def _readable(self, name: str) -> str:
        """The name of a choice, or of the setup's own checkpoint.

        That plays, after an alarm, in the place of one that cannot be read: a run that trains on removes its old ones.
        """
        own = self._setup.checkpoint.path.name
        try:
            self._policy(name)
        except (OSError, PPOTuiError) as error:
            if name == own or own not in self._choices:
                raise
            self._publish(Alarm(level=Level.ERROR, message=f"{name} cannot be watched: {error}"))
            return own
        return name

    def _begin_game(self) -> None:
        programme, self._follows = self._programme, False
        names = self._cast
        for stage, name in zip(self._playing, names, strict=True):
            player = stage.begin(self._policy(name), self._game, programme.greedy)
            if self._scene == 0 and not self._done and stage.number == 0:
                self._publish(self._started(player))
                self._publish(StateChanged(state=RunState.TRAINING, reason="playing, not learning"))
        self._publish(NowPlaying(checkpoints=names, game=self._game, greedy=programme.greedy, scene=programme.scene))

    def _policy(self, name: str) -> ActorCritic:
        """The networks of a choice, built once.

        Raises:
            UsageError: its checkpoint is damaged, or another network's.
        """
        if name not in self._policies:
            choice, setup = self._choices[name], self._setup
            device = device_of(setup.config)
            if choice.path is None:
                config = setup.config
                seed = np.random.SeedSequence(config.run.seed).spawn(1)[0].generate_state(1)[0]
                self._policies[name] = build_policy(
                    setup.info.observation_space,
                    setup.info.action_space,
                    config.policy,
                    frame_stack=config.env.frame_stack,
                    normalize_values=config.ppo.normalize_values,
                    seed=int(seed),
                ).to(device).eval()  # fmt: skip
            else:
                own = setup.checkpoint
                checkpoint = own if own.path.name == choice.path.name else OpenedCheckpoint.open(choice.path)
                snapshot = read_checkpoint(checkpoint)
                self._policies[name] = build_saved_policy(snapshot, setup.config, setup.info, device)
        return self._policies[name]

    # ── Playing ─────────────────────────────────────────────────────────────────────────────────────────────

    def _play_clip(self) -> None:
        """Play a clip of each stage, and publish it in time.

        All stages step together; one whose game has ended waits for the others.
        """
        programme, began = self._programme, time.monotonic()
        fast = programme.speed == AS_FAST_AS_IT_GOES
        seconds = CLIP_SECONDS if self._follows else FIRST_SECONDS
        wanted = MAX_FRAMES if fast or not self._paced else math.ceil(GAME_FPS * programme.speed * seconds)
        active = [stage for stage in self._playing if not stage.ended]
        for stage in active:
            assert stage.player is not None
            draft = ClipDraft(0, stage.player.step, GAME_FPS, min(wanted, MAX_FRAMES), began)
            draft.gaze, draft.follows, draft.scene = programme.gaze, self._follows, programme.scene
            stage.begin_clip(draft)
        full = interrupted = False
        while not (full or interrupted or all(stage.ended for stage in active)):
            for stage in active:
                if not stage.ended:
                    episode, stage_full = stage.advance()
                    full = full or stage_full
                    if episode:
                        self._note(stage, episode)
            interrupted = self._interrupted()
            full = full or (self._paced and fast and time.monotonic() - began >= FAST_SECONDS)
        clips = [stage.end_clip() for stage in active]
        if not interrupted or not self._paced:
            self._publish_clips([clip for clip in clips if clip is not None], fast)
        if self._scene == self._programme.scene and all(stage.ended for stage in self._playing):
            self._end_game(fast)

    def _note(self, stage: Stage, episode: PlayedEpisode) -> None:
        """Keep the end of a game until its last picture is shown."""
        ended = EpisodeFinished(
            env=stage.number,
            episode_return=episode.episode_return,
            length=episode.length,
            step=episode.step,
            numbers=episode.numbers,
        )
        self._unpublished.append(ended)
        if episode.limited:
            message = f"the episode was ended at the limit of {self._setup.max_steps:,} steps"
            self._unpublished.append(Alarm(level=Level.INFO, message=message))

    def _publish_clips(self, clips: Sequence[Event], fast: bool) -> None:
        """Publish clips shortly before the previous ones end."""
        ends, self._unpublished = self._unpublished, []
        if self._paced and not fast and not self._waited_until_due():
            self._unpublished = ends
            return
        frames = max((len(getattr(clip, "frames", ())) for clip in clips), default=0)
        speed = self._programme.speed
        self._shown_until = max(time.monotonic(), self._shown_until) + frames / (GAME_FPS * speed)
        for clip in clips:
            self._publish(clip)
        self._unpublished = ends
        self._follows = True

    def _waited_until_due(self) -> bool:
        """Wait for the time to publish; False if the scene ends before."""
        while True:
            held = self._programme.held
            left = self._shown_until - LEAD_SECONDS - time.monotonic()
            if not held and left <= 0:
                return True
            self._obey(wait=True, timeout=None if held else left)
            if self._interrupted():
                return False

    def _end_game(self, fast: bool) -> None:
        """Publish the scores with the last picture; begin the next game."""
        self._done += 1
        self._game += 1
        if self._paced and not fast:
            self._shown_until += LEAD_SECONDS
            shown = self._waited_until_due()
            self._publish_episodes()
            self._shown_until += END_SECONDS
            if not (shown and self._waited_until_due()):
                return
        self._publish_episodes()
        if not self._over:
            self._begin_game()

    def _publish_episodes(self) -> None:
        for event in self._unpublished:
            self._publish(event)
        self._unpublished.clear()

    def _publish(self, event: Event) -> None:
        self._emit(msgspec.structs.replace(event, time=time.time(), elapsed=time.monotonic() - self._began))

    def _started(self, player: PolicyPlayer) -> RunStarted:
        device = next(player.policy.parameters()).device
        slices = tuple((worker.envs.start, worker.envs.stop) for worker in self._setup.pool.workers)
        started = run_started(self._name, self._setup.config, slices, player.policy, device, run_dir=None)
        return msgspec.structs.replace(started, seed=self._setup.seed)
