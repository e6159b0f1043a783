"The table of hooks in a real JupyterLab: each control by mouse and by keyboard, the focus that stays, sixty hooks."
import pytest

from lab import fronts, wait_for

SETUP = '''
import torch
from torch import nn
from interactive_runner.all import Runner
evil = '<img src=x onerror=window.hacked=1>'
data = torch.utils.data.TensorDataset(torch.randn(320, 8), torch.randint(2, (320,)))
model = nn.Linear(8, 2)
runner = Runner(model, train_dataloader=torch.utils.data.DataLoader(data, batch_size=32), loss_fn=nn.CrossEntropyLoss(),
                optimizer=torch.optim.SGD(model.parameters(), .1), max_epochs=30_000, log_level='ERROR')
class Clip:
    "Limit the gradients"
    def __init__(self, max_norm=1., every=5, strict=False): self.max_norm,self.every,self.strict = max_norm,every,strict
    def after_train_iter(self, runner): pass
class Both:
    def before_train_iter(self, runner): pass
    def after_train_iter(self, runner): pass
def add(name, hook=None, **attrs):
    hook = hook or Both()
    vars(hook).update(attrs)
    runner.hooks.register(hook, name=name)
'''
FEW = "add('Clip', Clip())\nadd('Both')\nadd(evil, **{evil: 1})\n_ = runner.run_until(iter=3)"
MANY = "for i in range(56): add(f'Extra{i:02}', Clip())"

class Table:
    "The view below a cell, as a person finds it"
    def __init__(self, nb, i):
        self.nb,self.root = nb,nb.cell(i).locator('.ir-panel').first
        self.root.wait_for()
    def row(self, name): return self.root.locator('.ir-table > .ir-row').filter(has=self.nb.page.get_by_label(name, exact=True))
    def part(self, name, part): return self.row(name).locator(part)
    def switch(self, name): return self.row(name).get_by_label(name, exact=True)
    def field(self, name): return self.root.locator('.ir-detail').get_by_label(name, exact=True)
    def numbers(self, name): return self.root.get_by_label(f'{name} in numbers').inner_text().split('\n')
    def order(self):
        "Names from top to bottom, as they are seen"
        js = """rows => rows.filter(o => o.offsetParent).map(o => [o.getBoundingClientRect().y, o.querySelector('.ir-switch').innerText.trim()])
                            .sort((a, b) => a[0]-b[0]).map(o => o[1])"""
        return self.root.locator('.ir-table > .ir-row').evaluate_all(js)
    def focus(self): return self.nb.page.evaluate("document.activeElement.title || document.activeElement.closest('label')?.innerText.trim()")
    def press(self, *keys):
        for k in keys: self.nb.page.keyboard.press(k)
    def pick(self, text):
        "Choose from the list that has the focus, as by keyboard: open it, type, take it"
        self.press('Space')
        self.nb.page.keyboard.type(text)
        self.press('Enter')
    def until(self, true, what): wait_for(true, what, 15, .05)
    def priority(self, name):
        "What the field shows; None while something is typed in it"
        return self.part(name, '.ir-priority input').evaluate('o => o.value ? null : o.placeholder')

@pytest.fixture
def hooks(): return FEW

@pytest.fixture
def table(notebook, hooks): return Table(notebook(SETUP+hooks, 'runner.panel.hooks', width=1250, height=1100), 1)

BUILT_IN = ['RuntimeInfoHook', 'IterTimerHook', 'LoggerHook', 'ProgressHook']
EVIL = '<img src=x onerror=window.hacked=1>'

@pytest.mark.parametrize('front', fronts)
def test_by_mouse(table):
    assert table.order() == ['RuntimeInfoHook', 'IterTimerHook', 'Clip', 'Both', EVIL, 'LoggerHook', 'ProgressHook']
    table.switch('Both').click()
    table.until(lambda: 'ir-off' in table.row('Both').get_attribute('class'), 'the row to be dimmed')
    table.part('Both', '.ir-priority input').click()
    table.nb.page.keyboard.type('low')
    table.root.locator('.ir-rowhead').click() # anywhere else
    table.until(lambda: table.order().index('Both') == 5 and table.priority('Both') == '70 LOW', 'the new place')
    for _ in range(2): table.part('Both', '.ir-up').click()
    table.until(lambda: table.order()[2:5] == ['Clip', 'Both', EVIL], 'two places up')
    table.part('Both', '.ir-down').click()
    table.until(lambda: table.order()[3:5] == [EVIL, 'Both'], 'one place down')
    assert table.nb.ask("runner.hooks['Both']") .startswith('Both (NORMAL, off)')

    table.root.locator('.ir-stagechoice select').select_option('before_train_iter')
    table.until(lambda: table.order() == ['RuntimeInfoHook', 'IterTimerHook', EVIL, 'Both'], 'the hooks of the stage')
    assert table.numbers('IterTimerHook')[0] == '2' and '3' in table.numbers('IterTimerHook')
    table.root.locator('.ir-stagechoice select').select_option('all stages')
    table.until(lambda: len(table.order()) == 7, 'all hooks')

    table.part(EVIL, '.ir-more').click()
    table.until(lambda: table.field(EVIL).is_visible() and table.field(EVIL).input_value() == '1', 'a parameter with an evil name')
    table.part('Clip', '.ir-more').click()
    table.field('strict').click()
    table.field('every').fill('50')
    table.root.locator('.ir-detail').get_by_text('Limit the gradients').click() # anywhere else
    table.until(lambda: table.nb.ask("runner.hooks['Clip'].hook.every, runner.hooks['Clip'].hook.strict") == '50 True', 'the parameters')
    table.nb.screenshot('hooks_detail', 1)
    table.part('Clip', '.ir-more').click()
    table.until(lambda: not table.root.locator('.ir-detail').count(), 'the detail to be closed')

