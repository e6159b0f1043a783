"The log table: it shows what the log lines show, an edit of it is a rule of the log, and two hundred numbers cost no more than a few."
import csv, io, math, threading

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from interactive_runner.history import HistoryBuffer
from interactive_runner.logproc import LogProcessor
from interactive_runner.runner import Runner
from interactive_runner.ui import logs
from interactive_runner.ui.logs import ROWS, Course, Logs, figures
from interactive_runner.ui.style import esc, inside
from test_panel import Run, evil, opened

@pytest.fixture
def run():
    run = Run()
    for i in range(40): run.message_hub.update_scalars({'train/lr': .1, 'train/loss': 1/(i+1), 'train/hits': i})
    run.message_hub.update_scalar('val/accuracy', .5)
    return run

@pytest.fixture
def own():
    "A statistic of one's own"
    @HistoryBuffer.register_statistics
    def spread(buf, window_size=None): return buf.max(window_size)-buf.min(window_size)
    yield 'spread'
    del HistoryBuffer.methods['spread']

def row(view, name): return next(r for r in view.rows if r.shown == name)
def shown(view): return [r.shown for r in view.rows]
def value(view, name):
    r = row(view, name)
    return figures(r.processor, view.runner.message_hub, r.key, r.rule)[1]
def line(view): return view.runner.log_processor.get_log_after_iter(view.runner, 4, 'train')[0]
def sent(view):
    "What is sent from now on"
    res = []
    for o in inside(view.widget).values(): o.observe(lambda c: res.append((type(c['owner']).__name__, c['name'])))
    return res

def small(**kwargs):
    "A real run: the loss is the square of the input, the metric its mean over all, since nothing is learned"
    model = nn.Linear(1, 1)
    with torch.no_grad(): model.weight.fill_(1.); model.bias.zero_()
    batches = [(torch.full((2, 1), float(i)), torch.zeros(2, 1)) for i in range(1, 9)]
    def distance(pred, target): return (pred-target).abs().mean()
    given = dict(train_dataloader=batches, val_dataloader=batches[:3], loss_fn=nn.functional.mse_loss, metrics=dict(distance=distance),
                 optimizer=torch.optim.SGD(model.parameters(), lr=0.), log_level='ERROR')
    return Runner(model, **given | (kwargs or dict(max_epochs=3)))


@pytest.mark.parametrize('method, window', [('mean', 3), ('max', 'epoch'), ('median', 'global'), ('current', None), ('ema', None), ('spread', 4)])
def test_the_table_and_the_log_line_agree(method, window, own):
    runner = small()
    runner.step('iter', 13)
    view = Logs(runner)
    row(view, 'train/loss').method.value = method
    if window: row(view, 'train/loss').over.value = str(window)
    runner.log_processor.set_rule('train/loss', 'min', 2, 'train/low')
    view.refresh()
    tag,_ = runner.log_processor.get_log_after_iter(runner, runner.inner_iter, 'train')
    assert value(view, 'train/loss') == tag['loss'] and value(view, 'train/low') == tag['low']
    assert f'<span>{logs.num(tag["loss"])}</span>' in view.text.value

def test_after_a_validation_the_table_shows_its_last_line():
    runner,lines = small(),[]
    @runner.on('after_val_epoch', priority=90)
    def look(runner, batch_idx): lines.append(runner.log_processor.get_log_after_epoch(runner, batch_idx, 'val')[0])
    runner.log_processor.window_size = 2
    runner.train()
    view = Logs(runner)
    assert {k: value(view, f'val/{k}') for k in lines[-1]} == lines[-1] and lines[-1]['distance'] == 2.

