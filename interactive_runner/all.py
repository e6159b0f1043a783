"The names that one needs to begin; everything else is in the modules"
from .data import Batches
from .hook import Hook, HookTable, Priority
from .hooks.info import RuntimeInfoHook
from .hooks.logger import LoggerHook
from .hooks.progress import ProgressHook
from .hooks.timer import IterTimerHook
from .hub import MessageHub
from .logproc import LogProcessor
from .loop import DataLoop, EpochBasedTrainLoop, IterBasedTrainLoop, TestLoop, ValLoop
from .metric import accuracy
from .play import Player
from .stage import Loop, commits
from .runner import Runner

FlexibleRunner = Runner # MMEngine's name for a runner with exchangeable strategies

__all__ = ['Batches', 'DataLoop', 'EpochBasedTrainLoop', 'FlexibleRunner', 'Hook', 'HookTable', 'IterBasedTrainLoop', 'IterTimerHook',
           'LogProcessor', 'LoggerHook', 'Loop', 'MessageHub', 'Player', 'Priority', 'ProgressHook', 'Runner', 'RuntimeInfoHook',
           'TestLoop', 'ValLoop', 'accuracy', 'commits']
