"""Microseconds that the runner adds to a bare PyTorch loop doing the same work, beside the budgets.

All compared pieces of work take turns in one process, in blocks; what is shown is the median over blocks and, in brackets, the quartiles."""
import argparse, asyncio, contextlib, json, os, platform, subprocess, sys, tempfile
from itertools import cycle, islice
from statistics import quantiles
from time import perf_counter
from types import SimpleNamespace

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from interactive_runner import Hook, Runner
from interactive_runner.hooks.logger import LoggerHook
from interactive_runner.logproc import LogProcessor
from interactive_runner.loop import EpochBasedTrainLoop

BLOCK,EVERY,NEVER = 200,10,10**9 # iterations in a block; iterations from log event to log event; longer than any run

class Passes(list):
    "Batches in memory; `between` is called before each pass over them"
    dataset,between = (),staticmethod(lambda: None)
    def __iter__(self):
        self.between()
        return super().__iter__()

def digits(n):
    "`n` batches of 64 digits"
    x,y = (torch.tensor(o) for o in load_digits(return_X_y=True))
    whole = [(x[i:i+64].float()/16, y[i:i+64]) for i in range(0, 1792, 64)]
    return list(islice(cycle(whole), n))

def net():
    "The same small classifier each time, and its optimizer"
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return model,torch.optim.SGD(model.parameters(), lr=.01)

@torch.enable_grad()
def bare(model, optimizer, batches):
    "A pass of the loop that everybody writes first"
    for x,y in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()

class RateHook:
    "Stands in for a ParamScheduler that is not due: writes one float"
    priority = 'LOW'
    def after_train_iter(self, runner): runner.optimizer.param_groups[0]['lr'] = .01

class SaveHook(Hook):
    "Stands in for a Checkpoint hook that is not due"
    priority = 'VERY_LOW'
    def after_train_iter(self, runner, batch_idx, data_batch, outputs):
        if self.every_n_train_iters(runner, NEVER): raise AssertionError('a benchmark has no such iteration')

def begun(runner, loader):
    "`runner`, trained to the begin of a pass, and pausing there from now on"
    loader.between = runner.pause
    runner.train()
    return runner

def ours(batches, interval, folder):
    "A runner with the usual hooks, each of whose `train()` is one pass"
    model,optimizer = net()
    loader = Passes(batches)
    return begun(Runner(model, folder, loader, loss_fn=F.cross_entropy, optimizer=optimizer, max_epochs=NEVER,
                        default_hooks=dict(logger=LoggerHook(interval)), custom_hooks=[RateHook(), SaveHook()]), loader)

def alternate(acts, rounds, warm=2):
    "Seconds that each of `acts` takes, called in turn, with the order turned round each time"
    times = [[] for _ in acts]
    for r in range(rounds+warm):
        for i in list(range(len(acts)))[::1 if r % 2 else -1]:
            start = perf_counter()
            acts[i]()
            times[i].append(perf_counter()-start)
    return [o[warm:] for o in times]

def spread(values):
    "Lower quartile, median and upper quartile"
    return quantiles(values, n=4)

def row(what, unit, values, budget=None):
    "A line of the table: the spread of `values`"
    low,mid,high = spread(values)
    return dict(what=what, unit=unit, budget=budget, measured=mid, low=low, high=high, ok=None if budget is None else mid <= budget)

def added(rounds, folder):
    "What the runner adds to an iteration, and to one that logs"
    batches,(model,optimizer) = digits(BLOCK),net()
    quiet,logged = ours(batches, NEVER, folder),ours(batches, EVERY, folder)
    a,b,c = alternate([lambda: bare(model, optimizer, batches), quiet.train, logged.train], rounds)
    us = 1e6/BLOCK
    return [row('added per non-logged iteration', 'us', [(q-p)*us for p,q in zip(a, b)], 12),
            row('added per log event', 'us', [(r-q)*us*EVERY for q,r in zip(b, c)], 200),
            row(f'added per iteration, logging each {EVERY}', 'us', [(r-p)*us for p,r in zip(a, c)]),
            row('an iteration of the bare loop', 'us', [p*us for p in a])]

