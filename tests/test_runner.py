"The runner: exactness of any schedule, both loop kinds, data of unknown length, logs, and bad input"
import asyncio
import json
import random
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from interactive_runner import DataLoop, IterTimerHook, MessageHub, Runner, accuracy, commits


def net(): return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(.3), nn.ReLU(), nn.Linear(8, 2))


def data(n=52):
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(3))
    return TensorDataset(x, (x.sum(1) > 0).long())


def runner(make=net, **given):
    torch.manual_seed(0)
    model = make()
    many = dict(shuffle=True, num_workers=given.pop('workers', 0))
    parts = dict(train_dataloader=DataLoader(data(), 12, drop_last=True, **many), val_dataloader=DataLoader(data(20), 8, **many),
                 loss_fn=F.cross_entropy, optimizer=torch.optim.Adam(model.parameters(), lr=.02), metrics={'accuracy': accuracy},
                 seed=7, log_level='ERROR')
    if 'max_iters' not in given and 'train_loop' not in given: parts['max_epochs'] = 3
    return Runner(model, **parts | given)


class Order:
    "Notes which samples came, in their order"
    def __init__(self): self.came = []
    def after_train_iter(self, runner, data_batch): self.came.append(data_batch[0].sum())
    def after_val_iter(self, runner, data_batch): self.came.append(-data_batch[0].sum())


def state(run):
    "Weights, buffers, optimizer state, samples in their order, and logged values, times aside"
    opt = [v for s in run.optimizer.state_dict()['state'].values() for v in s.values()]
    logs = {k: torch.tensor(b.data[0]) for k,b in run.message_hub.log_scalars.items() if not k.endswith('time')}
    came = run.hooks['Order'].hook.came if 'Order' in run.hooks else []
    return [*run.model.state_dict().values(), *opt, *came], logs


def same(a, b):
    (ta,la),(tb,lb) = state(a),state(b)
    assert len(ta) == len(tb) and all(torch.equal(x, y) for x,y in zip(ta, tb))
    assert list(la) == list(lb) and all(torch.equal(la[k], lb[k]) for k in la)


ITERS = dict(max_iters=14, val_interval=5)
KINDS = {'epochs': dict(), 'iterations': ITERS, 'epochs, accumulated': dict(accumulate=3), 'iterations, accumulated': dict(accumulate=3, **ITERS)}
KINDS |= {f'{k}, workers': dict(workers=2, **v) for k,v in KINDS.items()}

@cache
def straight(kind):
    run = runner(**KINDS[kind], custom_hooks=[Order()])
    run.train()
    return run

WHATS = ['hook', 'line', 'iter', 'epoch', 'play', 'lose', 'val', 'cell', 'on or off', 'move']
READING = ['LoggerHook', 'IterTimerHook', 'ProgressHook', 'Idle']
moves = st.lists(st.tuples(st.sampled_from(WHATS), st.integers(1, 12)), max_size=12)

class Idle:
    "Brackets everything and reads"
    def before_train_iter(self, runner): self.at = runner.iter
    def after_train_iter(self, runner): self.got = runner.outputs
    def before_val(self, runner): pass
    def after_val(self, runner): pass


def mischief(run, n):
    "What a cell may do to a paused run without meaning it"
    torch.rand(n), random.random(), np.random.seed(n), run.model.eval(), next(iter(run.train_dataloader))
    torch.set_grad_enabled(False)
    with torch.no_grad(): run.model(torch.zeros(2, 4))


@pytest.fixture(autouse=True)
def gradients_on():
    yield
    torch.set_grad_enabled(True)


def change(run, what, n):
    "A change of the table that concerns only a hook that reads"
    row = run.hooks[READING[n % 4]]
    if what == 'move': row.priority = 8*n
    elif row.enabled and not row.waiting: row.off()
    else: row.on()


async def follow(run, schedule):
    "Do what `schedule` says, then play to the end"
    for what,n in schedule:
        if run.status == 'done': return
        if what == 'play':
            run.player.play(run.player.until('line', n))
            for _ in range(n): await asyncio.sleep(0)
            run.pause()
        elif what == 'lose' and not run.player.cursor.ran: run.player.gen = None
        elif what == 'cell': mischief(run, n)
        elif what == 'val' and run.player.gen is not None: run.val()
        elif what in ('on or off', 'move'): change(run, what, n)
        elif what in ('hook', 'line', 'iter', 'epoch'): run.step(what, n)
    if run.status != 'done': await run.play()


