"Whatever a person does to a run, it stays whole: one test for each way in which it once did not."
import asyncio
import gc
import random
import signal
import threading
import time
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from interactive_runner import Runner
from interactive_runner.player import Position
from test_runner import Order, runner, same, straight


def weights(run): return torch.cat([p.detach().flatten() for p in run.model.parameters()])


def test_a_star_import_leaves_the_names_of_python_alone():
    names = {}
    exec('from interactive_runner import *', names)
    assert 'all' not in names and 'Runner' in names


def test_normal_numbers_of_numpy_are_drawn_by_a_stepped_run_as_by_one_that_is_not():
    def draws(step):
        got,run = [],runner(val_dataloader=None, metrics=None)
        run.on('after_train_iter')(lambda runner: got.append(np.random.randn()))
        while step and run.status != 'done': run.step('line', 3); np.random.randn(5)
        run.train()
        return got
    assert draws(False) == draws(True)


@pytest.mark.parametrize('lines', range(16))
@pytest.mark.parametrize('by', ['epochs', 'iters'])
def test_a_run_that_stands_anywhere_behind_its_last_iteration_can_be_made_longer(by, lines):
    def make(n): return runner(**dict(max_epochs=n) if by == 'epochs' else dict(max_iters=4*n, val_interval=5))
    run,long = make(3),make(5)
    run.run_until(**dict(epoch=3) if by == 'epochs' else dict(iter=12))
    for _ in range(lines):
        if run.status != 'done': run.step('line')
    run.train(**dict(epochs=2) if by == 'epochs' else dict(iters=8))
    long.train()
    assert run.iter == long.iter == 20 and run.status == 'done'
    if by == 'epochs': assert torch.equal(weights(run), weights(long))


def test_after_an_early_stop_one_can_train_on():
    run = runner()
    @run.on('after_val')
    def enough(runner): runner.train_loop.stop_training = runner.epoch == 1
    run.train()
    assert (run.epoch, run.status) == (1, 'done')
    run.train(epochs=2)
    same_as = runner(max_epochs=3)
    same_as.train()
    assert run.epoch == 3 and torch.equal(weights(run), weights(same_as))


@pytest.mark.parametrize('stream', [False, True])
def test_every_gradient_of_an_accumulated_run_is_stepped_once(stream):
    model,seen = nn.Linear(1, 1, bias=False),[]
    batches = [(torch.ones(1, 1), torch.zeros(1)) for _ in range(4)]
    class Loader:
        def __iter__(self): return iter(batches)
        if not stream:
            def __len__(self): return 4
    run = runner(lambda: model, train_dataloader=Loader(), val_dataloader=None, metrics=None, max_epochs=1, accumulate=3,
                 loss_fn=lambda pred, target: pred.sum(), optimizer=torch.optim.SGD(model.parameters(), 1.))
    run.on('before_optim_step')(lambda runner: seen.append(round(3*model.weight.grad.item())))
    run.train()
    run.train(epochs=1)
    assert seen == [3, 3, 3, 3], 'the mean over a cycle, also over one that the end of the run cuts short'


@pytest.mark.parametrize('n', range(1, 30))
def test_a_run_stopped_anywhere_and_trained_on_is_the_run_that_was_not(n):
    run = runner(custom_hooks=[Order()])
    run.step('line', 10+n)
    run.stop()
    assert run.status == 'stopped' and not run.player.cursor.opened
    run.train()
    assert torch.equal(weights(run), weights(straight('epochs')))


def test_a_condition_that_raises_is_named_and_costs_nothing():
    run = runner(custom_hooks=[Order()])
    run.run_until('before_optim_step', iter=2)
    with pytest.raises(KeyError) as e: run.run_until(when=lambda r: r.outputs['acc'] > .9)
    assert 'in the condition on which to stop' in e.value.__notes__[0]
    run.train()
    same(run, straight('epochs'))


def test_a_hook_whose_error_was_caught_is_not_blamed_for_the_next():
    run = runner(custom_hooks=[Order()])
    class Bad:
        def on_thing(self, runner): raise ValueError('caught')
    run.register_hook(Bad())
    run.step('iter')
    with pytest.raises(ValueError, match='caught'): run.call_hook('on_thing')
    forward = run.train_loop.forward
    def once():
        run.train_loop.forward = forward
        torch.rand(3)
        raise OSError('out of luck')
    once.__name__,run.train_loop.forward = 'forward',once
    with pytest.raises(OSError) as e: run.train()
    assert 'in forward, epoch 0, iter 1' in e.value.__notes__[0] and run.player.failed == 'forward'
    run.train()
    same(run, straight('epochs'))