class IdleLoop(EpochBasedTrainLoop):
    "A training loop whose work costs nothing"
    def zero_grad(self): pass
    def forward(self): self.outputs = dict(loss=.5)
    def backward(self): pass
    def optim_step(self): pass

def idle(interval, folder, block=1000):
    "A runner without work that logs over a global window"
    loader,optimizer = Passes([0]*block),SimpleNamespace(param_groups=[dict(lr=.01)], step=None, zero_grad=None)
    return begun(Runner(nn.Identity(), folder, optimizer=optimizer, train_loop=IdleLoop(None, loader, max_epochs=NEVER),
                        log_processor=LogProcessor(window_size='global'), default_hooks=dict(logger=LoggerHook(interval)),
                        custom_hooks=[RateHook(), SaveHook()]), loader)

def spin():
    "A fixed piece of pure Python, by which the speed of the machine is told"
    d = {}
    for i in range(50_000): d[i & 255] = i

def flatness(n, folder):
    "Late against early costs of `n` iterations with a global window, with the speed of the machine taken out"
    speed,quiet,logged = alternate([spin, idle(NEVER, folder).train, idle(EVERY, folder).train], n//1000, 1)
    tenth = max(len(speed)//10, 2)
    event = [c-b for b,c in zip(quiet, logged)]
    res = []
    for what,values in ((f'iteration, late/early of {n:,}', quiet), (f'log event, late/early of {n//EVERY:,}', event)):
        rel = [v/s for v,s in zip(values, speed)]
        early = spread(rel[:tenth])[1]
        res.append(row(what, 'x', [o/early for o in rel[-tenth:]], 1.1))
    return [row('iteration without work', 'us', [o*1e3 for o in quiet]), *res]

class MatmulLoop(IdleLoop):
    "A training loop whose work is some fixed milliseconds of matrix products"
    def forward(self):
        for _ in range(self.products): torch.mm(self.a, self.a, out=self.b)
        super().forward()

def busy(block, seconds=3e-3):
    "A runner with iterations of about `seconds`"
    loader = Passes([0]*block)
    loop = MatmulLoop(None, loader, max_epochs=NEVER)
    loop.a,loop.b = torch.rand(256, 256),torch.empty(256, 256)
    one = min(alternate([lambda: torch.mm(loop.a, loop.a, out=loop.b)], 50)[0])
    loop.products = max(round(seconds/one), 1)
    optimizer = SimpleNamespace(param_groups=[dict(lr=.01)], step=None, zero_grad=None)
    return begun(Runner(nn.Identity(), optimizer=optimizer, train_loop=loop, default_hooks=dict(logger=LoggerHook(NEVER))), loader)

async def play_against_train(rounds, block=40):
    "How much longer than `train()` `play()` takes for the same passes, in percent"
    runner,res = busy(block),[]
    async def timed(playing):
        start = perf_counter()
        if playing: await runner.play()
        else: runner.train()
        return perf_counter()-start
    for r in range(rounds):
        times = {k: await timed(k) for k in ((True, False) if r % 2 else (False, True))}
        res.append((times[True]/times[False]-1)*100)
    return [row('play() longer than train(), 3 ms iterations', '%', res, 1.5)]

def import_time(n=5):
    "Seconds of `import interactive_runner` after `import torch`, in fresh processes"
    code = 'import torch; from time import perf_counter as t; a = t(); import interactive_runner; print(t()-a)'
    run = lambda: float(subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout)
    run()
    return [row('import interactive_runner, after torch', 's', [run() for _ in range(n)], .3)]

def mmengine(model, optimizer, loader, passes, folder):
    "Its Runner; a line each 10 iterations to console, file and JSON"
    from mmengine.model import BaseModel
    from mmengine.runner import Runner
    class Model(BaseModel):
        def __init__(self):
            super().__init__()
            self.net = model
        def forward(self, x, y, mode): return dict(loss=F.cross_entropy(self.net(x), y))
    Runner(Model(), folder, loader, train_cfg=dict(by_epoch=True, max_epochs=passes), optim_wrapper=dict(optimizer=optimizer),
           default_hooks=dict(logger=dict(type='LoggerHook', interval=EVERY), sampler_seed=None,
                              checkpoint=dict(type='CheckpointHook', interval=NEVER, save_last=False))).train()

def lightning(model, optimizer, loader, passes, folder):
    "Its Trainer without bar and checkpoints; the loss each 10 iterations to CSV"
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.loggers import CSVLogger
    class Module(LightningModule):
        def configure_optimizers(self): return optimizer
        def training_step(self, batch, i):
            loss = F.cross_entropy(model(batch[0]), batch[1])
            self.log('loss', loss)
            return loss
    module = Module()
    module.net = model
    Trainer(accelerator='cpu', max_epochs=passes, log_every_n_steps=EVERY, logger=CSVLogger(folder), enable_progress_bar=False,
            enable_checkpointing=False, enable_model_summary=False).fit(module, loader)

def fastai(model, optimizer, loader, passes, folder):
    "Its Learner with Recorder and progress bar; a line each pass"
    from fastai.callback.progress import ProgressCallback # noqa: F401
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper
    opt = lambda params, lr: OptimWrapper(opt=optimizer)
    Learner(DataLoaders(loader, [], path=folder, device='cpu'), model, F.cross_entropy, opt, lr=.01).fit(passes)

def ignite(model, optimizer, loader, passes, folder):
    "Its Engine; the loss each 10 iterations to the console"
    from ignite.engine import Events, create_supervised_trainer
    trainer = create_supervised_trainer(model, optimizer, F.cross_entropy)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=EVERY), lambda e: print(e.state.epoch, e.state.iteration, e.state.output))
    trainer.run(loader, passes)

