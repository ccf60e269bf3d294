"""Training that can be watched and steered: `Trainer`, its events, its history."""

from freezeviz.train._background import BackgroundRun
from freezeviz.train._drawing import draw_history
from freezeviz.train._events import (
    Event,
    Failed,
    FeaturesChanged,
    Finished,
    FreezeChanged,
    LearningRateChanged,
    Logged,
    Measured,
    NonFiniteLoss,
    Paused,
    Resumed,
    RunStarted,
    StepDone,
    Stopped,
    Validated,
)
from freezeviz.train._history import History, Mark, Span
from freezeviz.train._measures import Measures
from freezeviz.train._own_run import OwnRun, StopRun
from freezeviz.train._run import Run
from freezeviz.train._trainer import Trainer

__all__ = [
    "BackgroundRun",
    "Event",
    "Failed",
    "FeaturesChanged",
    "Finished",
    "FreezeChanged",
    "History",
    "LearningRateChanged",
    "Logged",
    "Mark",
    "Measured",
    "Measures",
    "NonFiniteLoss",
    "OwnRun",
    "Paused",
    "Resumed",
    "Run",
    "RunStarted",
    "Span",
    "StepDone",
    "StopRun",
    "Stopped",
    "Trainer",
    "Validated",
    "draw_history",
]
