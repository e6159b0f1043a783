"The player: schedules, re-entry, commands and errors, on a loop of pure Python"
import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interactive_runner.hook import Hook, HookTable
from interactive_runner.play import Player
from interactive_runner.stage import Loop, commits


class Nested(Loop):
    "Three epochs of four iterations, and a check of two after each"
    committed = Loop.committed + ('due',)
    due = False
    def __init__(self): self.work,self.check = [],Check(self)
    def run(self):
        yield 'before_train'
        while self.epoch < 3 or self.due:
            if not self.due: yield from self.run_epoch()
            if self.due:
                yield from self.check.run()
                yield self.commit_check
        yield 'after_train'
    def run_epoch(self):
        yield 'before_train_epoch'
        while self.done < 4:
            yield self.fetch
            yield 'before_train_iter'
            yield self.learn
            yield 'after_train_iter'
            yield self.commit
        yield 'after_train_epoch'
        yield self.commit_epoch
    def fetch(self): self.work.append(('fetch', self.iter))
    def learn(self): self.work.append(('learn', self.iter))
    @commits('iter')
    def commit(self): self.iter += 1; self.done += 1
    @commits('epoch')
    def commit_epoch(self): self.epoch += 1; self.done = 0; self.due = True
    @commits('val')
    def commit_check(self): self.due = False; self.check.restart()


class Check(Loop):
    mode = 'val'
    def __init__(self, owner): self.owner = owner
    def run(self):
        yield 'before_val'
        while self.done < 2:
            yield 'before_val_iter'
            yield self.look
            yield 'after_val_iter'
            yield self.commit
        yield 'after_val'
    def look(self): self.owner.work.append(('look', self.owner.epoch, self.done))
    @commits('iter')
    def commit(self): self.done += 1


class Diary:
    "Writes down every stage"
    def __init__(self): self.seen = []
    def before_run(self, runner): self.seen.append('before_run')
    def after_run(self, runner): self.seen.append('after_run')
    def _before_epoch(self, runner, mode): self.seen.append(f'before_{mode}_epoch {runner.epoch}')
    def _after_epoch(self, runner, mode): self.seen.append(f'after_{mode}_epoch {runner.epoch}')
    def _before_iter(self, runner, mode): self.seen.append(f'before_{mode}_iter {runner.iter}')
    def _after_iter(self, runner, mode): self.seen.append(f'after_{mode}_iter {runner.iter}')


def played(drive):
    diary = Diary()
    player = Player(Nested(), [diary])
    drive(player)
    return player.loop.work, diary.seen


STRAIGHT = played(lambda p: p.run())
moves = st.lists(st.tuples(st.sampled_from(['hook', 'line', 'iter', 'epoch', 'drop', 'pause', 'retry']), st.integers(1, 9)), max_size=25)


@given(moves)
def test_any_schedule_of_steps_pauses_and_lost_generators_does_the_same_work_and_calls_the_same_hooks(schedule):
    def drive(player):
        for what,n in schedule:
            if player.status == 'done': break
            if what == 'drop' and not player.cursor.ran: player.gen = None
            elif what == 'pause': player.pause()
            elif what in ('hook', 'line', 'iter', 'epoch'): player.step(what, n)
        if player.status != 'done': player.run()
    assert played(drive) == STRAIGHT


@given(moves)
def test_a_schedule_that_switches_between_play_and_steps_does_the_same_work(schedule):
    async def main(player):
        for what,n in schedule:
            if player.status == 'done': return
            if what in ('hook', 'line', 'iter', 'epoch'): player.step(what, n)
            else:
                player.play(player.until('line', n))
                await asyncio.sleep(0)
        if player.status != 'done': await player.play()
    assert played(lambda p: asyncio.run(main(p))) == STRAIGHT


@given(st.integers(1, 80))
def test_the_marker_stands_before_the_line_that_runs_next(n):
    player = Player(Nested())
    player.step('line', n)
    if player.status == 'done': return
    before,line = list(player.loop.work),player.position.line
    player.step('line')
    assert (player.loop.work != before) == (line in ('fetch', 'learn', 'look'))