@pytest.mark.parametrize('line', ['forward', 'backward', 'after_train_iter'])
def test_a_hook_that_comes_in_the_middle_of_an_iteration_is_told_of_each_beginning_once(line):
    run,got = runner(),[]
    run.run_until(line, iter=2)
    run.on('before_train_iter')(lambda runner: got.append(runner.iter))
    run.run_until(iter=5)
    assert got == [3, 4]


def test_a_replacement_that_waits_survives_off_and_on():
    run,got = runner(),[]
    def make(tag):
        class Swap:
            def before_train_iter(self, runner): pass
            def after_train_iter(self, runner): got.append(tag)
        return Swap()
    run.register_hook(make('old'), name='Swap')
    run.run_until('forward', iter=1)
    run.register_hook(make('new'), name='Swap')
    run.hooks['Swap'].off()
    run.hooks['Swap'].on()
    run.step('iter', 2)
    assert got == ['old', 'old', 'new']


def test_a_skipped_batch_is_counted_nowhere():
    run,values = runner(),[]
    forward,bad = type(run.val_loop).forward,[0, 2]
    def fails(self):
        if self.done in bad: raise OSError('a bad batch')
        forward(self)
        values.append((self.losses['loss'].item(), len(self.data_batch[0])))
    run.val_loop.forward = fails.__get__(run.val_loop)
    for _ in range(2):
        with pytest.raises(OSError): run.train()
        run.skip()
    run.run_until(epoch=1, stage='commit_val')
    (loss,n), = values
    assert run.val_loop.metrics['loss'] == pytest.approx(loss)


def test_a_buffer_that_forward_exchanges_is_put_back_when_the_iteration_starts_again():
    class Centre(nn.Linear):
        fails = ()
        def __init__(self):
            super().__init__(4, 2)
            self.register_buffer('centre', torch.zeros(2))
            self.calls = 0
        def forward(self, x):
            out = super().forward(x)-self.centre
            self.centre = self.centre*.9 + out.detach().mean(0)
            self.calls += 1
            if self.calls in self.fails: raise OSError('out of luck')
            return out
    good,bad = (runner(Centre, val_dataloader=None, metrics=None) for _ in 'gb')
    bad.model.fails = {2, 4, 7}
    good.train()
    for _ in range(3):
        with pytest.raises(OSError): bad.train()
    bad.train()
    assert torch.equal(good.model.centre, bad.model.centre) and torch.equal(weights(good), weights(bad))


def test_a_hook_that_changes_the_batch_and_draws_is_not_undone_by_a_retry():
    def make(fails):
        run = runner()
        @run.on('before_train_iter')
        def mix(runner):
            x,y = runner.train_loop.data_batch
            runner.train_loop.data_batch = x+torch.randn_like(x),y
        forward,left = run.train_loop.forward,set(fails)
        def work():
            forward()
            if run.iter in left:
                left.discard(run.iter)
                raise OSError
        work.__name__,run.train_loop.forward = 'forward',work
        for _ in fails:
            with pytest.raises(OSError): run.train()
        run.train()
        return run
    same(make(()), make((1, 5, 6)))


def looked_at(what, look, **given):
    "A run on a loader that is `given` more, which a person steps through, looking at the data in between"
    data = TensorDataset(torch.arange(24.)[:, None].repeat(1, 4), torch.arange(24) % 2)
    loader = DataLoader(data, 6, shuffle=True, **given)
    run = runner(**{f'{what}_dataloader': loader}, max_epochs=2, custom_hooks=[Order()])
    for _ in range(6):
        if look:
            run.step('line', 7)
            next(iter(loader))
            run.val()
    run.train()
    return run


@pytest.mark.parametrize('what', ['train', 'val'])
def test_a_look_at_a_loader_with_workers_that_stay_does_not_disturb_the_run(what):
    same(*[looked_at(what, look, num_workers=1, persistent_workers=True) for look in (False, True)])


