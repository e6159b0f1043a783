"Errors anywhere: the run keeps them, says where, frees what failed, and goes on as if nothing had been"
import asyncio
import gc
import signal
import weakref

import pytest
import torch
from torch.utils.data import DataLoader
from test_runner import Order, data, runner, same, straight


class Unspeakable(Exception):
    def __str__(self): raise RuntimeError('even my name is an error')
    __repr__ = __str__

class Odd(Exception):
    __hash__ = None
    def __eq__(self, other): raise RuntimeError('compares with nothing')

FOREIGN = {
    'no arguments': Exception(), 'exit': SystemExit(), 'exit with a code': SystemExit(3), 'interrupt': KeyboardInterrupt(), 'stop iteration': StopIteration(),
    'generator exit': GeneratorExit(), 'cancelled': asyncio.CancelledError(), 'unspeakable': Unspeakable(), 'odd': Odd(), 'assert': AssertionError(),
    'group': BaseExceptionGroup('several', [SystemExit(), ValueError()]), 'text with markup': ValueError('<b>%s {} \x00 \ud800'), 'timeout': TimeoutError()}


def breaks(run, where, e):
    "Let `run` raise `e` once, in a hook or in work"
    left = [e]
    def once(*args):
        if run.iter == 1 and left: raise left.pop()
    if where == 'hook': return run.register_hook(type('Breaks', (), dict(after_train_iter=lambda self, runner: once()))())
    work = getattr(run.train_loop, where)
    def broken(): once(); return work()
    broken.__name__ = where
    setattr(run.train_loop, where, broken)


@pytest.mark.parametrize('where', ['hook', 'forward', 'optim_step'])
@pytest.mark.parametrize('what', FOREIGN)
def test_whatever_is_raised_is_kept_and_the_run_goes_on(what, where):
    run,e = runner(custom_hooks=[Order()]),FOREIGN[what]
    vars(e).pop('__notes__', None)
    breaks(run, where, e)
    with pytest.raises(BaseException) as got: run.train()
    assert got.value is e and run.error is e and run.status == 'error'
    assert any('iter 1' in note for note in e.__notes__)
    run.train()
    assert run.status == 'done' and run.error is None
    same(run, straight('epochs'))


@pytest.mark.parametrize('where', ['hook', 'forward'])
@pytest.mark.parametrize('what', FOREIGN)
def test_whatever_is_raised_while_playing_reaches_neither_the_event_loop_nor_other_tasks(what, where):
    run,e,said = runner(custom_hooks=[Order()]),FOREIGN[what],[]
    run.player.say = said.append
    breaks(run, where, e)
    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
        handle = run.play()
        while run.status == 'running': await asyncio.sleep(0)
        assert (run.status, run.error) == ('error', e) and len(said) == 1 and 'iter 1' in said[0]
        assert str(run.panel.banner.widget.children[0].value)
        del handle
        await run.play()
    asyncio.run(main())
    assert run.status == 'done'
    same(run, straight('epochs'))


@pytest.mark.parametrize('place', ['first', 'middle', 'last'])
def test_a_hook_that_raises_is_replaced_and_moved_while_paused_and_the_run_is_that_of_the_good_hook(place):
    class Scale:
        "Scales the weights by a power of two, which is exact in any order, and shows how often it has run"
        def __init__(self, by, bad=False): self.by,self.bad = by,bad
        def after_train_iter(self, runner):
            if self.bad and runner.iter == 5: raise ValueError
            ran.append((runner.iter, self.by))
            with torch.no_grad():
                for p in runner.model.parameters(): p.mul_(2.**self.by)
    ran,scales = [],dict(first=1, middle=2, last=-3)
    def make(bad):
        run = runner(custom_hooks=[Order()])
        for nm,by in scales.items(): run.register_hook(Scale(by, nm == bad), name=nm)
        return run
    good,run = make(None),make(place)
    good.train()
    expected = ran.copy()
    ran.clear()
    with pytest.raises(ValueError): run.train()
    assert run.position.hook == place
    run.register_hook(Scale(scales[place]), name=place)
    others = [nm for nm in scales if nm != place]
    run.hooks[others[0]].move(after=others[1])
    run.hooks[place].move(after=others[0])
    run.train()
    assert sorted(ran) == sorted(expected), 'each ran once in each iteration'
    same(run, good)


def test_an_optimizer_that_raises_before_it_did_anything_is_tried_again_with_the_whole_iteration():
    run = runner(custom_hooks=[Order()])
    breaks(run, 'optim_step', ValueError())
    with pytest.raises(ValueError) as e: run.train()
    assert any('may have changed the weights in part' in note for note in e.value.__notes__)
    run.retry()
    assert run.position.line == 'fetch', 'never in place'
    run.train()
    same(run, straight('epochs'))


@pytest.mark.parametrize('line', ['fetch', 'forward', 'evaluate'])
def test_a_validation_that_raises_is_tried_again(line):
    run,left = runner(custom_hooks=[Order()]),[0, 1]
    work = getattr(run.val_loop, line)
    def broken():
        if left and (line == 'evaluate' or run.val_loop.batch_idx == 1): raise ValueError(left.pop())
        return work()
    vars(broken).update(vars(work))
    broken.__name__ = line
    setattr(run.val_loop, line, broken)
    for _ in range(2):
        with pytest.raises(ValueError) as e: run.train()
        assert f'in {line}, epoch 1, iter 4' in e.value.__notes__
    run.train()
    same(run, straight('epochs'))


@pytest.mark.parametrize('call', [lambda run: run.run_until(when=lambda runner: 1/0), lambda run: run.player.run(lambda: 1/0),
                                  lambda run: asyncio.run(played(run))], ids=['run_until', 'run', 'play'])
