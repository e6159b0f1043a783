"Log lines: what the logger keeps, when the console is quiet, and what the pane shows of it."
import gc, logging, random, re, threading, weakref

import pytest

from interactive_runner.logger import LONGEST, ConsoleHandler, RunLogger, get_logger
from interactive_runner.play import Player
from interactive_runner.stage import Loop
from interactive_runner.ui import lines as module
from interactive_runner.ui.lines import BLOCKS, SIZE, Lines
from interactive_runner.ui.style import inside

evil = '<img src=x onerror=alert(1)>'

class Run:
    "Has what the pane looks at"
    def __init__(self): self.logger,self.player = RunLogger('test', 'DEBUG'),Player(Loop())

@pytest.fixture
def run(): return Run()

def html(view): return ''.join(o.value for o in view.blocks.slots)
def texts(view): return re.findall('<span>(.*?)</span></div>', html(view))
def words(o): return re.sub('<.*?>', '', o.value)

def sent(view):
    "What the view will send from now on"
    res = []
    for o in inside(view.frame).values(): o.observe(lambda c: res.append((c['owner'], c['name'])))
    return res

class Thing:
    def __repr__(self): return 'thing'

def test_a_line_is_kept_as_text_and_what_it_was_made_of_is_free(run):
    thing = Thing()
    gone = weakref.ref(thing)
    run.logger.info('got %r', thing)
    del thing
    gc.collect()
    assert gone() is None and [(o.level, o.text) for o in run.logger.recent] == [(logging.INFO, 'got thing')]
    assert re.fullmatch(r'\d\d:\d\d:\d\d', run.logger.recent[0].time)

def test_the_lines_that_are_kept_are_bounded_in_number_and_length(run):
    for i in range(2500): run.logger.info(i)
    assert [o.text for o in run.logger.recent] == [str(i) for i in range(1500, 2500)]
    run.logger.error('a'*50_000 + 'end')
    assert len(run.logger.recent[-1].text) < LONGEST+10 and run.logger.recent[-1].text.endswith('end')

def test_a_traceback_is_kept_with_its_line(run):
    try: {}['missing']
    except KeyError: run.logger.exception('it failed')
    text = run.logger.recent[-1].text
    assert text.startswith('it failed\nTraceback') and text.endswith("KeyError: 'missing'")

def test_what_the_level_drops_is_not_kept():
    log = RunLogger('test', 'WARNING')
    log.info('no')
    log.warning('yes')
    assert [o.text for o in log.recent] == ['yes']

def test_a_quiet_console_prints_nothing_and_loses_nothing(capsys, tmp_path):
    log,quiet = get_logger('test', file=tmp_path/'run.log'),[True]
    console, = (o for o in log.handlers if isinstance(o, ConsoleHandler))
    assert console.quiet is None
    console.quiet = lambda: quiet[0]
    log.info('unprinted')
    quiet[0] = False
    log.info('printed')
    log.close()
    out = capsys.readouterr().out
    assert 'unprinted' not in out and 'printed' in out
    assert [o.text for o in log.recent] == ['unprinted', 'printed'] and (tmp_path/'run.log').read_text().count('printed') == 2

def test_only_the_console_that_was_told_is_quiet(capsys):
    a,b = get_logger('test'),get_logger('test')
    next(o for o in a.handlers if isinstance(o, ConsoleHandler)).quiet = lambda: True
    b.info('hello')
    assert 'hello' in capsys.readouterr().out

def test_new_lines_come_at_the_end_with_their_level_in_words(run):
    view = Lines(run)
    assert words(view.note) == 'No lines yet.'
    for level in ('debug', 'info', 'warning', 'error'): getattr(run.logger, level)(f'a {level}')
    view.refresh()
    assert texts(view) == ['<b>DEBUG </b>a debug', 'a info', '<b>WARNING </b>a warning', '<b>ERROR </b>a error']
    assert words(view.note) == '' and words(view.count) == '4 lines'

def test_lines_are_text_and_so_is_what_is_searched(run):
    run.logger.info(f'{evil} and {evil.upper()}')
    view = Lines(run)
    assert '<img' not in html(view) and '&lt;img' in html(view)
    view.search.value = evil
    assert '<img' not in html(view) and html(view).count('<mark>') == 2

