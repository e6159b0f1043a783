"What a run leaves behind in a front end: its signs of life nothing at all, and runners made again and again no widget."
import nbformat
import pytest

from lab import fronts

SETUP = '''
import asyncio, gc, time, torch
from torch import nn
from ipywidgets import Widget
from ipywidgets.widgets.widget import _instances
from comm import get_comm_manager
from interactive_runner import Runner, live
class Slow:
    def after_train_iter(self, runner): time.sleep(.002)
def make():
    model = nn.Linear(4, 2)
    return Runner(model, train_dataloader=[(torch.randn(8, 4), torch.zeros(8).long())]*100, loss_fn=nn.functional.cross_entropy, log_level='ERROR',
                  optimizer=torch.optim.SGD(model.parameters(), lr=.1), max_epochs=1000, custom_hooks=[Slow()])
'''

PLAY = '''
live.PULSE = .05
runner = make()
_ = runner.play()
'''
COUNT = '''() => {
    window.signs = 0
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel
    kernel.iopubMessage.connect((_, m) => { window.signs += m.content.comm_id === 'interactive_runner' })
}'''

@pytest.mark.parametrize('front', fronts)
def test_signs_of_life_reach_the_page_and_neither_show_nor_are_stored(lab, notebook, front):
    nb,said = notebook(SETUP, PLAY),[]
    nb.page.on('console', lambda m: said.append(m.text) if m.type == 'error' else None)
    nb.page.evaluate(COUNT)
    nb.page.wait_for_function('window.signs > 5')
    seen = nb.add_and_run('print(runner.status)')
    assert nb.output(seen) == 'running' and nb.output(1) == ''
    nb.save()
    cells = nbformat.read(lab.root/nb.name, as_version=4).cells
    assert [len(c.outputs) for c in cells] == [0, 0, 1] and 'interactive_runner' not in str([c.outputs for c in cells])
    assert not said
    nb.say('live.PULSE = 20.')

REMAKE = '''
again = vars().get('again', 0)+1
runner = make()
if again % 2: runner.play()
runner
'''
HELD = '''
await asyncio.sleep(live.SWEEP+.5)
known = len(_instances), len(get_comm_manager().comms), len(live.RUNS)
gc.collect() # what is closed may wait for the next collection, but nothing may hold it
print(*known, len([o for o in gc.get_objects() if issubclass(type(o), Widget)]))
'''
COMMS = "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel._comms.size"

def test_six_runs_of_the_cell_that_makes_a_runner_leave_no_widget_behind(notebook):
    nb = notebook(SETUP, REMAKE, HELD)
    def remake(times):
        for _ in range(times):
            nb.run(1)
            nb.wait_output(1, 'Step')
            nb.page.wait_for_timeout(500) # a server lets through a thousand messages a second
        nb.run(2)
        return nb.output(2), nb.page.evaluate(COMMS)
    before = remake(2)
    assert before[1] > 100 and remake(4) == before
