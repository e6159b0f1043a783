"Where numbers, pictures and the config go besides the log"
import json
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_runner import runner

from interactive_runner import Config, Runner, dist
from interactive_runner.registry import VISBACKENDS, VISUALIZERS
from interactive_runner.visualizer import LocalVisBackend, Visualizer, json_line, pixels


class Seen:
    "A backend that can do everything, with MMEngine's arguments"
    def __init__(self): self.got = []
    def add_config(self, config, **kwargs): self.got.append(('config', type(config).__name__))
    def add_graph(self, model, data_batch, **kwargs): self.got.append(('graph', data_batch))
    def add_image(self, name, image, step=0, **kwargs): self.got.append((name, step))
    def add_scalar(self, name, value, step=0, **kwargs): self.got.append((name, value, step))
    def add_scalars(self, scalar_dict, step=0, file_path=None, **kwargs): self.got.append((dict(scalar_dict), step, file_path))
    def close(self): self.got.append('closed')

class Least:
    "A backend that can do what all must"
    def __init__(self): self.got = []
    def add_scalars(self, scalars, step): self.got.append((step, list(scalars)))
    def close(self): self.got.append('closed')

ONE = dict(max_iters=1, metrics=None, val_dataloader=None)
def tree(folder): return sorted(str(o.relative_to(folder)) for o in folder.rglob('*') if o.is_file())


# ---- pictures

red = np.zeros((2, 3, 3), np.uint8)
red[..., 0] = 200
PICTURES = {
    'bytes with three channels': (red, red),
    'bytes without channels': (red[..., 0], red[..., 0]),
    'one channel': (red[..., :1], red[..., 0]),
    'four channels': (np.full((2, 3, 4), 7, np.uint8), np.full((2, 3, 4), 7)),
    'a tensor, channels first': (torch.from_numpy(red).permute(2, 0, 1), red),
    'a tensor of floats that needs gradients': (torch.full((3, 2, 3), .5, requires_grad=True), np.full((2, 3, 3), 128)),
    'half precision': (torch.ones(2, 3, dtype=torch.bfloat16), np.full((2, 3), 255)),
    'floats outside': (np.array([[-1., 0., 2., np.nan, np.inf]]), np.array([[0, 0, 255, 0, 255]])),
    'numbers outside': (np.array([[-5, 100, 300]]), np.array([[0, 100, 255]])),
    'a mask': (torch.tensor([[True, False]]), np.array([[255, 0]]))}

@pytest.mark.parametrize('kind', PICTURES)
def test_a_picture_of_any_kind_is_the_file_that_is_meant(kind, tmp_path):
    image,meant = PICTURES[kind]
    LocalVisBackend(tmp_path).add_image('some', image, step=3)
    assert np.array_equal(np.asarray(Image.open(tmp_path/'vis_image'/'some_3.png')), meant)

@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from([None, 1, 3, 4]), st.randoms(use_true_random=False))
def test_bytes_stay_as_they_are(h, w, c, random):
    a = np.array([random.randrange(256) for _ in range(h*w*(c or 1))], np.uint8).reshape((h, w) if c is None else (h, w, c))
    assert np.array_equal(pixels(a), a[..., 0] if c == 1 else a)

@pytest.mark.parametrize('wrong', [
    np.zeros((2, 3, 2)), np.zeros(3), np.zeros((0, 3)), torch.zeros(2, 3, 3), np.zeros((1, 2, 3, 3)), 'cat.png', None, np.ones((2, 2), complex)])
def test_what_is_no_picture_is_refused_with_what_was_got(wrong):
    with pytest.raises(TypeError, match='a picture is an array .* got'): pixels(wrong)

@pytest.mark.parametrize('name', ['../out', '/tmp/out', 'a/../../out'])
def test_a_name_of_a_picture_does_not_lead_out_of_its_folder(name, tmp_path):
    with pytest.raises(ValueError, match='must not lead out of'): LocalVisBackend(tmp_path/'in').add_image(name, red)
    assert tree(tmp_path) == []


# ---- files

