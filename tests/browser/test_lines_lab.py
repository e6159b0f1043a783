"The log pane and the optimizer in a real JupyterLab, by mouse and keyboard, while the run plays."
import re

import pytest
from lab import fronts, wait_for

setup = '''
import time, torch
from torch import nn
from interactive_runner.all import Runner
from interactive_runner.logger import ConsoleHandler
torch.manual_seed(0)
net,X = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2)),torch.randn(640, 8)
groups = [dict(params=net[0].parameters(), name='backbone'), dict(params=net[1].parameters(), lr=.01)]
sgd = torch.optim.SGD(groups, .1, momentum=.9)
class Talk:
    def after_train_iter(self, runner):
        time.sleep(.02)
        n = 10*runner.iter
        for i in range(n, n+4): runner.logger.info('loss %d', i)
        runner.logger.warning('Gradient %d is large <img src=x onerror=window.hacked=1>', n+4)
        if runner.iter % 5 == 0: runner.logger.error('no file %d', n+5)
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, X[:, :2]), 32)
runner = Runner(net, train_dataloader=loader, loss_fn=nn.MSELoss(), optimizer=sgd, max_epochs=10_000, custom_hooks=[Talk()], default_hooks=dict(logger=None))
next(o for o in runner.logger.handlers if isinstance(o, ConsoleHandler)).quiet = lambda: True'''

schedule = '''
sched = torch.optim.lr_scheduler.StepLR(sgd, 1, gamma=.999)
@runner.on('after_train_iter')
def lower(runner): sched.step()'''

@pytest.fixture
def nb(notebook):
    "A run that plays, its log and its optimizer"
    return notebook(setup, 'runner.panel.lines', 'runner.panel.optim', '_ = runner.play()')

def pane(nb): return nb.cell(1).locator('.ir-lines')
def lines(nb):
    "What stands in the pane, from top to bottom"
    js = "o => [...o.querySelectorAll('.ir-logged')].map(x => [x.getBoundingClientRect().top, x.innerText]).sort((a, b) => a[0]-b[0])"
    return [text for _,text in pane(nb).evaluate(js)]
def numbers(nb): return [int(re.search(r'\d+', o.split('\n')[-1])[0]) for o in lines(nb)]
def wait_lines(nb, true, what): wait_for(lambda: (found := lines(nb)) and true(found), what, 15)
def box(nb, name): return nb.cell(2).get_by_label(name, exact=True)
def group(nb, i): return nb.cell(2).locator('.ir-optrow:not(.ir-rowhead)').nth(i)
def wait_group(nb, text, i=0): return wait_for(lambda: text in group(nb, i).inner_text(), f'{text!r} in group {i}', 15)
def hidden_below(nb): return pane(nb).evaluate('o => -o.scrollTop')

@pytest.mark.parametrize('front', fronts)
def test_lines_appear_while_it_plays_filtered_by_mouse_and_searched_by_keyboard(nb):
    wait_lines(nb, lambda o: len(o) > 20, 'lines')
    assert hidden_below(nb) == 0 and any('<img src=x onerror' in o for o in lines(nb))
    nb.cell(1).get_by_label('Log level').select_option('Errors')
    wait_lines(nb, lambda o: all('ERROR no file' in x for x in o), 'only errors')
    nb.cell(1).get_by_label('Log level').focus()
    for key in ('Space', *['ArrowUp']*3, 'Enter'): nb.page.keyboard.press(key)
    wait_lines(nb, lambda o: any('loss' in x for x in o), 'all levels')
    nb.page.keyboard.press('Tab')
    nb.page.keyboard.type('GRADIENT')
    wait_lines(nb, lambda o: all('WARNING Gradient' in x for x in o), 'only what was searched')
    wait_for(lambda: pane(nb).locator('mark').all_inner_texts()[:2] == ['Gradient']*2, 'marked hits', 15)
    before = len(lines(nb))
    wait_lines(nb, lambda o: len(o) > before, 'new lines that fit')
    assert re.fullmatch(r'\d+ of (the last )?[\d,]+ lines', nb.cell(1).locator('.ir-head .ir-num').inner_text())
    nb.page.keyboard.type('x')
    nb.cell(1).get_by_text('No line fits.').wait_for()
    nb.screenshot('lines_searched', 1)
    nb.cell(1).get_by_label('Search the log lines').click(click_count=3)
    nb.page.keyboard.type('no file')
    wait_lines(nb, lambda o: all('ERROR no file' in x for x in o), 'what was searched then')