def transformers(model, optimizer, loader, passes, folder):
    "Its Trainer without bar, clipping and checkpoints; a line each 10 iterations to the console"
    from transformers import Trainer, TrainingArguments
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = model
        def forward(self, x, labels): return dict(loss=F.cross_entropy(self.net(x), labels))
    class Own(Trainer):
        def get_train_dataloader(self): return loader
    args = TrainingArguments(folder, num_train_epochs=passes, logging_steps=EVERY, save_strategy='no', report_to='none', use_cpu=True,
                             disable_tqdm=True, max_grad_norm=0, lr_scheduler_type='constant')
    loader[:] = [dict(x=x, labels=y) for x,y in list.__iter__(loader)]
    Own(Model(), args, optimizers=(optimizer, None)).train()

def skorch(model, optimizer, loader, passes, folder):
    "Its NeuralNet; a line each pass"
    from skorch import NeuralNet
    class Net(NeuralNet):
        def get_iterator(self, dataset, training=False): return loader
        def initialize_optimizer(self, triggered_directly=None): self.optimizer_ = optimizer
    Net(model, criterion=nn.CrossEntropyLoss, train_split=None, max_epochs=passes).fit(loader[0][0].numpy(), loader[0][1].numpy())

def between_bare(train, passes, folder):
    "Microseconds that an iteration of a trainer takes more than one of a bare pass right after it"
    batches,(model,optimizer),marks = digits(BLOCK),net(),[]
    def turn():
        start = perf_counter()
        bare(model, optimizer, batches)
        marks.append((start, perf_counter()))
    loader = Passes(batches)
    loader.between = turn
    train(*net(), loader, passes, folder)
    return [((b[0]-a[1]) - (b[1]-b[0]))*1e6/BLOCK for a,b in zip(marks[2:], marks[3:])]

def peers(passes, folder):
    "Rows for the trainers that are installed"
    for fn in (mmengine, lightning, fastai, ignite, transformers, skorch):
        what = f'{fn.__name__}: {fn.__doc__}'
        try: yield row(what, 'us', between_bare(fn, passes, folder))
        except ImportError as e: yield dict(what=what, failed=f'not installed ({e.name or e})')
        except Exception as e: yield dict(what=what, failed=f'failed: {e!r:.100}')