def test_files_lie_where_the_arguments_say(tmp_path):
    b = LocalVisBackend(tmp_path, img_save_dir='pictures', config_save_file='all.py', scalar_save_file='numbers.json')
    b.add_image('a', red)
    b.add_config(Config(dict(lr=.1)))
    b.add_scalar('loss', .5, 3)
    b.add_scalars(dict(loss=.25), 4, file_path='more.json')
    assert tree(tmp_path) == ['all.py', 'more.json', 'numbers.json', 'pictures/a_0.png']
    assert [json.loads(o) for o in b.file.read_text().splitlines()] == [dict(loss=.5, step=3), dict(loss=.25, step=4)]
    assert json.loads((tmp_path/'more.json').read_text()) == dict(loss=.25, step=4)
    assert Config.fromfile(tmp_path/'all.py').lr == .1

@pytest.mark.parametrize('wrong', [dict(config_save_file='config.txt'), dict(scalar_save_file='scalars')])
def test_a_file_with_another_suffix_is_refused(wrong, tmp_path):
    with pytest.raises(ValueError, match=f'{next(iter(wrong))} must end in'): LocalVisBackend(tmp_path, **wrong)

def test_each_log_is_one_append_and_a_whole_line_at_once(tmp_path, monkeypatch):
    b,writes = LocalVisBackend(tmp_path),[]
    b.add_scalars(dict(loss=1.), 1)
    file = b._open[b.file]
    monkeypatch.setattr(b, '_open', {b.file: type('Spy', (), dict(write=lambda self, o: (writes.append(o), file.write(o)), close=file.close))()})
    b.add_scalars({f'loss_{i}': i for i in range(2000)}, 2)
    assert len(writes) == 1 and len(b.file.read_text().splitlines()) == 2 and json.loads(b.file.read_text().splitlines()[1])['step'] == 2

values = st.none() | st.booleans() | st.integers(-2**60, 2**60) | st.floats() | st.text()

@given(st.recursive(values, lambda o: st.lists(o) | st.dictionaries(st.text(), o), max_leaves=8))
def test_any_line_is_strict_json_without_a_break_in_it(o):
    line = json_line(o)
    json.loads(line, parse_constant=lambda c: pytest.fail(c))
    assert line.count('\n') == 1 and line.endswith('\n')


# ---- backends in a run

def test_a_run_from_a_config_tells_backends_the_config_and_each_what_it_can_take(tmp_path):
    VISBACKENDS.register_module(module=Seen, force=True)
    cfg = dict(model=dict(type='Linear', in_features=4, out_features=2), loss_fn=torch.nn.functional.cross_entropy, work_dir=str(tmp_path), log_level='ERROR',
               train_dataloader=runner().train_dataloader, train_cfg=dict(by_epoch=False, max_iters=1), optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1)),
               visualizer=dict(type='Visualizer', name='visualizer', vis_backends=[dict(type='LocalVisBackend'), dict(type='Seen', name='mine'), Least()]))
    run = Runner.from_cfg(cfg)
    run.train()
    seen,least = run.visualizer.get_backend('mine').got,run.visualizer.get_backend('Least').got
    assert seen[0] == ('config', 'Config') and seen[-1] == 'closed' and [o[1:] for o in seen[1:-1]] == [(1, None)] and {'loss', 'lr'} <= seen[1][0].keys()
    assert [o[0] if o != 'closed' else o for o in least] == [1, 'closed']
    assert [o for o in tree(run.log_dir) if o.startswith('vis_data')] == ['vis_data/config.py', 'vis_data/scalars.json']
    assert 'in_features' in (run.log_dir/'vis_data'/'config.py').read_text()

def test_a_backend_that_raises_pauses_the_run_at_the_hook_and_it_goes_on_when_mended(tmp_path):
    b = Least()
    run = runner(visualizer=dict(vis_backends=[b]), default_hooks=dict(logger=dict(interval=1)), max_iters=3, metrics=None, val_dataloader=None)
    b.add_scalars = lambda scalars, step: 1/0 if step == 2 else Least.add_scalars(b, scalars, step)
    with pytest.raises(ZeroDivisionError) as e: run.train()
    assert 'in hook LoggerHook at after_train_iter, epoch 0, iter 1' in e.value.__notes__ and run.status == 'error'
    del b.add_scalars
    run.train()
    assert [o[0] for o in b.got if o != 'closed'] == [1, 2, 3] and run.iter == 3