@pytest.mark.parametrize('what', ['train', 'val'])
def test_a_look_at_a_loader_with_a_generator_of_its_own_does_not_disturb_the_run(what):
    g,untouched = (torch.Generator().manual_seed(3) for _ in range(2))
    quiet = looked_at(what, False, generator=g)
    assert torch.equal(g.get_state(), untouched.get_state()), 'what the run drew is its own affair'
    same(quiet, looked_at(what, True, generator=g))


def test_a_validation_by_hand_tells_its_hooks_of_its_own_batches():
    run,got = runner(),[]
    run.on('after_val_iter')(lambda runner: got.append((runner.inner_iter, len(runner.data_batch[0]), len(runner.outputs) == len(runner.data_batch[0]))))
    assert run.position.line == 'before_run' # a look makes no difference
    run.val()
    assert got == [(0, 8, True), (1, 8, True), (2, 4, True)]


def test_every_second_validation_is_every_second():
    run,got = runner(max_epochs=4),[]
    for stage in ('before_val', 'after_val_epoch', 'after_val'): run.on(stage, every=2, name=stage)(lambda runner, s=stage: got.append((s, runner.epoch)))
    run.train()
    assert got == [(s, e) for e in (2, 4) for s in ('before_val', 'after_val_epoch', 'after_val')]


def test_an_error_that_is_its_own_cause_ends_the_line_and_not_the_kernel():
    run = runner()
    @run.on('after_backward', name='knot')
    def knot(runner):
        e = OSError('a knot')
        raise e from e
    with pytest.raises(OSError, match='a knot'): run.train()
    run.disable()
    run.train()
    assert run.status == 'done'


def test_a_stop_asked_in_the_last_line_of_a_step_is_a_stop():
    run = runner()
    run.on('after_train_iter')(lambda runner: runner.stop())
    run.run_until('commit', iter=0)
    assert run.status == 'stopped'


def test_a_hook_that_pauses_while_the_run_is_being_stopped_does_no_harm():
    run = runner()
    run.on('after_train_epoch')(lambda runner: runner.pause())
    run.step('iter', 2)
    run.stop()
    assert run.status == 'stopped' and run.player.asked is None
    run.hooks['<lambda>'].off()
    run.train()
    assert run.status == 'done'


def test_a_run_trained_on_a_thread_that_has_ended_obeys_again():
    run = runner()
    run.on('after_train_iter')(lambda runner: runner.pause() if runner.iter == 4 else None)
    t = threading.Thread(target=run.train)
    t.start(); t.join()
    assert run.status == 'paused'
    run.stop()
    assert run.status == 'stopped'
    run.train()
    assert run.status == 'done'


def test_an_error_of_a_played_run_is_said_though_nobody_awaits_it():
    async def go():
        run,said = runner(),[]
        run.player.say = said.append
        @run.on('after_backward')
        def bad(runner): raise ValueError('told to nobody')
        run.play()
        while run.status == 'running': await asyncio.sleep(0)
        return run.status,said
    status,said = asyncio.run(go())
    assert status == 'error' and any('told to nobody' in o and 'bad at after_backward' in o for o in said)


def test_hooks_at_the_closing_of_a_stopped_run_find_the_run_s_own_world():
    run,got = runner(),[]
    run.on('after_train')(lambda runner: got.append((torch.is_grad_enabled(), random.random())))
    run.step('iter', 2)
    random.seed(1)
    with torch.no_grad(): run.stop()
    assert got[0][0] and random.random() == random.Random(1).random()


def test_a_table_that_another_thread_rearranges_loses_no_call():
    run,calls,on = runner(max_epochs=10, val_dataloader=None, metrics=None),[],True
    run.on('after_train_iter', name='counted')(lambda runner: calls.append(1))
    def meddle():
        n = 0
        while on:
            run.hooks['IterTimerHook'].priority = n = (n+7) % 100
            run.hooks['LoggerHook'].off().on()
            time.sleep(1e-4)
    t = threading.Thread(target=meddle)
    t.start()
    try: run.train()
    finally: on = False; t.join()
    assert len(calls) == 40