def test_a_validation_that_begins_shows_the_one_before_until_it_has_given_values():
    runner,lines = small(),[]
    @runner.on('after_val_iter')
    def more(runner, batch_idx): runner.message_hub.update_scalar('val/loss', runner.iter+batch_idx**2)
    @runner.on('after_val_epoch', priority=90)
    def look(runner, batch_idx): lines.append(runner.log_processor.get_log_after_epoch(runner, batch_idx, 'val')[0])
    runner.log_processor.set_rule('val/loss', 'max', 2, 'val/worst')
    view = Logs(runner)
    runner.run_until(stage='before_val_iter', epoch=3)
    view.refresh()
    assert len(lines) == 2 and lines[0]['loss'] != lines[1]['loss'] and '–' not in view.text.value
    assert {k: value(view, 'val/worst' if k == 'worst' else f'val/{k}') for k in lines[1]} == lines[1]
    runner.step('iter')
    view.refresh()
    assert value(view, 'val/loss') != lines[1]['loss']

def test_a_statistic_and_a_window_are_edited_and_reset(run):
    view = Logs(run)
    r = row(view, 'train/hits')
    assert (r.method.value, 'ir-none' in r.over._dom_classes, 'ir-none' in r.back._dom_classes) == ('current', True, True)
    r.method.value = 'mean'
    view.refresh()
    assert (r.over.value, value(view, 'train/hits'), 'ir-none' in r.over._dom_classes) == ('10', 34.5, False)
    r.over.value = '4'
    view.refresh()
    assert value(view, 'train/hits') == 37.5 and run.log_processor.rule('train/loss') == ('mean', 10, {})
    r.back.click()
    view.refresh()
    assert (r.method.value, run.log_processor.custom_cfg, value(view, 'train/hits')) == ('current', (), 39.)

def test_rows_without_a_window_of_their_own_follow_that_of_the_log(run):
    view = Logs(run)
    row(view, 'train/loss').over.value = '3'
    run.message_hub.update_scalar('train/loss_b', 1.)
    view.window.value = ' Global '
    view.refresh()
    assert [row(view, f'train/{o}').over.value for o in ('loss', 'loss_b')] == ['3', 'global']
    assert view.window.value == 'global' and run.log_processor.window_size == 'global'

@pytest.mark.parametrize('text', ['0', '-3', '2.5', 'all', '', '²'])
@pytest.mark.parametrize('which', ['log', 'row'])
def test_a_window_that_cannot_be_changes_nothing_and_says_so(run, text, which):
    view = Logs(run)
    field = view.window if which == 'log' else row(view, 'train/loss').over
    field.value = text
    view.refresh()
    assert run.log_processor.window_size == 10 and not run.log_processor.custom_cfg and field.value == '10'
    assert 'ir-bad' in view.note.value and 'window' in view.note.value
    field.value = '7'
    view.refresh()
    assert field.value == '7' and view.note.value == ''

def test_a_second_row_is_in_the_log_under_a_name_that_follows_its_statistic(run):
    view = opened(Logs(run))
    view.adder.value = 'train/loss'
    view.refresh()
    assert shown(view)[1:3] == ['train/loss', 'train/loss_min'] and view.adder.value == ''
    r = row(view, 'train/loss_min')
    before = r.widget
    r.method.value = 'max'
    view.refresh()
    assert shown(view)[2] == 'train/loss_max' and row(view, 'train/loss_max').widget is before
    r.over.value = '3'
    view.refresh()
    assert run.log_processor.added('train/loss') == {'train/loss_max': ('max', 3, {})} and value(view, 'train/loss_max') == 1/38
    view.adder.value = 'train/loss'
    view.refresh()
    row(view, 'train/loss_min').method.value = 'max'
    view.refresh()
    assert shown(view)[1:4] == ['train/loss', 'train/loss_max', 'train/loss_max_2']
    r.back.click()
    view.refresh()
    assert 'train/loss_max' not in shown(view) and before.comm is None and len(view.grid.children) == 2+len(view.rows)
    assert all(x.comm is not None for r in view.rows for o in r.widget.children for x in (o, o.layout, o.style)), 'what the rows share stays'