@pytest.mark.parametrize('kind', [k for k in KINDS if 'workers' not in k])
@settings(max_examples=60, deadline=None)
@given(schedule=moves)
def test_any_schedule_of_steps_pauses_and_changes_gives_the_run_that_nobody_touched(kind, schedule):
    run = runner(**KINDS[kind], custom_hooks=[Order(), Idle()])
    asyncio.run(follow(run, schedule))
    same(run, straight(kind))


@pytest.mark.parametrize('kind', [k for k in KINDS if 'workers' in k])
@settings(max_examples=8, deadline=None)
@given(schedule=moves)
def test_so_it_is_with_worker_processes(kind, schedule):
    run = runner(**KINDS[kind], custom_hooks=[Order(), Idle()])
    asyncio.run(follow(run, schedule))
    same(run, straight(kind))


def test_a_hook_off_for_a_while_and_others_swapped_change_nothing_that_they_only_read():
    run = runner(custom_hooks=[Order()])
    run.step('iter', 3)
    run.hooks['LoggerHook'].off()
    run.hooks['IterTimerHook'].priority = 60
    run.step('line', 15)
    run.hooks['LoggerHook'].on()
    run.train()
    same(run, straight('epochs'))


def test_an_iteration_that_fails_in_forward_is_begun_again_with_the_same_batch():
    seen = []
    class Fails(nn.Linear):
        bad = True
        def forward(self, x):
            seen.append(x)
            if self.bad and len(seen) == 3: raise RuntimeError('out of luck')
            return super().forward(x)
    run = runner(lambda: Fails(4, 2), val_dataloader=None, metrics=None)
    with pytest.raises(RuntimeError, match='out of luck') as e: run.train()
    assert 'in forward, epoch 0, iter 2' in e.value.__notes__
    run.model.bad = False
    run.train()
    assert torch.equal(seen[2], seen[3]) and len(seen) == 13
    straight = runner(lambda: nn.Linear(4, 2), val_dataloader=None, metrics=None)
    straight.train()
    assert torch.equal(run.model.weight, straight.model.weight)


def test_more_epochs_follow_a_finished_run():
    run = runner()
    run.train()
    run.train()
    assert run.epoch == 3
    run.train(epochs=2)
    assert (run.epoch, run.status, len(run.message_hub.get_scalar('val/accuracy'))) == (5, 'done', 5)


class Stream(IterableDataset):
    def __iter__(self): return iter([(x, y) for x,y in data(30)])


@pytest.mark.parametrize('given,iters', [(dict(max_epochs=2), 6), (dict(max_iters=7), 7)])
def test_a_stream_of_unknown_length_is_trained_on_by_epochs_and_by_iterations(given, iters):
    run = runner(train_dataloader=DataLoader(Stream(), 12), **given)
    lines = []
    run.logger.info = lambda text: lines.append(text) if '(train)' in text else None
    run.hooks['LoggerHook'].hook.interval = 2
    run.train()
    assert run.iter == iters
    assert ('[1][2/?]' in lines[0]) == ('max_epochs' in given)


def test_gradients_of_accumulated_iterations_make_one_step_and_the_last_cycle_is_stepped_too():
    steps = []
    run = runner(accumulate=3)
    run.on('after_optim_step')(lambda runner: steps.append(runner.iter))
    run.train()
    assert steps == [2, 5, 8, 11]


def test_hooks_written_for_mmengine_and_mmcv_run_as_they_are():
    got = {}
    class Base:
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None): got['empty'] = True
    Base.__name__ = 'Hook'
    class MMEngine(Base):
        def after_val_epoch(self, runner, metrics=None): got['accuracy'] = metrics['accuracy']
        def _before_iter(self, runner, batch_idx, data_batch=None, mode='train'): got.setdefault(mode, batch_idx)
    class MMCV(Base):
        def after_train_iter(self, runner): got['loss'],got['inner'] = runner.outputs['loss'].item(),runner.inner_iter
    run = runner(custom_hooks=[MMEngine(), MMCV()])
    run.train()
    assert set(got) == {'accuracy', 'train', 'val', 'loss', 'inner'} and got['inner'] == 3


