"A run that was killed and goes on from its file is the run that was not interrupted: matrix of places, loaders and parts, and what cannot be exact"
import random
import subprocess
import sys
from functools import cache
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, SequentialSampler, TensorDataset, get_worker_info

from interactive_runner import Runner, accuracy, saving # noqa: F401, puts the methods onto Runner
from interactive_runner.ckpt import load_file, save_file
from interactive_runner.data import Batches, rest_of_order
from interactive_runner.hooks.optim import OptimizerHook
from interactive_runner.loader import DefaultSampler, InfiniteSampler
from interactive_runner.optim import AmpOptimWrapper, OptimWrapper
from interactive_runner.stage import stages_of

N,SIZE = 40,8
x = torch.randn(N, 4, generator=torch.Generator().manual_seed(3))
x[:, 0] = torch.arange(N) # which sample it is
DATA = TensorDataset(x, (x[:, 1:].sum(1) > 0).long())


class Diary:
    "Writes down what it is told, and which samples it sees; its state is in checkpoints"
    def __init__(self): self.lines = []
    def state_dict(self): return dict(lines=list(self.lines))
    def load_state_dict(self, state): self.lines = list(state['lines'])
    def note(self, *what): self.lines.append(' '.join(map(str, what)))
    def after_train_iter(self, runner, data_batch, outputs): self.note(runner.iter, data_batch[0][:, 0].int().tolist(), round(float(outputs['loss']), 6))
    def after_val_epoch(self, runner, metrics): self.note(runner.epoch, sorted(metrics))
    def after_train_epoch(self, runner): self.note('epoch', runner.epoch)
    def after_train(self, runner): self.note('end')


class Chance:
    "Draws from all generators in each iteration, and changes a weight with it"
    priority = 45
    def after_train_iter(self, runner):
        with torch.no_grad(): runner.model[0].bias.add_(random.random()*1e-3 + float(np.random.randn())*1e-3 + torch.rand(1).item()*1e-3)


class Saver:
    "Saves at some stages, if it has a folder"
    folder = None
    def save(self, runner, stage):
        if self.folder is None or runner.mode == 'train' and runner.iter not in (0, 1, 3, 7): return
        runner.save_checkpoint(self.folder, f'{stage}_{runner.iter}_{runner.val_loop.iter if runner.val_loop else 0}_{self.where}.pth')

def saver(where):
    stages = 'before_train_epoch', 'before_train_iter', 'after_train_iter', 'after_train_epoch', 'after_val_iter', 'after_val_epoch', 'after_val', 'after_train'
    return type(f'Saver{where}', (Saver,), {s: (lambda self, runner, s=s: self.save(runner, s)) for s in stages} | dict(where=where, priority=where))()

PLACES = 5,65,75,100 # before all others, before and behind the schedulers, behind all


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(.3), nn.Linear(8, 2))


def loader(kind, data=DATA):
    if kind == 'infinite': return DataLoader(data, SIZE, sampler=InfiniteSampler(data, seed=3))
    if kind == 'sampler': return DataLoader(data, SIZE, sampler=DefaultSampler(data, seed=3))
    if kind == 'generator': return DataLoader(data, SIZE, shuffle=True, generator=torch.Generator().manual_seed(11))
    return DataLoader(data, SIZE, shuffle=True, num_workers=2*(kind == 'workers'))

SCHEDULES = [dict(type='StepLR', step_size=1, gamma=.5, by_epoch=True), dict(type='LinearLR', start_factor=.1, end=8, by_epoch=False)]
VARIANTS = {'plain': {}, 'accumulate': dict(accumulate=3), 'schedules': dict(param_scheduler=SCHEDULES), 'bfloat16': dict(dtype='bfloat16'),
            'float16': dict(dtype='float16'), 'hook steps': dict(custom_hooks=[OptimizerHook(dict(max_norm=1.))])}


def make(kind='shuffled', variant='plain', data=DATA, **given):
    model = net()
    given = VARIANTS[variant] | given
    optim = torch.optim.Adam(model.parameters(), lr=.05)
    if dtype := given.pop('dtype', None): given['optim_wrapper'] = AmpOptimWrapper(optimizer=optim, dtype=dtype, loss_scale=dict(growth_interval=2))
    else: given['optimizer'] = optim
    hooks = [*given.pop('custom_hooks', ()), Diary(), Chance(), *map(saver, PLACES)]
    ends = dict(max_iters=11, val_interval=4) if kind == 'infinite' else dict(max_epochs=2)
    return Runner(model, train_dataloader=loader(kind, data), val_dataloader=DataLoader(data, 16, shuffle=True), loss_fn=F.cross_entropy, metrics={'accuracy': accuracy},
                  custom_hooks=hooks, **{'seed': 7, 'log_level': 'ERROR', **ends, **given})


def flat(o, at=''):
    "Leaves of nested data, by where they are"
    if isinstance(o, dict): return {k: v for nm in o for k,v in flat(o[nm], f'{at}.{nm}').items()}
    if isinstance(o, (list, tuple)): return {k: v for i,v in enumerate(o) for k,v in flat(v, f'{at}.{i}').items()}
    return {at: o}


def everything(run):
    "All that shall be the same at the end: whoever draws next, draws the same"
    scheds = [o.state_dict() for o in run.param_schedulers or ()]
    logs = {k: (b.data[0].tolist(), b.steps().tolist()) for k,b in run.message_hub.log_scalars.items() if 'time' not in k}
    ours = run.guard.ours
    rng = dict(python=ours.python, torch=ours.torch, numpy=ours.bits.state['state']['key'].tolist(), spare=ours.spare, more=[s for _,s in ours.more])
    return flat(dict(model=run.model.state_dict(), optim=run.optim_wrapper.state_dict(), scheds=scheds, logs=logs, rng=rng,
                     diary=run.hooks['Diary'].hook.lines, counts=(run.epoch, run.iter)))


def differences(a, b):
    same = lambda u, v: torch.equal(u, v) if isinstance(u, torch.Tensor) and isinstance(v, torch.Tensor) else u == v
    return [k for k in a.keys() | b.keys() if k not in a or k not in b or not same(a[k], b[k])]


def goes_on(path, **given):
    run = make(**given)
    run.resume(path)
    run.train()
    return everything(run)


def whole_run(folder, **given):
    "The run that is not interrupted, and saves as it goes"
    run = make(**given)
    for where in PLACES: run.hooks[f'Saver{where}'].hook.folder = folder
    run.train()
    return everything(run), sorted(folder.iterdir())

# ---- saved by a hook

CASES = [('shuffled', v) for v in VARIANTS] + [(k, 'schedules') for k in ('workers', 'infinite', 'sampler', 'generator')] + [('infinite', 'accumulate')]

@pytest.mark.parametrize('kind,variant', CASES)
def test_whatever_hook_has_saved_it_and_wherever_the_run_goes_on_as_if_nothing_had_been(tmp_path, kind, variant):
    if variant == 'hook steps': pytest.skip('see below')
    end,files = whole_run(tmp_path, kind=kind, variant=variant)
    assert len(files) > 30
    for path in files[::7 if kind == 'workers' else 1]: assert not differences(end, goes_on(path, kind=kind, variant=variant)), path.name
