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
def make():
    runner = Runner(model, train_dataloader=torch.utils.data.DataLoader(data, 16), loss_fn=nn.functional.cross_entropy, max_epochs=3,
                    optimizer=torch.optim.SGD(model.parameters(), .1), log_level='ERROR')
    @runner.on('after_train_iter', name='<img src=x onerror=hacked()>')
    def evil(runner): runner.message_hub.update_scalar('train/<img src=x onerror=hacked()>', 1.)
    return runner'''
SHOW = 'runner = make()\nrunner'
CELLS = dict(setup=SETUP, trained=SHOW, train='_ = runner.train()', paused=SHOW, pause="_ = runner.run_until(stage='after_backward', iter=5)",
             failed="runner = make()\n@runner.on('after_backward')\ndef broken(runner): 1/0\nrunner", fail='_ = runner.train()',
             stepped='runner = make()\n_ = runner.step("iter", 3)', refreshed='runner.refresh()')

@pytest.fixture(scope='module')
def executed():
    "The notebook after a program has executed it"
    nb = new_notebook(cells=[new_code_cell(c) for c in CELLS.values()])
    return NotebookClient(nb, timeout=120, kernel_name='python3', allow_errors=True).execute()

@pytest.fixture
def html(executed):
    "What a cell shows as HTML"
    def html(name):
        outputs = executed.cells[list(CELLS).index(name)].outputs
        return ' '.join(o['data']['text/html'] for o in outputs if 'text/html' in o.get('data', {}))
    return html

def test_only_the_cell_that_fails_fails(executed):
    failed = [nm for nm,c in zip(CELLS, executed.cells) if any(o['output_type'] == 'error' for o in c.outputs)]
    assert failed == ['fail']

def test_the_cell_holds_picture_and_tables_after_the_end(html):
    html = html('trained')
    assert '<b class="ir-word">done</b>' in html and html.count('data:image/png;base64,') == 1
    assert 'train/loss' in html and 'IterTimerHook' in html
    assert '<img src=x' not in html and '&lt;img src=x' in html

def test_a_published_page_shows_each_picture_once(executed):
    page = HTMLExporter().from_notebook_node(executed)[0]
    assert page.count('class="ir-panel ir-still"') == page.count('src="data:image/png;base64,') == 4

def test_the_saved_file_is_a_valid_notebook(executed): nbformat.validate(executed)

def test_a_pause_leaves_the_state_of_the_pause(html):
    html = html('paused')
    assert 'paused' in html and '<code>after_backward</code>' in html and '<b>5</b>' in html

def test_an_error_stays_with_its_traceback(html):
    assert 'ZeroDivisionError' in html('failed') and 'in hook broken at after_backward' in html('failed')

def test_without_widgets_refresh_shows_the_run_in_the_cell_that_asks(html):
    assert '<b>3</b>' in html('refreshed') and 'data:image/png' in html('refreshed') and not html('stepped')
