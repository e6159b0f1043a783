"The chart without a browser: the points are right and few, no spike is hidden, and what a person asks for is what is drawn."
import math
from html import unescape
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from interactive_runner.core import closest
from interactive_runner.history import HistoryBuffer
from interactive_runner.logproc import statistic
from interactive_runner.runner import Runner
from interactive_runner.ui import chart as charts
from interactive_runner.ui.chart import PALETTE, Chart, axes, find, log_ticks
from interactive_runner.ui.logs import Logs, figures
from interactive_runner.ui.panel import Panel
from interactive_runner.ui.reading import MOST, columns, interventions, reading
from interactive_runner.ui.style import close, inside
from interactive_runner.ui.trace import Trace
from test_panel import Run, opened

evil = '<img src=x onerror=alert(1)>'

def history(values, **kw):
    "A history of these values, one at each iteration"
    buf,v = HistoryBuffer(**kw),torch.as_tensor(np.asarray(values, dtype=float))
    running = torch.tensor([float(v.sum()), len(v), float(v.max()), float(v.min())], dtype=torch.float64)
    buf.load_state_dict(dict(values=v, counts=None, steps=torch.arange(len(v)), running=running, total=len(v), max_length=buf.max_length))
    return buf

def run_of(n=0, **scalars):
    "A run of `n` iterations with these histories"
    run = Run()
    run.message_hub.now = lambda: run.player.loop.iter
    run.player.loop.iter = n
    for k,v in scalars.items():
        run.message_hub.log_scalars[k.replace('__', '/')] = history(v)
        run.message_hub.resumed_keys[k.replace('__', '/')] = True
    return run

def chart_of(n=0, **scalars):
    "The chart of a run that lives as long as the chart does; by itself it holds the run weakly"
    run = run_of(n, **scalars)
    chart = Chart(run)
    chart.kept = run
    return chart

def drawn(chart): return {k: c.line.y for k,c in chart.curves.items()}

def messages(chart):
    "Collects all changes of widgets from now on"
    sent = []
    for o in inside([chart.widget, vars(chart)]).values(): o.observe(lambda c: sent.append((c['owner'], c['name'])))
    return sent

# thinning

@pytest.mark.parametrize('kw', [dict(window=1), dict(window=10), dict(window=90), dict(), dict(per=37)])
@pytest.mark.parametrize('room', [700, 10_000])
def test_the_pieces_are_right_however_the_values_come(kw, room):
    rng,buf,trace = np.random.default_rng(0),HistoryBuffer(max_length=room),Trace(100)
    values = rng.normal(size=3000)
    for v in values:
        buf.update(float(v))
        if rng.random() < .05: trace.update(buf, **kw)
    trace.update(buf, **kw)
    assert len(trace) <= 100 and (np.diff(trace.at) == trace.size).all() and trace.at[0] == trace.size and len(values)-trace.seen < trace.size
    for at,low,high,mean in zip(trace.at.astype(int), trace.low, trace.high, trace.value):
        begin = (at-1)//kw['per']*kw['per'] if 'per' in kw else max(0, at-kw['window']) if kw else 0
        assert (low, high) == (values[at-trace.size:at].min(), values[at-trace.size:at].max())
        assert abs(mean-values[begin:at].mean()) < 1e-9

ANY = [('max', dict(window=10)), ('min', dict(per=37)), ('std', dict(window=90)), ('current', dict(window=1)), ('quantile', dict(window=20, q=.75)),
       ('median', dict()), ('ema', dict(beta=.9))]

@pytest.mark.parametrize('method, kw, room', [(*o, 10_000) for o in ANY]+[(*o, 700) for o in ANY[:5]])
def test_any_statistic_of_the_past_is_what_it_was_then(method, kw, room):
    rng,buf,trace,was = np.random.default_rng(0),HistoryBuffer(max_length=room),Trace(100),{}
    extra = {k: v for k,v in kw.items() if k in ('beta', 'q')}
    for i in range(1500):
        buf.update(float(rng.normal()))
        was[i+1] = statistic(buf, method, i % kw['per']+1 if 'per' in kw else kw.get('window'), **extra)
        if rng.random() < .05: trace.update(buf, **kw, method=method)
    trace.update(buf, **kw, method=method)
    assert len(trace) <= 100 and trace.value == pytest.approx([was[at] for at in trace.at.astype(int)], rel=1e-9)