def test_the_newest_line_stays_in_sight_and_somebody_who_reads_further_up_is_not_moved(nb):
    wait_lines(nb, lambda o: len(o) > 60 and all('makes the loss' not in x for x in o), 'more lines than the pane keeps, its first, without a number, gone')
    nb.add_and_run('runner.pause()') # the lines come from a cell now, as many as the test wants
    def write(n): nb.add_and_run(f"for i in range({n}): runner.logger.info('loss %d', last := last+1)")
    nb.add_and_run("last = 10*runner.iter+1000")
    assert hidden_below(nb) == 0 and pane(nb).bounding_box()['height'] == 180
    pane(nb).hover()
    nb.page.mouse.wheel(0, -300)
    wait_for(lambda: hidden_below(nb) > 100, 'the pane to scroll', 5)
    first = """o => { const top = o.getBoundingClientRect().top;
        const x = [...o.querySelectorAll('.ir-logged')].find(x => Math.abs(x.getBoundingClientRect().top-top) < 20); return x && x.innerText }"""
    read,last = pane(nb).evaluate(first),numbers(nb)[-1]
    write(75)
    wait_for(lambda: numbers(nb)[-1] > last+75, 'new lines', 15)
    assert pane(nb).evaluate(first) == read and hidden_below(nb) > 300
    assert numbers(nb) == sorted(numbers(nb))
    pane(nb).focus()
    nb.page.keyboard.press('End')
    wait_for(lambda: hidden_below(nb) == 0, 'the end by keyboard', 5)
    last = numbers(nb)[-1]
    write(50)
    wait_for(lambda: numbers(nb)[-1] == last+50 and hidden_below(nb) == 0, 'new lines in sight', 15)

@pytest.mark.parametrize('front', fronts)
def test_numbers_are_edited_by_keyboard_while_it_plays_and_what_cannot_be_is_refused(nb):
    box(nb, 'lr of group 1').click()
    nb.page.keyboard.type('0.05')
    nb.page.keyboard.press('Enter')
    wait_group(nb, 'lr was set to 0.05 at iteration', 1)
    assert nb.ask("runner.status, [g['lr'] for g in sgd.param_groups]") == 'running [0.1, 0.05]'
    box(nb, 'lr of group 1').click()
    nb.page.keyboard.press('Tab')
    nb.page.keyboard.type('0.001')
    nb.page.keyboard.press('Tab')
    wait_group(nb, 'weight decay was set to 0.001', 1)
    nb.page.keyboard.type('0.5')
    nb.page.keyboard.press('Enter')
    wait_group(nb, 'momentum was set to 0.5', 1)
    assert nb.ask("[sgd.param_groups[1][k] for k in ('weight_decay', 'momentum')]") == '[0.001, 0.5]'

    number = nb.cell(2).locator('.ir-live').first
    for bad in ('fast', '-1', '-1'):
        box(nb, 'lr of backbone').click()
        nb.page.keyboard.type(bad)
        wait_for(lambda: not number.is_visible(), 'the number to make way', 5)
        nb.page.keyboard.press('Enter')
        wait_group(nb, f"lr must be a number, 0 or more; got '{bad}'.")
        wait_for(lambda: number.is_visible() and box(nb, 'lr of backbone').input_value() == '', 'the number', 5)
    assert number.inner_text() == '0.1' and nb.ask("sgd.param_groups[0]['lr']") == '0.1'

def test_a_scheduler_is_announced_draws_its_steps_and_leaves_what_is_being_typed(nb):
    assert 'A scheduler' not in nb.cell(2).inner_text()
    nb.add_and_run(schedule)
    nb.wait_output(2, 'A scheduler sets lr: an edit lasts until its next change.')
    live = nb.cell(2).locator('.ir-live').first
    box(nb, 'lr of backbone').click()
    nb.page.keyboard.type('0.2')
    before = live.text_content()
    wait_for(lambda: live.text_content() != before, 'a step of the scheduler', 10)
    nb.page.keyboard.type('5')
    assert box(nb, 'lr of backbone').input_value() == '0.25'
    nb.page.keyboard.press('Enter')
    wait_group(nb, 'and has changed since')
    assert 'lr was set to 0.25 at iteration' in nb.cell(2).inner_text()
    assert .1 < float(nb.ask("sgd.param_groups[0]['lr']")) < .25

def test_nothing_sticks_out_of_either_in_a_narrow_window_or_a_wide_one(nb):
    wait_lines(nb, lambda o: len(o) > 20, 'lines')
    nb.add_and_run('runner.pause(); runner.logger.error("a_long_name/"*40)')
    wait_lines(nb, lambda o: any('a_long_name' in x for x in o), 'a long line')
    js = """() => [...document.querySelectorAll('.ir-panel')].flatMap(p => { const r = p.getBoundingClientRect();
        return [...p.querySelectorAll('.ir-head > *, .ir-logged, .ir-logged span, .ir-optrow, .ir-field, .ir-field input')]
            .map(o => [o, o.getBoundingClientRect()]).filter(([o, s]) => s.width && (s.right > r.right+2 || s.left < r.left-2))
            .map(([o]) => o.outerHTML.slice(0, 90)) })"""
    for width in (600, 1800):
        nb.page.set_viewport_size(dict(width=width, height=900))
        nb.page.wait_for_timeout(300)
        assert nb.page.evaluate(js) == []
        assert nb.page.evaluate("() => [...document.querySelectorAll('.ir-live')].filter(o => o.scrollWidth > o.clientWidth+1).length") == 0