def test_a_condition_that_raises_stops_the_run_which_then_goes_on(call):
    run = runner(custom_hooks=[Order()])
    run.step('line', 6)
    with pytest.raises(ZeroDivisionError) as e: call(run)
    assert 'in the condition on which to stop' in e.value.__notes__[0]
    run.train()
    same(run, straight('epochs'))

async def played(run): return await run.player.play(lambda: 1/0)


def test_a_command_that_raises_is_said_and_recorded_and_the_run_goes_on():
    run,said = runner(custom_hooks=[Order()]),[]
    run.player.say = said.append
    run.on('after_train_iter', name='asks')(lambda runner: runner.player.tell('divide', lambda: 1/0) if runner.iter == 2 else None)
    run.train()
    assert said == ['divide: division by zero'] and [type(a.error) for a in run.player.acks] == [ZeroDivisionError]
    run.hooks.remove('asks')
    same(run, straight('epochs'))


def test_a_panel_that_raises_wherever_it_can_costs_the_run_nothing(monkeypatch):
    run,drawn = runner(custom_hooks=[Order()]),[]
    def broken(*args): drawn.append(1); raise KeyError('view')
    for o in run.panel.views.values():
        monkeypatch.setattr(o, 'refresh', broken)
    run.step('iter')
    asyncio.run(played_to_the_end(run))
    assert run.status == 'done' and drawn
    same(run, straight('epochs'))

async def played_to_the_end(run): await run.play()


class Big:
    "Stands for a tensor on a device: somebody notices when it is freed"


@pytest.mark.parametrize('where', ['hook', 'forward'])
@pytest.mark.parametrize('playing', [False, True])
def test_what_failed_work_had_in_memory_is_freed_while_the_error_is_kept(where, playing):
    run,alive = runner(),[]
    def fails(*args):
        big = Big()
        alive.append(weakref.ref(big))
        def inner(o): raise MemoryError('out of memory')
        inner(big)
    if where == 'hook': run.on('after_forward')(fails)
    else: fails.__name__,run.train_loop.forward = 'forward',fails
    with pytest.raises(MemoryError):
        if playing: asyncio.run(played_to_the_end(run))
        else: run.train()
    gc.collect()
    assert run.error is not None and alive[0]() is None


def test_a_pause_of_any_length_changes_no_time_and_no_estimate(monkeypatch):
    "With a clock that only pauses, and reading it, move on"
    now = [100.]
    def tick(): now[0] += .001; return now[0]
    for module in ('player', 'play'): monkeypatch.setattr(f'interactive_runner.{module}.perf_counter', tick)
    def times(pause):
        run = runner(train_dataloader=DataLoader(data(), 12, drop_last=True))
        while run.status != 'done':
            run.step('line')
            now[0] += pause
        hub = run.message_hub
        return [hub.get_scalar(f'{mode}/{nm}').data[0].max() for mode in ('train', 'val') for nm in ('time', 'data_time')] + [hub.get_info('eta')]
    assert times(0) == pytest.approx(times(3600.), abs=1e-6)


class Saves:
    "Writes a file in pieces and is interrupted in between"
    def __init__(self, path, times): self.path,self.times = path,times
    def after_train_iter(self, runner):
        if runner.iter != 2: return
        with open(self.path, 'w') as f:
            for i in range(3):
                f.write(f'{i}\n')
                if i < self.times: signal.raise_signal(signal.SIGINT)


def test_an_interrupt_while_a_hook_saves_lets_it_finish(tmp_path):
    run = runner(custom_hooks=[Order(), Saves(tmp_path/'saved', 1)])
    with pytest.raises(KeyboardInterrupt, match='paused'): run.train()
    assert (tmp_path/'saved').read_text() == '0\n1\n2\n' and run.status == 'paused'
    run.train()
    same(run, straight('epochs'))


def test_a_pair_of_interrupts_breaks_the_hook_off_and_a_retry_saves_all(tmp_path):
    saves = Saves(tmp_path/'saved', 2)
    run = runner(custom_hooks=[Order(), saves])
    with pytest.raises(KeyboardInterrupt): run.train()
    assert run.status == 'error' and run.position.hook == 'Saves'
    saves.times = 0
    run.train()
    assert (tmp_path/'saved').read_text() == '0\n1\n2\n'
    same(run, straight('epochs'))


@pytest.mark.parametrize('times', [1, 2])
def test_interrupts_in_a_validation_pause_it(times):
    def interrupts(pred, target):
        if left:
            left.pop()
            for _ in range(times): signal.raise_signal(signal.SIGINT)
        return (pred.argmax(1) == target).float().mean()
    left = [1]
    run = runner(custom_hooks=[Order()], metrics=dict(accuracy=interrupts))
    with pytest.raises(KeyboardInterrupt): run.train()
    assert run.mode == 'val' and run.status == ('paused' if times == 1 else 'error')
    run.train()
    same(run, straight('epochs'))


def test_interrupts_in_a_look_aside_leave_the_run_where_it_stood():
    def interrupts(pred, target):
        if left: left.pop(); signal.raise_signal(signal.SIGINT)
        return (pred.argmax(1) == target).float().mean()
    left = [1]
    run = runner(custom_hooks=[Order()], metrics=dict(accuracy=interrupts))
    run.step('line', 9)
    before = run.position
    with pytest.raises(KeyboardInterrupt): run.val()
    assert (run.status, run.position) == ('paused', before) and run.val()['accuracy'] > 0
    run.train()
    same(run, straight('epochs'))


