"The panel without a browser: buttons send commands, drawings tell the truth, and nothing is kept alive."
import asyncio, gc, re, threading, weakref

import pytest
from ipywidgets import Layout, VBox
from ipywidgets.widgets.widget_style import Style

from interactive_runner.hub import MessageHub
from interactive_runner.logproc import LogProcessor
from interactive_runner.play import Player
from interactive_runner.stage import Loop, commits
from interactive_runner.ui import loop as loops, panel as panels
from interactive_runner.ui.panel import Panel
from interactive_runner.ui.style import esc, inside, tag

evil = '<img src=x onerror=alert(1)>'

class Toy(Loop):
    max_iters = 40
    def run(self):
        while self.iter < self.max_iters: yield from self.run_iter()
    def run_iter(self):
        yield 'before_train_iter'
        yield self.work
        yield 'after_train_iter'
        yield self.commit
    def work(self): self.runner.message_hub.update_scalar('train/loss', 1/(self.iter+1))
    @commits('iter')
    def commit(self): self.iter += 1

class Log:
    def after_train_iter(self, runner): runner.log.append(('Log', runner.iter))
class Timer:
    def before_train_iter(self, runner): pass
    def after_train_iter(self, runner): runner.log.append(('Timer', runner.iter))

class Run:
    "Stands in for a runner"
    max_epochs = None
    def __init__(self, *hooks):
        self.log,self.said = [],[]
        self.message_hub,self.log_processor = MessageHub('test'),LogProcessor(10)
        self.player = Player(Toy(), hooks or (Log(), Timer()), runner=self, say=self.said.append)
        self.player.loop.runner = self
    epoch = property(lambda self: self.player.loop.epoch)
    iter = property(lambda self: self.player.loop.iter)
    max_iters = property(lambda self: self.player.loop.max_iters)

@pytest.fixture(autouse=True)
def tidy():
    yield
    panels.shown.clear()
    gc.collect()

@pytest.fixture
def run(): return Run()

def opened(o):
    "A view or a panel that is shown, and so has been sent"
    o._repr_mimebundle_()
    return o

def text(part): return ' '.join(o.value for _,o in part.pieces)
def html(panel): return ' '.join(o.value for o in inside(panel.widget).values() if type(o).__name__ == 'HTML')

async def until(run, *status):
    for _ in range(10_000):
        if run.player.status in status: return
        await asyncio.sleep(0)
    raise AssertionError(f"{run.player.status} instead of {status}")

def test_play_and_pause_are_one_button(run):
    async def go():
        p = Panel(run)
        p.transport.play.click()
        p.refresh()
        assert run.player.status == 'running' and p.transport.play.description == 'Pause'
        p.transport.play.click()
        assert run.player.status == 'paused' and p.transport.play.description == 'Play' and 'last: pause' in p.transport.said.value
        p.transport.play.click()
        await until(run, 'done')
        assert p.transport.play.disabled and all(b.disabled for b in p.transport.steps.values()) and p.transport.stop.disabled
    asyncio.run(go())

@pytest.mark.parametrize('unit, before', [('line', 'before_run'), ('iter', 'before_run'), ('hook', 'before_run'), ('epoch', 'before_run')])
def test_a_step_button_does_what_step_does(unit, before):
    a,b = Run(),Run()
    assert a.player.position.line == before
    async def go():
        p = Panel(a)
        for _ in range(3):
            p.transport.steps[unit].click()
            await until(a, 'paused', 'done')
    asyncio.run(go())
    for _ in range(3):
        if b.player.status != 'done': b.player.step(unit)
    assert (a.player.position, a.log) == (b.player.position, b.log)

def test_a_step_does_not_make_the_buttons_flicker(run):
    async def go():
        p,seen = Panel(run),[]
        p.transport.stop.observe(seen.append, 'disabled')
        for b in (p.transport.play, *p.transport.steps.values()): b.observe(seen.append, ['disabled', 'description'])
        for _ in range(2):
            p.transport.steps['line'].click()
            await until(run, 'paused')
        assert [(c['owner'].description, c['new']) for c in seen] == [('Stop', False)]
    asyncio.run(go())