def test_pictures_numbers_graphs_and_configs_pass_through_to_those_who_take_them():
    seen,least = Seen(),Least()
    vis = Visualizer(vis_backends=[seen, least])
    vis.add_config(dict(a=1))
    vis.add_graph('model', 'batch')
    vis.add_image('cat', red, 3)
    vis.add_datasample('dog', red, dict(boxes=[]), draw_gt=False, show=False, wait_time=0, step=4)
    vis.add_scalar('loss', .5, 5)
    vis.add_scalars(dict(loss=.25), 6)
    vis.close()
    assert seen.got == [('config', 'dict'), ('graph', 'batch'), ('cat', 3), ('dog', 4), (dict(loss=.5), 5, None), (dict(loss=.25), 6, None), 'closed']
    assert least.got == [(5, ['loss']), (6, ['loss']), 'closed']

def test_only_the_main_process_of_a_group_passes_things_on(monkeypatch):
    monkeypatch.setattr(dist, 'get_rank', lambda group=None: 1)
    seen = Seen()
    vis = Visualizer(vis_backends=[seen])
    vis.add_scalar('loss', .5, 5)
    vis.add_image('cat', red)
    assert seen.got == []

@pytest.mark.parametrize('given, names', [
    (dict(vis_backends=dict(type='LocalVisBackend', save_dir='here')), ['LocalVisBackend']), (dict(save_dir='here'), ['LocalVisBackend']), (dict(), []),
    (dict(vis_backends=[dict(type='LocalVisBackend', name='a'), dict(type='LocalVisBackend')], save_dir='here'), ['a', 'LocalVisBackend']),
    (dict(vis_backends=[Least(), Least(), Least()]), ['Least', 'Least_2', 'Least_3'])])
def test_backends_are_found_by_their_names(given, names):
    vis = Visualizer(**given)
    assert list(vis.backends) == names and all(vis.get_backend(o) is vis.backends[o] for o in names) and vis.get_backend('Wandb') is None

@pytest.mark.parametrize('wrong, error, text', [
    (['tensorboard'], TypeError, "'tensorboard' is no backend: it has no method add_scalars and no close"),
    ([dict(type='LocalVisBackend')], TypeError, 'save_dir'),
    ([dict(type='LocalVisBackends', save_dir='x')], KeyError, "Did you mean 'LocalVisBackend'")])
def test_backends_that_cannot_work_are_refused_when_the_visualizer_is_made(wrong, error, text):
    with pytest.raises(error, match=re.escape(text)): Visualizer(vis_backends=wrong)

def test_the_dict_of_a_backend_stays_as_it_was():
    cfg = dict(type='LocalVisBackend', name='files', save_dir='here')
    Visualizer(vis_backends=[cfg])
    assert cfg == dict(type='LocalVisBackend', name='files', save_dir='here')


# ---- finding it

def test_the_current_visualizer_is_that_of_the_run_that_advances():
    found = []
    runs = [runner(**ONE, experiment_name=f'run {i}', visualizer=dict(name='visualizer')) for i in range(2)]
    for o in runs:
        o.on('after_train_iter', name='look')(lambda runner: found.append(Visualizer.get_current_instance() is runner.visualizer))
        o.train()
    assert found == [True, True] and Visualizer.get_current_instance() is runs[1].visualizer

def test_a_visualizer_of_ones_own_draws_what_it_is_given(tmp_path):
    @VISUALIZERS.register_module(force=True)
    class Frames(Visualizer):
        def add_datasample(self, name, image, data_sample=None, step=0, **kwargs):
            image = image.copy()
            image[data_sample['row']] = 255
            self.add_image(name, image, step)
    run = runner(**ONE, work_dir=tmp_path, visualizer=dict(type='Frames'))
    run.visualizer.add_datasample('first', red, dict(row=1), step=2)
    drawn = np.asarray(Image.open(run.log_dir/'vis_data'/'vis_image'/'first_2.png'))
    assert (drawn[1] == 255).all() and (drawn[0, :, 0] == 200).all()

def test_an_object_of_ones_own_that_takes_scalars_is_visualizer_enough():
    least = Least()
    runner(**ONE, visualizer=least).train()
    assert least.got[-1] == 'closed' and least.got[0][0] == 1