def test_a_loop_that_looks_at_what_is_not_committed_is_told_so_when_it_is_entered_again():
    class Wrong(Loop):
        def __init__(self): self.n = 0
        def run(self):
            while self.n < 3:
                yield 'before_train_iter'
                if self.n == 0: yield self.add
                yield 'after_train_iter'
        def add(self): self.n += 1
    player = Player(Wrong())
    player.step('line', 4)
    player.gen = None
    with pytest.raises(RuntimeError, match=r"should come to 'add' now, but it comes to 'after_train_iter'"): player.step('line')


def test_a_change_made_while_paused_before_a_hook_acts_on_that_hook():
    ran = []
    class Say(Hook):
        def __init__(self, word): self.word = word
        def after_train_iter(self, runner): ran.append(self.word)
    player = Player(Nested())
    for word in 'abc': player.hooks.register(Say(word), name=word)
    player.run_until(stage='after_train_iter')
    player.step('hook')
    assert player.position.hook == 'b'
    player.hooks['c'].move(before='b')
    assert player.position.hook == 'c'
    player.hooks['b'].off()
    player.step('iter')
    assert ran == ['a', 'c']


def test_a_hook_switched_off_in_the_middle_of_its_bracket_leaves_when_the_bracket_closes():
    ran = []
    class Swap:
        def before_val(self, runner): ran.append('swap')
        def after_val(self, runner): ran.append('back')
    player = Player(Nested(), [Swap()])
    player.run_until(stage='look')
    player.hooks['Swap'].off()
    assert player.hooks['Swap'].waiting[0] == 'off'
    player.run()
    assert ran == ['swap', 'back']
    assert not player.hooks['Swap'].enabled


def test_a_hook_that_joins_late_is_first_given_the_openings_it_missed_in_order():
    player,diary = Player(Nested()),Diary()
    player.run_until(stage='after_train_iter', iter=5)
    player.hooks.register(diary)
    player.step('iter')
    assert diary.seen == ['before_run', 'before_train_epoch 1', 'before_train_iter 5', 'after_train_iter 5']


@pytest.mark.parametrize('place', ['first', 'middle', 'last'])
def test_a_hook_that_raises_is_mended_and_every_hook_runs_once(place):
    ran = []
    class Say:
        def __init__(self, word, bad=False): self.word,self.bad = word,bad
        def after_train_iter(self, runner):
            if self.bad: raise ValueError
            ran.append(self.word)
    player = Player(Nested(), say=lambda text: None)
    for word in ('first', 'middle', 'last'): player.hooks.register(Say(word, word == place), name=word)
    with pytest.raises(ValueError) as e: player.step('iter')
    assert f"in hook {place} at after_train_iter, epoch 0, iter 0" in e.value.__notes__
    player.hooks.register(Say(place), name=place)
    player.step('iter')
    assert ran == ['first', 'middle', 'last']


@pytest.mark.parametrize('answer', ['skip', 'disable'])
def test_a_failed_hook_can_be_skipped_once_or_disabled(answer):
    class Bad:
        def after_train_iter(self, runner): raise ValueError('always')
    player = Player(Nested(), [Bad(), Diary()])
    with pytest.raises(ValueError): player.run()
    getattr(player, answer)()
    if answer == 'skip':
        with pytest.raises(ValueError): player.run()
        assert player.iter == 1
    else:
        player.run()
        assert player.status == 'done'


def test_failed_work_can_be_given_up_and_the_run_goes_on_with_the_next_iteration():
    class Fragile(Nested):
        def learn(self):
            if self.iter == 2: raise ValueError('never this one')
            super().learn()
    diary = Diary()
    player = Player(Fragile(), [diary])
    with pytest.raises(ValueError): player.run()
    player.skip()
    player.run()
    assert [i for what,i,*_ in player.loop.work if what == 'learn'] == [0, 1, *range(3, 12)]
    assert diary.seen == STRAIGHT[1]


