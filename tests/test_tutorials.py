"The run that is described twice, in a config and in objects, is one and the same."
import json
from pathlib import Path

import pytest
import torch

tutorials = Path(__file__).parents[1]/'nbs'/'tutorials'

def run_of(name):
    "The runner that the cells of a tutorial leave behind"
    cells = [''.join(c['source']) for c in json.loads((tutorials/f'{name}.ipynb').read_text())['cells'] if c['cell_type'] == 'code']
    world = {'__name__': '__main__'}
    for o in cells: exec(o, world)
    return world['runner']

def test_a_config_and_objects_end_in_equal_weights_losses_and_rates():
    a,b = run_of('config'),run_of('objects')
    assert all(torch.equal(x, y) for x,y in zip(a.model.parameters(), b.model.parameters(), strict=True)) and a.iter == b.iter == 138
    for key in ('train/loss', 'train/lr', 'train/grad_norm'): assert a.logs(key)[key].equals(b.logs(key)[key])
    assert a.logs('val/accuracy')['val/accuracy'].to_list() == pytest.approx(b.logs('val/accuracy')['val/accuracy'].to_list(), rel=1e-6) # added up otherwise