def test_added_rows_come_and_go_in_the_line():
    runner = small()
    runner.step('iter', 4)
    view = Logs(runner)
    view.adder.value = 'train/loss'
    assert line(view)['loss_min'] == 1. and line(view)['loss'] == 7.5
    row(view, 'train/loss_min').back.click()
    assert 'loss_min' not in line(view)

def test_a_name_that_a_person_gave_stays_and_its_other_keywords_too(run):
    run.log_processor.custom_cfg = [dict(data_src='loss', method_name='quantile', q=.9, window_size=20, log_name='p90')]
    run.message_hub.update_scalar('val/loss', 2.)
    view = Logs(run)
    assert [(r.key, r.name) for r in view.rows if r.name] == [('train/loss', 'p90'), ('val/loss', 'p90')]
    row(view, 'p90').over.value = '5'
    assert run.log_processor.custom_cfg == (dict(data_src='loss', method_name='quantile', q=.9, window_size=5, log_name='p90'),)
    row(view, 'p90').method.value = 'max'
    assert run.log_processor.custom_cfg == (dict(data_src='loss', method_name='max', window_size=5, log_name='p90'),)

def test_a_key_with_its_mode_says_more_than_one_without(run):
    proc = LogProcessor(custom_cfg=[dict(data_src='loss', method_name='max')])
    proc.set_rule('val/loss', 'min', 5)
    assert (proc.rule('train/loss')[0], proc.rule('val/loss')[0]) == ('max', 'min')
    proc.drop_rule('val/loss')
    assert proc.rule('val/loss')[0] == 'max'
    with pytest.raises(KeyError, match="Did you mean 'loss'"): proc.drop_rule('los')
    with pytest.raises(TypeError, match='no window'): proc.set_rule('loss', 'current', 3)
    assert proc.custom_cfg == (dict(data_src='loss', method_name='max', window_size=None),)

def test_a_validation_keeps_its_window_in_a_run_of_iterations():
    runner = small(max_iters=6, val_interval=3)
    runner.train()
    view = Logs(runner)
    runner.message_hub.update_scalar('val/loss', 1.)
    view.refresh()
    r = row(view, 'val/loss')
    assert r.over.value == 'epoch'
    r.method.value = 'max'
    assert runner.log_processor.rule('val/loss', True) == ('max', 'epoch', {}) and view.note.value == ''

def test_statistics_of_ones_own_can_be_chosen_unless_they_need_more(run, own):
    @HistoryBuffer.register_statistics
    def above(buf, limit): return 1.
    try:
        view = Logs(run)
        options = row(view, 'train/loss').method.options
        assert own in options and 'above' not in options
        run.log_processor.set_rule('train/loss', 'above', limit=3)
        view.refresh()
        assert row(view, 'train/loss').method.value == 'above'
    finally: del HistoryBuffer.methods['above']

def test_a_statistic_that_fails_leaves_the_controls_to_choose_another(run):
    @HistoryBuffer.register_statistics
    def broken(buf): raise ZeroDivisionError
    try:
        view = Logs(run)
        run.log_processor.set_rule('train/loss', 'broken')
        with pytest.raises(ZeroDivisionError): view.refresh()
        assert row(view, 'train/loss').method.value == 'broken'
        row(view, 'train/loss').method.value = 'mean'
        view.refresh()
        assert value(view, 'train/loss') == pytest.approx(np.mean([1/(i+1) for i in range(30, 40)]))
    finally: del HistoryBuffer.methods['broken']

def test_drawing_a_change_is_no_command(run):
    view = Logs(run)
    run.log_processor.set_rule('train/loss', 'max', 5)
    run.log_processor.set_rule('train/lr', 'mean', 5, 'slow')
    run.log_processor.window_size = 'global'
    view.refresh()
    assert not run.player.acks and (row(view, 'train/loss').method.value, view.window.value) == ('max', 'global')