@pytest.mark.parametrize('level, n', [(logging.NOTSET, 4), (logging.INFO, 3), (logging.WARNING, 2), (logging.ERROR, 1)])
def test_the_level_chooses_among_old_lines_and_new_ones(run, level, n):
    def log():
        for o in ('debug', 'info', 'warning', 'error'): getattr(run.logger, o)(o)
    log()
    view = Lines(run)
    view.level.value = level
    assert len(texts(view)) == n
    log()
    view.refresh()
    assert len(texts(view)) == 2*n and words(view.count) == ('8 lines' if n == 4 else f'{2*n} of 8 lines')

@pytest.mark.parametrize('text, found', [('LOSS', 2), ('loss: 0.', 1), ('.', 1), ('  lr  ', 1), ('[', 0), ('', 3)])
def test_a_search_is_for_the_text_as_it_stands_in_capitals_or_not(run, text, found):
    for o in ('Loss: 0.3', 'the loss is large', 'lr 1e-3'): run.logger.info(o)
    view = Lines(run)
    view.search.value = text
    assert len(texts(view)) == found and html(view).count('<mark>') == (found if text else 0)
    assert words(view.note) == ('' if found else 'No line fits.')

def test_the_count_is_of_what_is_still_kept(run):
    for i in range(1500): run.logger.info('%s %d', 'even' if i % 2 == 0 else 'odd', i)
    view = Lines(run)
    view.search.value = 'even'
    assert words(view.count) == '500 of the last 1,000 lines'
    for _ in range(999): run.logger.info('odd')
    view.refresh()
    assert words(view.count) == '0 of the last 1,000 lines'

def test_the_pane_always_shows_the_last_lines_in_order_whatever_came_between_two_drawings(run):
    rnd,n,view = random.Random(0),0,Lines(run)
    for _ in range(200):
        for _ in range(rnd.choice((0, 1, 2, 39, 40, 41, 90, 300))):
            run.logger.info(n := n+1)
        if rnd.random() < .1: view.search.value = rnd.choice(('', '7'))
        view.refresh()
        fit = [str(i) for i in range(max(n-999, 1), n+1) if view.search.value in str(i)]
        seen = [re.sub('<.*?>', '', o) for o in texts(view)]
        assert seen == fit[-len(seen):] if seen else not fit
        assert len(seen) >= min(len(fit), SIZE*(BLOCKS-1)) and len(seen) <= SIZE*BLOCKS
        orders = [int(o.layout.order or 0) for o in view.blocks.slots if o.value]
        assert orders == sorted(orders, reverse=True)

def test_drawing_without_a_new_line_sends_nothing(run):
    for i in range(300): run.logger.info(i)
    view = Lines(run)
    got = sent(view)
    view.refresh()
    assert not got

def test_a_new_line_sends_one_block_and_is_built_once(run, monkeypatch):
    for i in range(190): run.logger.info(i)
    view,built = Lines(run),[]
    got = sent(view)
    monkeypatch.setattr(module, 'line_html', lambda line, find: built.append(line.text) or '')
    for i in range(5):
        run.logger.info('new %d', i)
        view.refresh()
    assert built == [f'new {i}' for i in range(5)]
    assert {o for o,_ in got} <= {view.count, view.blocks.slots[-1]}

def test_a_logger_that_is_another_is_shown_from_its_beginning(run):
    for i in range(5): run.logger.info(i)
    view = Lines(run)
    run.logger = RunLogger('other', 'INFO')
    run.logger.info('first of another')
    view.refresh()
    assert texts(view) == ['first of another']

def test_a_run_without_such_a_logger_has_no_lines():
    run = Run()
    run.logger = logging.Logger('plain')
    assert words(Lines(run).note) == 'No lines yet.'
    del run.logger
    assert words(Lines(run).note) == 'No lines yet.'

def test_lines_of_other_threads_do_not_disturb_the_drawing(run):
    view,end = Lines(run),threading.Event()
    def log():
        while not end.is_set(): run.logger.info('from a thread')
    threads = [threading.Thread(target=log) for _ in range(3)]
    for t in threads: t.start()
    try:
        for i in range(50):
            view.search.value = ('', 'thread')[i % 2]
            view.refresh()
    finally:
        end.set()
        for t in threads: t.join()
    numbers = [o.number for o in run.logger.recent]
    assert numbers == list(range(numbers[0], numbers[0]+len(numbers)))