@pytest.mark.parametrize('front', fronts)
def test_by_keyboard(table):
    table.switch('Both').focus()
    table.press('Space')
    table.until(lambda: 'ir-off' in table.row('Both').get_attribute('class'), 'the row to be dimmed')
    table.press('Space')
    table.until(lambda: 'ir-off' not in table.row('Both').get_attribute('class'), 'the row to be bright')

    table.press('Tab')
    for n,text,shown in ((3, '72', '72'), (4, 'lwo', '72'), (5, 'very_low', '90 VERY_LOW')):
        table.nb.page.keyboard.type(text)
        table.press('Enter')
        table.until(lambda n=n, shown=shown: (table.nb.ask('len(runner.player.acks)'), table.priority('Both')) == (str(n), shown), f'priority {shown}')
    assert table.nb.ask("runner.hooks['Both'].priority, len(runner.player.acks), runner.player.acks[-2].error is not None") == '90 5 True'
    table.part('Both', '.ir-up').focus()
    others = ['RuntimeInfoHook', 'IterTimerHook', 'Clip', EVIL, 'LoggerHook', 'ProgressHook']
    for place in (4, 3, 2):
        table.press('Enter')
        table.until(lambda place=place: table.order() == others[:place]+['Both']+others[place:], 'one place up')
        assert table.focus() == 'Both: run earlier'
    table.press('Tab')
    assert table.focus() == 'Both: run later'
    table.press('Space')
    table.until(lambda: table.order()[2:4] == ['Clip', 'Both'], 'one place down')
    table.press('Tab', 'Tab') # goes by what is seen, not by the order in which the rows were made
    assert table.focus() == EVIL
    assert table.nb.ask("*[r.name for r in runner.hooks.rows], sep='|'").split('|') == table.order()

    table.part('Clip', '.ir-more').focus()
    table.press('Enter')
    table.field('max_norm').wait_for()
    assert table.focus() == 'Clip: parameters and stages'
    table.press('Tab', 'Tab', 'Control+a')
    table.nb.page.keyboard.type('0.5')
    table.press('Enter')
    table.until(lambda: '0.5' in table.nb.ask("runner.hooks['Clip'].hook.every, runner.player.acks[-1].error"), 'the refusal')
    table.until(lambda: table.field('every').input_value() == '5', 'the truth')
    table.field('every').focus()
    table.press('Control+a')
    table.nb.page.keyboard.type('7')
    table.press('Enter', 'Tab', 'Space')
    table.until(lambda: table.nb.ask("runner.hooks['Clip'].hook.every, runner.hooks['Clip'].hook.strict") == '7 True', 'the parameters')

    table.root.locator('.ir-stagechoice select').focus()
    table.pick('before_train_i')
    table.until(lambda: set(table.order()) == {'RuntimeInfoHook', 'IterTimerHook', EVIL, 'Both'}, 'the hooks of the stage')

@pytest.mark.parametrize('front', fronts)
@pytest.mark.parametrize('hooks', [MANY], ids=['sixty'])
def test_sixty_hooks_stay_usable(table):
    nb = table.nb
    assert len(table.order()) == 60
    box,head = (table.root.locator(o).bounding_box() for o in ('.ir-table', '.ir-rowhead'))
    assert box['height'] < 600
    nb.add_and_run('_ = runner.play()')
    table.until(lambda: int(table.numbers('Extra00')[-3].replace(',', '')) > 50, 'a run that is drawn')
    table.switch('Extra55').click()
    table.until(lambda: 'ir-off' in table.row('Extra55').get_attribute('class'), 'the row to be dimmed while it runs')
    assert abs(table.root.locator('.ir-rowhead').bounding_box()['y']-table.root.locator('.ir-table').bounding_box()['y']) < 2, head
    table.part('Extra55', '.ir-up').click()
    table.until(lambda: table.order().index('Extra55') == 56, 'one place up')
    nb.screenshot('hooks_sixty', 1)
    table.root.locator('.ir-find input').click()
    nb.page.keyboard.type('a4')
    table.until(lambda: table.order() == [f'Extra4{i}' for i in range(10)], 'the hooks that are searched for')
    nb.screenshot('hooks_found', 1)
    assert table.nb.ask('runner.status') == 'running'