def test_inside_forward_the_current_hub_is_that_of_the_run_that_is_advancing():
    class Tells(nn.Linear):
        def forward(self, x):
            MessageHub.get_current_instance().update_scalar('train/size', len(x))
            return super().forward(x)
    a,b = (runner(lambda: Tells(4, 2), val_dataloader=None, metrics=None) for _ in 'ab')
    a.step('iter', 2); b.step('iter', 1); a.step('iter', 1)
    assert [len(o.message_hub.get_scalar('train/size')) for o in (a, b)] == [3, 1]


def test_files_are_written_only_below_the_work_dir_and_only_when_there_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner().train()
    assert not list(tmp_path.iterdir())
    run = runner(work_dir=tmp_path/'w', log_level='INFO')
    run.hooks['LoggerHook'].hook.interval = 2
    run.train()
    log,scalars = next(run.log_dir.glob('*.log')).read_text(),(run.log_dir/'vis_data'/'scalars.json').read_text()
    assert 'Epoch(train) [3][4/4]' in log and 'accuracy' in log
    assert {'loss', 'lr', 'step', 'iter'} <= set(json.loads(scalars.splitlines()[0]))


def test_a_look_aside_at_the_validation_leaves_no_trace():
    run = runner()
    run.run_until(stage='backward', iter=2)
    run.model.eval()
    metrics,calls = run.val(),run.hooks['LoggerHook'].calls
    assert 'accuracy' in metrics and run.hooks['LoggerHook'].calls == calls and not run.model.training
    assert (run.status, run.position.line) == ('paused', 'backward')


def test_a_loop_of_ones_own_gets_stages_stepping_and_logs():
    class Pairs(DataLoop):
        by_epoch,max_iters,max_epochs = False,6,1
        def run(self):
            while self.iter < self.max_iters:
                yield self.fetch
                yield 'before_pair'
                yield self.think
                yield 'after_pair'
                yield 'after_train_iter'
                yield self.commit
        def think(self): self.outputs = {'mean': self.data_batch.mean()}
        @commits('iter')
        def commit(self):
            self.iter += 1
            self.end_iter()
            if not self.has_batches: self.end_pass()
    run = Runner(nn.Linear(1, 1), train_loop=Pairs(None, DataLoader(torch.arange(8.), 2)), log_level='ERROR')
    seen = []
    run.on('after_pair')(lambda outputs: seen.append(float(outputs['mean'])))
    assert run.step('line', 3).line == 'think'
    run.train()
    assert seen == [.5, 2.5, 4.5, 6.5, .5, 2.5]
    assert len(run.message_hub.get_scalar('train/mean')) == 6


BAD = {
    'a loss_fn that gives no scalar': (dict(loss_fn=lambda pred, y: pred), TypeError, r'a tensor of shape \(12, 2\); it must return'),
    'a model without a loss': (dict(loss_fn=None), TypeError, 'Give the runner a loss_fn|takes .* positional'),
    'no optimizer': (dict(optimizer=None), RuntimeError, 'needs an optimizer='),
    'an optimizer by name': (dict(optimizer='Adam'), TypeError, 'Pass a torch optimizer object'),
    'no end': (dict(max_epochs=None), RuntimeError, 'how long to train'),
    'two ends': (dict(max_epochs=1, max_iters=2), ValueError, 'exclude each other'),
    'half an epoch': (dict(max_epochs=.5), ValueError, 'must be 1, 2, ..., got 0.5'),
    'a loader that is none': (dict(train_dataloader=3), TypeError, 'must be iterable, got 3'),
    'metrics that are numbers': (dict(metrics={'acc': 1}), TypeError, "a metric must be a BaseMetric.*got under 'acc' 1 .int"),
    'a loss_fn that is none': (dict(loss_fn=3), TypeError, 'loss_fn must be callable'),
    'a default hook once more': (dict(custom_hooks=[IterTimerHook()]), ValueError, "two hooks are called 'IterTimerHook'. Change a default hook"),
    'a default hook that is not there': (dict(default_hooks={'loger': None}), KeyError, "Did you mean 'logger'"),
    'a class for a hook': (dict(custom_hooks=[dict]), (TypeError, ValueError), 'register an object of it'),
}


@pytest.mark.parametrize('what', BAD)
def test_bad_input_is_refused_with_what_was_got_and_what_to_do(what):
    given,error,text = BAD[what]
    with pytest.raises(error, match=text): runner(**given).train()


