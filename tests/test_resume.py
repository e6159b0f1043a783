"A run that was killed and goes on from its file is the run that was not interrupted: matrix of places, loaders and parts, and what cannot be exact"
import logging
import random
import subprocess
import sys
from functools import cache
from pathlib import Path
from time import process_time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, SequentialSampler, TensorDataset

from interactive_runner import Runner, accuracy, mmcv, resuming, saving # noqa: F401, put the methods onto Runner
from interactive_runner.ckpt import load_file, save_file
from interactive_runner.data import Batches, rest_of_order
from interactive_runner.hooks.cumulative import GradientCumulativeFp16OptimizerHook, GradientCumulativeOptimizerHook
from interactive_runner.hooks.optim import OptimizerHook
from interactive_runner.loader import DefaultSampler, InfiniteSampler
from interactive_runner.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict

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
    def after_train_iter(self, runner, data_batch, outputs): self.note(runner.iter, data_batch[0][:, 0].int().tolist(), round(outputs['loss'].item(), 6))
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
            'float16': dict(dtype='float16'), 'hook steps': dict(custom_hooks=[OptimizerHook(dict(max_norm=1.))]),
            'average': dict(custom_hooks=[dict(type='EMAHook', momentum=.1, begin_iter=2)])}


def make(kind='shuffled', variant='plain', data=DATA, model=None, **given):
    model = net() if model is None else model
    given = VARIANTS[variant] | given
    optim = torch.optim.Adam(model.parameters(), lr=.05)
    if dtype := given.pop('dtype', None): given['optim_wrapper'] = AmpOptimWrapper(optimizer=optim, dtype=dtype, loss_scale=dict(growth_interval=2))
    elif 'optim_wrapper' not in given: given['optimizer'] = optim
    hooks = [*given.pop('custom_hooks', ()), Diary(), Chance(), *map(saver, PLACES)]
    ends = dict(max_iters=11, val_interval=4) if kind == 'infinite' else dict(max_epochs=2)
    parts = dict(val_dataloader=DataLoader(data, 16, shuffle=True), loss_fn=F.cross_entropy, metrics={'accuracy': accuracy}, seed=7, log_level='ERROR', **ends)
    return Runner(model, train_dataloader=loader(kind, data), custom_hooks=hooks, **parts | given)


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
    averages = [r.hook.ema_model.state_dict() for r in run.hooks.rows if hasattr(r.hook, 'ema_model')]
    return flat(dict(model=run.model.state_dict(), averages=averages, optim=run.optim_wrapper.state_dict(), scheds=scheds, logs=logs, rng=rng,
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

CASES = [('shuffled', v) for v in VARIANTS if v != 'hook steps']
CASES += [(k, 'schedules') for k in ('workers', 'infinite', 'sampler', 'generator')] + [('infinite', 'accumulate')]

@pytest.mark.parametrize('kind,variant', CASES)
def test_whatever_hook_has_saved_it_and_wherever_the_run_goes_on_as_if_nothing_had_been(tmp_path, kind, variant):
    end,files = whole_run(tmp_path, kind=kind, variant=variant)
    assert len(files) > 30
    some = files[CASES.index((kind, variant))%5::5] if kind != 'workers' else files[::12]
    for path in some: assert not differences(end, goes_on(path, kind=kind, variant=variant)), path.name


def test_an_optimizer_that_is_a_hook_is_saved_behind_its_step_and_not_before(tmp_path):
    given = dict(variant='hook steps', custom_hooks=[OptimizerHook(dict(max_norm=1.))])
    run = make(**given)
    run.hooks['Saver65'].hook.folder = tmp_path
    run.train()
    for path in sorted(tmp_path.iterdir())[::3]: assert not differences(everything(run), goes_on(path, **given)), path.name
    run = make(**given)
    run.hooks['Saver5'].hook.folder = tmp_path
    with pytest.raises(RuntimeError, match='OptimizerHook has not made its step yet.*Save behind it'): run.train()

class Adversaries(nn.Sequential):
    "Steps two optimizers itself, each behind a loss of its own, which leaves gradients in the part of the other"
    def train_step(self, data, optim_wrapper):
        for optim in optim_wrapper.values():
            with optim.optim_context(self): loss = F.cross_entropy(self(data[0]), data[1])
            optim.update_params(loss)
        return dict(loss=loss.detach())

def adversaries(kind='shuffled', n=3):
    model = Adversaries(*net())
    wrap = lambda part, lr: AmpOptimWrapper(optimizer=torch.optim.Adam(part.parameters(), lr), dtype='bfloat16', accumulative_counts=n)
    optims = OptimWrapperDict(body=wrap(model[:2], .02), head=wrap(model[4], .05))
    return make(kind, model=model, optim_wrapper=optims, val_dataloader=None, loss_fn=None, metrics=None)


@pytest.mark.parametrize('kind,n', [('shuffled', 1), ('shuffled', 3), ('infinite', 2)])
def test_gradients_that_a_model_leaves_for_a_later_step_of_its_own_are_not_lost(tmp_path, kind, n):
    run,whole = adversaries(kind, n),adversaries(kind, n)
    whole.train()
    for steps in (17, 5, 9, 4):
        walk(run, steps)
        path = run.save_checkpoint(tmp_path, 'a.pth')
        for _ in range(2): # also by way of a run that saves before it goes on
            run = adversaries(kind, n)
            run.resume(path)
            path = run.save_checkpoint(tmp_path, 'b.pth')
    run.train()
    assert not differences(everything(whole), everything(run))


class EachThird:
    "A step of one's own in MMCV's way: the gradients of three iterations add up"
    owns_optim = True
    def after_train_iter(self, runner):
        runner.outputs['loss'].backward()
        if runner.iter % 3 < 2: return
        runner.optimizer.step()
        runner.optimizer.zero_grad()

class LetsTheWrapperCount:
    owns_optim = True
    def after_train_iter(self, runner): runner.optim_wrapper.update_params(runner.outputs['loss'])

class StepsItself(nn.Sequential):
    def train_step(self, data, optim_wrapper):
        loss = F.cross_entropy(self(data[0]), data[1])
        optim_wrapper.update_params(loss)
        return dict(loss=loss.detach())

def by_threes(n=3):
    model = net()
    return dict(model=model, optim_wrapper=OptimWrapper(torch.optim.Adam(model.parameters(), lr=.05), accumulative_counts=n))

COLLECTORS = {
    'the loop': lambda: make(**by_threes()),
    'a hook': lambda: make(custom_hooks=[GradientCumulativeOptimizerHook(cumulative_iters=3)]),
    'a hook that scales': lambda: make(custom_hooks=[GradientCumulativeFp16OptimizerHook(cumulative_iters=3)]),
    'a hook of ones own': lambda: make(custom_hooks=[EachThird()]),
    'a hook by way of the wrapper': lambda: make(custom_hooks=[LetsTheWrapperCount()], **by_threes()),
    'the model': lambda: make(**(o := by_threes()) | dict(model=StepsItself(*o['model'])), loss_fn=None, val_dataloader=None, metrics=None)}

def handed_on(fresh, lines, folder):
    "A run that is saved after so many lines and resumed three times over, before it goes on to its end"
    run = fresh()
    walk(run, lines)
    for name in ('a.pth', 'b.pth', 'c.pth'):
        path = run.save_checkpoint(folder, name)
        run = fresh()
        run.resume(path)
    run.train()
    return run

@pytest.mark.parametrize('who', COLLECTORS)
def test_collected_gradients_are_not_lost_by_saving_a_resumed_run_before_it_goes_on(tmp_path, who):
    fresh = COLLECTORS[who]
    whole = fresh()
    whole.train()
    assert whole.iter == 10
    for lines in (39, 43, 52, 56): # between two iterations, in one, and in a validation
        run = handed_on(fresh, lines, tmp_path)
        assert not differences(everything(whole), everything(run)), lines

class InMMCVsWay(nn.Sequential):
    def train_step(self, data, optimizer):
        loss = F.cross_entropy(self(data[0]), data[1])
        return dict(loss=loss, log_vars=dict(loss=loss.item()), num_samples=len(data[0]))
    val_step = train_step

@pytest.mark.parametrize('kind,end', [(mmcv.EpochBasedRunner, dict(max_epochs=2)), (mmcv.IterBasedRunner, dict(max_iters=10))])
@pytest.mark.parametrize('hook', [GradientCumulativeOptimizerHook(cumulative_iters=3), EachThird()])
def test_nor_are_those_of_mmcvs_runners(tmp_path, kind, end, hook):
    def fresh():
        model = InMMCVsWay(*net())
        run = kind(model, optimizer=torch.optim.Adam(model.parameters(), lr=.05), logger=logging.getLogger('test_resume'), **end)
        run.register_hook(hook)
        return run.prepare([loader('generator'), loader('shuffled')], [('train', 1), ('val', 1)])
    whole = fresh()
    whole.train()
    for lines in (18, 22, 27, 31):
        run = handed_on(fresh, lines, tmp_path)
        assert all(torch.equal(a, b) for a,b in zip(whole.model.state_dict().values(), run.model.state_dict().values())), lines

def test_the_file_of_a_hook_that_steps_in_each_iteration_holds_no_gradients(tmp_path):
    run = make(variant='hook steps')
    run.step('iter', 3)
    assert load_file(run.save_checkpoint(tmp_path, 'a.pth'))['place']['loops']['train']['start']['grads'] == []

# ---- saved from a cell

@cache
def uninterrupted(kind, variant):
    run = make(kind, variant)
    run.train()
    return everything(run)


def walk(run, n, unit='line'):
    "Take `n` lines or hooks, without the announcements of the start"
    run._longer()
    for _ in range(n):
        if run.status != 'done': run.player.step(unit)


@settings(max_examples=25, deadline=None)
@given(kind=st.sampled_from(['shuffled', 'infinite', 'generator']), variant=st.sampled_from(['plain', 'accumulate', 'schedules', 'bfloat16', 'average']),
       steps=st.integers(1, 230), unit=st.sampled_from(['line', 'hook']))
def test_a_run_paused_before_any_line_or_hook_goes_on_from_there(tmp_path_factory, kind, variant, steps, unit):
    run = make(kind, variant)
    walk(run, steps, unit)
    again = make(kind, variant)
    again.resume(run.save_checkpoint(tmp_path_factory.getbasetemp(), 'cell.pth'))
    assert (again.epoch, again.iter) in ((run.epoch, run.iter), (run.epoch, run.iter+1), (run.epoch+1, run.iter))
    for o in (run, again):
        o.train()
        assert not differences(uninterrupted(kind, variant), everything(o))


@settings(max_examples=6, deadline=None)
@given(steps=st.lists(st.integers(1, 60), min_size=2, max_size=4))
def test_a_run_that_is_killed_again_and_again_comes_to_the_same_end(tmp_path_factory, steps):
    path,run = None,make('shuffled', 'accumulate')
    for n in steps:
        walk(run, n)
        path = run.save_checkpoint(tmp_path_factory.getbasetemp(), 'again.pth')
        run = make('shuffled', 'accumulate')
        run.resume(path)
    run.train()
    assert not differences(uninterrupted('shuffled', 'accumulate'), everything(run))


def test_a_file_saved_before_a_resumed_run_goes_on_is_as_good_as_the_one_it_came_from(tmp_path):
    run = make(variant='accumulate')
    walk(run, 40)
    for i in range(3):
        path = run.save_checkpoint(tmp_path, f'{i}.pth')
        run = make(variant='accumulate')
        run.resume(path)
    run.train()
    assert not differences(uninterrupted('shuffled', 'accumulate'), everything(run))


def test_a_validation_that_was_begun_is_begun_again_and_draws_what_it_drew(tmp_path):
    run = make()
    run.run_until(stage='after_val_iter', when=lambda runner: runner.val_loop.done == 1)
    path = run.save_checkpoint(tmp_path, 'a.pth')
    again = make()
    again.resume(path)
    assert again.position.line == 'before_val' and again.val_loop.done == 0
    again.train()
    assert not differences(uninterrupted('shuffled', 'plain'), everything(again))


def test_after_a_resume_a_run_may_be_made_longer(tmp_path):
    whole,run = make(),make()
    whole.train()
    whole.train(epochs=2)
    run.hooks['Saver100'].hook.folder = tmp_path
    run.train()
    again = make()
    again.resume(run.save_checkpoint(tmp_path, 'end.pth'))
    again.train(epochs=2)
    assert not differences(everything(whole), everything(again))


def test_a_file_of_the_last_epoch_can_be_trained_on(tmp_path):
    run,again,longer = make(work_dir=tmp_path),make(log_level='INFO'),make(max_epochs=4)
    run.train()
    again.resume(tmp_path/'epoch_2.pth')
    assert '1 epochs and 10 iterations are complete; Saver100 will run at after_train_epoch first' in again.logger.recent[-1].text
    again.train(epochs=2)
    longer.train()
    samples = lambda run: [o for o in run.hooks['Diary'].hook.lines if ']' in o]
    assert again.epoch == 4 and samples(again) == samples(longer)


def test_a_failed_step_is_not_saved(tmp_path):
    run = make()
    run.run_until(stage='optim_step', iter=2)
    step = run.optimizer.step
    def fails(*args, **kwargs): raise OSError('half-way')
    run.optimizer.step = fails
    with pytest.raises(OSError): run.train()
    with pytest.raises(RuntimeError, match='changed in part'): run.save_checkpoint(tmp_path, 'a.pth')
    run.optimizer.step = step


# ---- what is told, and when

class Counts:
    "Counts what it is told in this process"
    def __init__(self): self.told = []
    def before_run(self, runner): self.told.append(('before_run', runner.resumed))
    def before_train_epoch(self, runner): self.told.append(('before_train_epoch', runner.resumed))
    def before_train_iter(self, runner): self.told.append(('before_train_iter', runner.resumed))
    def after_train_iter(self, runner): self.told.append(('after_train_iter', runner.resumed))


@pytest.mark.parametrize('place,ends', [(5, ['after_train_iter']), (100, [])])
def test_hooks_are_told_of_what_is_open_once_more_and_of_ends_just_once(tmp_path, place, ends):
    run = make(custom_hooks=[Counts()])
    run.hooks[f'Saver{place}'].hook.folder = tmp_path
    run.run_until(iter=4)
    path, = tmp_path.glob('after_train_iter_3*')
    again = make(custom_hooks=[Counts()])
    again.resume(path)
    again.run_until(iter=4)
    again.step('line', 3)
    told = again.hooks['Counts'].hook.told
    opened = [('before_run', True), ('before_train_epoch', True)] + [('before_train_iter', True)]*bool(ends)
    assert told[:len(opened)+len(ends)] == opened + [(s, False) for s in ends] and ('before_train_iter', False) in told + [('before_train_iter', False)]


def test_a_hook_that_fails_as_a_resumed_run_begins_is_tried_again(tmp_path):
    run = make()
    walk(run, 40)
    path = run.save_checkpoint(tmp_path, 'a.pth')
    class Fails:
        times = 0
        def before_train(self, runner):
            self.times += 1
            if self.times == 1: raise OSError('not yet')
    again = make(custom_hooks=[Fails()])
    again.resume(path)
    with pytest.raises(OSError): again.train()
    again.train()
    assert again.hooks['Fails'].hook.times == 2 and not differences(uninterrupted('shuffled', 'plain'), everything(again))


def test_hooks_come_back_as_they_were_left(tmp_path):
    def change(run):
        run.hooks['Chance'].off()
        run.hooks['ParamSchedulerHook'].move(before='RuntimeInfoHook')
        run.hooks['LoggerHook'].set(interval=3)
    given = dict(variant='schedules')
    run = make(**given)
    run.run_until(stage='forward', iter=3)
    change(run)
    path = run.save_checkpoint(tmp_path, 'a.pth')
    run.train()
    again = make(**given, log_level='INFO')
    again.resume(path)
    assert [r.name for r in again.hooks.rows] == [r.name for r in run.hooks.rows] and not again.hooks['Chance'].enabled
    text = next(o.text for o in again.logger.recent if 'as they were left' in o.text)
    assert 'Chance off; ' in text and 'LoggerHook.interval = 3' in text and 'in the order ParamSchedulerHook, RuntimeInfoHook' in text
    again.train()
    assert not differences(everything(run), everything(again))
    newer = make(**given)
    newer.register_hook(Chance(), priority=10)
    newer.hooks['LoggerHook'].hook.interval = 7
    newer.hooks['Chance'].asked = 10
    newer.resume(path)
    assert newer.hooks['Chance'].priority == 10 and newer.hooks['LoggerHook'].hook.interval == 7

# ---- in another process

def test_in_another_process_the_run_goes_on_too(tmp_path):
    run = make('workers', 'accumulate')
    walk(run, 60)
    run.save_checkpoint(tmp_path, 'a.pth')
    run.train()
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import torch, test_resume as t
torch.save({{k: v for k,v in t.goes_on({str(tmp_path/'a.pth')!r}, kind='workers', variant='accumulate').items()}}, {str(tmp_path/'end.pth')!r})
"""
    subprocess.run([sys.executable, '-c', code], check=True, timeout=120)
    assert not differences(everything(run), torch.load(tmp_path/'end.pth', weights_only=False))

# ---- batches are left out by their numbers

class Accessed(torch.utils.data.Dataset):
    def __init__(self, n): self.n,self.got = n,[]
    def __len__(self): return self.n
    def __getitem__(self, i):
        self.got.append(i)
        return torch.tensor([i])


@pytest.mark.parametrize('order', ['sequential', 'random', 'default', 'infinite', 'infinite in order'])
def test_a_million_batches_are_left_out_in_a_second_and_none_is_fetched(order):
    n,size = 2_000_100,2
    data = Accessed(n if 'infinite' not in order else 50_000)
    if 'infinite' in order: size = 32
    samplers = dict(sequential=SequentialSampler, random=lambda d: RandomSampler(d, generator=torch.Generator().manual_seed(1)),
                    default=lambda d: DefaultSampler(d, seed=1), infinite=lambda d: InfiniteSampler(d, seed=1))
    sampler = samplers.get(order, lambda d: InfiniteSampler(d, shuffle=False))(data)
    b = Batches(DataLoader(data, size, sampler=sampler))
    b.take()
    b.release()
    state = b.state_dict() | dict(taken=1_000_000)
    spent = []
    for _ in range(3):
        data.got.clear()
        start,again = process_time(),Batches(b.loader) # the work of this process: a clock on the wall runs for others too
        again.load_state_dict(state)
        again.take()
        spent.append(process_time()-start)
        assert len(data.got) == size
    assert min(spent) < 1 # with the drawing of the order


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 40), size=st.integers(1, 9), drop=st.booleans(), used=st.integers(0, 12), seed=st.integers(0, 99),
       kind=st.sampled_from(['random', 'sequential', 'default', 'infinite', 'list', 'numbers']))
def test_what_is_left_of_an_order_is_its_end(n, size, drop, used, seed, kind):
    def order():
        g,data = torch.Generator().manual_seed(seed),range(n)
        o = dict(random=lambda: RandomSampler(data, generator=g), sequential=lambda: SequentialSampler(data), default=lambda: DefaultSampler(data, seed=seed),
                 infinite=lambda: InfiniteSampler(data, seed=seed), list=lambda: [[1, 2], [3]]*n, numbers=lambda: RandomSampler(data, generator=g))[kind]()
        return o if kind in ('list', 'numbers') else BatchSampler(o, size, drop)
    def take(it): return [next(it, None) for _ in range(100)]
    assert take(rest_of_order(order(), used))[:80] == take(iter(order()))[used:used+80]

# ---- what differs is told

def told(path, **given):
    run = make(**given)
    run.resume(path)
    return '\n'.join(o.text for o in run.logger.recent)


@pytest.fixture(scope='module')
def middle(tmp_path_factory):
    run = make(variant='schedules')
    run.run_until(iter=7)
    return run.save_checkpoint(tmp_path_factory.mktemp('middle'), 'middle.pth')


class Slow(IterableDataset):
    def __iter__(self): return iter(DATA)
    def __len__(self): return N


OTHERS = {
    'another batch size': (dict(train_dataloader=DataLoader(DATA, 4)), 'a pass had 5 batches and has 10 now, so the pass that was begun is begun again'),
    'as many batches of another size': (dict(train_dataloader=DataLoader(TensorDataset(x[:20], DATA.tensors[1][:20]), 4)), 'batch size was 8 and is 4 here'),
    'another sampler': (dict(train_dataloader=DataLoader(DATA, SIZE)),
                        'came from DataLoader, BatchSampler, RandomSampler, and comes from DataLoader, BatchSampler, SequentialSampler here'),
    'a stream': (dict(train_dataloader=DataLoader(Slow(), SIZE)), '2 batches are fetched and thrown away'),
    'workers': (dict(train_dataloader=DataLoader(DATA, SIZE, shuffle=True, num_workers=1)),
                'there were 0 workers and there are 1. The order of samples is the same'),
    'a seed': (dict(seed=8), 'had seed=7, and this one has seed=8: the random generators of the file go on, so it has no effect'),
    'another loop': (dict(max_epochs=None, max_iters=20), 'its loop was of type EpochBasedTrainLoop, and this one is of type IterBasedTrainLoop'),
    'no validation': (dict(val_dataloader=None, metrics=None), ''),
}

@pytest.mark.parametrize('what', OTHERS)
def test_what_will_differ_is_said_clearly(middle, what):
    changes,text = OTHERS[what]
    given = dict(train_dataloader=loader('shuffled'), val_dataloader=DataLoader(DATA, 16), loss_fn=F.cross_entropy,
                 metrics={'accuracy': accuracy}, max_epochs=2, seed=7, log_level='WARNING', param_scheduler=SCHEDULES)
    model = net()
    run = Runner(model, optimizer=torch.optim.Adam(model.parameters(), lr=.05), **given | changes)
    run.resume(middle)
    said = '\n'.join(o.text for o in run.logger.recent)
    assert text in said, said
    if what == 'workers': assert 'cannot go on from the very place' not in said
    run.train()
    assert run.iter >= 10


@pytest.mark.parametrize('hooks,off,says', [([dict(type='EMAHook')], False, False), ([], False, True), ([dict(type='EMAHook')], True, True)])
def test_that_a_run_goes_on_from_an_average_is_said_where_no_hook_puts_the_weights_back(tmp_path, hooks, off, says):
    run = make(variant='average')
    run.run_until(iter=4)
    path = run.save_checkpoint(tmp_path, 'a.pth')
    again = make(custom_hooks=hooks, log_level='WARNING')
    if off: again.hooks['EMAHook'].off()
    again.resume(path)
    assert ('training goes on from the average' in '\n'.join(o.text for o in again.logger.recent)) is says
    trained = all(torch.equal(a, b) for a,b in zip(run.model.parameters(), again.model.parameters()))
    assert trained is not says


def test_a_learning_rate_that_was_changed_is_told_and_the_saved_one_wins(tmp_path):
    def run_with(lr, **given):
        model = net()
        optim = torch.optim.SGD(model.parameters(), lr=lr, weight_decay=lr/10)
        return Runner(model, train_dataloader=loader('shuffled'), loss_fn=F.cross_entropy, optimizer=optim, max_epochs=2, seed=7, log_level='WARNING', **given)
    run = run_with(.1)
    run.step('iter', 3)
    path = run.save_checkpoint(tmp_path, 'a.pth')
    again = run_with(.2)
    again.resume(path)
    said = '\n'.join(o.text for o in again.logger.recent)
    assert 'lr of parameter group 0 was 0.1 and is 0.2 here. What was saved goes on' in said and 'weight_decay of parameter group 0' in said
    assert again.optimizer.param_groups[0]['lr'] == .1
    same = run_with(.1)
    same.resume(path)
    assert not [o for o in same.logger.recent if 'was saved' in o.text]


def test_a_schedule_that_was_changed_is_told(middle, tmp_path):
    changed = [SCHEDULES[0] | dict(gamma=.1), SCHEDULES[1]]
    with pytest.warns(UserWarning, match='StepLR was saved with gamma=0.5, and goes on with gamma=0.1 from the present value'):
        told(middle, variant='schedules', param_scheduler=changed)
    def with_torch(gamma):
        model = net()
        optim = torch.optim.SGD(model.parameters(), lr=.1)
        return Runner(model, train_dataloader=loader('shuffled'), loss_fn=F.cross_entropy, optimizer=optim, max_epochs=3, seed=7, log_level='WARNING',
                      param_scheduler=torch.optim.lr_scheduler.StepLR(optim, 1, gamma=gamma))
    run = with_torch(.5)
    run.step('epoch')
    again = with_torch(.1)
    again.resume(run.save_checkpoint(tmp_path, 'a.pth'))
    assert any('StepLR had gamma=0.5, and has gamma=0.1 here. What was saved goes on' in o.text for o in again.logger.recent)

# ---- what cannot be exact

class Augmented(torch.utils.data.Dataset):
    "Noise from the generator of whoever fetches, or from the number of the sample alone"
    def __init__(self, by_number): self.by_number = by_number
    def __len__(self): return N
    def __getitem__(self, i):
        g = torch.Generator().manual_seed(i) if self.by_number else None
        return torch.cat([x[i, :1], x[i, 1:] + .1*torch.randn(3, generator=g)]), DATA[i][1]


@pytest.mark.parametrize('kind,by_number,exact', [('shuffled', False, True), ('infinite', False, True), ('workers', True, True), ('workers', False, False)])
def test_augmentation_is_the_same_unless_workers_draw_it(tmp_path, kind, by_number, exact):
    given = dict(kind=kind, data=Augmented(by_number))
    run = make(**given)
    run.step('iter', 3)
    path = run.save_checkpoint(tmp_path, 'a.pth')
    run.train()
    again = goes_on(path, **given)
    found = differences(everything(run), again)
    assert bool(found) is not exact
    samples = lambda lines: [o.partition(']')[0] for o in lines]
    theirs = sorted((k for k in again if '.diary' in k), key=lambda k: int(k.split('.')[-1]))
    assert samples(run.hooks['Diary'].hook.lines) == samples(again[k] for k in theirs)


@pytest.mark.parametrize('part', ['generators', 'optimizer', 'param_schedulers', 'hooks', 'place', 'message_hub'])
def test_without_any_of_its_parts_a_file_is_not_enough(tmp_path, part):
    run = make(variant='schedules')
    run.step('iter', 3)
    data = load_file(run.save_checkpoint(tmp_path, 'a.pth'))
    del data[part]
    save_file(tmp_path/'b.pth', data)
    run.train()
    assert differences(everything(run), goes_on(tmp_path/'b.pth', variant='schedules'))
