"The names that one needs to begin; everything else is in the modules"
from . import edit, flexible, preview, resuming, saving # they add methods to the runner
from .base_model import BaseModel
from .config import Config
from .data import Batches
from .evaluator import BaseMetric, Evaluator
from .hook import Hook, HookTable, Priority
from .hooks.info import RuntimeInfoHook
from .hooks.logger import LoggerHook
from .hooks.progress import ProgressHook
from .hooks.timer import IterTimerHook
from .hub import MessageHub
from .logproc import LogProcessor
from .loop import DataLoop, EpochBasedTrainLoop, IterBasedTrainLoop, TestLoop, ValLoop
from .metric import accuracy
from .optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from .play import Player
from .registry import DATASETS, HOOKS, LOOPS, METRICS, MODELS, Registry
from .stage import Loop, commits
from .runner import Runner

FlexibleRunner = Runner # MMEngine's name for a runner with exchangeable strategies

__all__ = ['AmpOptimWrapper', 'BaseMetric', 'BaseModel', 'Batches', 'Config', 'DATASETS', 'DataLoop', 'EpochBasedTrainLoop', 'Evaluator', 'FlexibleRunner',
           'HOOKS', 'Hook', 'HookTable', 'IterBasedTrainLoop', 'IterTimerHook', 'LOOPS', 'LogProcessor', 'LoggerHook', 'Loop', 'METRICS', 'MODELS',
           'MessageHub', 'OptimWrapper', 'OptimWrapperDict', 'Player', 'Priority', 'ProgressHook', 'Registry', 'Runner', 'RuntimeInfoHook', 'TestLoop',
           'ValLoop', 'accuracy', 'commits']