CALLS = {
    'an unknown step': (lambda r: r.step('foo'), ValueError, "cannot step 'foo'.*hook, line, iter, epoch"),
    'a priority that is too high': (lambda r: r.register_hook(object(), priority=101), ValueError, 'between 0 .* and 100'),
    'an unknown priority': (lambda r: r.on('after_train_iter', priority='HIHG')(print), KeyError, "Did you mean 'HIGH'"),
    'an unknown hook': (lambda r: r.hooks['LogerHook'], KeyError, "Did you mean 'LoggerHook'"),
    'an unknown stage': (lambda r: r.on('after_bakward'), ValueError, "Did you mean 'after_backward'"),
    'a place that is past': (lambda r: (r.step('iter', 2), r.run_until(iter=1)), ValueError, 'is past: the run stands at iter 2'),
    'an impossible signature': (lambda r: r.on('after_train_iter')(lambda runner, grad: 0), TypeError, 'asks for grad, which no stage gives'),
    'a test without data': (lambda r: r.test(), RuntimeError, 'needs a test_dataloader='),
    'iterations in a run by epochs': (lambda r: r.train(iters=3), ValueError, 'counted by epochs='),
}


@pytest.mark.parametrize('what', CALLS)
def test_a_call_that_cannot_work_is_refused_and_the_run_loses_nothing(what):
    call,error,text = CALLS[what]
    run = runner(custom_hooks=[Order()])
    with pytest.raises(error, match=text): call(run)
    run.train()
    same(run, straight('epochs'))


def test_a_finished_run_says_so_and_no_hook_is_called_again():
    run,calls = runner(),[]
    run.on('before_run')(lambda runner: calls.append('before_run'))
    run.train()
    run.step('line')
    run.run_until(epoch=9)
    asyncio.run(wait_for(run))
    assert calls == ['before_run'] and run.status == 'done'


async def wait_for(run): return await run.play()


def test_running_the_cell_of_a_hook_again_keeps_the_place_that_a_person_gave_it():
    run = runner()
    for priority in (None, None, 20):
        run.on('after_train_iter', priority=priority, name='mine')(lambda runner: None)
        if priority is None: run.hooks['mine'].priority = 80
    assert run.hooks['mine'].priority == 20
    run.hooks['mine'].priority = 80
    run.on('after_train_iter', priority=20, name='mine')(lambda runner: None)
    assert run.hooks['mine'].priority == 80


class Once(Exception): pass


def failing(run, line, iters):
    "Make the work `line` of `run` raise once, after it was done, in each of the iterations `iters`"
    loop,left = run.train_loop,set(iters)
    work = getattr(loop, line)
    def broken():
        work()
        if loop.iter in left:
            left.discard(loop.iter)
            raise Once
    broken.__name__ = line
    setattr(loop, line, broken)


@pytest.mark.parametrize('kind', [k for k in KINDS if 'workers' not in k])
@pytest.mark.parametrize('line', ['zero_grad', 'forward', 'backward'])
def test_work_that_raises_once_half_done_leaves_no_trace_after_a_retry(kind, line):
    run = runner(**KINDS[kind], custom_hooks=[Order()])
    failing(run, line, {1, 4, 5, 11})
    for _ in range(4):
        with pytest.raises(Once): run.train()
        assert run.status == 'error' and run.position.line == line
    run.train()
    same(run, straight(kind))


class FailsOnce(TensorDataset):
    "Data of which item 17 cannot be read the first time, by whichever process"
    def __init__(self, flag): super().__init__(*data().tensors); self.flag = flag
    def __getitem__(self, i):
        if i == 17 and not self.flag.exists():
            self.flag.touch()
            raise OSError('the disk is away')
        torch.rand(1) # as augmentation does
        return super().__getitem__(i)


@pytest.mark.parametrize('own', [False, True])
@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('kind', ['epochs', 'iterations'])
def test_a_batch_that_cannot_be_fetched_is_fetched_again_and_the_rest_of_the_epoch_is_as_it_would_have_been(kind, workers, own, tmp_path):
    def run(flag):
        given = dict(generator=torch.Generator().manual_seed(5)) if own else {}
        return runner(train_dataloader=DataLoader(FailsOnce(flag), 12, shuffle=True, drop_last=True, num_workers=workers, **given), **KINDS[kind])
    (tmp_path/'good').touch()
    good,failing = run(tmp_path/'good'),run(tmp_path/'bad')
    good.train()
    with pytest.raises(OSError, match='the disk is away') as e: failing.train()
    assert 'in fetch' in e.value.__notes__[0]
    failing.train()
    same(failing, good)
