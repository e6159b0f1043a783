"The log table in a real JupyterLab: each control by mouse and by keyboard, and what is copied."
import csv, io, re

import pytest

from lab import fronts, task, wait_for

setup = task + '''
class Norms:
    n = 0
    def after_train_iter(self, runner):
        for i in range(self.n): runner.message_hub.update_scalar(f'train/norm_{i}', 1.*i)
runner = make(Norms())
runner.hooks['LoggerHook'].hook.interval = 1000
runner.message_hub.update_scalar('train/<img src=x onerror=window.hacked=1>', 1.)
def rule(key): return runner.log_processor.rule(key)[:2]
def line(): return runner.log_processor.get_log_after_iter(runner, runner.inner_iter, 'train')[1]
_ = runner.step('iter', 25)'''

class Table:
    "The table below a cell, as a person finds it"
    def __init__(self, nb):
        self.nb,self.page = nb,nb.page
        self.root = nb.cell(1).locator('.ir-view', has=nb.page.locator('.ir-logs')).first
        self.root.wait_for()
    def button(self, tip): return self.root.get_by_title(tip, exact=True)
    def method(self, name): return self.root.get_by_title(f'Statistic of {name}', exact=True)
    def window(self, name): return self.root.get_by_title(f'Window of {name}: a number')
    def entry(self, name): return self.root.locator('.ir-entry').filter(has=self.page.locator(f'span[title="{name}"]'))
    def value(self, name): return self.entry(name).locator('> span').nth(2).inner_text()
    def names(self):
        "From top to bottom, as one sees them"
        js = "all => all.sort((a, b) => a.offsetTop-b.offsetTop || 0).map(o => o.querySelector('[title]')?.title).filter(Boolean)"
        return self.root.locator('.ir-entry').evaluate_all(js)
    def lines_up(self):
        "Whether the controls of each row stand beside its figures"
        js = """root => [...root.querySelectorAll('.ir-numbers > .ir-rule')].every(o => { const of = o.querySelector('select')?.title.slice(13),
            r = o.getBoundingClientRect(), e = root.querySelector(`[title="${CSS.escape(of)}"]`)?.getBoundingClientRect();
            return !e || e.top >= r.top-2 && e.bottom <= r.bottom+2 })"""
        return self.root.evaluate(js)

def wait(table, true, what): wait_for(true, what, 15, .05)

def pick(select, down):
    "Choose by keyboard; arrows reach only an open list, since JupyterLab takes them for its own"
    select.focus()
    for key in ['Space', *['ArrowDown']*down, 'Enter']:
        select.page.keyboard.press(key)
        select.page.wait_for_timeout(150)

@pytest.fixture
def table(notebook): return Table(notebook(setup, 'runner.panel.logs'))

@pytest.mark.parametrize('front', fronts)
def test_statistic_and_window_by_mouse(table):
    nb,loss = table.nb,'train/loss'
    mean = table.value(loss)
    table.method(loss).select_option('max')
    wait(table, lambda: table.value(loss) != mean, 'the largest value')
    box = table.window(loss)
    box.click(click_count=3)
    table.page.keyboard.type('global')
    table.entry(loss).locator('> span').first.click()
    wait(table, lambda: nb.ask("rule('train/loss')") == "('max', 'global')", 'the window')
    assert float(table.value(loss)) == pytest.approx(float(re.search(r' loss: (\S+)', nb.ask('line()'))[1]), rel=1e-3)
    table.button('Reset train/loss').click()
    wait(table, lambda: table.value(loss) == mean, 'the mean')
    assert nb.ask("rule('train/loss'), runner.log_processor.custom_cfg") == "('mean', 10) ()"
    nb.screenshot('logs_light', 1)
    table.root.locator('.ir-window input').click(click_count=3)
    table.page.keyboard.type('epoch')
    table.entry(loss).locator('> span').first.click()
    wait(table, lambda: nb.ask("runner.log_processor.window_size, rule('train/loss')") == "epoch ('mean', 'epoch')", 'the window of all')

@pytest.mark.parametrize('front, theme', [('lab', 'dark'), ('notebook', 'light')])
def test_statistic_window_and_order_by_keyboard(table):
    nb,page = table.nb,table.page
    pick(table.method('train/loss'), 3)
    wait(table, lambda: nb.ask("rule('train/loss')") == "('max', 10)", 'the statistic')
    table.method('train/loss').focus()
    page.keyboard.press('Tab')
    page.keyboard.press('Control+a')
    page.keyboard.type('5')
    page.keyboard.press('Enter')
    wait(table, lambda: nb.ask("rule('train/loss')") == "('max', 5)", 'the window')
    table.window('train/loss').focus()
    page.keyboard.press('Tab')
    page.keyboard.press('Space')
    wait(table, lambda: nb.ask('runner.log_processor.custom_cfg') == '()', 'the reset')
    table.window('train/loss').fill('evry')
    page.keyboard.press('Enter')
    table.root.get_by_role('alert').wait_for()
    assert "unknown window 'evry'" in table.root.get_by_role('alert').inner_text()
    wait(table, lambda: table.window('train/loss').input_value() == '10', 'the old window')
    names = table.names()
    pick(table.button('Order of the rows'), 1)
    wait(table, lambda: table.names() == sorted(names), 'rows by name')
    nb.screenshot('logs_dark', 1)