def test_stop_closes_what_is_open(run):
    async def go():
        p = Panel(run)
        run.player.run_until(stage='work')
        p.transport.stop.click()
        assert run.player.status == 'stopped' and run.log == [('Timer', 0)], 'whoever was given the beginning is given the end'
        assert p.transport.stop.disabled and not p.transport.play.disabled
    asyncio.run(go())

def test_in_a_blocking_call_nothing_can_be_pressed(run):
    p,seen = Panel(run),[]
    def look():
        p.refresh()
        seen.append([b.disabled for b in (p.transport.play, p.transport.stop, *p.transport.steps.values())])
        assert 'play()' in p.transport.state.value
    class Look:
        def after_train_iter(self, runner): look()
    run.player.hooks.register(Look())
    run.player.step('iter')
    assert seen == [[True]*6]

def test_a_callback_on_another_thread_only_queues(run):
    p = Panel(run)
    run.player.step('iter')
    t = threading.Thread(target=lambda: setattr(p.hooks.rows['Log'].switch, 'value', False))
    t.start()
    t.join()
    assert run.player.hooks['Log'].enabled and len(run.player.inbox) == 1
    run.player.step('line')
    assert not run.player.hooks['Log'].enabled

def test_drawing_a_change_is_no_command(run):
    p = Panel(run)
    run.player.hooks['Log'].off()
    run.player.hooks['Timer'].priority = 33
    run.log_processor.window_size = 'global'
    run.player.hooks.register(Log(), name='third')
    p.refresh()
    assert not run.player.acks and not p.hooks.rows['Log'].switch.value and p.hooks.rows['Timer'].priority.placeholder == '33'
    assert p.logs.window.value == 'global' and 'third' in p.hooks.rows


def test_whatever_is_shown_is_escaped():
    class Evil:
        def after_train_iter(self, runner): raise ValueError(evil)
    run = Run(Log())
    run.player.hooks.register(Evil(), name=evil)
    run.message_hub.update_scalar(f'train/{evil}', 1.)
    run.message_hub.update_scalar(f'{evil}/x', 1.)
    p = Panel(run)
    run.player.run_until(stage='after_train_iter')
    run.player.hooks[evil].off().on()
    with pytest.raises(ValueError): run.player.run()
    run.player.tell(evil, lambda: 1/0)
    p.refresh()
    assert '<img' not in html(p) and html(p).count('&lt;img') > 5
    assert not p.hooks.rows[evil].switch.description_allow_html

def test_attributes_are_escaped_too():
    assert tag('a', title='"><b>') == '<a title="&quot;&gt;&lt;b&gt;"></a>' and esc("'") == '&#x27;'

@pytest.mark.parametrize('answer, log', [('retry', [0, 1, 2]), ('skip', [0, 2]), ('disable', [0])])
def test_the_banner_answers_an_error_and_plays_on(answer, log):
    failing = [1]
    class Fails:
        def after_train_iter(self, runner):
            if runner.iter in failing: raise KeyError('late')
            runner.log.append(runner.iter)
    async def go():
        run = Run(Fails())
        run.player.loop.max_iters = 3
        p = Panel(run)
        assert p.banner.widget.layout.display == 'none'
        await asyncio.wait([run.player.play().task])
        assert run.player.status == 'error' and p.banner.widget.layout.display is None
        assert all(o in p.banner.text.value for o in ('KeyError', 'in hook Fails at after_train_iter', 'Traceback'))
        if answer == 'retry': failing.clear()
        getattr(p.banner, answer).click()
        await until(run, 'done')
        assert run.log == log and p.banner.widget.layout.display == 'none'
    asyncio.run(go())

def test_failed_work_cannot_be_disabled(run):
    def work(): raise ValueError('bad batch')
    run.player.loop.work = work
    p = Panel(run)
    with pytest.raises(ValueError): run.player.run()
    assert p.banner.disable.layout.display == 'none' and p.banner.retry.layout.display is None

def test_the_marker_stands_on_the_line_about_to_run(run):
    p = Panel(run)
    for _ in range(9):
        run.player.step('line')
        code,at = run.player.frames[-1]
        marked, = [lines for lines,o in p.loop.parts[code].pieces if 'ir-here" aria-current="step"><span class="ir-mark">▶' in o.value]
        assert marked[0][0] == at
        assert sum(text(o).count('ir-here') for o in p.loop.parts.values()) == 1

