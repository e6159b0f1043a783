"The whole scenario in a real JupyterLab, by mouse: step, play, change hooks while it plays, pause, mend an error, a loop of one's own"
import re

import pytest

from lab import wait_for

SETUP = '''
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split
from interactive_runner import Runner, accuracy
digits = load_digits()
data = TensorDataset(torch.tensor(digits.data/16, dtype=torch.float32), torch.tensor(digits.target))
train_set,val_set = random_split(data, [.8, .2], generator=torch.Generator().manual_seed(0))

def make(**kwargs):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(.2), nn.Linear(128, 10))
    given = dict(train_dataloader=DataLoader(train_set, batch_size=32, shuffle=True),
                 val_dataloader=DataLoader(val_set, batch_size=256), loss_fn=F.cross_entropy,
                 optimizer=torch.optim.Adam(model.parameters(), lr=1e-3), metrics={'accuracy': accuracy}, max_epochs=20_000, seed=0)
    return Runner(model, **given | kwargs)

class GradNorm:
    priority = 'HIGH'
    def after_backward(self, runner):
        runner.message_hub.update_scalar('train/grad_norm', nn.utils.get_total_norm([p.grad for p in runner.model.parameters()]))

runner = make(custom_hooks=[GradNorm()])
runner.hooks['LoggerHook'].hook.interval = 1000
'''


class Panel:
    "The panel below a cell, as a person finds it"
    def __init__(self, nb, i):
        self.nb,self.root = nb,nb.cell(i).locator('.ir-panel:not(.ir-still)').first
        self.root.wait_for()
    def button(self, name): return self.root.locator('button:visible').filter(has_text=re.compile(rf'^\s*{name}\s*$'))
    def press(self, name): self.button(name).click()
    def status(self): return self.root.locator('.ir-word').inner_text()
    def wait_status(self, status): self.root.locator('.ir-word', has_text=re.compile(f'^{status}$')).wait_for(timeout=30000)
    def marked(self): return self.root.locator('.ir-here .ir-text').inner_text().strip()
    def wait_marked(self, text): self.root.locator('.ir-here .ir-text', has_text=text).wait_for(timeout=10000)
    def row(self, hook): return self.root.locator('.ir-hooks .ir-row:not(.ir-rowhead)', has_text=hook)
    def calls(self, hook): return int(self.root.get_by_label(f'{hook} in numbers').locator('.ir-calls').inner_text().replace(',', ''))
    def earlier(self, *names):
        "Whether these hooks stand in this order; not while the rows are being drawn"
        rows = self.root.locator('.ir-hooks .ir-switch').evaluate_all("""rows => rows.map(o => [o.getBoundingClientRect().y, o.innerText.trim()])
            .sort((a, b) => a[0]-b[0]).map(o => o[1])""")
        return set(names) <= set(rows) and sorted(names, key=rows.index) == list(names)
    def iteration(self): return int(self.root.locator('.ir-place b').nth(1).inner_text().replace(',', ''))


@pytest.fixture
def panel(notebook): return Panel(notebook(SETUP, 'runner', height=1500), 1)


