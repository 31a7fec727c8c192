"""Atari games, preprocessed as for the Nature DQN, directly on the emulator.

Frames, rewards and ends of games equal, bit for bit, those of `gymnasium.wrappers.AtariPreprocessing` around
``gymnasium.make("ALE/…-v5", frameskip=1, repeat_action_probability=0.0)``, seeds included. In addition there are the
features of baselines' ``atari_wrappers``: episodes that end with a life, FIRE where a game waits for it, clipped
rewards.

Here a *game* is what the emulator plays from `reset_game` to `game_over`; with `AtariConfig.life_loss` the learner's
episode may be a part of it.

Sources: Mnih et al., "Human-level control through deep reinforcement learning" (2015), Methods; Machado et al.,
"Revisiting the Arcade Learning Environment" (2018), for sticky actions;
https://github.com/openai/baselines/blob/master/baselines/common/atari_wrappers.py.
"""

from __future__ import annotations

import operator
from typing import Any

import ale_py
import cv2
import gymnasium
import numpy as np
from ale_py import roms
from gymnasium.spaces import Box, Discrete
from gymnasium.utils import seeding

from ..config.collecting import AtariConfig
from ..errors import ConfigError
from .screen import PooledScreen
from .state import CannotRestoreError, episode_info, generator_state, pack, set_generator_state, unpack

NOOP = ale_py.Action.NOOP
FIRE = ale_py.Action.FIRE

_COUNTERS = ("lives", "return", "length", "fire_due", "between_lives")
"""Plain numbers in the state of `AtariEnv`: its attributes of these names, with an underscore."""


