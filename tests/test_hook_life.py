"A hook's life: joined, switched, changed from anywhere, called inside others, told of its own switching"
import asyncio
import threading
import time

import pytest
import torch
from test_runner import Order, runner, same, straight


class Tells:
    "Notes each call, and its own switching"
    def __init__(self, log, word='it'): self.log,self.word = log,word
    def note(self, runner, what): self.log.append((self.word, what, runner.iter))
    def before_train_iter(self, runner): self.note(runner, 'before')
    def after_train_iter(self, runner): self.note(runner, 'after')
    def on_enable(self, runner): self.note(runner, 'on')
    def on_disable(self, runner): self.note(runner, 'off')


def quiet(log, *words, **given):
    run = runner(custom_hooks=[Order()], **given)
    for w in words: run.register_hook(Tells(log, w), name=w)
    return run


def test_a_hook_is_told_when_it_is_switched_and_not_before_that():
    log = []
    run = quiet(log, 'it')
    run.run_until(stage='forward', iter=1)
    run.hooks['it'].off()
    assert log[-1] == ('it', 'before', 1), 'it is in the middle of an iteration'
    run.run_until(stage='forward', iter=2)
    assert log[-2:] == [('it', 'after', 1), ('it', 'off', 1)]
    run.hooks['it'].on().on()
    assert log[-1] == ('it', 'on', 2)
    run.step('iter')
    assert log[-2:] == [('it', 'before', 2), ('it', 'after', 2)], 'it is told of the iteration that it came into'


def test_a_switch_that_was_taken_back_before_it_acted_is_not_told():
    log = []
    run = quiet(log, 'it')
    run.run_until(stage='forward', iter=1)
    run.hooks['it'].off().on()
    run.train()
    assert {what for _,what,_ in log} == {'before', 'after'} and len(log) == 2*12
    same(run, straight('epochs'))


@pytest.mark.parametrize('when', ['while paused', 'when its bracket closes'])
def test_a_hook_that_cannot_be_switched_says_so_and_the_run_goes_on(when):
    class Clings(Tells):
        def on_disable(self, runner): raise ValueError('I stay')
    run,said = runner(custom_hooks=[Order()]),[]
    run.hooks.say = said.append
    run.register_hook(Clings([]), name='it')
    run.run_until(stage='fetch' if when == 'while paused' else 'forward', iter=1)
    if when == 'while paused':
        with pytest.raises(ValueError, match='I stay'): run.hooks['it'].off()
    else: run.hooks['it'].off()
    run.train()
    assert run.status == 'done' and (said == []) == (when == 'while paused')
    same(run, straight('epochs'))


class Changes:
    "Changes the table from inside a stage, in one iteration"
    def __init__(self, what): self.what = what
    def after_train_iter(self, runner):
        if runner.iter == 1: self.what(runner)


INSIDE = { # what a hook called b does in the middle of iteration 1: who of a, b, c is called there and in iteration 2
    'switches off the one before it': (lambda r: r.hooks['a'].off(), 'abc', 'bc'),
    'switches off the one after it, which is in its bracket': (lambda r: r.hooks['c'].off(), 'abc', 'ab'),
    'switches itself off': (lambda r: r.hooks['b'].off(), 'abc', 'ac'),
    'removes itself': (lambda r: r.hooks.remove('b'), 'abc', 'ac'),
    'moves the last to the front': (lambda r: r.hooks['c'].move(before='a'), 'abc', 'cab'),
    'moves the first to the end': (lambda r: r.hooks['a'].move(after='c'), 'abc', 'bca'),
    'moves itself to the end': (lambda r: r.hooks['b'].move(after='c'), 'abc', 'acb'),
    'gives itself another priority': (lambda r: setattr(r.hooks['b'], 'priority', 'VERY_LOW'), 'abc', 'acb')}

@pytest.mark.parametrize('how', INSIDE)
def test_a_change_from_inside_a_hook_acts_at_once_and_each_hook_still_runs_once(how):
    what,now,then = INSIDE[how]
    log = []
    run = quiet(log, 'a', 'c')
    class B(Tells):
        def after_train_iter(self, runner):
            super().after_train_iter(runner)
            if runner.iter == 1: what(runner)
    run.register_hook(B(log, 'b'), name='b')
    run.hooks['b'].move(before='c')
    run.train()
    for i,expected in ((1, now), (2, then)): assert ''.join(w for w,what,n in log if (what, n) == ('after', i)) == expected
    same(run, straight('epochs'))


def test_a_hook_that_joins_from_inside_another_runs_in_the_same_stage_if_its_place_is_still_to_come():
    log = []
    run = quiet(log)
    join = lambda r: [r.register_hook(Tells(log, 'late'), name='late', priority='LOW'), r.register_hook(Tells(log, 'early'), name='early', priority='HIGHEST')]
    run.register_hook(Changes(join))
    run.run_until(iter=2)
    assert sorted(log) == sorted([('late', 'before', 1), ('late', 'after', 1), ('early', 'before', 1), ('early', 'after', 1)])
    assert [e for e in log if e[0] == 'late'] == [('late', 'before', 1), ('late', 'after', 1)]
    run.train()
    same(run, straight('epochs'))


