"The table of hooks without a browser: what is pressed reaches the hooks, what is drawn is so, and many hooks cost little."
import re, time

import pytest
from ipywidgets.widgets.widget import _instances

from interactive_runner.hook import FunctionHook, HookTable, parameters
from interactive_runner.hooks.logger import LoggerHook
from interactive_runner.ui.hooks import Hooks, optional, typed
from interactive_runner.ui.panel import Panel
from interactive_runner.ui.style import inside
from test_panel import Log, Run, Timer, evil, opened, tidy # noqa: F401

class Clip:
    "Limit the gradients\nas told"
    priority,norm_type = 60,2.
    def __init__(self, max_norm=1., after=None, every=5, strict=False, what='all', groups=()):
        self.max_norm,self.after,self.every,self.strict,self.what,self.groups,self.clipped = max_norm,after,every,strict,what,groups,0
    def after_train_iter(self, runner): runner.log.append(('Clip', runner.iter))

@pytest.fixture
def run(): return Run(Log(), Timer(), Clip())

@pytest.fixture
def hooks(run):
    panel = opened(Panel(run))
    yield panel.hooks
    panel.close()

def order(hooks): return [r.name for r in hooks.player.hooks.rows]
def line(hooks, name): return int(hooks.rows[name].widget.layout.grid_area.split()[0])
def cells(hooks, name):
    "What is read in the line of a hook: its number, words, calls, milliseconds and share"
    part = re.search(rf'grid-row:(\d+)"[^>]*aria-label="{name} in numbers">(.*?)</div>', hooks.info.value)
    return re.sub('<[^>]+>', '|', part[2])
def text_of(hooks): return ' '.join(o.value for o in inside(hooks.widget).values() if type(o).__name__ == 'HTML')
def changes(hooks):
    "A list that grows with each message to the browser"
    sent = []
    for o in inside([hooks.widget, *hooks.tools]).values(): o.observe(lambda c: sent.append((type(c['owner']).__name__, c['name'])))
    return sent

def test_switching_a_hook_off_acts_on_the_one_about_to_run(run, hooks):
    run.player.run_until(stage='after_train_iter')
    assert 'ir-next' in hooks.rows['Log'].widget._dom_classes and 'runs next' in cells(hooks, 'Log')
    hooks.rows['Log'].switch.value = False
    run.player.step('iter')
    assert run.log == [('Timer', 0), ('Clip', 0)] and 'ir-off' in hooks.rows['Log'].widget._dom_classes

def test_a_hook_in_an_open_iteration_says_when_it_goes(run, hooks):
    run.player.run_until(stage='work')
    row = hooks.rows['Timer']
    row.switch.value = False
    assert run.player.hooks['Timer'].enabled and not row.switch.value and 'off after train_iter' in cells(hooks, 'Timer')
    row.switch.value = True
    assert run.player.hooks['Timer'].waiting is None and 'off after' not in cells(hooks, 'Timer')

def test_while_it_runs_no_hook_is_marked(run, hooks):
    class Look:
        def after_train_iter(self, runner): hooks.refresh(); seen.append(hooks.info.value)
    seen = []
    run.player.hooks.register(Look())
    run.player.step('iter')
    assert seen and 'ir-next' not in seen[0]

def test_an_arrow_pressed_again_moves_the_same_hook_and_builds_no_row_anew(run, hooks):
    boxes,up = hooks.box.children,hooks.rows['Clip'].up
    for places in (['Log', 'Clip', 'Timer'], ['Clip', 'Log', 'Timer'], ['Clip', 'Log', 'Timer']):
        up.click()
        assert order(hooks) == places == sorted(places, key=lambda nm: line(hooks, nm)) and hooks.box.children == boxes
    assert len(run.player.acks) == 2 and 'ir-end' in up._dom_classes and not up.disabled

@pytest.mark.parametrize('text, n, shown', [
    ('90', 90, '90 VERY_LOW'), (' low ', 70, '70 LOW'), ('100 LOWEST', 100, '100 LOWEST'), ('Very_Low', 90, '90 VERY_LOW'), ('77', 77, '77')])
def test_a_priority_by_name_or_number_moves_a_hook(run, hooks, text, n, shown):
    hooks.rows['Log'].priority.value = text
    assert order(hooks) == list(hooks.rows) == ['Timer', 'Clip', 'Log'] and run.player.hooks['Log'].priority == n
    assert hooks.rows['Log'].priority.placeholder == shown and hooks.rows['Log'].priority.value == '' and len(run.player.acks) == 1