def test_a_person_steps_plays_changes_hooks_while_it_plays_pauses_and_plays_to_the_end(panel):
    nb = panel.nb
    assert panel.status() == 'ready' and "'before_run'" in panel.marked()

    for line in ("'before_train'", "'before_train_epoch'", 'self.fetch'):
        panel.press('Line')
        panel.wait_marked(line)
    nb.screenshot('stepped_lines', 1)
    panel.press('Hook')
    panel.wait_marked("'before_train_iter'")
    assert panel.root.locator('.ir-here .ir-call').first.inner_text().strip().endswith('RuntimeInfoHook')
    panel.press('Iteration')
    wait_for(lambda: panel.iteration() == 1, 'one iteration')
    panel.wait_marked('self.fetch')

    panel.press('Play')
    panel.wait_status('running')
    wait_for(lambda: panel.calls('GradNorm') > 20, 'calls of the hook')
    panel.row('GradNorm').get_by_role('checkbox').click()
    wait_for(lambda: 'ir-off' in panel.row('GradNorm').get_attribute('class'), 'the row to be dimmed')
    calls,iteration = panel.calls('GradNorm'),panel.iteration()
    wait_for(lambda: panel.iteration() > iteration+50, 'the run to go on')
    assert panel.calls('GradNorm') == calls

    assert panel.earlier('IterTimerHook', 'LoggerHook')
    box = panel.row('LoggerHook').locator('.ir-priority input')
    box.fill('20')
    box.press('Enter')
    wait_for(lambda: panel.earlier('LoggerHook', 'IterTimerHook'), 'the new order')
    assert panel.status() == 'running'
    nb.screenshot('playing', 1)

    cell = nb.add_and_run("print('weight', float(runner.model[0].weight.sum())); print(runner.status, runner.hooks['LoggerHook'].priority)")
    assert re.search(r'weight -?\d+\.\d+', nb.output(cell)) and 'running 20' in nb.output(cell)
    before = panel.iteration()
    wait_for(lambda: panel.iteration() > before, 'the run to go on after the other cell')

    panel.press('Pause')
    panel.wait_status('paused')
    stood = panel.iteration()
    nb.page.wait_for_timeout(500)
    assert panel.iteration() == stood
    nb.screenshot('paused', 1)

    nb.add_and_run('runner.train_loop.max_epochs = runner.epoch + 2')
    panel.press('Play')
    panel.wait_status('done')
    wait_for(lambda: panel.button('Play').is_disabled(), 'the buttons to be grey at the end')
    end = nb.add_and_run("print(runner.status, runner.val()['accuracy'] > .9)")
    assert 'done True' in nb.output(end)
    nb.screenshot('done', 1)


def test_a_hook_that_raises_is_shown_mended_in_a_cell_and_retried(panel):
    nb = panel.nb
    nb.add_and_run('''
@runner.on('after_train_iter', name='<img src=x onerror=document.title=1>')
def bad(runner):
    if runner.iter == 40: raise ValueError('<b>not today</b>')''')
    panel.press('Play')
    panel.wait_status('error')
    banner = panel.root.locator('.ir-banner')
    banner.locator('.ir-what').wait_for()
    assert 'ValueError' in banner.inner_text() and '<b>not today</b>' in banner.inner_text()
    assert 'after_train_iter, epoch 0, iter 40' in banner.inner_text()
    banner.locator('summary').click()
    assert 'raise ValueError' in banner.locator('pre').inner_text()
    nb.screenshot('error', 1)
    assert nb.page.locator('img[src=x]').count() == 0
    nb.add_and_run('''
@runner.on('after_train_iter', name='<img src=x onerror=document.title=1>')
def good(runner): pass''')
    panel.press('Retry')
    panel.wait_status('running')
    wait_for(lambda: panel.iteration() > 60, 'the run to go on')
    assert not banner.is_visible()
    panel.press('Stop')
    panel.wait_status('stopped')


@pytest.mark.parametrize('theme', ['dark'])
def test_a_loop_defined_in_a_cell_is_shown_and_stepped(notebook):
    nb = notebook('''
from torch import nn
from interactive_runner import DataLoop, Runner, commits

class Duel(DataLoop):
    by_epoch,max_iters,max_epochs = False,1000,1
    def run(self):
        while self.iter < self.max_iters:
            yield self.fetch
            yield 'before_left_turn'
            yield self.left
            yield 'before_right_turn'
            yield self.right
            yield 'after_train_iter'
            yield self.commit
    def left(self): self.outputs = {'left_loss': float(self.data_batch)}
    def right(self): self.outputs['right_loss'] = 1.
    @commits('iter')
    def commit(self):
        self.iter += 1
        self.end_iter()
        if not self.has_batches: self.end_pass()

runner = Runner(nn.Linear(1, 1), train_loop=Duel(None, range(10)), log_level='ERROR')
@runner.on('before_right_turn')
def referee(runner): pass''', 'runner', width=1200, height=1100)
    panel = Panel(nb, 1)
    for line in ('self.fetch', "'before_left_turn'", 'self.left', "'before_right_turn'"):
        panel.press('Line')
        panel.wait_marked(line)
    assert 'referee' in panel.root.locator('.ir-here').inner_text()
    nb.screenshot('own_loop_dark', 1)