def test_hooks_stand_beside_their_stage_and_are_ticked(run):
    p = Panel(run)
    run.player.run_until(stage='after_train_iter')
    run.player.step('hook')
    def chips(): return {name: cls for cls,name in re.findall('ir-call ?([^"]*)" title="([^"]*)"', text(p.loop.parts[Toy.run_iter.__code__]))}
    assert chips() == {'Log': 'ir-ran', 'Timer': 'ir-now'}
    run.player.step('iter')
    run.player.hooks['Log'].off()
    run.player.run_until(stage='after_train_iter')
    assert chips() == {'Log': 'ir-gone', 'Timer': 'ir-now'}

def test_two_panels_are_drawn_together_within_one_share_of_the_time(run, monkeypatch):
    now,drawn = [0.],[0, 0]
    monkeypatch.setattr(panels, 'perf_counter', lambda: now[0])
    ps = [Panel(run), Panel(run)]
    def slow(i):
        def refresh(): now[0] += .01; drawn[i] += 1
        return refresh
    for i,p in enumerate(ps): p.logs.refresh = slow(i)
    run.player.status = 'running'
    while now[0] < 20: now[0] += .03; run.player.notify()
    assert drawn[0] == drawn[1] and .013 < .02*drawn[0]/20 <= panels.SHARE

def test_what_one_panel_changes_the_other_shows(run):
    a,b = Panel(run),Panel(run)
    a.hooks.rows['Log'].switch.value = False
    assert 'ir-off' in b.hooks.rows['Log'].widget._dom_classes and len(run.player.watchers) == 1

def test_the_loop_folds_while_the_run_plays_on_and_obeys_a_person(run, monkeypatch):
    now = [0.]
    monkeypatch.setattr(loops, 'perf_counter', lambda: now[0])
    p = Panel(run)
    def after(seconds, status):
        run.player.status,now[0] = status,now[0]+seconds
        p.draw()
        return p.loop.open
    assert after(0, 'running') and after(.5, 'running') and not after(.2, 'running') and after(0, 'paused')
    assert after(0, 'running') and not after(1, 'running')
    p.loop._fold.click() # wants it open while playing
    assert p.loop.open and after(9, 'running') and after(0, 'paused') and after(0, 'running') and after(9, 'running')
    after(0, 'paused')
    p.loop._fold.click() # wants it closed while standing
    assert not p.loop.open and not after(0, 'paused') and after(0, 'running') is False and after(9, 'running')

def test_a_press_on_a_line_number_plays_until_that_line_is_next(run):
    async def go():
        p,code = Panel(run),Toy.run_iter.__code__
        button = next(o for o in p.loop.parts[code].widget.children if (getattr(o, 'tooltip', '') or '').endswith('after_train_iter'))
        for n in (0, 1):
            button.click()
            await until(run, 'paused')
            assert (run.player.position.line, run.iter) == ('after_train_iter', n) and str(run.player.frames[-1][1]) == button.description
    asyncio.run(go())

def test_a_folded_view_is_not_drawn(run):
    p,drawn = Panel(run),[]
    p.logs._fold.click()
    p.logs.refresh = lambda: drawn.append(1)
    run.player.step('iter')
    p.refresh()
    assert not drawn
    p.logs._fold.click()
    assert drawn

def test_a_view_alone_is_in_step_with_the_panel_and_goes_with_it(run):
    p = Panel(run)
    p.hooks._repr_mimebundle_()
    alone = p.hooks.alone
    run.player.hooks['Log'].off()
    p.refresh()
    assert 'ir-off' in p.hooks.rows['Log'].widget._dom_classes and p.hooks.frame in alone.children
    p.close()
    assert alone.comm is None

def test_an_unknown_view_is_an_error_with_the_nearest_name(run):
    with pytest.raises(AttributeError, match="Did you mean 'hooks'"): _ = Panel(run).hook