@pytest.mark.parametrize('text, error', [
    ('lwo', "Did you mean 'LOW'?"), ('101', 'between 0 (first) and 100'), ('-1', 'between 0'), ('1.5', 'unknown priority')])
def test_a_priority_that_cannot_be_changes_nothing_and_is_said(run, hooks, text, error):
    hooks.rows['Log'].priority.value = text
    assert error in str(run.player.acks[-1].error) and run.player.hooks['Log'].priority == 50
    assert (hooks.rows['Log'].priority.value, hooks.rows['Log'].priority.placeholder) == ('', '50 NORMAL')

def test_rows_are_used_again_and_those_that_are_gone_are_closed(run, hooks):
    before = dict(hooks.rows)
    hooks.rows['Log'].more.click()
    run.player.hooks.register(Log(), name='new', priority=1)
    run.player.hooks.remove('Log')
    hooks.refresh()
    assert list(hooks.rows) == ['new', 'Timer', 'Clip'] and hooks.rows['Timer'] is before['Timer']
    assert [line(hooks, nm) for nm in hooks.rows] == [2, 3, 4] and hooks.box.children[-1] is hooks.rows['new'].widget
    assert all(o.comm is None for o in (before['Log'].widget, *before['Log'].parts)) and hooks.detail.widget.comm is not None
    assert all(x.comm is not None for r in hooks.rows.values() for o in r.parts for x in (o, o.layout, o.style)), 'what the rows share stays'

def test_a_hook_more_is_its_row_and_nothing_else_to_send(run, hooks, monkeypatch):
    before,sent = set(_instances),[]
    monkeypatch.setattr(type(hooks.info.comm), 'publish_msg', lambda comm, kind, **more: sent.append(kind))
    run.player.hooks.register(Log(), name='new')
    hooks.refresh()
    r = hooks.rows['new']
    assert {_instances[o] for o in set(_instances)-before} == {*r.parts, r.widget, r.widget.layout}
    assert sent.count('comm_open') == 7 and len(sent) < 7+7

def test_a_hook_that_is_gone_says_so_when_it_is_pressed(run):
    hooks = Hooks(run) # no panel draws it meanwhile
    hooks.rows['Clip'].more.click()
    row,field = hooks.rows['Clip'],hooks.detail.fields['every']
    run.player.hooks.remove('Clip')
    row.up.click()
    for widget,value in ((row.switch, False), (row.priority, '7'), (field, '7')): widget.value = value
    assert len(run.player.acks) == 4 and all('no hook is called' in str(o.error) for o in run.player.acks)

@pytest.mark.parametrize('is_open', [True, False])
def test_a_closed_view_leaves_no_widget_behind(run, is_open):
    before = set(_instances)
    panel = opened(Panel(run))
    panel.hooks.rows['Clip'].more.click()
    if not is_open: panel.hooks.rows['Clip'].more.click()
    run.player.hooks.remove('Log')
    panel.refresh()
    panel.close()
    assert not set(_instances)-before

def test_a_stage_shows_its_hooks_with_what_they_cost_there(run, hooks):
    run.player.step('iter', 2)
    assert [o for o,_ in hooks.stage.options] == ['all stages', 'before_train_iter', 'after_train_iter']
    hooks.stage.value = 'before_train_iter'
    assert list(hooks.shown) == ['Timer'] and line(hooks, 'Timer') == 2 and cells(hooks, 'Timer').startswith('|1|')
    assert '|2|' in cells(hooks, 'Timer') and hooks.rows['Log'].widget.layout.display == 'none' and not run.player.acks
    hooks.stage.value = ''
    assert '|4|' in cells(hooks, 'Timer') and hooks.rows['Log'].widget.layout.display is None

def test_at_a_stage_an_arrow_goes_past_the_hook_that_is_seen_above(run, hooks):
    run.player.hooks.register(FunctionHook(lambda runner: None, 'before_train_iter'), name='begin', priority=0)
    hooks.stage.value = 'before_train_iter'
    hooks.rows['begin'].down.click()
    assert order(hooks) == ['Log', 'Timer', 'begin', 'Clip'] and line(hooks, 'begin') == 3
    hooks.rows['begin'].down.click()
    assert order(hooks) == ['Log', 'Timer', 'begin', 'Clip']

def test_a_stage_that_no_hook_has_any_more_is_not_looked_at(run, hooks):
    hooks.stage.value = 'before_train_iter'
    run.player.hooks.remove('Timer')
    hooks.refresh()
    assert hooks.stage.value == '' and len(hooks.shown) == 2

