"Every hook, at every line of two epochs with validation: off, on, moved, replaced, without harm."
import random

import pytest
import torch
from torch.utils.data import DataLoader

from interactive_runner.hooks.buffers import EmptyCacheHook, SyncBuffersHook
from interactive_runner.hooks.cumulative import Fp16OptimizerHook, GradientCumulativeOptimizerHook
from interactive_runner.hooks.ema import EMAHook
from interactive_runner.hooks.optim import OptimizerHook
from interactive_runner.hooks.profiler import ProfilerHook
from interactive_runner.hooks.sampler import DistSamplerSeedHook
from interactive_runner.hooks.stopping import CheckInvalidLossHook, EarlyStoppingHook
from interactive_runner.hooks.study import ActivationStatsHook, GradientFlowHook, MemoryHook, ThroughputHook, UpdateRatioHook
from test_runner import data, runner, state


class EMA:
    "Validates with averaged weights: swaps them in before a validation, and the run's own back after it"
    def __init__(self): self.mean,self.own = None,None
    def after_train_iter(self, runner):
        now = [p.detach().clone() for p in runner.model.parameters()]
        self.mean = now if self.mean is None else [.9*m + .1*p for m,p in zip(self.mean, now)]
    def before_val(self, runner): self._put(runner, self.mean)
    def after_val(self, runner): self._put(runner, None)
    @torch.no_grad()
    def _put(self, runner, mean):
        "Put `mean` in place, or what was there before it"
        params = list(runner.model.parameters())
        assert (mean is None) == (self.own is not None), 'swapped in twice, or out without having been in'
        new = self.own if mean is None else mean
        self.own = None if mean is None else [p.detach().clone() for p in params]
        for p,v in zip(params, new): p.copy_(v)


def make(*hooks):
    run = runner(train_dataloader=DataLoader(data(24), 12, shuffle=True), val_dataloader=DataLoader(data(10), 5), max_epochs=2, custom_hooks=hooks or [EMA()])
    run.said = []
    run.hooks.say = run.player.say = run.guard.say = run.said.append
    return run


def lines():
    "How many lines the run has"
    run,n = make(),0
    while run.status != 'done': run.step('line'); n += 1
    return n


N,WEIGHTS = lines(),state
STRAIGHT = make()
STRAIGHT.train()
HOOKS = [r.name for r in STRAIGHT.hooks.rows]


def check(run, weights=True):
    assert run.status == 'done' and not run.hooks.waiting
    if 'EMA' in run.hooks: assert run.hooks['EMA'].hook.own is None
    assert not [o for o in run.said if 'replaced' not in o], run.said
    if weights: assert all(torch.equal(a, b) for a,b in zip(run.model.parameters(), STRAIGHT.model.parameters()))


def off_and_on(run, row, n):
    row.off()
    run.step('line', min(n % 7 + 1, N-1-n))
    row.on()

CHANGES = {'switched off, and on at a later line': off_and_on, 'switched off for good': lambda run, row, n: row.off(),
           'moved to the other end': lambda run, row, n: setattr(row, 'priority', 100 if row.priority < 50 else 0)}

@pytest.mark.parametrize('change', CHANGES)
@pytest.mark.parametrize('name', HOOKS)
def test_a_hook_changed_at_any_line_leaves_the_run_as_it_was_and_nothing_behind(name, change):
    for n in range(1, N-1):
        run = make()
        run.step('line', n)
        CHANGES[change](run, run.hooks[name], n)
        run.train()
        check(run)


@pytest.mark.parametrize('name', HOOKS)
def test_a_hook_replaced_or_removed_at_any_single_call_does_its_job_or_is_gone(name):
    for n in range(1, N-1, 3):
        run = make()
        run.step('hook', n)
        hook = run.hooks[name].hook
        run.register_hook(hook, name=name)
        run.step('hook', 5)
        if name != 'EMA': run.hooks.remove(name)
        run.train()
        check(run)
        assert (name in run.hooks) == (name == 'EMA')


