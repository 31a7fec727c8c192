"""Events published by the engine, and commands to it.

Every screen, log line, file and replay is a view computed from one stream of events, and it does not matter
whether the stream comes from a thread of this process, from a socket, or from a file. All types here are
small, frozen and encodable as one line of JSON (`encode`, `decode_event`, `decode_command`).

Events come in two kinds. *Durable* ones are all part of the record: they are stored and never dropped.
*Transient* ones (`TRANSIENT`) describe a moment (the progress of the rollout, the state of the workers): only the
newest of each type matters, and a slow reader may skip all the others.
"""

from .base import Event
from .coding import decode_command, decode_event, encode
from .commands import (
    MOST_BESIDE,
    PASSIVE,
    WATCH_SECONDS,
    AnyCommand,
    Command,
    Pause,
    Resume,
    Rewind,
    SaveCheckpoint,
    SetValue,
    StepMinibatches,
    StepUpdates,
    Stop,
    WatchGame,
    WatchUpdate,
    WithdrawValue,
)
from .events import (
    TRANSIENT,
    Alarm,
    AnyEvent,
    CheckpointSaved,
    CommandRefused,
    Course,
    EpisodeFinished,
    Evaluated,
    InterimMetrics,
    Recovered,
    Rewound,
    RolloutProgress,
    RunFinished,
    RunResumed,
    RunStarted,
    SettingChanged,
    StartProgress,
    StateChanged,
    SuggestedEdit,
    UpdateFinished,
    UpdateProgress,
    WorkerInfo,
    WorkersStatus,
    transient_key,
)
from .game import GameClip, GameFrame
from .inspection import ClipCounts, Histogram, LayerReading, MinibatchColumns, UpdateInspected
from .states import PROTOCOL_VERSION, Cause, Gaze, Level, RunState, WorkerState
from .stopping import BY_RULE, StopDistance

__all__ = [
    "BY_RULE",
    "MOST_BESIDE",
    "PASSIVE",
    "PROTOCOL_VERSION",
    "TRANSIENT",
    "WATCH_SECONDS",
    "Alarm",
    "AnyCommand",
    "AnyEvent",
    "Cause",
    "CheckpointSaved",
    "ClipCounts",
    "Command",
    "CommandRefused",
    "Course",
    "EpisodeFinished",
    "Evaluated",
    "Event",
    "GameClip",
    "GameFrame",
    "Gaze",
    "Histogram",
    "InterimMetrics",
    "LayerReading",
    "Level",
    "MinibatchColumns",
    "Pause",
    "Recovered",
    "Resume",
    "Rewind",
    "Rewound",
    "RolloutProgress",
    "RunFinished",
    "RunResumed",
    "RunStarted",
    "RunState",
    "SaveCheckpoint",
    "SetValue",
    "SettingChanged",
    "StartProgress",
    "StateChanged",
    "StepMinibatches",
    "StepUpdates",
    "Stop",
    "StopDistance",
    "SuggestedEdit",
    "UpdateFinished",
    "UpdateInspected",
    "UpdateProgress",
    "WatchGame",
    "WatchUpdate",
    "WithdrawValue",
    "WorkerInfo",
    "WorkerState",
    "WorkersStatus",
    "decode_command",
    "decode_event",
    "encode",
    "transient_key",
]
