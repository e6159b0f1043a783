"Notebook 7, served by the same server: the essentials of the panel, by mouse and keyboard, and a page that is loaded again."
import re

import pytest

from test_panel_lab import setup, wait_epoch

@pytest.fixture
def nb(lab, request):
    name = re.sub(r'\W', '_', request.node.name)
    nb = lab.open(lab.write_notebook(f'{name}.ipynb', [setup, 'runner']), theme=getattr(request, 'param', 'light'), height=1300, front='notebook')
    for i in range(2): nb.run(i)
    nb.wait_output(1, 'ready')
    assert nb.page.evaluate('window.jupyterapp.name') == 'Jupyter Notebook'
    yield nb
    assert not nb.errors and nb.page.evaluate('window.hacked') is None

def button(nb, name): return nb.cell(1).get_by_role('button', name=name).first
def ask(nb, code): return nb.output(nb.add_and_run(f'print({code})'))

@pytest.mark.parametrize('nb', ['light', 'dark'], indirect=True)
def test_a_run_is_played_and_paused_by_mouse_and_stepped_by_keyboard(nb, request):
    button(nb, 'Play').click()
    nb.wait_output(1, 'running')
    wait_epoch(nb, 2)
    nb.wait_output(1, 'epoch 2 begins')
    assert ask(nb, 'runner.status') == 'running'
    theme = request.node.callspec.params['nb']
    assert nb.page.locator('body').get_attribute('data-jp-theme-light') == str(theme == 'light').lower()
    button(nb, 'Pause').click()
    nb.wait_output(1, 'paused')
    nb.add_and_run("_ = runner.run_until(stage='before_train_iter')")
    n = int(ask(nb, 'runner.iter'))
    button(nb, 'Iteration').focus()
    nb.page.keyboard.press('Enter')
    nb.wait_output(1, f'iteration {n+1:,}')
    assert ask(nb, 'runner.iter') == str(n+1)
    nb.cell(1).scroll_into_view_if_needed()
    nb.screenshot(f'notebook7_{theme}')

def test_a_page_loaded_again_while_the_run_plays_finds_the_panel_live(nb):
    button(nb, 'Play').click()
    wait_epoch(nb, 1)
    nb.save()
    nb.reload()
    nb.wait_output(1, 'running')
    before = int(ask(nb, 'runner.iter'))
    wait_epoch(nb, before//20+2) # drawn again, a pass of 20 batches later
    button(nb, 'Pause').click()
    nb.wait_output(1, 'paused')
    assert ask(nb, 'runner.status') == 'paused'