def test_a_callback_on_another_thread_only_queues(run):
    view = Logs(run)
    run.player.step('iter')
    def press():
        row(view, 'train/loss').method.value = 'max'
        view.adder.value = 'train/lr'
    t = threading.Thread(target=press)
    t.start()
    t.join()
    assert len(run.player.inbox) == 2 and not run.log_processor.custom_cfg
    run.player.step('line')
    assert [o['method_name'] for o in run.log_processor.custom_cfg] == ['max', 'mean']


def crowd(n=200):
    run = Run()
    for i in range(n): run.message_hub.update_scalar(f'train/norm_{i}', float(i))
    run.message_hub.update_scalars({'val/loss': 1., 'train/loss': 2.})
    return run

def test_of_two_hundred_numbers_the_losses_and_some_more_are_shown_and_any_can_be_added():
    run = crowd()
    view = Logs(run)
    assert shown(view) == [f'train/norm_{i}' for i in range(ROWS-2)]+['train/loss', 'val/loss']
    assert len(view.adder.options) == 202 and '186 more' in view.more.value
    view.adder.value = 'train/norm_150'
    view.refresh()
    assert shown(view)[-3:] == ['train/norm_150', 'train/loss', 'val/loss'] and not run.log_processor.custom_cfg
    view.adder.value = 'train/norm_150'
    view.refresh()
    assert shown(view)[-4:-2] == ['train/norm_150', 'train/norm_150_mean']
    row(view, 'train/norm_150_mean').back.click()
    row(view, 'train/norm_150').back.click()
    view.refresh()
    assert len(view.rows) == ROWS and not run.log_processor.custom_cfg

def test_a_name_that_is_not_there_is_answered_with_the_nearest():
    run = crowd()
    view = Logs(run)
    view.adder.value = 'train/norm150'
    assert 'Did you mean &#x27;train/norm_150&#x27;?' in view.note.value and len(view.rows) == ROWS and view.adder.value == ''

def test_a_rule_of_its_own_makes_a_number_visible():
    run = crowd()
    view = Logs(run)
    run.log_processor.set_rule('norm_77', 'mean', 5, 'mine')
    view.refresh()
    assert shown(view)[-4:-2] == ['train/norm_77', 'mine']

def test_two_hundred_numbers_send_two_messages_and_make_no_widgets():
    run = crowd()
    view = Logs(run)
    n,heard = len(inside(view.widget)),sent(view)
    for i in range(5):
        for k in run.message_hub.log_scalars: run.message_hub.update_scalar(k, i+.5)
        view.refresh()
    assert heard == [('HTML', 'value')]*10 and len(inside(view.widget)) == n

def test_nothing_new_sends_nothing(run):
    view = Logs(run)
    heard = sent(view)
    for sort in ('came', 'name', 'value'):
        view.sort.value = sort
        heard.clear()
        view.refresh()
        assert heard == []


def lines(view): return sorted(view.rows, key=lambda r: int(r.widget.layout.grid_area.split('/')[0]))

def test_rows_are_sorted_without_being_made_anew(run):
    view = Logs(run)
    run.message_hub.update_scalars({'train/bad': math.nan, 'train/huge': 1e9})
    view.refresh()
    made = view.grid.children
    orders = {}
    for by in ('name', 'value', 'came'):
        view.sort.value = by
        orders[by] = [r.shown for r in lines(view)]
    assert orders['came'] == ['train/lr', 'train/loss', 'train/hits', 'train/bad', 'train/huge', 'val/accuracy']
    assert orders['name'] == sorted(orders['came'])
    assert orders['value'] == ['train/bad', 'train/huge', 'train/hits', 'val/accuracy', 'train/lr', 'train/loss']
    assert view.grid.children == made

def test_while_a_run_goes_on_rows_sorted_by_value_keep_their_places_for_a_while(run, monkeypatch):
    now = [0.]
    monkeypatch.setattr(logs, 'perf_counter', lambda: now[0])
    view = Logs(run)
    view.sort.value = 'value'
    before = lines(view)
    run.player.status = 'running'
    run.message_hub.update_scalar('train/lr', 1e3)
    view.refresh()
    assert lines(view) == before and before[0].shown == 'train/hits'
    now[0] += logs.CALM
    view.refresh()
    assert lines(view)[0].shown == 'train/lr'