BAD = {
    'an optimizer of another model': (dict(optimizer=torch.optim.SGD(nn.Linear(1, 1).parameters(), .1)), ValueError, 'no parameter of this model'),
    'a class as optimizer': (dict(optimizer=torch.optim.SGD), TypeError, 'optimizer is a class; pass an object'),
    'a class as loss': (dict(loss_fn=nn.CrossEntropyLoss), TypeError, 'loss_fn is the class CrossEntropyLoss'),
    'an iterator as loader': (dict(train_dataloader=iter([1])), TypeError, 'gone over only once'),
    'a dataset as loader': (dict(train_dataloader=object()), TypeError, 'Wrap a dataset in a torch.utils.data.DataLoader'),
    'text as seed': (dict(seed='a'), TypeError, 'seed must be a whole number'),
    'no accumulation': (dict(accumulate=0), ValueError, 'accumulate must be 1, 2, ...'),
    'text as interval': (dict(val_interval='2'), ValueError, 'val_interval must be 1, 2, ...'),
}


@pytest.mark.parametrize('what', BAD)
def test_an_argument_that_cannot_work_is_refused_at_once(what):
    given,error,text = BAD[what]
    with pytest.raises(error, match=text): runner(**given)


def test_a_model_with_lazy_layers_trains():
    run = runner(lambda: nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.Linear(8, 2)))
    run.train()
    assert run.status == 'done'


def test_a_hook_that_is_never_called_is_told_so():
    said,run = [],runner()
    run.hooks.say = said.append
    run.register_hook(type('Helper', (), {'help': lambda self: None})())
    assert 'Helper has no method named after a stage' in said[0]


def playing(): return [t for t in asyncio.all_tasks() if t.get_coro().__name__ == '_play']

TAKES_OVER = {'train': lambda run: run.train(), 'step': lambda run: run.step('line', 5), 'run_until': lambda run: run.run_until(iter=run.iter+1),
              'play': lambda run: run.play(), 'play twice': lambda run: [run.play(), run.play()], 'train longer': lambda run: run.train(epochs=3)}

@pytest.mark.parametrize('turns', [1, 16*7, 16*30+3])
@pytest.mark.parametrize('how', TAKES_OVER)
def test_whoever_takes_over_a_playing_run_is_its_one_driver_and_nothing_is_done_twice(how, turns, monkeypatch):
    monkeypatch.setattr('interactive_runner.play.HAND_OVER', 0.) # after each line
    async def main():
        run = runner(custom_hooks=[Order()])
        first = run.play()
        for _ in range(turns): await asyncio.sleep(0)
        n = run.iter
        TAKES_OVER[how](run)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(playing()) == (1 if how.startswith('play') else 0)
        assert isinstance(await first, Position), 'whoever waits for the first player is not left waiting'
        assert run.status in ('running', 'paused', 'done') and run.iter >= n
        await run.play()
        return run
    straight = runner(custom_hooks=[Order()])
    run = asyncio.run(main())
    straight.train(epochs=run.max_epochs)
    same(run, straight)


def test_two_runs_that_play_at_once_are_each_as_if_alone():
    async def main():
        runs = [runner(custom_hooks=[Order()], seed=s) for s in (1, 2)]
        handles = [run.play() for run in runs]
        for h in handles: await h
        return runs
    for run,seed in zip(asyncio.run(main()), (1, 2)):
        alone = runner(custom_hooks=[Order()], seed=seed)
        alone.train()
        same(run, alone)


def test_numpy_seeded_again_and_again_by_a_cell_is_as_without_a_run():
    def cells(between):
        got = []
        for n in (2, 1, 1):
            np.random.seed(3)
            got += list(np.random.randn(n))
            between()
            got.append(np.random.randn())
        return got
    run = runner()
    assert cells(lambda: run.step()) == cells(lambda: None)


def test_numpy_seeded_again_and_again_by_a_hook_is_the_same_in_a_stepped_run():
    def draws(runner):
        np.random.seed(3)
        runner.message_hub.update_scalar('train/drawn', np.random.randn() + (np.random.randn() if runner.iter % 2 else 0))
    def make():
        run = runner(custom_hooks=[Order()])
        run.on('after_train_iter')(draws)
        return run
    stepped,straight = make(),make()
    while stepped.status != 'done': stepped.step('line')
    straight.train()
    same(stepped, straight)


def test_a_validation_by_hand_does_not_make_the_flags_of_a_cell_those_of_the_run():
    def make(look):
        run = runner(custom_hooks=[Order()])
        run.on('before_train_epoch')(lambda runner: runner.model[1].eval()) # frozen by the run itself
        run.step('iter', 2)
        if look:
            run.model.eval()
            run.val()
            assert not run.model.training, 'the cell has its own back'
        run.train()
        return run
    same(make(True), make(False))