def test_a_stop_closes_what_is_open_from_the_inside_out():
    player,diary = Player(Nested()),Diary()
    player.hooks.register(diary)
    player.run_until(stage='learn', iter=1)
    diary.seen.clear()
    player.stop()
    assert (player.status, diary.seen) == ('stopped', ['after_train_iter 1', 'after_train_epoch 0', 'after_run'])


def test_a_stopped_run_goes_on_from_its_last_commit():
    player = Player(Nested())
    player.run_until(stage='learn', iter=5)
    player.stop()
    player.run()
    assert [o for o in player.loop.work if o[0] == 'learn'] == [o for o in STRAIGHT[0] if o[0] == 'learn']


def test_a_command_from_another_thread_acts_between_two_lines_and_is_acknowledged():
    class Ask:
        def after_train_iter(self, runner):
            if runner.iter == 2:
                t = threading.Thread(target=runner.pause)
                t.start(); t.join()
    player = Player(Nested(), [Ask()])
    player.run()
    assert (player.status, player.position.line, player.iter) == ('paused', 'commit', 2)
    assert player.acks[-1].what == 'pause' and 'commit' in repr(player.acks[-1])


def test_playing_lets_other_tasks_have_their_turn_and_one_driver_takes_over_from_another():
    class Busy(Nested):
        def learn(self):
            end = player.clock()+.01
            while player.clock() < end: pass
    async def main():
        turns,first = 0,player.play()
        while player.iter < 6:
            await asyncio.sleep(0)
            turns += 1
        second = player.play()
        await first
        assert player.status == 'running'
        await second
        return turns
    player = Player(Busy())
    assert asyncio.run(main()) > 10
    assert player.status == 'done'


def test_awaiting_a_played_run_raises_what_a_hook_raised_and_the_error_is_kept():
    class Bad:
        def after_train_epoch(self, runner): raise KeyboardInterrupt('not from a keyboard')
    player = Player(Nested(), [Bad()])
    async def main():
        handle = player.play()
        while player.status == 'running': await asyncio.sleep(0)
        with pytest.raises(KeyboardInterrupt): await handle
    asyncio.run(main())
    assert player.status == 'error'


def test_playing_without_an_event_loop_says_what_to_use_instead():
    with pytest.raises(RuntimeError, match='in a script use'): Player(Nested()).play()


def test_the_clock_stands_still_while_the_run_is_paused():
    import time
    player = Player(Nested())
    player.step('iter')
    before = player.clock()
    time.sleep(.05)
    assert player.clock() == before
    player.step('iter')
    assert player.clock()-before < .04


def test_a_watcher_that_raises_is_dropped_and_said_and_the_run_goes_on():
    said = []
    player = Player(Nested(), say=said.append)
    player.watchers.append(lambda: 1/0)
    player.run()
    assert player.status == 'done' and not player.watchers and 'ZeroDivisionError' in said[0]


def test_hooks_of_one_name_are_refused_in_the_constructor_and_replaced_afterwards():
    with pytest.raises(ValueError, match='of its own'): HookTable([Diary(), Diary()])
    said = []
    table = HookTable([Diary()], say=said.append)
    table['Diary'].priority = 30
    table.register(new := Diary())
    assert list(table) == [new] and table['Diary'].priority == 30 and 'replaced' in said[0]


def test_a_stage_that_was_silent_is_heard_by_a_hook_that_comes_later():
    class Quiet(Nested):
        def run_epoch(self):
            if self.epoch == 2: yield 'before_rest'
            yield 'after_rest'
            yield from super().run_epoch()
    player,heard = Player(Quiet(), say=lambda text: None),[]
    player.run_until(epoch=1)
    player.hooks.register(type('Late', (), {'after_rest': lambda self, runner: heard.append(runner.epoch)})())
    player.run_until(epoch=2)
    player.hooks['Late'].off()
    player.run()
    assert heard == [1] and not player.cursor.opened and player.status == 'done'
