"A run described twice, in a config and in objects, is one; and the examples of the guides to logging give the documented lines."
import ast
import io
import json
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from interactive_runner import BaseModel, Runner

tutorials = Path(__file__).parents[1]/'nbs'/'tutorials'

def cells_of(name): return [''.join(c['source']) for c in json.loads((tutorials/f'{name}.ipynb').read_text())['cells'] if c['cell_type'] == 'code']

def run_of(name):
    "The runner that the cells of a tutorial leave behind"
    world = {'__name__': '__main__'}
    for o in cells_of(name): exec(o, world)
    return world['runner']

def test_a_config_and_objects_end_in_equal_weights_losses_and_rates():
    a,b = run_of('config'),run_of('objects')
    assert all(torch.equal(x, y) for x,y in zip(a.model.parameters(), b.model.parameters(), strict=True)) and a.iter == b.iter == 138
    for key in ('train/loss', 'train/lr', 'train/grad_norm'): assert a.logs(key)[key].equals(b.logs(key)[key])
    assert a.logs('val/accuracy')['val/accuracy'].to_list() == pytest.approx(b.logs('val/accuracy')['val/accuracy'].to_list(), rel=1e-6) # added up otherwise


# The guides to logging: MMAction2's "customize logging", in two languages, and a notebook about MMEngine's log processor.
# Code as it stands there, comments left out.

window_20 = "log_processor = dict(type='LogProcessor', window_size=20, by_epoch=True)"
defaults = "log_processor = dict(window_size=10, by_epoch=True, custom_cfg=None, num_digits=4)"

def toy(imported, forward):
    "The model of the guides, with its own end of `forward`"
    return f'''
from mmengine.{imported}

class ToyModel(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def forward(self, img, label, mode):
        feat = self.linear(img)
{forward}'''

two_losses = toy('model import BaseModel', '''
        loss1 = (feat - label).pow(2)
        loss2 = (feat - label).abs()
        return dict(loss1=loss1, loss2=loss2)
''')

inside_forward = toy('logging import MessageHub', '''
        loss_tmp = (feat - label).abs()
        loss = loss_tmp.pow(2)

        message_hub = MessageHub.get_current_instance()
        message_hub.update_scalar('train/loss_tmp', loss_tmp.sum())
        return dict(loss=loss)
''')

with_loss_tmp = '''
log_processor = dict(
    type='LogProcessor',
    window_size=20,
    by_epoch=True,
    custom_cfg=[
            dict(
                data_src='loss_tmp',
                window_size=20,
                method_name='mean')
        ])
'''

global_mean = '''
from mmengine.runner import Runner
runner = Runner(
    model=ToyModel(),
    work_dir='tmp_dir',
    train_dataloader=train_dataloader,
    train_cfg=dict(by_epoch=True, max_epochs=1),
    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
    log_processor=dict(
        custom_cfg=[
            dict(data_src='loss1',
                 method_name='mean',
                 window_size='global')])
)
runner.train()
'''

two_maxima = '''
runner = Runner(
    model=ToyModel(),
    work_dir='tmp_dir',
    train_dataloader=train_dataloader,
    train_cfg=dict(by_epoch=True, max_epochs=1),
    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
    log_processor=dict(custom_cfg=[
        dict(data_src='loss1',
             log_name='loss1_local_max',
             window_size=10,
             method_name='max'),
        dict(
            data_src='loss1',
            log_name='loss1_global_max',
            method_name='max',
            window_size='global')
    ]))
runner.train()
'''

local_mean = '''
runner = Runner(
    model=ToyModel(),
    work_dir='tmp_dir',
    train_dataloader=train_dataloader,
    train_cfg=dict(by_epoch=True, max_epochs=1),
    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
    log_processor=dict(
        custom_cfg=[
            dict(
                data_src='loss_tmp',
                window_size=10,
                method_name='mean')
        ]
    )
)
runner.train()
'''

debug = "log_level='DEBUG'"

run_it = '''
runner = Runner(ToyModel(), work_dir='tmp_dir', train_dataloader=train_dataloader, train_cfg=dict(by_epoch=True, max_epochs=1),
                optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)), log_processor=log_processor, log_level=log_level)
runner.train()
''' # where the document gives no more than the configuration

losses = '''
08/21 02:58:41 - mmengine - INFO - Epoch(train) [1][10/25]  lr: 1.0000e-02  eta: 0:00:00  time: 0.0019  data_time: 0.0004  loss1: 0.8381  loss2: 0.9007  loss: 1.7388
08/21 02:58:41 - mmengine - INFO - Epoch(train) [1][20/25]  lr: 1.0000e-02  eta: 0:00:00  time: 0.0029  data_time: 0.0010  loss1: 0.1978  loss2: 0.4312  loss: 0.6290
''' # noqa: E501