MORE = {'EMAHook': lambda: EMAHook(momentum=.1), 'EarlyStoppingHook': lambda: EarlyStoppingHook('loss', patience=9), 'SyncBuffersHook': SyncBuffersHook,
        'DistSamplerSeedHook': DistSamplerSeedHook,
        'EmptyCacheHook': lambda: EmptyCacheHook(True, True, True), 'CheckInvalidLossHook': lambda: CheckInvalidLossHook(1),
        'ProfilerHook': lambda: ProfilerHook(profile_times=2), 'GradientFlowHook': lambda: GradientFlowHook(2),
        'ActivationStatsHook': lambda: ActivationStatsHook(interval=2), 'UpdateRatioHook': lambda: UpdateRatioHook(2),
        'MemoryHook': lambda: MemoryHook(2), 'ThroughputHook': lambda: ThroughputHook(2)}

def nothing_left(run):
    "No weights swapped, no forward hooks, no copies, no profiler"
    assert not torch.autograd._profiler_enabled() and not any(m._forward_hooks for m in run.model.modules())
    for o in run.hooks: assert not (getattr(o, '_own', None) or getattr(o, '_before', None) or getattr(o, '_handles', None) or getattr(o, '_profile', None))

@pytest.mark.parametrize('name', MORE)
def test_each_further_hook_off_and_on_moved_or_removed_leaves_the_weights_as_they_were_and_nothing_behind(name):
    changes = [*CHANGES.values(), lambda run, row, n: run.hooks.remove(row.name), lambda run, row, n: run.register_hook(MORE[name]())]
    for n in range(1, N-1, 3):
        run = make(MORE[name]())
        run.step('line', n)
        changes[n//3 % len(changes)](run, run.hooks[name], n)
        run.train()
        check(run)
        nothing_left(run)

@pytest.mark.parametrize('seed', range(12))
def test_all_of_them_switched_moved_and_stepped_at_random_leave_the_weights_as_they_were_and_nothing_behind(seed):
    draw,run = random.Random(seed),make(*(o() for o in MORE.values()))
    while run.status != 'done':
        row,what = run.hooks[draw.choice(list(MORE))],draw.choice(['on', 'off', 'move', 'set'])
        if what in ('on', 'off'): getattr(row, what)()
        if what == 'move': row.priority = draw.randrange(101)
        if what == 'set' and hasattr(row.hook, 'interval'): row.set(interval=draw.randint(1, 4))
        run.step(draw.choice(['hook', 'line']), draw.randint(1, 9))
    check(run)
    nothing_left(run)

@pytest.mark.parametrize('seed', range(6))
def test_a_run_stopped_at_random_with_all_of_them_leaves_nothing_behind(seed):
    draw,run = random.Random(seed),make(*(o() for o in MORE.values()))
    run.step('hook', draw.randint(1, 150))
    if draw.random() < .5: run.hooks[draw.choice(list(MORE))].off()
    run.stop()
    nothing_left(run)


OPTIM = {'OptimizerHook': OptimizerHook, 'Fp16OptimizerHook': Fp16OptimizerHook,
         'GradientCumulativeOptimizerHook': lambda: GradientCumulativeOptimizerHook(2)}

def watched(name):
    "A run with that optimizer hook, the iterations with a step, and those that ended while it was on"
    run,steps,on = make(OPTIM[name]()),[],[]
    run.optimizer.register_step_post_hook(lambda *args: steps.append(run.iter))
    run.on('after_train_iter', priority=0, name='look')(lambda runner: on.append(runner.iter) if runner.hooks[name].enabled else None)
    return run,steps,on

@pytest.mark.parametrize('name', OPTIM)
def test_an_optimizer_hook_switched_at_any_line_steps_in_the_iterations_that_end_while_it_is_on(name):
    for n in range(1, N-1, 2):
        run,steps,on = watched(name)
        run.step('line', n)
        run.hooks[name].off()
        run.step('line', 9)
        run.hooks[name].on()
        run.train()
        assert steps == [i for i in on if name != 'GradientCumulativeOptimizerHook' or i % 2] and not run.hooks.waiting

@pytest.mark.parametrize('seed', range(6))
def test_an_average_switched_at_random_lines_is_that_of_the_iterations_that_ended_while_it_was_on(seed):
    draw,run,means = random.Random(seed),make(EMAHook(momentum=.1)),[]
    row = run.hooks['EMAHook']
    @run.on('after_train_iter', priority=49, name='by hand')
    def follow(runner):
        if not row.enabled: return
        now = [p.detach().clone() for p in runner.model.parameters()]
        means.append([a.lerp(b, .1) for a,b in zip(means[-1], now)] if means else now)
    while run.status != 'done':
        draw.choice([row.on, row.off])()
        run.step('line', draw.randint(1, 9))
    row.on()
    run.train(epochs=1)
    check(run, weights=False)
    assert 2 <= len(means) == int(row.hook.ema_model.steps) and all(map(torch.equal, row.hook.ema_model.module.parameters(), means[-1]))

@pytest.mark.parametrize('seed', range(4))
def test_early_stopping_switched_at_random_lines_counts_the_validations_that_ended_while_it_was_on(seed):
    draw,run,on = random.Random(seed),make(EarlyStoppingHook('loss', patience=99, min_delta=1e9)),[]
    row = run.hooks['EarlyStoppingHook']
    run.on('after_val_epoch', priority=0, name='look')(lambda runner: on.append(row.enabled))
    run.train_loop.max_epochs = 5
    while run.status != 'done':
        draw.choice([row.on, row.off])()
        run.step('line', draw.randint(1, 9))
    assert len(on) == 5 and row.hook.wait_count == max(sum(on)-1, 0) # the first is the best


def values(run, key): return list(run.message_hub.get_scalar(key).data[0])


def test_runtime_info_that_is_off_writes_nothing_and_goes_on_with_the_iteration_it_comes_into():
    run = make()
    run.run_until(iter=1, stage='fetch')
    run.hooks['RuntimeInfoHook'].off()
    run.run_until(iter=3, stage='backward')
    run.hooks['RuntimeInfoHook'].on()
    run.train()
    loss,straight = values(run, 'train/loss'),values(STRAIGHT, 'train/loss')
    assert loss == [straight[0], *straight[3:]] and len(straight) == 4


def test_runtime_info_behind_the_logger_lets_lines_speak_of_the_iterations_before():
    run,seen = make(),[]
    run.hooks['RuntimeInfoHook'].move(after='LoggerHook')
    run.on('after_train_iter', priority='NORMAL', name='reads')(lambda runner: seen.append(len(runner.message_hub.log_scalars.get('train/loss', ()))))
    run.train()
    assert seen == [0, 1, 2, 3]


def test_a_timer_that_comes_back_times_the_first_iteration_from_there():
    run,now = make(),[0.]
    run.player.clock = lambda: now[0]
    run.hooks['IterTimerHook'].off()
    run.run_until(iter=1, stage='fetch')
    now[0] += 100
    run.hooks['IterTimerHook'].on()
    for _ in range(2):
        run.run_until(stage='backward')
        now[0] += 1
        run.step('iter')
    assert values(run, 'train/time') == [1, 1] and values(run, 'train/data_time') == [0, 0]


def test_a_logger_that_comes_back_speaks_of_its_whole_window():
    run,lines = runner(max_epochs=3),[]
    run.hooks['LoggerHook'].hook.interval = 2
    run.logger.info = lambda text: lines.append(text) if 'Epoch(' in text else None
    run.hooks['LoggerHook'].off()
    run.run_until(iter=3, stage='fetch')
    run.hooks['LoggerHook'].on()
    run.run_until(iter=4, stage='fetch')
    mean = sum(values(run, 'train/loss'))/4
    assert len(lines) == 1 and f'loss: {mean:.4f}' in lines[0]


def test_a_logger_before_a_hook_that_writes_shows_the_number_of_the_iteration_before():
    run,lines = make(),[]
    class Writes:
        def after_train_iter(self, runner): runner.message_hub.update_scalar('train/mine', runner.iter)
    run.register_hook(Writes(), priority=100)
    run.hooks['LoggerHook'].hook.interval = 1
    run.logger.info = lambda text: lines.append(text) if 'Epoch(' in text else None
    run.run_until(iter=2, stage='fetch')
    assert 'mine' not in lines[0] and 'mine: 0.0000' in lines[1]