@pytest.mark.parametrize('front', fronts)
def test_a_row_is_added_and_removed_and_stands_in_the_log_line(table):
    nb,page = table.nb,table.page
    box = table.root.get_by_placeholder('Add a row by name')
    box.click()
    page.keyboard.type('train/loss')
    page.keyboard.press('Enter')
    table.entry('train/loss_min').wait_for()
    assert box.input_value() == '' and re.search(r' loss_min: 0\.\d', nb.ask('line()'))
    table.method('train/loss_min').select_option('max')
    table.entry('train/loss_max').wait_for()
    assert ' loss_max: ' in nb.ask('line()') and ' loss_min: ' not in nb.ask('line()')
    wait(table, table.lines_up, 'controls beside their figures')
    table.button('Remove train/loss_max').focus()
    page.keyboard.press('Enter')
    wait(table, lambda: 'train/loss_max' not in table.names(), 'the row to go')
    assert ' loss_max: ' not in nb.ask('line()')
    box.fill('train/los')
    box.press('Enter')
    table.root.get_by_text("Did you mean 'train/loss'?").wait_for()

@pytest.mark.parametrize('front', fronts)
def test_rows_are_sorted_and_names_are_text(table):
    came = table.names()
    assert came[0] == 'train/<img src=x onerror=window.hacked=1>' and table.root.locator('img').count() == 0
    sort = table.button('Order of the rows')
    sort.select_option('by name')
    wait(table, lambda: table.names() == sorted(came), 'rows by name')
    sort.select_option('by value')
    wait(table, lambda: table.names() not in (came, sorted(came)), 'rows by value')
    values = [float(table.value(o)) for o in table.names()]
    assert values == sorted(values, reverse=True) and table.lines_up()
    sort.select_option('as they came')
    wait(table, lambda: table.names() == came, 'rows as they came')

@pytest.mark.parametrize('front', fronts)
def test_the_table_and_the_values_are_copied_to_the_clipboard(table):
    nb,page = table.nb,table.page
    page.context.grant_permissions(['clipboard-read', 'clipboard-write'])
    def copied():
        page.get_by_role('button', name='Copied').wait_for()
        return list(csv.DictReader(io.StringIO(page.evaluate('navigator.clipboard.readText()'))))
    table.root.get_by_role('button', name='CSV').click()
    table.root.get_by_role('button', name='Copy').click()
    rows = copied()
    assert [o['name'] for o in rows] == table.names()
    loss = next(o for o in rows if o['name'] == 'train/loss')
    assert loss['now'] == nb.ask("runner.message_hub.get_scalar('train/loss').current()") and loss['count'] == nb.ask('runner.iter')
    cells = nb.page.locator('.jp-Notebook .jp-Cell').count()
    page.locator('.ir-paper textarea').focus()
    for key in 'bxa': page.keyboard.press(key)
    assert nb.page.locator('.jp-Notebook .jp-Cell').count() == cells
    table.button('What to copy').select_option('values by iteration')
    button = table.root.get_by_role('button', name='Copy')
    button.focus()
    page.keyboard.press('Enter')
    rows = copied()
    assert len(rows) == int(nb.ask('runner.iter')) and rows[-1]['train/loss'] == loss['now']
    table.root.get_by_role('button', name='CSV').press('Enter')
    wait(table, lambda: not page.locator('.ir-paper').is_visible(), 'the pane to close')

def test_two_hundred_numbers_stay_usable_while_the_run_goes_on(notebook):
    table = Table(notebook(setup+"\nNorms.n = 200\n_ = runner.run_until(iter=24)", 'runner.panel.logs', width=1000))
    nb = table.nb
    assert len(table.names()) == 16 and {'train/loss'} < set(table.names())
    assert re.search(r'\d+ more', table.root.inner_text())
    nb.add_and_run('handle = runner.play()')
    box = table.root.get_by_placeholder('Add a row by name')
    box.fill('train/norm_150')
    box.press('Enter')
    table.entry('train/norm_150').wait_for()
    assert table.value('train/norm_150') == '150.0'
    table.window('train/loss').fill('50')
    table.window('train/loss').press('Enter')
    wait(table, lambda: table.button('Reset train/loss').is_visible(), 'the window')
    before = table.value('train/loss')
    wait(table, lambda: table.value('train/loss') != before, 'another value')
    table.button('Hide train/norm_150').click()
    wait(table, lambda: 'train/norm_150' not in table.names(), 'the row to go')
    assert nb.ask("runner.status, rule('train/loss')") == "running ('mean', 50)"
    nb.screenshot('logs_many', 1)
    nb.add_and_run('runner.pause()')

def test_nothing_sticks_out_or_overlaps(table):
    nb = table.nb
    nb.add_and_run("for k in ('train/loss', 'val/accuracy', 'train/lr'): runner.log_processor.set_rule(k, 'median', 'global', k+'_of_all_of_them')")
    table.root.get_by_role('button', name='CSV').click()
    nb.page.locator('.ir-paper').wait_for()
    js = """root => { const r = root.getBoundingClientRect(), boxes = s => [...root.querySelectorAll(s)].map(o => [o, o.getBoundingClientRect()]);
        const out = boxes('select, input, button, textarea, svg, .ir-entry > span').filter(([o, b]) => b.width && (b.right > r.right+1 || b.left < r.left-1));
        const rules = boxes('.ir-numbers > .ir-rule'), spans = boxes('.ir-entry:not(.ir-soft) > span');
        const hit = (a, b) => a.left < b.right-1 && b.left < a.right-1 && a.top < b.bottom-1 && b.top < a.bottom-1;
        const over = spans.filter(([o, b]) => b.width && rules.some(([_, a]) => hit(a, b)));
        return [...out, ...over].map(([o]) => o.outerHTML.slice(0, 90)) }"""
    for width in (600, 1000, 1600):
        nb.page.set_viewport_size(dict(width=width, height=1000))
        nb.page.wait_for_timeout(300)
        assert table.root.evaluate(js) == []
        nb.screenshot(f'logs_{width}', 1)