def test_many_hooks_are_searched_by_name():
    run = Run(Log())
    for i in range(20): run.player.hooks.register(Log(), name=f'Extra{i}')
    hooks = Hooks(run)
    assert hooks.find.layout.display is None
    hooks.find.value = ' extra1 '
    assert list(hooks.shown) == ['Extra1', *(f'Extra{i}' for i in range(10, 20))]
    hooks.find.value = 'nothing'
    assert not hooks.shown and 'No hook here' in hooks.info.value
    for i in range(20): run.player.hooks.remove(f'Extra{i}')
    hooks.find.value = ''
    assert hooks.find.layout.display == 'none' and len(hooks.shown) == 1

@pytest.mark.parametrize('text, value, or_none, meant', [
    ('50', 10, False, 50), (' -3 ', 10, False, -3), ('1_000', 10, False, 1000), ('.5', 1., False, .5), ('3', 1., False, 3.), ('inf', 1., False, float('inf')),
    ('min', 'max', False, 'min'), ('50', 'max', False, '50'), ('None', 'max', False, 'None'), ('None', 1., True, None), ('', 1., True, None),
    ('2', None, False, 2), ('[1, 2]', None, False, [1, 2]), ('epoch', None, False, 'epoch'), ('False', True, True, False), ('None', True, True, None)])
def test_what_is_typed_is_of_the_kind_that_was_there(text, value, or_none, meant):
    got = typed(text, value, or_none)
    assert (got, type(got)) == (meant, type(meant))

@pytest.mark.parametrize('field, text, error', [
    ('every', '2.5', "a whole number, got '2.5'"), ('every', 'often', 'a whole number'), ('every', '', 'a whole number'), ('every', 'None', 'a whole number'),
    ('max_norm', 'big', 'a number'), ('norm_type', '', 'a number')])
def test_what_cannot_be_changes_nothing_and_is_said(run, hooks, field, text, error):
    before = vars(run.player.hooks['Clip'].hook).copy()
    hooks.rows['Clip'].more.click()
    shown = hooks.detail.fields[field].value
    hooks.detail.fields[field].value = text
    assert error in str(run.player.acks[-1].error) and vars(run.player.hooks['Clip'].hook) == before
    assert hooks.detail.fields[field].value == shown

def test_parameters_are_shown_and_set_without_making_the_hook_again(run, hooks):
    hook = run.player.hooks['Clip'].hook
    hooks.rows['Clip'].more.click()
    fields = hooks.detail.fields
    assert {nm: w.value for nm,w in fields.items()} == dict(max_norm='1.0', after='None', every='5', strict=False, what='all', norm_type='2.0')
    assert 'Limit the gradients' in text_of(hooks) and 'as told' not in text_of(hooks) and 'groups (tuple)' in text_of(hooks)
    for nm,v in dict(max_norm='2', after='3', every='7', strict=True, what='some', norm_type='1').items(): fields[nm].value = v
    assert run.player.hooks['Clip'].hook is hook and hooks.detail.fields is fields
    assert {nm: getattr(hook, nm) for nm in fields} == dict(max_norm=2., after=3, every=7, strict=True, what='some', norm_type=1.)
    assert run.player.acks[-1].what == 'Clip.norm_type = 1' and len(run.player.acks) == 6

def test_a_value_set_in_a_cell_is_drawn_and_is_no_command(run, hooks):
    hooks.rows['Clip'].more.click()
    run.player.hooks['Clip'].set(every=9, strict=True)
    hooks.refresh()
    assert (hooks.detail.fields['every'].value, hooks.detail.fields['strict'].value, len(run.player.acks)) == ('9', True, 0)

def test_one_hook_is_open_at_a_time(run, hooks):
    rows = hooks.rows
    for nm,is_open in (('Clip', True), ('Log', True), ('Log', False)):
        rows[nm].more.click()
        assert [hooks.detail.widget in o.widget.children for o in rows.values()] == [is_open and o.name == nm for o in rows.values()]
        assert ('ir-pressed' in rows[nm].more._dom_classes) == is_open

def test_a_new_version_of_a_hook_has_its_own_fields(run, hooks):
    class Clip:
        def __init__(self): self.level = 1
        def after_train_iter(self, runner): pass
    hooks.rows['Clip'].more.click()
    old = list(hooks.detail.fields.values())
    run.player.hooks.register(Clip())
    hooks.refresh()
    assert list(hooks.detail.fields) == ['level'] and all(o.comm is None for o in old)

def test_none_can_be_had_back_where_it_is_the_default():
    assert optional(Clip(), 'after') and not optional(Clip(), 'max_norm') and not optional(Clip(), 'norm_type')