class AtariEnv(gymnasium.Env[np.ndarray, np.int64]):
    """An Atari game: grey frames `[screen_size, screen_size]` of uint8, `Discrete` actions.

    Lost lives (`AtariConfig.life_loss`):

    - ``terminal``: the step returns ``terminated=True``, yet the game continues: the next `reset` plays one NOOP step
      instead of starting a new game. A drop to 0 lives ends nothing by itself, since games such as Qbert, Frogger or
      Atlantis continue for a while with a 0 on the counter (baselines' rule): the end of the game follows.
    - ``reset``: the frame that loses a life ends the game, and the next `reset` starts a new one.
    - ``none``: nothing ends.

    ``reset(seed=…)`` starts a new game in every case.

    FIRE (`AtariConfig.fire_reset`) is pressed for one step after a game starts and after each lost life, in games
    whose minimal action set has at least three actions of which FIRE is the second: baselines' rule, which includes
    some games that do not wait for it. It happens within `reset`; where a life is lost without one (``none``), FIRE
    replaces the agent's action in the next step, or Breakout would never continue. With
    `AtariConfig.fire_then_second`, `reset` plays a step of the game's action number 2 after it, as the ``FireResetEnv``
    of baselines and Stable-Baselines3 does; a life lost in one of the two is followed by a NOOP step.

    ``info["episode"]`` reports the game: in mode ``reset`` it ends with the life. Its return is raw and includes NOOP
    and FIRE steps; its length counts the agent's steps. When a game ends within `reset`, in the NOOP or FIRE step after
    a lost life, `reset` starts a new game and its own info has ``"episode"``. ``info["lives"]`` is in every info.

    Args:
        game: the ROM's name in ale-py, such as ``space_invaders``.
        mode, difficulty: the game's switches, or None for its defaults.
        render_mode: None or ``rgb_array``; `render` returns the screen in both cases. It may change at any time.

    Raises:
        ConfigError: the ROM, the mode or the difficulty does not exist.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012, as Gymnasium declares it

    def __init__(
        self,
        game: str,
        config: AtariConfig,
        *,
        mode: int | None = None,
        difficulty: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise gymnasium.error.UnsupportedMode(f"render_mode = {render_mode!r}: Atari games render rgb_array")
        self.render_mode = render_mode
        self.metadata = {**type(self).metadata, "render_fps": 60 / config.frame_skip}
        self._config = config
        self._mode = mode
        self._difficulty = difficulty
        self._rom_name = game
        self._rom = _rom_path(game)
        cv2.setNumThreads(1)  # one core a worker
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self._ale = ale_py.ALEInterface()
        self._ale.setFloat("repeat_action_probability", 0.0)
        self._ale.setInt("max_num_frames_per_episode", config.max_frames)
        self._load_game()

        minimal = self._ale.getMinimalActionSet()
        self._actions = tuple(self._ale.getLegalActionSet() if config.full_action_space else minimal)
        self._uses_fire = config.fire_reset and len(minimal) >= 3 and minimal[1] == FIRE
        size = config.screen_size
        self.observation_space = Box(0, 255, (size, size), np.uint8)
        self.action_space = Discrete(len(self._actions))

        self._screen = PooledScreen(self._ale, size, pooled=config.frame_skip > 1)
        self._executed = NOOP
        self._lives = 0
        self._return = 0.0
        self._length = 0
        self._fire_due = False
        self._between_lives = False

    # ── Gymnasium's interface ───────────────────────────────────────────────────────────────────────────────

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start a new game, or continue after a lost life.

        See the class.
        """
        super().reset(seed=seed)
        info: dict[str, Any] = {}
        if self._between_lives and seed is None:
            self._press(NOOP, info)
        else:
            self._new_game(seed)
        if self._fire_due:
            self._fire_due = False
            self._press(FIRE, info)
            if self._config.fire_then_second:
                self._continue_after_life(info)
                self._press(self._actions[2], info)
                self._continue_after_life(info)
        self._between_lives = False
        info["lives"] = self._lives
        return self._screen.resized(), info

    def step(self, action: int | np.int64) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Repeat `action` for `frame_skip` frames.

        Returns:
            The frame (a copy), the reward of all frames (its sign, if `clip_reward`), terminated, truncated (after
            `max_frames` frames of the game), and info.

        Raises:
            gymnasium.error.InvalidAction: `action` is not in ``0 … n − 1``; the emulator would accept other numbers.
        """
        index = operator.index(action)
        if not 0 <= index < len(self._actions):
            raise gymnasium.error.InvalidAction(f"action {index}: expected 0 to {len(self._actions) - 1}")
        played = FIRE if self._fire_due else self._actions[index]
        self._fire_due = False
        self._length += 1
        reward, life_lost = self._hold(played)

        life_loss = self._config.life_loss
        game_over = self._ale.game_over(with_truncation=False) or (life_lost and life_loss == "reset")
        life_over = life_lost and self._lives > 0 and life_loss == "terminal"
        truncated = self._ale.game_truncated()
        self._between_lives = life_over and not (game_over or truncated)
        info: dict[str, Any] = {"lives": self._lives}
        if game_over or truncated:
            info["episode"] = episode_info(self._return, self._length)
        if self._config.clip_reward:
            reward = float((reward > 0) - (reward < 0))
        return self._screen.resized(), reward, game_over or life_over, truncated, info

    def render(self) -> np.ndarray:
        """The screen, uint8 RGB, `[210, 160, 3]` in most games.

        In mode ``rgb_array`` each pixel is the brighter one of the newest two frames, as in the observation: many games
        draw some things in every second frame only. Otherwise it is the emulator's present frame.
        """
        return self._ale.getScreenRGB() if self.render_mode is None else self._screen.colours()

    @property
    def episode_return(self) -> float:
        """The raw return of the game so far."""
        return self._return

    @property
    def episode_length(self) -> int:
        """The agent's steps in the game so far."""
        return self._length

    @property
    def lives(self) -> int:
        """Lives left at the newest observation."""
        return self._lives

    def get_action_meanings(self) -> list[str]:
        """The joystick's position for each action, such as ``UPFIRE``."""
        return [action.name for action in self._actions]

    # ── State (`ppo_tui.envs.state.StatefulEnv`) ─────────────────────────────────────────────────────────────

    def save_state(self) -> bytes:
        """The game so far: emulator with its generator, pooled screens, counters.

        The emulator's own state lacks its screen and the previous action; both are kept here (see `_act`), so the game
        continues bit for bit, sticky actions included. `render` shows the old screen until the next step.
        """
        facts = {
            "rom": self._rom_name,
            "executed": self._executed.value,
            "generator": generator_state(self),
            **{name: getattr(self, f"_{name}") for name in _COUNTERS},
        }
        blobs = {
            "emulator": self._ale.cloneState(include_rng=True).serialize(),
            "screens": b"".join(frame.tobytes() for frame in self._screen.frames()),
        }
        return pack(facts, blobs)

    def restore_state(self, state: bytes) -> None:
        """Restore a state from `save_state`.

        It may come from any instance of the same game.

        Raises:
            CannotRestoreError: it is the state of another game, or damaged.
        """
        facts, blobs = unpack(state)
        if facts.get("rom") != self._rom_name:
            raise CannotRestoreError(f"it was saved from {facts.get('rom')!r} and not from {self._rom_name!r}")
        self._screen.restore(*np.frombuffer(blobs["screens"], np.uint8).reshape(2, *self._ale.getScreenDims()))
        # Something of an emulator that was just reset, and has not played a frame, survives `restoreState`: Qbert and
        # Tetris would continue differently.
        self._ale.act(NOOP)
        self._ale.restoreState(ale_py.ALEState(blobs["emulator"]))
        set_generator_state(self, facts["generator"])
        self._executed = ale_py.Action(facts["executed"])
        for name in _COUNTERS:
            setattr(self, f"_{name}", facts[name])

    # ── The game ────────────────────────────────────────────────────────────────────────────────────────────

    def _new_game(self, seed: int | None = None) -> None:
        """Start a game with 1 to `noop_max` frames of NOOP."""
        self._start(seed)
        noop_max = self._config.noop_max
        noops = int(self.np_random.integers(1, noop_max + 1)) if noop_max > 0 else 0
        for _ in range(noops):
            self._return += self._act(NOOP)
            if self._ale.game_over():
                self._start(seed)
        self._lives = self._ale.lives()
        self._screen.show_newest()
        self._fire_due = self._uses_fire

    def _start(self, seed: int | None) -> None:
        if seed is not None:
            self._seed(seed)
        self._ale.reset_game()
        self._executed = NOOP
        self._return = 0.0
        self._length = 0

    def _seed(self, seed: int) -> None:
        """Seed this generator and the emulator's as ale-py's environment does (``ale_py/env.py``)."""
        own_seed, ale_seed = np.random.SeedSequence(seed).generate_state(2)
        self._np_random, _ = seeding.np_random(int(own_seed))
        self._ale.setInt("random_seed", int(ale_seed.astype(np.int32)))
        self._load_game()

    def _load_game(self) -> None:
        """Load the ROM: the emulator's seed takes effect, its switches are reset."""
        self._ale.loadROM(self._rom)
        if self._mode is not None:
            _check_switch("mode", self._mode, self._ale.getAvailableModes())
            self._ale.setMode(self._mode)
        if self._difficulty is not None:
            _check_switch("difficulty", self._difficulty, self._ale.getAvailableDifficulties())
            self._ale.setDifficulty(self._difficulty)

    def _press(self, action: ale_py.Action, info: dict[str, Any]) -> None:
        """Play a NOOP or FIRE step; if the game ends, start another."""
        self._hold(action)
        if self._ale.game_over():
            if self._length > 0:
                info["episode"] = episode_info(self._return, self._length)
            self._new_game()

    def _continue_after_life(self, info: dict[str, Any]) -> None:
        """Play a NOOP step after a step with a lost life.

        FIRE is not due again.
        """
        if self._fire_due:
            self._fire_due = False
            self._press(NOOP, info)
            self._fire_due = False

    def _hold(self, action: ale_py.Action) -> tuple[float, bool]:
        """Emulate up to `frame_skip` frames of `action`; pool the last two.

        The pooling is in place: where the game ends before the last frame, the frame left over from the previous step
        shows through, as in Gymnasium's wrapper.

        Returns:
            The raw reward of the frames, and whether a life was lost.
        """
        ale, skip = self._ale, self._config.frame_skip
        each_frame_counts = self._config.life_loss == "reset"
        reward, life_lost = 0.0, False
        for frame in range(skip):
            reward += self._act(action)
            if each_frame_counts:
                life_lost = self._loses_life()
            if life_lost or ale.game_over():
                break
            if frame == skip - 2:
                self._screen.read_older()
            elif frame == skip - 1:
                self._screen.read_newest()
        if not each_frame_counts:
            life_lost = self._loses_life()
        self._screen.pool()
        self._return += reward
        self._fire_due = self._fire_due or (life_lost and self._uses_fire)
        return reward, life_lost

    def _act(self, action: ale_py.Action) -> float:
        """Emulate one frame; with probability `sticky_actions` repeat the previous action.

        The draw is made here and not by the emulator, whose saved state lacks the previous action.
        """
        stickiness = self._config.sticky_actions
        if stickiness == 0.0 or self.np_random.random() >= stickiness:
            self._executed = action
        return self._ale.act(self._executed)

    def _loses_life(self) -> bool:
        """Whether a life was lost since the last call."""
        before, self._lives = self._lives, self._ale.lives()
        return self._lives < before


def _rom_path(game: str) -> str:
    """Path of the ROM; the emulator would end the process without one."""
    try:
        path = roms.get_rom_path(game)
    except OSError as error:
        raise ConfigError(f"the ROM of {game!r} cannot be read: {error}", hint="reinstall ale-py") from error
    if path is None:
        raise ConfigError(f"ale-py has no ROM of the game {game!r}", hint="choose an id such as 'ALE/Breakout-v5'")
    return str(path)


def _check_switch(name: str, value: int, available: list[int]) -> None:
    if value not in available:
        raise ConfigError(f"env.kwargs.{name} = {value!r}: this game has {', '.join(map(str, available))}")