def test_a_panel_keeps_nothing_alive():
    run = Run()
    p = Panel(run)
    p._repr_mimebundle_()
    run.player.step('iter')
    gone = weakref.ref(run)
    del run
    gc.collect()
    assert gone() is None and p.widget.comm is None
    p.refresh()
    assert 'gone' in repr(p)

def test_a_closed_panel_frees_its_run_and_stops_drawing(run):
    p = opened(Panel(run))
    widgets = list(inside(p.widget).values())
    assert all(o.comm is not None for o in widgets)
    p.close()
    assert not run.player.watchers and all(o.comm is None for o in widgets)
    run.player.step('iter')
    assert run.iter == 1

def test_a_panel_is_sent_when_it_is_shown_and_complete(run, monkeypatch):
    sent = []
    monkeypatch.setattr(type(Layout().comm), 'publish_msg', lambda comm, kind, **more: sent.append((kind, comm.comm_id)))
    p = Panel(run)
    run.player.step('iter')
    assert not sent
    opened(p)
    widgets,looks = inside(p.widget).values(),[o for o in inside(p.widget).values() if isinstance(o, (Layout, Style))]
    assert {o.model_id for o in widgets} <= {name for _,name in sent} and len(looks) < len(widgets)/3
    assert {kind for kind,_ in sent} == {'comm_open'}

def test_what_widgets_share_is_never_set(run):
    def work(): raise ValueError('bad batch')
    p = opened(Panel(run))
    p.hooks.stage.value = 'before_train_iter'
    p.logs.sort.value = 'name'
    run.player.loop.work = work
    with pytest.raises(ValueError): run.player.run()
    shared = [p.make, *(o.make for o in p.views.values())]
    assert all(o.get_state(drop_defaults=True) == type(o)().get_state(drop_defaults=True) for make in shared for o in make.values())

def test_a_closed_panel_can_be_shown_again(run):
    p = Panel(run)
    p.close()
    p._repr_mimebundle_()
    assert p.widget.comm is not None and len(run.player.watchers) == 1
    run.player.step('iter')
    assert '<b>1</b>' in p.transport.state.value

def test_making_a_panel_twenty_times_leaves_one(run):
    for _ in range(20): Panel(run)._repr_mimebundle_()
    gc.collect()
    run.player.notify()
    assert len(run.player.watchers) == 1 and len(panels.shown) == 1

def test_a_view_that_fails_costs_the_run_nothing(run):
    p = Panel(run)
    def fails(): raise RuntimeError('cannot draw')
    p.logs.refresh = fails
    run.player.run()
    assert run.player.status == 'done' and sum('cannot draw' in o for o in run.said) == 1
    assert 'cannot draw' in p.note.value and '<b>40</b>' in p.transport.state.value

def test_drawing_nothing_new_sends_nothing(run):
    p = Panel(run)
    run.player.step('iter', 3)
    sent = []
    for o in inside(p.widget).values(): o.observe(lambda c: sent.append((type(c['owner']).__name__, c['name'])))
    p.refresh()
    assert not sent

def test_the_panel_limits_its_own_time(run, monkeypatch):
    now = [0.]
    monkeypatch.setattr(panels, 'perf_counter', lambda: now[0])
    p,drawn = Panel(run),[]
    p.refresh()
    def slow(): now[0] += .01; drawn.append(now[0])
    p.logs.refresh = slow
    run.player.status = 'running'
    p.board.refresh(force=False)
    drawn.clear()
    while now[0] < 20: now[0] += .03; p.board.refresh(force=False)
    assert .013 < .01*len(drawn)/20 <= panels.SHARE

def test_lines_of_a_loop_that_is_replaced_take_their_widgets_along(run):
    class Other(Loop):
        def run(self): yield 'after_run'
    p = opened(Panel(run))
    gone = [o.widget for c,o in p.loop.parts.items() if c.co_name == 'run_iter']
    assert gone and all(o.comm is not None for o in gone)
    run.player.loop = Other()
    p.loop.refresh()
    assert all(o.comm is None for o in inside(gone).values() if isinstance(o, VBox)) and p.make[Layout].comm is not None
    assert all(o.layout.comm is not None for part in p.loop.parts.values() for o in part.widget.children)