@pytest.mark.parametrize('n', [5, 16, 100])
def test_a_validation_is_a_window_of_its_own_however_many_values_it_has(n):
    buf,trace,values = HistoryBuffer(),Trace(40),np.random.default_rng(0).normal(size=(20, n))
    for step,row in enumerate(values):
        for i,v in enumerate(row):
            buf.update(float(v), step=100*step)
            if i % 3 == 0:
                trace.update(buf, per='step')
                assert not trace.update(buf, per='step')
                if trace.size == 1: assert trace.value[-1] == pytest.approx(row[:i+1].mean())
    trace.update(buf, per='step')
    assert trace.value == pytest.approx([values[int(o)//100].mean() for o in trace.step])

def test_no_spike_is_ever_hidden():
    rng,buf,trace = np.random.default_rng(1),HistoryBuffer(),Trace(40)
    values = np.ones(20_000)
    for i in rng.choice(20_000, 30, replace=False): values[i] = rng.choice([-1, 1])*rng.uniform(10, 100)
    for i,v in enumerate(values):
        buf.update(float(v))
        if i % 97: continue
        trace.update(buf, 10)
        assert (trace.high.max(), trace.low.min()) == (values[:trace.seen].max(), values[:trace.seen].min())

def test_a_huge_value_spoils_no_later_mean():
    buf = history([1e30]+[1.]*5000)
    for kw in (dict(window=10), dict(per=100)):
        trace = Trace(50)
        trace.update(buf, **kw)
        assert trace.value[-1] == 1

@pytest.mark.parametrize('window', [10, 64, 'epoch', 'global'])
def test_the_mean_is_that_of_the_log_line(window):
    run = run_of(512, train__loss=np.random.default_rng(0).normal(size=512))
    run.loop_length,run.log_processor.window_size = lambda mode: 100,window
    chart,buf = Chart(run),run.message_hub.log_scalars['train/loss']
    n = chart.curves['train/loss'].whole.seen
    expected = statistic(history(buf.tail(512)[:n]), 'mean', window, n % 100)
    assert abs(chart.curves['train/loss'].whole.value[-1]-expected) < 1e-9

def test_what_is_no_number_is_a_gap_and_is_marked():
    values = np.ones(100)
    values[50],values[70] = np.nan,np.inf
    chart = chart_of(100, train__loss=values)
    line = chart.curves['train/loss'].line
    assert np.flatnonzero(np.isnan(line.y)).tolist() == [*range(50, 60), *range(70, 80)]
    assert chart.bad.x[np.isfinite(chart.bad.y)].tolist() == [51, 71] and 'not a number' in chart.legend.value

def test_a_history_that_begins_again_is_drawn_again():
    buf,trace = history(np.arange(1000.)),Trace(100)
    trace.update(buf, 1)
    buf.load_state_dict(history(np.arange(100.)).state_dict())
    trace.update(buf, 1)
    assert trace.seen == 100 and trace.value[-1] == 99

# work

@pytest.mark.parametrize('n', [2_000, 100_000, 800_000])
@pytest.mark.parametrize('part, times', [('whole run', 2), ('last half', 8), ('last tenth', 8)])
def test_the_work_does_not_grow_with_the_history(monkeypatch, n, part, times):
    run,window,looks = run_of(n, train__loss=np.ones(n)),10,8
    chart,buf,seen,tail = Chart(run),run.message_hub.log_scalars['train/loss'],[],HistoryBuffer.tail
    chart.part.value = part
    states = [history(np.ones(n+i*n//40)).state_dict() for i in range(1, looks+1)]
    monkeypatch.setattr(HistoryBuffer, 'tail', lambda self, n: (seen.append(n), tail(self, n))[1])
    for state in states:
        buf.load_state_dict(state)
        chart.refresh()
    new,pieces = n*looks//40,2*looks
    assert 0 < sum(seen) <= times*(new+window*pieces)

def test_few_numbers_are_sent_however_long_the_run(monkeypatch):
    chart = chart_of(900_000, train__loss=np.random.default_rng(0).normal(size=900_000))
    for part in ('whole run', 'last tenth'):
        chart.part.value = part
        for o in chart.figure.marks: assert o.x.size+o.y.size <= 1200
        c = chart.curves['train/loss']
        assert len(c.line.x) > 150 and c.line.y.dtype == np.float32

def test_nothing_new_sends_nothing_and_new_values_change_only_their_own_lines():
    run = run_of(300, train__loss=np.ones(300), val__loss=np.ones(3), train__lr=np.ones(300), **{f'train__m{i}': [1.] for i in range(200)})
    chart = Chart(run)
    chart.show('lr')
    sent = messages(chart)
    chart.refresh()
    assert not sent
    run.message_hub.update_scalar('train/m7', 1.)
    chart.refresh()
    assert not sent
    run.message_hub.update_scalar('train/lr', 2.)
    chart.refresh()
    c = chart.curves['train/lr']
    assert {o for o,_ in sent} <= {c.line, c.band, chart.spots, *chart.uprights.values()} and c.line in {o for o,_ in sent}

# which metrics

def test_the_loss_is_shown_until_another_metric_is_chosen():
    run = Run()
    run.message_hub.update_scalar('train/lr', .1)
    p = Panel(run)
    assert list(p.chart.curves) == ['train/lr']
    run.player.step('iter')
    run.message_hub.update_scalar('val/loss', 1.)
    p.refresh()
    assert list(p.chart.curves) == ['train/loss', 'val/loss'] and not run.player.acks
    p.chart.add.value = 'lr'
    p.chart.curves['train/loss'].chip.click()
    p.chart.curves['val/loss'].chip.click()
    run.player.step('iter')
    run.message_hub.update_scalar('test/loss', 1.)
    p.refresh()
    assert list(p.chart.curves) == ['train/lr'] and p.chart.add.value == '' and not run.player.acks

def test_a_metric_that_is_not_there_is_said_with_the_nearest():
    chart = chart_of(1, train__loss=[1.], train__accuracy=[1.])
    chart.add.value = 'train/acuracy'
    said = unescape(chart.legend.value)
    assert "no metric 'train/acuracy'" in said and closest('train/acuracy', ['train/accuracy']) in said
    chart.add.value = 'acc'
    assert 'no metric' not in chart.legend.value and list(chart.curves) == ['train/loss', 'train/accuracy']

def test_as_many_metrics_as_there_are_colours():
    chart = chart_of(1, **{f'train__m{i}': [1.] for i in range(20)})
    for i in range(20): chart.show(f'train/m{i}')
    assert len(chart.curves) == len({c.hue for c in chart.curves.values()}) == len(PALETTE) and 'the most' in chart.legend.value
    chart.drop('train/m3')
    chart.show('train/m3')
    assert len({c.hue for c in chart.curves.values()}) == len(PALETTE) and 'the most' not in chart.legend.value

def test_namesakes_have_one_colour_and_different_strokes():
    chart = chart_of(1, train__loss=[1.], val__loss=[1.], test__loss=[1.], val__accuracy=[1.])
    for o in ('test/loss', 'val/accuracy'): chart.show(o)
    assert [c.hue for c in chart.curves.values()] == [0, 0, 0, 1]
    assert [c.line.line_style for c in chart.curves.values()] == ['solid', 'dashed', 'dotted', 'dashed']

def test_a_piece_of_a_name_is_enough_and_the_whole_name_comes_first():
    assert find('loss', ['train/loss_cls', 'loss']) == 'loss' and find('cls', ['train/loss', 'train/loss_cls']) == 'train/loss_cls'

def test_a_curve_that_goes_takes_its_widgets_along():
    chart = opened(chart_of(1, train__loss=[1.], val__loss=[1.]))
    c = chart.curves['val/loss']
    assert c.chip.comm is not None and c.line.comm is not None
    chart.drop('val/loss')
    assert c.chip.comm is None and c.line.comm is None and c.line not in chart.figure.marks and chart.xs.comm is not None
    widgets = inside(vars(chart)).values()
    assert {chart.panzoom, chart.ys[True], chart.uprights[True], chart.curves['train/loss'].band} <= set(widgets)
    close(vars(chart))
    assert all(o.comm is None for o in widgets)

# how it is drawn

def test_with_no_value_there_is_a_sentence_and_with_one_a_dot():
    run = run_of()
    chart = Chart(run)
    assert 'No numbers yet' in chart.note.value and 'ir-chart-none' in chart.figure._dom_classes
    run.message_hub.update_scalar('train/loss', 1.)
    chart.refresh()
    line = chart.curves['train/loss'].line
    assert chart.note.value == '' and 'ir-chart-none' not in chart.figure._dom_classes and (line.x, line.y, line.marker) == ([1], [1], 'circle')
    chart.drop('train/loss')
    assert 'No metric is chosen' in chart.note.value
    run.message_hub.update_scalar('train/bad', math.nan)
    chart.show('bad')
    assert 'all values are gaps' in chart.note.value

def test_only_what_is_known_is_offered_to_draw_against():
    run = run_of(100, train__loss=np.ones(100))
    assert list(axes(run, Trace())) == ['iteration']
    run.loop_length = lambda mode: None
    assert list(axes(run, Trace())) == ['iteration']
    run.loop_length = lambda mode: 20
    run.message_hub.log_scalars['train/time'] = history(np.full(100, 90.))
    ways = axes(run, Trace())
    assert [(o.label, o.place(40)) for o in ways.values()] == [('iteration', 40), ('epoch', 2), ('hours of training', 1)]
    run.message_hub.now = lambda: math.nan
    assert axes(run, Trace())['iteration'].label == 'value'

def test_training_and_validation_stand_on_one_axis():
    run = run_of(0)
    for i in range(100):
        run.message_hub.update_scalar('train/loss', 1/(i+1))
        run.player.loop.iter += 1
        if i % 50 == 49: run.message_hub.update_scalar('val/loss', 2/(i+1))
    chart = Chart(run)
    assert chart.curves['train/loss'].line.x[[0, -1]].tolist() == [1, 100] and chart.curves['val/loss'].line.x.tolist() == [50, 100]
    run.loop_length = lambda mode: 50
    chart.by.value = chart.refresh() or 'epoch'
    assert chart.curves['val/loss'].line.x.tolist() == [1, 2] and chart.axis.label == 'epoch'

def test_on_a_logarithmic_axis_what_is_not_positive_is_a_gap():
    chart = chart_of(40, train__loss=np.r_[np.ones(20), -np.ones(20)])
    chart.log.value = True
    c = chart.curves['train/loss']
    assert np.isfinite(c.line.y[:24]).all() and np.isnan(c.line.y[24:]).all() and c.line.scales['y'] is chart.ys[True]
    assert chart.figure.axes[1] is chart.uprights[True]
    chart.log.value = False
    assert np.isfinite(c.line.y).all() and c.line.scales['y'] is chart.ys[False]

@pytest.mark.parametrize('lo, hi', [(1e-9, 1e9), (.02, 1.), (.31, .35), (2., 2.), (.999, 1.001), (1e-300, 1e300)])
def test_the_marks_of_a_logarithmic_axis_are_few_and_on_it(lo, hi):
    ticks = log_ticks(lo, hi)
    assert 1 <= len(ticks) <= 10 and all(b/a > (hi/lo)**.1 for a,b in zip(ticks, ticks[1:])) and lo*.999 <= ticks[0] and ticks[-1] <= hi*1.001

def test_the_values_can_be_left_out():
    chart = chart_of(100, train__loss=np.ones(100))
    assert chart.curves['train/loss'].band.x.size and 'values' in chart.legend.value
    chart.values.value = False
    assert not chart.curves['train/loss'].band.x.size and 'values' not in chart.legend.value

# which part

def grow(chart, run, n):
    for _ in range(n):
        run.message_hub.update_scalar('train/loss', 1.)
        run.player.loop.iter += 1
    chart.refresh()

def test_the_end_is_followed_and_what_a_person_has_moved_stays():
    run = run_of(1000, train__loss=np.ones(1000))
    chart = Chart(run)
    assert (chart.xs.min, chart.xs.max) == (None, None) and 'ir-chart-off' in chart.reset._dom_classes
    chart.part.value = 'last tenth'
    grow(chart, run, 1000)
    assert chart.xs.max > 1990 and chart.xs.max-chart.xs.min == pytest.approx(chart.xs.max*.1, rel=.01)
    chart.xs.set_state(dict(min=100., max=200.)) # as the browser does
    assert chart.part.value == 'fixed part' and 'ir-chart-off' not in chart.reset._dom_classes
    grow(chart, run, 1000)
    line = chart.curves['train/loss'].line
    assert (chart.xs.min, chart.xs.max) == (100, 200) and line.x[0] <= 100 and line.x[-1] >= 200 and len(line.x) < 110
    sent = messages(chart)
    grow(chart, run, 8)
    assert not [o for o in sent if o[0] in chart.figure.marks]
    chart.reset.click()
    assert (chart.xs.min, chart.xs.max, chart.part.value) == (None, None, 'whole run')
    assert line.x[-1] > 2990

def test_by_keyboard_a_part_is_fixed_where_it_is():
    run = run_of(1000, train__loss=np.ones(1000))
    chart = Chart(run)
    chart.part.value = 'last half'
    before = chart.range
    chart.part.value = 'fixed part'
    grow(chart, run, 500)
    assert chart.range == before == (chart.xs.min, chart.xs.max)

def test_another_unit_leaves_a_fixed_part_but_goes_on_following():
    run = run_of(1000, train__loss=np.ones(1000))
    run.loop_length = lambda mode: 100
    chart = Chart(run)
    chart.part.value = 'last tenth'
    chart.by.value = 'epoch'
    assert chart.xs.min == pytest.approx(9, abs=.1) and chart.part.value == 'last tenth'
    chart.part.value = 'fixed part'
    chart.by.value = 'iteration'
    assert chart.part.value == 'whole run' and chart.xs.min is None

@pytest.mark.parametrize('window', [10, 'epoch', 'global'])
def test_a_part_shows_what_the_whole_is_too_coarse_for(window):
    values = np.random.default_rng(0).normal(size=200_000)
    run = run_of(200_000, train__loss=values)
    run.loop_length,run.log_processor.window_size = lambda mode: 1000,window
    chart = Chart(run)
    chart.xs.set_state(dict(min=50_000., max=50_300.))
    c = chart.curves['train/loss']
    if window != 'global': assert c.part.size == 1 and 300 <= len(c.line.x) <= 310
    for at,mean,low in list(zip(c.x.astype(int), c.y, c.low))[-3:]:
        begin = dict(epoch=(at-1)//1000*1000).get(window, 0 if window == 'global' else at-10)
        assert abs(mean-values[begin:at].mean()) < 1e-9 and low == values[at-c.part.size:at].min()

# one statistic for the line, the table and the chart

@pytest.fixture
def spread():
    "A statistic of one's own, which looks beyond its window"
    @HistoryBuffer.register_statistics
    def spread(buf, window_size=None): return buf.max()-buf.min(window_size)
    yield
    del HistoryBuffer.methods['spread']

def real():
    "A real run, whose loss jumps"
    x = torch.randn(8, 2, 1, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1)
    return Runner(model, train_dataloader=[(o, o) for o in x], val_dataloader=[(o, o) for o in x[:3]], loss_fn=lambda y, t: (y-t).square().mean(),
                  metrics=dict(distance=lambda y, t: (y-t).abs().mean()), optimizer=torch.optim.SGD(model.parameters(), lr=.05),
                  log_level='ERROR', max_epochs=5)

def in_table(view, name):
    r = next(r for r in view.rows if r.shown == name)
    return figures(r.processor, view.runner.message_hub, r.key, r.rule)[1]

RULES = [('mean', 3, {}), ('mean', 'epoch', {}), ('mean', 'global', {}), ('max', 10, {}), ('min', 'epoch', {}), ('max', 'global', {}), ('median', 5, {}),
         ('std', 'global', {}), ('current', None, {}), ('ema', None, {}), ('quantile', 10, dict(q=.9)), ('spread', 4, {})]

@pytest.mark.parametrize('method, window, kw', RULES)
def test_line_table_and_chart_show_the_same_and_the_chart_goes_back_to_the_first_value(method, window, kw, spread):
    runner,lines = real(),{}
    runner.log_processor.set_rule('train/loss', method, window, **kw)
    runner.log_processor.set_rule('train/loss', method, window, 'loss_again', **kw)
    @runner.on('after_train_iter', priority=90)
    def look(runner, batch_idx): lines[runner.iter+1] = runner.log_processor.get_log_after_iter(runner, batch_idx, 'train')[0]
    runner.run_until(iter=22)
    rules = runner.log_processor.custom_cfg
    runner.log_processor.custom_cfg = []
    table,chart = Logs(runner),Chart(runner)
    assert drawn(chart)['train/loss'][-1] == pytest.approx(in_table(table, 'train/loss'))
    runner.log_processor.custom_cfg = rules # in the middle of the run
    for o in (table, chart): o.refresh()
    assert drawn(chart)['train/loss'] == pytest.approx([o['loss'] for o in lines.values()], rel=1e-6)
    assert drawn(chart)['train/loss_again'] == pytest.approx(drawn(chart)['train/loss'])
    assert chart.curves['train/loss'].line.x.tolist() == list(lines)
    assert in_table(table, 'train/loss') == in_table(table, 'loss_again') == lines[22]['loss'] == lines[22]['loss_again']

def test_of_a_validation_the_chart_draws_what_its_line_says():
    runner,lines = real(),{}
    @runner.on('after_val_iter')
    def more(runner, batch_idx): runner.message_hub.update_scalar('val/loss', runner.iter+batch_idx**2)
    @runner.on('after_val_epoch', priority=90)
    def look(runner, batch_idx): lines[runner.iter] = runner.log_processor.get_log_after_epoch(runner, batch_idx, 'val')[0]
    runner.log_processor.set_rule('val/distance', 'max', 'global', 'val/worst')
    runner.train()
    table,chart = Logs(runner),Chart(runner)
    for o in ('distance', 'val/worst'): chart.show(o)
    names = {'val/loss': 'loss', 'val/distance': 'distance', 'val/worst': 'worst'}
    for k,nm in names.items():
        assert chart.curves[k].line.x.tolist() == list(lines) == [8, 16, 24, 32, 40]
        assert drawn(chart)[k] == pytest.approx([o[nm] for o in lines.values()], rel=1e-6) and in_table(table, k) == lines[40][nm]

def test_a_statistic_added_in_a_cell_is_a_row_and_a_curve_until_it_is_removed():
    runner = real()
    runner.run_until(iter=12)
    table,chart = Logs(runner),opened(Chart(runner))
    runner.log_processor.set_rule('train/loss', 'max', 4, name='loss_local_max')
    for o in (table, chart): o.refresh()
    values,c = runner.message_hub.get_scalar('train/loss').data[0],chart.curves['train/loss_local_max']
    assert c.y.tolist() == [values[max(0, i-4):i].max() for i in range(1, 13)] and 'train/loss_local_max' in chart.add.options
    assert c.chip.tooltip.startswith('max of 4') and 'the value of the table' in chart.legend.value and 'max ' in chart.spots.value
    runner.log_processor.set_rule('train/loss', 'min', 6, name='loss_local_max')
    chart.refresh()
    assert chart.curves['train/loss_local_max'] is c and c.y.tolist() == [values[max(0, i-6):i].min() for i in range(1, 13)]
    runner.log_processor.drop_rule('loss_local_max')
    for o in (table, chart): o.refresh()
    assert list(chart.curves) == ['train/loss', 'val/loss'] and c.chip.comm is None and 'train/loss_local_max' not in chart.add.options
    assert 'mean of 10 or mean of the validation' in chart.legend.value
    assert 'loss_local_max' not in [r.shown for r in table.rows]

def test_an_added_row_that_gets_another_statistic_and_so_another_name_stays_on_the_chart():
    runner = real()
    runner.run_until(iter=12)
    table,chart = Logs(runner),Chart(runner)
    table.adder.value = 'train/loss'
    table.refresh()
    chart.show('train/loss_min')
    for o in ('train/loss', 'val/loss'): chart.drop(o)
    next(r for r in table.rows if r.name).method.value = 'max'
    for o in (table, chart): o.refresh()
    assert list(chart.curves) == ['train/loss_max'] and drawn(chart)['train/loss_max'][-1] == pytest.approx(in_table(table, 'train/loss_max'))

def test_a_rule_for_all_modes_is_drawn_for_each():
    run = run_of(40, train__loss=np.arange(40.), val__loss=np.arange(4.))
    run.log_processor.set_rule('loss', 'max', 'global', 'worst')
    chart = Chart(run)
    assert list(chart.curves) == ['train/loss', 'val/loss', 'train/worst', 'val/worst']
    assert [c.hue for c in chart.curves.values()] == [0, 0, 1, 1] and [o[-1] for o in drawn(chart).values()][2:] == [39, 3]

def test_a_part_follows_a_change_of_the_rule():
    values = np.random.default_rng(0).normal(size=4000)
    run = run_of(4000, train__loss=values)
    chart = Chart(run)
    chart.xs.set_state(dict(min=1000., max=1200.))
    run.log_processor.set_rule('train/loss', 'max', 30)
    chart.refresh()
    c = chart.curves['train/loss']
    assert len(c.x) > 190 and c.y.tolist() == [values[int(i)-30:int(i)].max() for i in c.x]
    run.log_processor.set_rule('train/loss', 'max', 'global')
    chart.refresh()
    assert c.y.tolist() == [values[:int(i)].max() for i in c.x]

# reading off

def test_what_is_read_off_is_what_was_logged():
    values = np.random.default_rng(0).normal(size=5000)
    values[1234] = 77.
    chart = chart_of(5000, train__loss=values)
    c = chart.curves['train/loss']
    x,borders = columns([c], 1, 5000)
    texts = reading(c, x, borders, '{:.0f}', True)
    assert len(x) <= MOST and sum('77.00' in o for o in texts) == 1
    i = next(i for i,o in enumerate(texts) if '77.00' in o)
    assert borders[i]-c.whole.size < 1235 <= borders[i+1] and chart.spots.value.count('77.00') == 1

def test_a_metric_without_a_point_in_a_column_says_where_its_nearest_is():
    run = run_of(100, train__loss=np.ones(100))
    run.message_hub.update_scalar('val/loss', .125)
    assert '0.1250 at iteration 100' in Chart(run).spots.value

def test_while_it_runs_the_layer_is_sent_every_two_seconds_and_at_once_when_it_stands(monkeypatch):
    now = [100.]
    monkeypatch.setattr(charts, 'perf_counter', lambda: now[0])
    run = run_of(100, train__loss=np.ones(100))
    chart,written = Chart(run),[]
    chart.spots.observe(written.append, 'value')
    run.player.status = 'running'
    for i in range(30):
        now[0] += .25
        run.message_hub.update_scalar('train/loss', float(i))
        chart.refresh()
    assert len(written) == 3
    run.player.status = 'paused'
    chart.refresh()
    assert len(written) == 4 and 'to 29.00' in chart.spots.value

# what a person did

def test_what_a_person_did_is_marked_and_how_the_run_was_driven_is_not():
    run = Run()
    chart = Chart(run)
    run.player.step('iter', 3)
    for what in ('play', 'pause', 'step iter', 'off Log'): run.player.tell(what, lambda: None)
    run.player.tell('priority 5', lambda: 1/0)
    run.player.step('iter', 4)
    for what in ('on Log', 'window 5'): run.player.tell(what, lambda: None)
    chart.refresh()
    assert interventions(run.player) == {3: ['off Log'], 7: ['on Log', 'window 5']}
    assert chart.acts.x[::3].tolist() == [3, 7] and chart.flags.value.count('ir-flag') == 2 and 'aria-label="value 7: on Log, window 5"' in chart.flags.value
    for i in range(300): run.player.tell(f'note {i}', lambda: None)
    chart.refresh()
    assert len(interventions(run.player)) <= 100

def test_what_a_cell_does_to_the_hooks_of_a_run_is_marked_and_what_the_run_does_itself_is_not():
    run = Run()
    hooks = run.player.hooks
    hooks['Log'].priority = 70 # before the run has begun
    run.player.step('iter', 3)
    hooks['Log'].off()
    run.player.tell('on by a button', lambda: hooks['Log'].on())
    run.player.step('iter', 2)
    class Alarm:
        def after_train_iter(self, runner): hooks['Log'].priority = 60
    hooks.register(Alarm())
    hooks['Log'].move(after='Alarm')
    run.player.step('iter', 1)
    hooks.remove('Alarm')
    assert interventions(run.player) == {3: ['off Log', 'on by a button'], 5: ['registered Alarm', 'Log after Alarm'], 6: ['removed Alarm']}

def test_what_was_done_outside_the_part_that_is_shown_has_no_flag():
    run = run_of(1000, train__loss=np.ones(1000))
    for i in (100, 950): run.player.acks.append(SimpleNamespace(what=f'at {i}', error=None, position=SimpleNamespace(iter=i)))
    chart = Chart(run)
    assert chart.flags.value.count('ir-flag') == 2
    chart.part.value = 'last tenth'
    assert 'at 950' in chart.flags.value and 'at 100' not in chart.flags.value

def test_names_are_text():
    run = run_of(3)
    run.message_hub.log_scalars[f'train/{evil}'] = history([1., 2., 3.])
    run.player.tell(evil, lambda: None)
    chart = Chart(run)
    chart.show(evil+'?')
    html = [o.value for o in inside(chart.widget).values() if type(o).__name__ == 'HTML']
    assert '<img' not in ''.join(html) and sum('&lt;img' in o for o in html) == 3 and chart.curves[f'train/{evil}'].chip.description == f'train/{evil}'