def test_an_interval_is_checked_whenever_it_is_set():
    table = HookTable([LoggerHook(), FunctionHook(print, 'after_train_iter', every=2)])
    ways = lambda: table['LoggerHook'].set(interval=0), lambda: setattr(table['LoggerHook'].hook, 'interval', 0), lambda: table['FunctionHook'].set(every=-1)
    for set_it in ways:
        with pytest.raises(ValueError, match='must be 1 or more'): set_it()
    with pytest.raises(TypeError, match='whole number'): table['LoggerHook'].set(interval=2.5)
    assert (table['LoggerHook'].hook.interval, table['FunctionHook'].hook.every) == (10, 2)

def test_setting_takes_all_or_nothing_and_names_what_there_is():
    table = HookTable([LoggerHook()])
    row = table['LoggerHook']
    with pytest.raises(ValueError): row.set(ignore_last=False, interval=0)
    with pytest.raises(AttributeError, match="Did you mean 'interval'.*It has: interval, ignore_last, interval_exp_name"): row.set(intervall=5)
    with pytest.raises(AttributeError, match='no parameter'): row.set(priority=5)
    plain = {k: v for k,v in parameters(row.hook).items() if k not in ('out_dir', 'out_suffix')}
    assert plain == dict(interval=10, ignore_last=True, interval_exp_name=1000, keep_local=True, log_metric_by_epoch=True)
    assert row.set(interval=50, ignore_last=False) is row and row.hook.interval == 50

def test_a_function_can_be_called_more_rarely_while_it_runs():
    run,seen = Run(Log()),[]
    row = run.player.hooks.register(FunctionHook(lambda runner: seen.append(runner.iter), 'after_train_iter'), name='f')
    run.player.step('iter', 2)
    row.set(every=4)
    run.player.step('iter', 8)
    row.set(every=1)
    run.player.step('iter', 2)
    assert seen == [0, 1, 3, 7, 10, 11]
    assert row.calls == row.spent('after_train_iter')[0] == 6 and row.spent('before_val') == (0, 0)

def test_a_call_that_did_nothing_is_none():
    run = Run(Log())
    row = run.player.hooks.register(FunctionHook(lambda runner: time.sleep(.002), 'after_train_iter', every=10), name='f')
    hooks = Hooks(run)
    run.player.step('iter', 25)
    hooks.refresh()
    assert row.calls == 2 and '||2|' in cells(hooks, 'f') and row.seconds/row.calls > .002
    run.player.hooks.register(FunctionHook(lambda runner: None, 'after_train_iter', every=2), name='f')
    run.player.step('iter', 4)
    assert row.calls == 2

def test_the_share_is_that_of_the_time_of_the_run(run, hooks, monkeypatch):
    run.player.hooks['Log'].stats['after_train_iter'] = [4, .5]
    monkeypatch.setattr(run.player, 'clock', lambda: 2.)
    hooks.refresh()
    assert '25.0%' in cells(hooks, 'Log') and '|125.0|' in cells(hooks, 'Log') and 'width:25.0%' in hooks.info.value

def test_before_anything_has_run_there_is_no_share(run, monkeypatch):
    monkeypatch.setattr(run.player, 'clock', lambda: 0.)
    assert '0.0%' in cells(Hooks(run), 'Log')

def test_names_and_parameters_are_text(run, hooks):
    hook = Log()
    hook.__dict__[evil],hook.text = 1,evil
    run.player.hooks.register(hook, name=evil)
    hooks.refresh()
    hooks.rows[evil].more.click()
    assert '<img' not in text_of(hooks) and text_of(hooks).count('&lt;img') == 1 and evil in hooks.detail.fields
    assert not any(w.description_allow_html for w in hooks.detail.fields.values())
    hooks.detail.fields[evil].value = '2'
    assert hook.__dict__[evil] == 2 and hooks.detail.fields['text'].value == evil

def test_sixty_hooks_cost_one_message_while_they_run():
    run = Run(Log())
    for i in range(59): run.player.hooks.register(Log(), name=f'Extra{i}', priority=i)
    hooks = Hooks(run)
    sent = changes(hooks)
    run.player.step('iter')
    hooks.refresh()
    assert sent == [('HTML', 'value')] and hooks.info.value.count('ir-cells') == 61
    hooks.refresh()
    assert len(sent) <= 2 # the share has gone on with the clock, or nothing
    sent.clear()
    run.player.hooks['Extra30'].off()
    hooks.refresh()
    assert sorted(sent) == [('Checkbox', 'value'), ('HBox', '_dom_classes'), ('HTML', 'value')]