def test_changes_from_another_thread_while_playing_lose_no_call_and_tear_no_bracket():
    log,stop = [],threading.Event()
    run = quiet(log, 'a', 'b', 'c', max_epochs=20)
    def meddle():
        i = 0
        while not stop.is_set():
            row = run.hooks['abc'[i//3 % 3]]
            if i % 3 == 2: row.priority = 10+i % 80
            elif i % 3: row.on()
            else: row.off()
            i += 1
            time.sleep(1e-4)
    thread = threading.Thread(target=meddle)
    async def main():
        thread.start()
        await run.play()
    try: asyncio.run(main())
    finally: stop.set(); thread.join()
    assert run.status == 'done'
    for w in 'abc':
        calls = [(what, n) for who,what,n in log if who == w and what in ('before', 'after')]
        pairs = list(zip(calls[::2], calls[1::2]))
        assert len(calls) % 2 == 0 and all(x == ('before', n) and y == ('after', n) for x,y in pairs for n in [x[1]])
    plain = runner(custom_hooks=[Order()], max_epochs=20)
    plain.train()
    same(run, plain)


class Saving:
    "Writes a checkpoint in the middle of a stage, and asks other hooks what belongs into it"
    def __init__(self): self.saved = []
    def after_train_iter(self, runner):
        if runner.iter % 4: return
        self.saved.append(checkpoint := dict(iter=runner.iter))
        runner.call_hook('before_save_checkpoint', checkpoint=checkpoint)


class Adds:
    def __init__(self, act=lambda runner: None): self.act = act
    def before_save_checkpoint(self, runner, checkpoint):
        self.act(runner)
        checkpoint['added'] = len(checkpoint)


def test_stages_called_inside_a_hook_are_served_counted_and_see_what_is_given():
    run,saving = runner(custom_hooks=[Order(), Adds()]),Saving()
    run.register_hook(saving)
    run.train()
    assert saving.saved == [dict(iter=n, added=1) for n in (0, 4, 8)]
    assert run.hooks['Adds'].stats['before_save_checkpoint'][0] == 3 and run.hooks['Adds'].seconds > 0
    same(run, straight('epochs'))


def test_an_error_in_a_stage_called_inside_a_hook_names_both_and_a_retry_runs_the_outer_one_again():
    left,saving = [1],Saving()
    def fails(runner):
        if runner.iter == 4 and left: raise ValueError(left.pop())
    run = runner(custom_hooks=[Order(), Adds(fails), saving])
    with pytest.raises(ValueError) as e: run.train()
    assert e.value.__notes__ == ['in hook Adds at before_save_checkpoint', 'in hook Saving at after_train_iter, epoch 1, iter 4']
    assert run.position.hook == 'Saving'
    run.train()
    assert [s['iter'] for s in saving.saved] == [0, 4, 4, 8]
    same(run, straight('epochs'))


def test_a_pause_asked_for_inside_such_a_stage_acts_after_the_line():
    run = runner(custom_hooks=[Order(), Adds(lambda runner: runner.pause()), Saving()])
    run.train()
    assert run.position.line == 'commit' and run.status == 'paused'
    run.train(); run.train(); run.train()
    same(run, straight('epochs'))


@pytest.mark.parametrize('call', [lambda r: r.train(), lambda r: r.step(), lambda r: r.play(), lambda r: r.val(), lambda r: r.train(epochs=2)],
                         ids=['train', 'step', 'play', 'val', 'train longer'])
def test_what_advances_a_run_is_refused_inside_its_hooks(call):
    run,got = runner(custom_hooks=[Order()]),[]
    def wrong(runner):
        try: call(runner)
        except RuntimeError as e: got.append(str(e))
    run.register_hook(Changes(wrong))
    run.train()
    assert len(got) == 1 and ('the run is' in got[0] or 'event loop' in got[0])
    same(run, straight('epochs'))


@pytest.mark.parametrize('leave', ['stop', 'give up the iteration'])
@pytest.mark.parametrize('stage', ['before_val_iter', 'forward', 'after_val_iter'])
def test_whatever_road_leaves_a_validation_what_is_open_is_closed(leave, stage):
    log = []
    class Swap:
        def before_val(self, runner): log.append('in')
        def after_val(self, runner): log.append('out')
        def before_val_iter(self, runner): log.append('(')
        def after_val_iter(self, runner): log.append(')')
    run = runner(custom_hooks=[Order(), Swap()])
    if leave == 'stop':
        run.run_until(stage=stage, when=lambda r: r.mode == 'val')
        run.stop()
        assert log in (['in', '(', ')', 'out'], ['in', 'out'])
    else:
        left,work = [1],run.val_loop.forward
        def forward():
            if left: raise ValueError(left.pop())
            work()
        run.val_loop.forward = forward
        with pytest.raises(ValueError): run.train()
        run.player.skip()
        run.step('epoch')
        assert ''.join(log[:9]) == 'in()()()out'


def test_upstream_bases_copied_by_name_bind_only_what_is_overridden():
    def wrong(self, *args, **kwargs): raise AssertionError('what a base class has is never called')
    Base = type('Hook', (), dict.fromkeys(('before_run', 'before_train_iter', 'after_train_iter', '_before_epoch', 'after_val'), wrong))
    class Mine(Base):
        def after_val(self, runner): self.seen = True
    class Chosen(Base):
        def get_triggered_stages(self): return ['after_train_iter']
        def after_train_iter(self, runner): self.seen = True
        before_run = wrong
    run = runner(custom_hooks=[mine := Mine(), chosen := Chosen()])
    assert run.hooks['Mine'].stages == ('after_val',) and run.hooks['Chosen'].stages == ('after_train_iter',)
    run.train()
    assert mine.seen and chosen.seen


def test_the_same_hook_object_may_serve_two_runs():
    order = Order()
    a,b = runner(custom_hooks=[order]),runner(custom_hooks=[order])
    a.train()
    n = len(order.came)
    b.hooks['Order'].off()
    b.train()
    assert len(order.came) == n and a.hooks['Order'].calls > 0 == b.hooks['Order'].calls
    assert all(torch.equal(x, y) for x,y in zip(a.model.parameters(), b.model.parameters()))