def test_a_validation_before_the_run_leaves_room_for_what_a_cell_sets():
    def make(look):
        run = runner()
        if look: run.val()
        run.model[1].eval()
        run.step('iter')
        return run.model[1].training
    assert make(True) == make(False)


class Bad(TensorDataset):
    "Item 2 cannot be read, the first `times`"
    def __init__(self, times): super().__init__(torch.arange(40.).reshape(10, 4), torch.arange(10) % 2); self.times = times
    def __getitem__(self, i):
        if i == 2 and self.times: self.times -= 1; raise OSError('unreadable')
        return super().__getitem__(i)


@pytest.mark.parametrize('times', [1, 10**6])
@pytest.mark.parametrize('by', [dict(max_epochs=2), dict(max_iters=10)])
def test_a_batch_that_cannot_be_fetched_is_left_out_when_it_is_skipped_and_no_other(times, by):
    run,came,errors = runner(train_dataloader=DataLoader(Bad(times), 2), val_dataloader=DataLoader(Bad(10**6), 2), **by),[],0
    run.on('after_train_iter', name='train')(lambda runner, data_batch: data_batch and came.append(int(data_batch[0][0, 0])//4))
    while run.status != 'done':
        try: run.train()
        except OSError: errors += 1; run.skip()
    first = [0, 4, 6, 8]
    assert came == first + (first if times > 1 else [0, 2, 4, 6, 8]) and run.iter == 10
    vals = len(run.message_hub.get_scalar('val/loss').data[0])
    assert errors == (2 if times > 1 else 1) + vals, 'one error for each bad batch'


def test_a_skipped_batch_of_a_validation_is_not_averaged():
    run = runner(val_dataloader=DataLoader(Bad(10**6), 2), metrics=dict(first=lambda pred, target: 1.), max_epochs=1)
    with pytest.raises(OSError): run.train()
    sums = run.val_loop.evaluator.metrics[0].weights
    run.skip()
    run.run_until(stage='evaluate')
    assert sums['first'] == 8


@pytest.mark.parametrize('line', ['forward', 'backward', 'optim_step'])
@pytest.mark.parametrize('skipped', [1, 2])
def test_a_skipped_iteration_of_an_accumulated_run_leaves_those_around_it_as_they_are(line, skipped):
    if line == 'optim_step' and skipped != 2: return # the first step comes with the third
    xs = torch.randn(9, 4, 4, generator=torch.Generator().manual_seed(1))
    def make(batches, fails=False):
        model = nn.Sequential(nn.Linear(4, 3, bias=False), nn.BatchNorm1d(3), nn.Linear(3, 1))
        torch.manual_seed(0)
        for p in model.parameters(): nn.init.normal_(p)
        run = Runner(model, train_dataloader=batches, loss_fn=nn.functional.mse_loss, optimizer=torch.optim.SGD(model.parameters(), lr=.1),
                     max_epochs=1, accumulate=3, seed=0, log_level='ERROR')
        work = getattr(run.train_loop, line)
        def broken():
            if line == 'backward': work()
            if fails and run.iter == skipped: raise OSError
            if line != 'backward': work()
        broken.__name__ = line
        setattr(run.train_loop, line, broken)
        return run
    batches = [(x, x[:, :1]) for x in xs]
    run = make(batches, fails=True)
    with pytest.raises(OSError): run.train()
    run.skip()
    if line == 'optim_step':
        run.run_until(iter=3)
        assert run.train_loop.cycle == 0, 'what a step may have used in part is not used again'
        return
    run.train()
    straight = make([b for i,b in enumerate(batches) if i != skipped])
    straight.train()
    assert all(torch.equal(a, b) for a,b in zip(run.model.state_dict().values(), straight.model.state_dict().values()))


@pytest.mark.parametrize('where', ['hook', 'cell'])
def test_a_run_made_longer_after_its_last_step_does_not_step_on_the_same_gradients_again(where):
    def make(n):
        run,did = runner(max_iters=n, accumulate=3, val_dataloader=None, metrics=None),[]
        loop = run.train_loop
        for nm in ('zero_grad', 'step'):
            def note(nm=nm, work=getattr(run.optimizer, nm)): work(); did.append((nm, loop.iter))
            setattr(run.optimizer, nm, note)
        return run,did
    run,did = make(5)
    if where == 'hook': run.on('after_optim_step')(lambda runner: setattr(runner.train_loop, 'max_iters', 9) if runner.iter == 4 else None)
    else: run.run_until(stage='after_train_iter', iter=4); run.train(iters=5)
    run.train()
    steps = [i for nm,i in did if nm == 'step']
    assert run.iter == 9 and steps[:2] == [2, 4] and ('zero_grad', 5) in did


def test_two_interrupts_in_a_run_inside_a_hook_of_another_do_not_break_its_step():
    def step(times=iter(range(10))):
        if next(times) == 3:
            for _ in range(2): signal.raise_signal(signal.SIGINT)
        return real()
    inner,outer = runner(),runner()
    real,inner.optimizer.step = inner.optimizer.step,step
    outer.on('after_train_iter', name='nest')(lambda runner: inner.train() if runner.iter == 1 else None)
    with pytest.raises(KeyboardInterrupt): outer.train()
    assert (inner.status, inner.position.line) == ('paused', 'after_optim_step')


@pytest.mark.parametrize('what', ['pause', 'stop'])
@pytest.mark.parametrize('drive', ['train', 'play'])
def test_a_hook_that_pauses_or_stops_as_the_run_resumes_is_heeded(what, drive):
    run,left = runner(),[1]
    @run.on('on_resume')
    def hold(runner):
        if left: left.pop(); getattr(runner, what)()
    run.step('iter', 2)
    if drive == 'train': run.train()
    else: asyncio.run(played(run))
    assert run.status == dict(pause='paused', stop='stopped')[what] and run.iter == 2
    run.train()
    assert run.status == 'done'

async def played(run): await run.play()


@pytest.mark.parametrize('answer', ['stop', 'retry', 'skip', 'disable'])
def test_a_hook_that_answers_an_error_by_itself_does_not_hide_it(answer):
    run = runner()
    run.on('after_train_iter', name='bad')(lambda runner: 1/0)
    run.on('on_exception')(lambda runner: getattr(runner, answer)())
    with pytest.raises(ZeroDivisionError): run.train()
    assert run.status == ('stopped' if answer == 'stop' else 'paused')


def test_whoever_waits_for_a_played_run_is_told_of_its_error_though_it_was_answered():
    async def main():
        run = runner()
        run.on('after_train_iter', name='bad')(lambda runner: 1/0)
        handle = run.play()
        while run.status == 'running': await asyncio.sleep(0)
        run.skip()
        with pytest.raises(ZeroDivisionError): await handle
    asyncio.run(main())


def test_switching_hooks_from_one_that_is_just_switched_off_loses_nothing():
    class First:
        def before_train_iter(self, runner): pass
        def after_train_iter(self, runner): pass
        def on_disable(self, runner): runner.hooks['Second'].on()
    class Second(First):
        def on_disable(self, runner): raise SystemExit
    def make(switch):
        run = runner(custom_hooks=[Order(), First(), Second()])
        run.hooks.say = lambda text: None
        if switch: run.on('after_backward')(lambda runner: [runner.hooks[nm].off() for nm in ('First', 'Second')] if runner.iter == 3 else None)
        run.train()
        return run
    same(make(True), make(False))


def test_a_hook_that_raises_when_it_is_switched_is_what_the_table_says_it_is():
    class Raises:
        calls = 0
        def after_train_iter(self, runner): self.calls += 1
        def on_disable(self, runner): raise ValueError
        on_enable = on_disable
    run = runner(custom_hooks=[hook := Raises()])
    run.step()
    with pytest.raises(ValueError): run.hooks['Raises'].off()
    run.step()
    assert (hook.calls, run.hooks['Raises'].enabled) == (1, False)
    with pytest.raises(ValueError): run.hooks['Raises'].on()
    run.step()
    assert (hook.calls, run.hooks['Raises'].enabled) == (2, True)


def test_a_loader_that_was_given_the_generator_of_the_process_shares_it():
    def make():
        data = TensorDataset(torch.randn(24, 4, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 2)
        return runner(train_dataloader=DataLoader(data, 6, shuffle=True, generator=torch.default_generator), custom_hooks=[Order()])
    stepped,straight = make(),make()
    while stepped.status != 'done': stepped.step('line')
    straight.train()
    same(stepped, straight)


def test_a_run_is_not_in_the_inference_mode_of_a_cell():
    run = runner(custom_hooks=[Order()])
    with torch.inference_mode():
        run.step('line', 9)
        assert torch.is_inference_mode_enabled()
        run.step('iter', 2)
    run.train()
    same(run, straight('epochs'))


def test_a_command_of_another_thread_to_a_run_that_stands_does_not_hit_the_next_one():
    run = runner()
    run.step('iter')
    thread = threading.Thread(target=run.pause)
    thread.start()
    thread.join()
    run.train()
    assert run.status == 'done'


def test_hooks_at_a_pause_draw_from_the_generators_of_the_run():
    run = runner()
    run.on('on_pause')(lambda runner: torch.rand(3))
    torch.manual_seed(5)
    run.step()
    got = torch.rand(1)
    assert torch.equal(got, torch.rand(1, generator=torch.Generator().manual_seed(5)))


def test_a_played_run_whose_task_is_cancelled_at_once_is_paused():
    async def main():
        run = runner()
        run.play().task.cancel()
        await asyncio.sleep(.01)
        return run.status
    assert asyncio.run(main()) == 'paused'


def test_whoever_stops_waiting_for_a_run_that_another_drives_does_not_pause_it():
    async def main():
        run = runner(max_epochs=50)
        waits = asyncio.ensure_future(wait(run.play()))
        await asyncio.sleep(0)
        second = run.play()
        waits.cancel()
        for _ in range(3): await asyncio.sleep(0)
        assert run.status == 'running'
        await second
    async def wait(handle): await handle
    asyncio.run(main())


def test_a_hook_switched_off_in_a_validation_by_hand_is_given_the_beginning_of_the_run_later():
    got = []
    class Late:
        def before_run(self, runner): got.append('before_run')
        def before_val(self, runner): runner.hooks['Late'].off()
        def before_train(self, runner): got.append('before_train')
    run = runner(custom_hooks=[Late()])
    run.val()
    run.step('iter')
    got.clear()
    run.hooks['Late'].on()
    run.step('iter')
    assert got == [] or got == ['before_run', 'before_train'], got


def test_a_loader_that_was_empty_is_looked_at_again():
    batches = []
    run = runner(train_dataloader=batches, val_dataloader=None, metrics=None)
    with pytest.raises(ValueError, match='gives no batch'): run.train()
    batches += [(torch.randn(4, 4), torch.arange(4) % 2)]*5
    run.train(epochs=2)
    assert run.iter == 10


def test_a_loss_with_buffers_of_its_own_begins_again_as_it_was():
    class Drifts(nn.CrossEntropyLoss):
        def __init__(self): super().__init__(); self.register_buffer('seen', torch.zeros(()))
        def forward(self, pred, target):
            self.seen += 1
            if self.seen == 3 and self.fails: self.fails = False; raise OSError
            return super().forward(pred, target)/self.seen
    def make(fails):
        loss = Drifts()
        loss.fails = fails
        return runner(loss_fn=loss, val_dataloader=None, metrics=None, custom_hooks=[Order()])
    good,bad = make(False),make(True)
    good.train()
    with pytest.raises(OSError): bad.train()
    bad.train()
    same(good, bad)



def test_a_run_with_workers_that_is_thrown_away_in_the_middle_of_an_epoch_ends_them_at_once():
    gc.collect() # what other tests have left
    run = runner(workers=2, custom_hooks=[Order()])
    run.step('iter', 2)
    workers,ref = run.train_loop.batches._it._workers,weakref.ref(run)
    run.itself = run # a cycle, as any run has some
    del run
    start = time.perf_counter()
    gc.collect()
    assert ref() is None and not any(w.is_alive() for w in workers)
    assert time.perf_counter()-start < 4, 'torch waits 5 seconds for each worker that was not told'


def test_workers_that_are_to_stay_do_so_from_pass_to_pass():
    data = TensorDataset(torch.arange(24.)[:, None].repeat(1, 4), torch.arange(24) % 2)
    run = runner(train_dataloader=DataLoader(data, 6, num_workers=1, persistent_workers=True), max_epochs=3)
    pids = set()
    run.on('after_train_iter', name='pid')(lambda runner: pids.add(runner.train_loop.batches._it._workers[0].pid))
    run.train()
    assert len(pids) == 1