@given(st.lists(st.lists(st.floats(-1e3, 1e3), max_size=40), max_size=8), st.integers(2, 9))
def test_a_course_holds_means_of_equally_many_values_however_it_was_read(parts, most):
    buf,course,whole = HistoryBuffer(),Course(most),Course(most)
    for part in parts:
        for v in part: buf.update(v)
        course.update(buf)
    whole.update(buf)
    values = buf.tail(len(buf))
    if not len(values): return
    n = len(values)//course.step
    assert course.step == whole.step and len(course.points) == n <= most
    assert course.points == pytest.approx(values[:n*course.step].reshape(n, -1).mean(1), abs=1e-6)
    assert len(values) < 2*most or n >= most//2

def test_a_course_begins_anew_when_the_history_was_set_back():
    a,course = HistoryBuffer(),Course()
    for i in range(9): a.update(float(i))
    saved = a.state_dict()
    for _ in range(9): a.update(100.)
    course.update(a)
    a.load_state_dict(saved)
    course.update(a)
    assert course.points.tolist() == [*range(9)]


def test_the_table_as_csv_has_all_digits_in_the_order_shown(run):
    run.message_hub.update_scalar(f'train/{evil},"', 1/3)
    view = Logs(run)
    view.sort.value = 'name'
    row(view, 'train/loss').over.value = '3'
    view.copy.click()
    text = logs.table_csv(lines(view), run.message_hub)[0]
    table = list(csv.DictReader(io.StringIO(text)))
    assert [o['name'] for o in table] == sorted(shown(view)) and esc(text) in view.paper.value
    loss = next(o for o in table if o['name'] == 'train/loss')
    assert float(loss['value']) == value(view, 'train/loss') and (loss['statistic'], loss['window'], loss['count']) == ('mean', '3', '40')
    assert '<img' not in view.paper.value and 'ir-folded' not in view.pane._dom_classes
    view.copy.click()
    assert 'ir-folded' in view.pane._dom_classes

def test_the_values_by_iteration_end_with_the_last_and_say_when_they_are_cut():
    run = Run()
    for i in range(1500): run.message_hub.update_scalar('train/loss', float(i))
    view = Logs(run)
    view.copy.click()
    view.what.value = 'values'
    text = view.paper.value
    assert 'the last 1,000 of 1,500 iterations; runner.logs() gives all' in text
    assert '\n1500,1499.0\n' in text and '\n501,500.0\n' in text and '\n500,499.0' not in text

def test_names_are_text_in_the_whole_view(run):
    run.message_hub.update_scalar(f'train/{evil}', 1.)
    view = Logs(run)
    view.adder.value = f'train/{evil}'
    view.adder.value = f'{evil}'
    html = ' '.join(o.value for o in inside(view.widget).values() if type(o).__name__ == 'HTML')
    assert '<img' not in html and html.count('&lt;img') >= 3

def test_the_numbers_of_a_run_come_as_a_frame():
    runner = small(max_epochs=2)
    assert runner.logs().empty
    runner.train()
    frame = runner.logs('train/loss', 'train/lr', 'val/distance')
    assert list(frame.columns) == ['train/loss', 'train/lr', 'val/distance'] and frame.index.name == 'iter'
    assert frame.index.tolist() == [*range(1, 17)] and frame['train/loss'].tolist() == [float(i*i) for i in range(1, 9)]*2
    assert frame['val/distance'].dropna().to_dict() == {8: 2., 16: 2.} and set(frame['train/lr']) == {0.}
    assert {'train/loss', 'train/time', 'val/distance'} <= set(runner.logs().columns)
    with pytest.raises(KeyError, match="Did you mean 'train/loss'"): runner.logs('train/los')
