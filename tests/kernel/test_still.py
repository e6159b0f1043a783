"What stays of the panel in a notebook that a program executes, saves and publishes, with no browser anywhere."
import nbformat, pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell, new_notebook

SETUP = '''
import torch
from torch import nn
from interactive_runner.all import Runner
torch.manual_seed(0)
data = torch.utils.data.TensorDataset(torch.randn(64, 4), torch.randint(2, (64,)))
model = nn.Linear(4, 2)
runner = Runner(model, train_dataloader=torch.utils.data.DataLoader(data, 16), loss_fn=nn.functional.cross_entropy, max_epochs=3,
                optimizer=torch.optim.SGD(model.parameters(), .1), log_level='ERROR')
@runner.on('after_train_iter', name='<img src=x onerror=hacked()>')
def evil(runner): runner.message_hub.update_scalar('train/<img src=x onerror=hacked()>', 1.)'''

def execute(*cells, **kwargs):
    nb = new_notebook(cells=[new_code_cell(c) for c in (SETUP, *cells)])
    return NotebookClient(nb, timeout=120, kernel_name='python3', **kwargs).execute()

def html_of(cell): return ' '.join(o['data']['text/html'] for o in cell.outputs if 'text/html' in o.get('data', {}))

@pytest.fixture(scope='module')
def trained(): return execute('runner', '_ = runner.train()')

def test_the_cell_holds_picture_and_tables_after_the_end(trained):
    html = html_of(trained.cells[1])
    assert '<b class="ir-word">done</b>' in html and html.count('data:image/png;base64,') == 1
    assert 'train/loss' in html and 'IterTimerHook' in html
    assert '<img src=x' not in html and '&lt;img src=x' in html

def test_a_published_page_shows_the_picture_once(trained):
    page = HTMLExporter().from_notebook_node(trained)[0]
    assert page.count('class="ir-panel ir-still"') == 1 and page.count('src="data:image/png;base64,') == 1

def test_the_saved_file_is_a_valid_notebook(trained): nbformat.validate(trained)

def test_a_pause_leaves_the_state_of_the_pause():
    nb = execute('runner', "_ = runner.run_until(stage='after_backward', iter=5)")
    html = html_of(nb.cells[1])
    assert 'paused' in html and '<code>after_backward</code>' in html and '<b>5</b>' in html

def test_an_error_stays_with_its_traceback():
    nb = execute("@runner.on('after_backward')\ndef broken(runner): 1/0\nrunner", '_ = runner.train()', allow_errors=True)
    assert 'ZeroDivisionError' in html_of(nb.cells[1]) and 'in hook broken at after_backward' in html_of(nb.cells[1])

def test_without_widgets_refresh_shows_the_run_in_the_cell_that_asks():
    nb = execute('_ = runner.step("iter", 3)', 'runner.refresh()')
    assert '<b>3</b>' in html_of(nb.cells[2]) and 'data:image/png' in html_of(nb.cells[2])