losses_tmp = '''
08/21 03:40:31 - mmengine - INFO - Epoch(train) [1][10/25]  lr: 1.0000e-02  eta: 0:00:00  time: 0.0026  data_time: 0.0008  loss_tmp: 0.0097  loss: 0.0000
08/21 03:40:31 - mmengine - INFO - Epoch(train) [1][20/25]  lr: 1.0000e-02  eta: 0:00:00  time: 0.0028  data_time: 0.0013  loss_tmp: 0.0065  loss: 0.0000
'''

added = losses.replace('  loss: ', '  loss1_local_max: 0.8381  loss1_global_max: 0.8381  loss: ') # told by the comments of the notebook

EXAMPLES = {
    'the guide, a window of 20': (window_20+two_losses+run_it, losses),
    'the guide, a number from forward': (inside_forward+with_loss_tmp+run_it, losses_tmp),
    'the guide, debug': (window_20+two_losses+debug+run_it, losses),
    'the notebook, defaults': (two_losses+defaults+run_it, losses),
    'the notebook, one rule': (two_losses+global_mean, losses),
    'the notebook, two more rules': (two_losses+two_maxima, added),
    'the notebook, a number from forward': (inside_forward+local_mean, losses_tmp)}

def ours(code): return re.sub(r'from mmengine\.\w+ import', 'from interactive_runner import', code)

def forms(text):
    "The training lines of a log, as the tutorial masks them"
    world = dict(re=re)
    for o in cells_of('logging'):
        if 'def masked' in o: exec(o, world)
    return [world['masked'](o).replace('mmengine', 'interactive_runner') for o in world['train_lines'](text)]

def run(code):
    "The runner of an example, and what it printed"
    torch.manual_seed(0)
    world = dict(nn=nn, BaseModel=BaseModel, Runner=Runner, train_dataloader=DataLoader([(torch.ones(1), torch.ones(1))]*50, batch_size=2), log_level='INFO')
    with redirect_stdout(io.StringIO()) as console: exec(ours(code), world)
    return world['runner'],console.getvalue()

@pytest.mark.parametrize('name', EXAMPLES)
def test_the_examples_of_the_guides_give_the_documented_lines(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code,documented = EXAMPLES[name]
    runner,text = run(code)
    assert forms(text) == forms(documented) and len(forms(text)) == 2
    file, = (tmp_path/'tmp_dir').glob('*/*.log')
    assert file.stem == file.parent.name and forms(file.read_text()) == ['####/'+o for o in forms(documented)]
    assert (' - DEBUG - ' in file.read_text()) == (debug in code)

NUMBERS = {
    'the guide, a window of 20': dict(loss1=('loss1', 'mean', 20), loss2=('loss2', 'mean', 20), loss=('loss', 'mean', 20)),
    'the guide, a number from forward': dict(loss_tmp=('loss_tmp', 'mean', 20), loss=('loss', 'mean', 20)),
    'the notebook, defaults': dict(loss1=('loss1', 'mean', 10)),
    'the notebook, one rule': dict(loss1=('loss1', 'mean', 20), loss2=('loss2', 'mean', 10)), # of all 20 there are
    'the notebook, two more rules': dict(loss1_local_max=('loss1', 'max', 10), loss1_global_max=('loss1', 'max', 20), loss1=('loss1', 'mean', 10)),
    'the notebook, a number from forward': dict(loss_tmp=('loss_tmp', 'mean', 10), loss=('loss', 'mean', 10))}

@pytest.mark.parametrize('name, shown', NUMBERS.items())
def test_the_numbers_of_the_second_line_are_those_of_the_windows_asked_for(name, shown, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner,text = run(EXAMPLES[name][0])
    line = [o for o in text.splitlines() if '[20/25]' in o][0]
    for nm,(src,method,n) in shown.items():
        values = runner.message_hub.get_scalar(f'train/{src}').data[0][:20][-n:]
        assert f'  {nm}: {getattr(values, method)():.4f}' in line

def test_every_example_of_the_guides_stands_in_the_tutorial():
    there = {ast.dump(o) for c in cells_of('logging') for o in ast.parse(c).body}
    for code in (window_20, defaults, two_losses, inside_forward, with_loss_tmp, global_mean, two_maxima, local_mean, debug):
        missing = [ast.unparse(o) for o in ast.parse(ours(code)).body if ast.dump(o) not in there]
        assert [o for o in missing if 'import' not in o and o != 'runner.train()'] == []
