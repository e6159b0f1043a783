"Checkpoints: files whole or not at all, nothing but plain data in them, and runs that go on from them as if nothing had been"
import io
import os
import pickle
import sys
import zipfile
from collections import OrderedDict, defaultdict, namedtuple
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from interactive_runner import Runner, accuracy, ckpt
from interactive_runner import resuming, saving # noqa: F401, put the methods onto Runner
from interactive_runner.ckpt import STAND_INS, check_plain, find_latest_checkpoint, load_file, load_weights, save_file
from interactive_runner.hooks.checkpoint import CheckpointHook, infer_rule, publish

# ---- files

Pair = namedtuple('Pair', 'a b')
keys = st.one_of(st.text(max_size=5), st.integers(-9, 9), st.tuples(st.integers(0, 9)))
leaves = st.one_of(st.none(), st.booleans(), st.integers(-2**70, 2**70), st.floats(allow_nan=False), st.complex_numbers(allow_nan=False), st.text(max_size=5),
                   st.binary(min_size=1, max_size=5), st.sampled_from([torch.float16, torch.device('cpu'), torch.Size([2, 3]), bytearray(b'ab')]))
def holders(o): return st.one_of(st.lists(o, max_size=4), st.tuples(o, o), st.dictionaries(keys, o, max_size=4), st.sets(keys, max_size=3))
nested = st.recursive(leaves, holders, max_leaves=12)
foreign = [Pair(1, 2), np.float64(.5), np.arange(3), Path('a'), defaultdict(list), frozenset([1]), slice(1, 2), print, object(), nn.Linear(1, 1), range(3), ...]
known = [{1, 2}, b'a', bytearray(b''), torch.float32, 1j, torch.device('cpu'), torch.Size([1]), OrderedDict(a=1), 2**70, (), set(), True, None]


@settings(max_examples=40, deadline=None)
@given(data=nested)
def test_plain_data_comes_back_as_it_was(data, tmp_path_factory):
    path = tmp_path_factory.getbasetemp()/'plain.pth'
    save_file(path, data)
    assert load_file(path) == data


def test_tensors_and_parameters_come_back_as_they_were(tmp_path):
    state = OrderedDict(a=torch.arange(6.).reshape(2, 3), b=nn.Parameter(torch.ones(2)), c=torch.eye(2).to_sparse(), d=torch.tensor(True), e=torch.zeros(0))
    save_file(tmp_path/'a.pth', state)
    back = load_file(tmp_path/'a.pth')
    assert list(back) == list(state) and all(torch.equal(back[k].to_dense(), v.to_dense()) for k,v in state.items())
    assert type(back['b']) is nn.Parameter


class Place:
    "Puts a foreign object into plain data"
    def __init__(self, o): self.o = o
    def into(self, data, at):
        if isinstance(data, dict) and data: return {k: self.into(v, at-1) if i == at % len(data) else v for i,(k,v) in enumerate(data.items())}
        if isinstance(data, list|tuple) and data: return type(data)(self.into(v, at-1) if i == at % len(data) else v for i,v in enumerate(data))
        return self.o


@settings(max_examples=40, deadline=None)
@given(data=nested, what=st.sampled_from(foreign), at=st.integers(0, 9))
def test_something_foreign_is_refused_wherever_it_is_and_nothing_is_written(data, what, at, tmp_path_factory):
    folder = tmp_path_factory.mktemp('foreign')
    with pytest.raises(TypeError, match=type(what).__name__): save_file(folder/'a.pth', {'meta': Place(what).into(data, at)})
    assert not os.listdir(folder)


@pytest.mark.parametrize('leaf', [*foreign, *known, b''], ids=lambda o: f'{type(o).__name__} {o!r:.20}')
def test_just_what_torch_would_load_again_may_be_saved(leaf):
    buf = io.BytesIO()
    torch.save({'a': leaf}, buf)
    buf.seek(0)
    try: torch.load(buf, weights_only=True)
    except pickle.UnpicklingError: loads = False
    else: loads = True
    try: check_plain({'a': leaf})
    except TypeError: assert not loads
    else: assert loads


def test_the_refusal_says_where_and_what(tmp_path):
    tensor = torch.ones(1)
    tensor.note = Path('a')
    with pytest.raises(TypeError, match=r"\['a'\]\[1\] is test_ckpt.Pair"): check_plain({'a': [1, Pair(1, 2)]})
    with pytest.raises(TypeError, match=r"\['w'\].note is pathlib"): check_plain({'w': tensor})
    with pytest.raises(TypeError, match=r"the key Pair\(a=1, b=2\) of the data is"): check_plain({Pair(1, 2): 1})
    with pytest.raises(TypeError, match='and 2 more'): check_plain([Pair(1, 2)]*5)


def test_data_that_holds_itself_is_saved(tmp_path):
    data = {'a': []}
    data['a'].append(data['a'])
    check_plain(data)


@pytest.mark.parametrize('error', [OSError('No space left'), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, error):
    save_file(tmp_path/'a.pth', {'epoch': 1})
    def half(data, f):
        f.write(b'half of it')
        raise error
    monkeypatch.setattr(torch, 'save', half)
    with pytest.raises(type(error)): save_file(tmp_path/'a.pth', {'epoch': 2})
    assert os.listdir(tmp_path) == ['a.pth'] and load_file(tmp_path/'a.pth') == {'epoch': 1}


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_a_process_that_dies_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    save_file(tmp_path/'a.pth', {'epoch': 1})
    def die(data, f):
        f.write(b'half of it')
        f.flush()
        os._exit(7)
    monkeypatch.setattr(torch, 'save', die)
    if (pid := os.fork()) == 0: save_file(tmp_path/'a.pth', {'epoch': 2})
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert load_file(tmp_path/'a.pth') == {'epoch': 1}
    assert [o.suffix for o in tmp_path.iterdir() if o.name != 'a.pth'] == ['.part']


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, .999))
def test_a_file_that_was_cut_off_is_called_that(share, tmp_path_factory):
    folder = tmp_path_factory.mktemp('cut')
    save_file(folder/'a.pth', {'state_dict': {'w': torch.ones(50)}})
    raw = (folder/'a.pth').read_bytes()
    (folder/'cut.pth').write_bytes(raw[:int(len(raw)*share)])
    with pytest.raises((ValueError, pickle.UnpicklingError), match='cut.pth cannot be read: it is cut off'): load_file(folder/'cut.pth')


@pytest.mark.parametrize('raw', [b'', b'no checkpoint', b'{"a": 1}'])
def test_what_is_no_checkpoint_is_called_that(tmp_path, raw):
    (tmp_path/'a.pth').write_bytes(raw)
    with pytest.raises((ValueError, pickle.UnpicklingError), match='no checkpoint'): load_file(tmp_path/'a.pth')


def test_a_missing_file_is_answered_with_those_that_are_there(tmp_path):
    save_file(tmp_path/'epoch_1.pth', {})
    with pytest.raises(FileNotFoundError, match="Did you mean 'epoch_1.pth'.*are these checkpoints: epoch_1.pth"): load_file(tmp_path/'epoch_2.pth')
    with pytest.raises(FileNotFoundError, match='there is no file'): load_file(tmp_path/'no folder'/'a.pth')

# ---- safety

class Evil:
    def __init__(self, *call): self.call = call
    def __reduce__(self): return self.call[0],self.call[1:]

class Raw:
    "A pickle of our making, in the form in which torch keeps it"
    def __init__(self, path, code):
        torch.save({}, path)
        with zipfile.ZipFile(path) as z: parts = {o: z.read(o) for o in z.namelist()}
        with zipfile.ZipFile(path, 'w') as z:
            for nm,raw in parts.items(): z.writestr(nm, code if nm.endswith('data.pkl') else raw)


@pytest.mark.parametrize('zipped', [True, False])
def test_a_pickle_that_would_run_something_is_refused(tmp_path, zipped):
    torch.save({'state_dict': Evil(os.mkdir, str(tmp_path/'was here'))}, tmp_path/'a.pth', _use_new_zipfile_serialization=zipped)
    with pytest.raises(pickle.UnpicklingError, match='mkdir|posix'): load_file(tmp_path/'a.pth')
    assert not (tmp_path/'was here').exists()


@pytest.mark.parametrize('code', [
    b'\x80\x02c__builtin__\ngetattr\ncnumpy\nndarray\nX\x08\x00\x00\x00__init__\x86R)R.', # calls what getattr gives
    b'\x80\x02c__builtin__\ngetattr\ncnumpy\nndarray\nX\x09\x00\x00\x00__class__\x86R}b.', # and gives it a state
])
def test_what_stands_in_for_getattr_fetches_nothing_that_could_be_called(tmp_path, code):
    Raw(tmp_path/'a.pth', code)
    with pytest.raises(pickle.UnpicklingError): load_file(tmp_path/'a.pth')


@pytest.mark.parametrize('array', [np.array([{}, []], dtype=object), np.zeros(2, dtype=[('a', 'i4')]), np.array(['a'])])
def test_arrays_of_anything_but_numbers_are_refused(tmp_path, array):
    torch.save({'a': array}, tmp_path/'a.pth')
    with pytest.raises(pickle.UnpicklingError, match='arrays of type'): load_file(tmp_path/'a.pth')


@pytest.mark.parametrize('allowed', [[], [(np.ndarray, 'numpy.ndarray'), np.dtype, (getattr, 'builtins.getattr')]])
def test_what_a_user_has_allowed_is_allowed_as_before_afterwards(tmp_path, allowed):
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals(allowed)
    try:
        torch.save({'a': np.arange(3)}, tmp_path/'a.pth')
        assert load_file(tmp_path/'a.pth')['a'].tolist() == [0, 1, 2]
        assert set(torch.serialization.get_safe_globals()) == {*before, *allowed}
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)

# ---- MMEngine's files

CLASS = '''class HistoryBuffer:
    def __init__(self, log, count): self._log_history,self._count_history,self._max_length = log,count,1000000
    def mean(self): pass
    def current(self): pass
    def __getstate__(self):
        self.__dict__.update(statistics_methods={'mean': HistoryBuffer.mean, 'current': HistoryBuffer.current})
        return self.__dict__
'''

@pytest.fixture
def mmengine(monkeypatch):
    "A module under MMEngine's name, with a class that is pickled as its is"
    mods = {o: ModuleType(o) for o in ('mmengine', 'mmengine.logging', 'mmengine.logging.history_buffer')}
    for nm,o in mods.items(): monkeypatch.setitem(sys.modules, nm, o)
    exec(CLASS, vars(mods['mmengine.logging.history_buffer']))
    yield mods['mmengine.logging.history_buffer'].HistoryBuffer
    for nm in mods: sys.modules.pop(nm, None)


def theirs(HistoryBuffer, model, epoch=1, iter=4):
    loss = HistoryBuffer(np.array([.5, .25, .75]), np.array([1, 1, 2]))
    infos = {'best_score': np.float64(.9), 'seed': np.int64(3), 'sizes': (np.array([1, 2]),)}
    hub = dict(log_scalars={'train/loss': loss}, runtime_info=infos, resumed_keys={'train/loss': True})
    optimizer = torch.optim.SGD(model.parameters(), lr=.5, momentum=.9).state_dict()
    return dict(meta=dict(epoch=epoch, iter=iter, cfg='a = 1', seed=7, experiment_name='a', time='20240101_000000', mmengine_version='0.10.3'),
                state_dict=model.state_dict(), message_hub=hub, optimizer=optimizer, param_schedulers=[])


@pytest.mark.parametrize('core', [b'numpy.core', b'numpy._core'])
def test_a_file_of_mmengine_loads_without_mmengine(tmp_path, mmengine, core):
    path = tmp_path/'epoch_1.pth'
    torch.save(theirs(mmengine, net()), path)
    with zipfile.ZipFile(path) as z: parts = {o: z.read(o) for o in z.namelist()}
    with zipfile.ZipFile(path, 'w') as z:
        for nm,raw in parts.items(): z.writestr(nm, raw.replace(b'numpy._core', core).replace(b'numpy.core', core) if nm.endswith('data.pkl') else raw)
    for nm in ('mmengine', 'mmengine.logging', 'mmengine.logging.history_buffer'): del sys.modules[nm]
    hub = load_file(path)['message_hub']
    assert hub['runtime_info'] | dict(sizes=None) == {'best_score': .9, 'seed': 3, 'sizes': None} and hub['runtime_info']['sizes'][0].tolist() == [1, 2]
    assert hub['log_scalars']['train/loss']['values'].tolist() == [.5, .25, .75] and 'mmengine' not in sys.modules


def test_a_run_goes_on_from_a_file_of_mmengine(tmp_path, mmengine):
    torch.save(theirs(mmengine, net(), iter=5), tmp_path/'epoch_1.pth')
    run = runner(seed=7)
    run.resume(tmp_path/'epoch_1.pth')
    loss = run.message_hub.get_scalar('train/loss')
    assert (run.epoch, run.iter, loss.data[0].tolist(), loss.mean()) == (1, 5, [.5, .25, .75], (.5+.25+1.5)/4)
    assert run.optim_wrapper.get_lr()['lr'] == [.5]
    run.train()
    assert (run.epoch, run.iter) == (3, 15)


@pytest.mark.parametrize('array', [np.arange(6.).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3)), np.arange(3, dtype='>i4'),
                                   np.array([True, False]), np.array(.5), np.zeros((0, 2)), np.arange(4, dtype='u1'), np.array([1j])], ids=str)
def test_arrays_of_numbers_become_tensors(tmp_path, array):
    torch.save([array], tmp_path/'a.pth')
    back = load_file(tmp_path/'a.pth')[0]
    assert back.tolist() == array.tolist() and back.shape == array.shape

# ---- the latest, and weights

def test_the_latest_checkpoint_is_found_where_the_folder_is_now(tmp_path):
    old,new = tmp_path/'old',tmp_path/'new'
    save_file(old/'epoch_3.pth', {})
    (old/'last_checkpoint').write_text(str(old/'epoch_3.pth'))
    assert find_latest_checkpoint(old) == str(old/'epoch_3.pth')
    old.rename(new)
    assert find_latest_checkpoint(new) == str(new/'epoch_3.pth')


@pytest.mark.parametrize('text', [None, '', '.', '\n', '/nowhere/epoch_1.pth', 'a\0b', b'\xff\xfe'])
def test_a_folder_without_a_checkpoint_gives_none(tmp_path, text):
    if text is not None: (tmp_path/'last_checkpoint').write_bytes(text if isinstance(text, bytes) else text.encode())
    assert find_latest_checkpoint(tmp_path) is None


def test_a_checkpoint_in_another_folder_is_found_by_its_path(tmp_path):
    save_file(tmp_path/'out'/'epoch_1.pth', {})
    (tmp_path/'last_checkpoint').write_text(f"{tmp_path/'out'/'epoch_1.pth'}\n")
    assert find_latest_checkpoint(str(tmp_path)) == str(tmp_path/'out'/'epoch_1.pth')


def test_what_does_not_fit_a_model_is_told_in_one_text():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    state = {'0.weight': torch.full((3, 2), 5.), '0.bias': torch.zeros(4), '1.weight': torch.ones(1, 3), 'other': torch.ones(1)}
    kept = dict(state)
    text = load_weights(model, state)
    assert 'not in the file: 1.bias\n' in text and 'not in the model: other\n' in text and '0.bias (4,) for (3,)' in text and 'No weight' not in text
    assert model[0].weight[0, 0] == 5 and state.keys() == kept.keys()
    assert 'No weight of the model was in the file' in load_weights(model, {'a': torch.ones(1)})


def test_many_names_are_cut_short():
    assert load_weights(nn.Linear(1, 1), {str(i): torch.ones(1) for i in range(50)}).count(',') < 20


def test_weights_of_wrapped_models_fit_the_bare_one_and_back():
    for wrap in (nn.DataParallel, torch.compile):
        a,b = net(),net()
        with torch.no_grad(): a[0].weight.fill_(3)
        assert load_weights(wrap(b), a.state_dict()) is None and torch.equal(a[0].weight, b[0].weight)
        assert load_weights(net(), ckpt.bare(wrap(a)).state_dict()) is None
    assert load_weights(net(), nn.DataParallel(net()).state_dict()) is None
    assert load_weights(net(), {f'backbone.{k}': v for k,v in net().state_dict().items()}, revise_keys=[(r'^backbone\.', '')]) is None


def test_map_location_says_where_tensors_go_before_the_parts_take_them(tmp_path):
    path = runner(n=1, work_dir=str(tmp_path)).save_checkpoint()
    seen = []
    def where(storage, location): return seen.append(location) or storage
    for take in (lambda r: r.load_checkpoint(path, map_location=where), lambda r: r.resume(path, map_location=where)):
        seen.clear()
        take(runner(n=1))
        assert seen and set(seen) == {'cpu'}
    assert load_file(path, 'meta')['state_dict']['0.weight'].device.type == 'meta'


def test_modules_that_rename_keys_of_older_versions_may_do_so():
    old = nn.BatchNorm1d(2).state_dict()
    del old['num_batches_tracked']
    old._metadata['']['version'] = 1
    assert load_weights(nn.BatchNorm1d(2), old, strict=True) is None

# ---- runs

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def data(n=40):
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(3))
    return TensorDataset(x, (x.sum(1) > 0).long())


def runner(n=40, model=None, groups=None, **given):
    model = net() if model is None else model
    parts = dict(train_dataloader=DataLoader(data(n), 8), val_dataloader=DataLoader(data(20), 10), loss_fn=F.cross_entropy, seed=7, log_level='ERROR',
                 optimizer=torch.optim.SGD(model.parameters() if groups is None else groups(model), lr=.1, momentum=.9), metrics={'accuracy': accuracy})
    if 'max_iters' not in given: parts['max_epochs'] = 3
    return Runner(model, **parts | given)


def said(run):
    "What the run has logged"
    return '\n'.join(o.text for o in run.logger.recent)


def weights(run): return torch.cat([p.detach().flatten() for p in run.model.parameters()])
def history(run): return {k: b.data[0].tolist() for k,b in run.message_hub.log_scalars.items() if not k.endswith('time')}
def files(folder): return sorted(o.name for o in Path(folder).iterdir() if o.suffix == '.pth')


SAMPLED = dict(dataset=data(), batch_size=8, sampler=dict(type='DefaultSampler', shuffle=True), collate_fn=dict(type='default_collate'))
SCHEDULES = [dict(type='MultiStepLR', milestones=[1, 2], by_epoch=True), dict(type='LinearLR', start_factor=.1, end=4, by_epoch=False)]
KINDS = {'epochs': (dict(), dict(interval=1)), 'epochs, saved by iterations': (dict(), dict(interval=2, by_epoch=False)),
         'iterations': (dict(max_iters=12, val_interval=5), dict(interval=1, by_epoch=False)),
         'epochs, shuffled by a sampler': (dict(train_dataloader=SAMPLED), dict(interval=2, by_epoch=False)),
         'schedules': (dict(param_scheduler=SCHEDULES), dict(interval=1))}

@pytest.mark.parametrize('kind', KINDS)
def test_a_run_resumed_from_any_of_its_checkpoints_ends_as_the_run_that_was_not_interrupted(kind, tmp_path):
    given,hook = KINDS[kind]
    def make(**more): return runner(**given, **more)
    whole = make(work_dir=tmp_path, default_hooks=dict(checkpoint=CheckpointHook(save_best='accuracy', **hook)))
    whole.train()
    assert len(files(tmp_path)) > 3
    for name in files(tmp_path):
        again = make()
        again.resume(tmp_path/name)
        again.train()
        assert torch.equal(weights(again), weights(whole)) and history(again) == history(whole), name
        assert (again.epoch, again.iter) == (whole.epoch, whole.iter)


@pytest.mark.parametrize('first', ['train', 'resume', 'val'])
def test_in_the_middle_of_a_pass_a_run_with_a_described_loader_goes_on_whatever_is_asked_of_it_first(tmp_path, first):
    given = dict(train_dataloader=SAMPLED, auto_scale_lr=dict(enable=True, base_batch_size=16), param_scheduler=SCHEDULES)
    whole = runner(**given)
    whole.step('iter', 3)
    path = whole.save_checkpoint(tmp_path, 'middle.pth')
    whole.train()
    again = runner(**given, resume=path if first != 'resume' else False)
    if first == 'resume': again.resume(path)
    if first == 'val': again.val()
    again.train()
    assert again.iter == whole.iter and torch.equal(weights(again), weights(whole)) and again.current_lr() == whole.current_lr()


@settings(max_examples=10, deadline=None)
@given(lines=st.integers(0, 60))
def test_a_checkpoint_taken_from_a_cell_between_two_iterations_is_as_good(lines, tmp_path_factory):
    folder,run = tmp_path_factory.mktemp('cell'),runner()
    run._longer()
    for _ in range(lines): run.player.step('line')
    if run.player.cursor.trail: run.run_until(when=lambda runner: not runner.player.cursor.trail)
    again = runner()
    again.resume(run.save_checkpoint(folder, 'a.pth'))
    run.train()
    again.train()
    assert torch.equal(weights(again), weights(run)) and again.iter == run.iter


def test_an_iteration_whose_step_was_done_is_not_done_again(tmp_path):
    run = runner()
    run.run_until(stage='after_optim_step', iter=2)
    again = runner()
    again.resume(run.save_checkpoint(tmp_path, 'a.pth'))
    assert (again.iter, again.position.line) == (2, 'after_train_iter')
    run.train()
    again.train()
    assert torch.equal(weights(again), weights(run))


def test_a_loop_in_the_style_of_mmengine_says_by_itself_what_is_complete(tmp_path):
    class TheirLoop:
        _epoch = _iter = 0
        epoch,iter,max_epochs,max_iters = (property(lambda self, nm=nm: getattr(self, nm)) for nm in ('_epoch', '_iter', 'n', 'n'))
        n,dataloader = 2,None
        def run(self):
            while self._epoch < 2:
                self._iter += 1
                self.runner.call_hook('after_train_epoch')
                self._epoch += 1
    def make(): return Runner(net(), train_loop=TheirLoop(), optimizer=torch.optim.SGD(net().parameters(), lr=.1), log_level='ERROR')
    run = Runner(net(), train_loop=TheirLoop(), log_level='ERROR')
    run.on('after_train_epoch')(lambda runner: runner.save_checkpoint(tmp_path, f'epoch_{runner.epoch+1}.pth'))
    run.player.run()
    assert [load_file(tmp_path/f'epoch_{n}.pth')['meta']['epoch'] for n in (1, 2)] == [1, 2]
    again = Runner(net(), train_loop=TheirLoop(), log_level='ERROR')
    again.resume(tmp_path/'epoch_1.pth')
    assert (again.epoch, again.iter) == (1, 1)


class Counts:
    "A hook with a state, that looks at checkpoints as they come and go"
    def __init__(self): self.n,self.seen = 0,[]
    def after_train_iter(self, runner): self.n += 1
    def before_save_checkpoint(self, runner, checkpoint):
        self.seen.append('saved')
        checkpoint['mine'] = 'here'
    def after_load_checkpoint(self, runner, checkpoint): self.seen.append(checkpoint['mine'])
    def state_dict(self): return dict(n=self.n)
    def load_state_dict(self, state): self.n = state['n']


def test_hooks_see_checkpoints_and_keep_their_state_in_them(tmp_path):
    run = runner(custom_hooks=[Counts()])
    run.train()
    again = runner(custom_hooks=[Counts()])
    again.resume(run.save_checkpoint(tmp_path, 'a.pth'))
    hook = again.hooks['Counts'].hook
    assert hook.n == 15 and hook.seen == ['here'] and run.hooks['Counts'].hook.seen == ['saved']


def test_state_of_a_hook_that_is_not_plain_is_refused_with_its_place(tmp_path):
    class Bad:
        def after_train_iter(self): pass
        def state_dict(self): return dict(where=Path('a'))
    with pytest.raises(TypeError, match=r"\['hooks'\]\['Bad'\]\['where'\]"): runner(custom_hooks=[Bad()]).save_checkpoint(tmp_path, 'a.pth')


def test_infos_that_were_put_into_the_hub_by_hand_do_not_hinder_its_saving(tmp_path):
    run = runner()
    run.message_hub.runtime_info['by hand'] = object()
    assert 'by hand' not in load_file(run.save_checkpoint(tmp_path, 'a.pth'))['message_hub']['runtime_info']


def saved(tmp_path, epoch=1, **given):
    run = runner(**given)
    run.run_until(epoch=epoch)
    return run.save_checkpoint(tmp_path, 'a.pth')


def two(model): return [dict(params=model[0].parameters()), dict(params=model[2].parameters())]

def test_an_optimizer_with_other_groups_is_refused_and_nothing_is_changed(tmp_path):
    path,run = saved(tmp_path),runner(groups=two)
    before = weights(run)
    with pytest.raises(ValueError, match=r'are \[4\] in the file and \[2, 2\] here.*resume_optimizer=False'): run.resume(path)
    assert torch.equal(weights(run), before) and run.epoch == 0
    run.resume(path, resume_optimizer=False)
    assert run.epoch == 1 and not torch.equal(weights(run), before)


def test_another_number_of_schedulers_is_refused(tmp_path):
    step = dict(type='StepLR', step_size=1)
    path = saved(tmp_path, param_scheduler=[step, step])
    with pytest.raises(ValueError, match='numbers of schedulers are 2 in the file and 1 here'): runner(param_scheduler=step).resume(path)
    run = runner(param_scheduler=step)
    run.resume(path, resume_param_scheduler=False)
    assert run.epoch == 1


@pytest.mark.parametrize('change, text', [(dict(seed=8), 'had seed=7, and this one has seed=8'), (dict(n=80), 'a pass had 5 batches and has 10 now')])
def test_differences_that_are_seldom_meant_are_said(tmp_path, change, text):
    run = runner()
    run.run_until(iter=2)
    path = run.save_checkpoint(tmp_path, 'a.pth')
    again = runner(**{'log_level': 'WARNING', **change})
    again.resume(path)
    assert text in said(again) and again.iter == 2
    again.train()
    assert again.iter == (15 if 'seed' in change else 32)


def test_a_checkpoint_without_an_optimizer_is_said_to_be_one(tmp_path):
    run = runner()
    run.run_until(epoch=1)
    again = runner(log_level='WARNING')
    again.resume(run.save_checkpoint(tmp_path, 'a.pth', save_optimizer=False))
    assert 'no state of an optimizer' in said(again) and again.epoch == 1


def test_other_data_is_said_to_be_other_data(tmp_path):
    path = saved(tmp_path)
    other = data()
    other.metainfo = dict(classes=('cat', 'dog'))
    run = runner(train_dataloader=DataLoader(other, 8), log_level='WARNING')
    run.resume(path)
    assert 'another `metainfo`' in said(run)
    assert load_file(run.save_checkpoint(tmp_path, 'b.pth'))['meta']['dataset_meta'] == other.metainfo
    same = runner(train_dataloader=DataLoader(other, 8), log_level='WARNING')
    same.resume(tmp_path/'b.pth')
    assert 'metainfo' not in said(same)


def test_a_run_that_has_begun_is_not_resumed(tmp_path):
    path,run = saved(tmp_path),runner()
    run.step('line', 12)
    with pytest.raises(RuntimeError, match='has begun already'): run.resume(path)


def test_weights_are_loaded_and_what_does_not_fit_is_logged(tmp_path):
    path = saved(tmp_path)
    run = runner(model=nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), log_level='WARNING')
    assert run.load_checkpoint(path)['meta']['epoch'] == 1 and '2.weight (2, 8) for (3, 8)' in said(run) and run.epoch == 0
    with pytest.raises(RuntimeError, match='do not all fit'): run.load_checkpoint(path, strict=True)


@pytest.mark.parametrize('nm', ['backend_args', 'file_client_args'])
def test_places_that_nobody_knows_are_refused(tmp_path, nm):
    with pytest.raises(ValueError, match=f"{nm}: there is no backend 'petrel'"): runner().save_checkpoint(tmp_path, 'a.pth', **{nm: dict(backend='petrel')})
    with pytest.raises(ValueError, match=f"{nm}: there is no backend 'petrel'"): CheckpointHook(**{nm: dict(backend='petrel')})
    with pytest.raises(TypeError, match=f'{nm} must be None or a dict'): CheckpointHook(**{nm: 'local'})


def test_meta_is_added_and_not_changed(tmp_path):
    run,mine = runner(),dict(note='mine', epoch=5)
    with pytest.raises(TypeError, match='meta must be a dict'): run.save_checkpoint(tmp_path, 'a.pth', meta='note')
    meta = load_file(run.save_checkpoint(tmp_path, 'a.pth', meta=mine))['meta']
    assert (meta['note'], meta['epoch'], meta['seed']) == ('mine', 5, 7) and mine == dict(note='mine', epoch=5)


def test_the_constructor_decides_what_a_run_begins_from_once(tmp_path):
    path = saved(tmp_path, work_dir=tmp_path, default_hooks=dict(checkpoint=None))
    for how,at in ((dict(load_from=path), 0), (dict(load_from=path, resume=True), 1), (dict(resume=path), 1)):
        run = runner(**how)
        run.step('iter')
        assert run.epoch == at and not torch.equal(weights(run), weights(runner()))
    with pytest.raises(ValueError, match='Pass work_dir='): runner(resume=True).train()
    run = runner(resume=True, work_dir=tmp_path/'empty', log_level='INFO', default_hooks=dict(checkpoint=None))
    run.train()
    assert 'there is no checkpoint in' in said(run) and run.epoch == 3

# ---- the hook

def hooked(folder, hook=None, **given):
    hook = hook or CheckpointHook(interval=1)
    run = runner(work_dir=folder, default_hooks=dict(checkpoint=hook), **given)
    return run,hook


@settings(max_examples=40)
@given(interval=st.sampled_from([-1, 1, 2, 3, 5]), begin=st.integers(0, 6), last=st.integers(1, 12), save_last=st.booleans())
def test_a_save_is_due_at_each_interval_from_the_beginning_and_at_the_end(interval, begin, last, save_last):
    hook = CheckpointHook(interval=interval, save_begin=begin, save_last=save_last)
    first = begin or interval
    want = set(range(first, last+1, interval)) if interval > 0 else set()
    assert {n for n in range(1, last+1) if hook.is_due(n, last)} == want | ({last} if save_last else set())


@pytest.mark.parametrize('given, names', [
    (dict(interval=1), ['epoch_1', 'epoch_2', 'epoch_3']), (dict(), ['epoch_3']), (dict(save_last=False), []),
    (dict(interval=2, save_last=False), ['epoch_2']), (dict(interval=1, max_keep_ckpts=1), ['epoch_3']),
    (dict(interval=1, save_begin=2), ['epoch_2', 'epoch_3']), (dict(interval=1, filename_tmpl='a{}.pth'), ['a1', 'a2', 'a3']),
    (dict(interval=6, by_epoch=False), ['iter_12', 'iter_15', 'iter_6'])])
def test_the_files_of_a_run_are_those_that_were_asked_for(tmp_path, given, names):
    run,_ = hooked(tmp_path, CheckpointHook(**given))
    run.train()
    assert files(tmp_path) == [f'{o}.pth' for o in names]
    assert (find_latest_checkpoint(tmp_path) is None) == (not names)


def test_in_a_run_by_iterations_a_hook_that_counts_epochs_says_so_and_saves_the_end(tmp_path):
    run,_ = hooked(tmp_path, max_iters=7, log_level='INFO')
    run.train()
    assert files(tmp_path) == ['iter_7.pth'] and 'this run counts iterations' in said(run)


def test_files_go_where_out_dir_says_and_the_run_folder_knows_the_last(tmp_path):
    run,_ = hooked(tmp_path/'run', CheckpointHook(interval=3, out_dir=tmp_path/'out'))
    run.train()
    assert files(tmp_path/'out'/'run') == ['epoch_3.pth']
    assert find_latest_checkpoint(tmp_path/'run') == str(tmp_path/'out'/'run'/'epoch_3.pth')


def test_without_a_folder_nothing_is_written_and_that_is_said_once():
    run = runner(custom_hooks=[CheckpointHook(interval=1)], log_level='INFO')
    run.train()
    run.train(epochs=1)
    assert said(run).count('no checkpoints are written') == 1


def test_at_each_moment_the_newest_complete_file_is_known_and_there(tmp_path, monkeypatch):
    run,_ = hooked(tmp_path, CheckpointHook(interval=1, max_keep_ckpts=1, save_best='accuracy'))
    checked,unlink = [],Path.unlink
    def watched(self, missing_ok=False):
        if self.suffix == '.pth': checked.append(load_file(find_latest_checkpoint(tmp_path))['meta']['epoch'])
        unlink(self, missing_ok)
    monkeypatch.setattr(Path, 'unlink', watched)
    run.train()
    assert len(checked) >= 2 and checked == sorted(checked)


@settings(max_examples=8, deadline=None)
@given(failing=st.sets(st.integers(1, 8), max_size=3))
def test_saves_that_fail_leave_all_in_order_and_are_made_up_for_by_a_retry(failing, tmp_path_factory):
    folder,save,calls = tmp_path_factory.mktemp('failing'),torch.save,[]
    def broken(data, f):
        calls.append(1)
        if len(calls) not in failing: return save(data, f)
        f.write(b'half')
        raise OSError('No space left')
    run,hook = hooked(folder, CheckpointHook(interval=1, max_keep_ckpts=2, save_best='accuracy'))
    with pytest.MonkeyPatch.context() as m:
        m.setattr(torch, 'save', broken)
        while run.status != 'done':
            try: run.train()
            except OSError: assert set(files(folder)) == {*hook.kept, *(o['file'] for o in hook.best.values())}
            for nm in files(folder): load_file(folder/nm)
    assert hook.kept == ['epoch_2.pth', 'epoch_3.pth'] and find_latest_checkpoint(folder) == str(folder/'epoch_3.pth')
    assert not [o for o in os.listdir(folder) if o.endswith('.part')]


def scores(run, values, name='accuracy'):
    "Let validations give `values`, one after another"
    values = iter(values)
    @run.on('after_val_epoch', priority='HIGHEST', name=f'rig {name}')
    def rig(runner, metrics): metrics.update({name: next(values)})
    return run


@pytest.mark.parametrize('values, rule, best', [([.1, .3, .2], None, 2), ([.3, .3, .3], None, 1), ([.1, .3, .2], 'less', 1), ([float('nan'), .1, .05], None, 2),
                                                ([torch.tensor(.1), np.float32(.2), 3], None, 3), ([0., -1., -2.], None, 1)])
def test_the_best_checkpoint_is_that_of_the_best_score(tmp_path, values, rule, best):
    run,hook = hooked(tmp_path, CheckpointHook(save_best='auto', rule=rule, save_last=False))
    scores(run, values).train()
    assert files(tmp_path) == [f'best_accuracy_epoch_{best}.pth'] and hook.best['accuracy']['score'] == pytest.approx(float(values[best-1]))
    found = load_file(tmp_path/files(tmp_path)[0])
    assert 'optimizer' in found and found['hooks']['CheckpointHook']['best'] == hook.best and found['meta']['epoch'] == best


def test_several_metrics_have_a_best_checkpoint_each(tmp_path):
    run,_ = hooked(tmp_path, CheckpointHook(save_best=['a/b', 'loss'], rule=['greater', None], save_last=False))
    scores(scores(run, [1, 3, 2], 'a/b'), [3, 1, 2], 'loss').train()
    assert files(tmp_path) == ['best_a_b_epoch_2.pth', 'best_loss_epoch_2.pth']


def test_the_best_so_far_is_known_after_a_resume(tmp_path):
    run,_ = hooked(tmp_path, CheckpointHook(interval=1, save_best='accuracy'))
    scores(run, [.5, .9, .7]).train()
    again,hook = hooked(tmp_path, CheckpointHook(interval=1, save_best='accuracy'), max_epochs=5, resume=True)
    scores(again, [.7, .8, .85]).train() # the validation after epoch 3 is owed: the file was written before it
    assert hook.best['accuracy'] == dict(score=.9, file='best_accuracy_epoch_2.pth') and 'best_accuracy_epoch_2.pth' in files(tmp_path)


def test_a_best_checkpoint_that_is_gone_is_said_to_be_gone(tmp_path):
    run,_ = hooked(tmp_path, CheckpointHook(interval=1, save_best='accuracy'))
    scores(run, [.5, .9, .7]).train()
    (tmp_path/'best_accuracy_epoch_2.pth').unlink()
    again,hook = hooked(tmp_path, CheckpointHook(interval=1, save_best='accuracy'), max_epochs=4, resume=True, log_level='INFO')
    scores(again, [.7, .8]).train()
    assert 'best_accuracy_epoch_2.pth, is gone' in said(again) and hook.best['accuracy']['file'] == 'best_accuracy_epoch_4.pth'


def test_a_metric_that_is_not_measured_is_an_error_with_the_nearest_name(tmp_path):
    run,_ = hooked(tmp_path, CheckpointHook(save_best='accuracyy'))
    with pytest.raises(KeyError, match="Did you mean 'accuracy'"): run.train()
    run,_ = hooked(tmp_path, CheckpointHook(save_best='accuracy'), val_dataloader=None, metrics=None, log_level='INFO')
    run.train()
    assert 'this run has no validation' in said(run)


def test_a_look_at_the_model_outside_of_training_writes_nothing(tmp_path):
    run,_ = hooked(tmp_path, CheckpointHook(save_best='accuracy'))
    run.val()
    run.step('iter', 2)
    run.val()
    assert files(tmp_path) == []
    scores(run, [.5]*3).train()
    before = files(tmp_path)
    scores(run, [1.]).val()
    assert files(tmp_path) == before


def test_a_run_that_is_stopped_early_by_a_hook_saves_its_end(tmp_path):
    run,_ = hooked(tmp_path, CheckpointHook())
    @run.on('after_val')
    def enough(runner): runner.train_loop.stop_training = True
    run.train()
    assert files(tmp_path) == ['epoch_1.pth'] and load_file(tmp_path/'epoch_1.pth')['loop']['val_due'] is False


@pytest.mark.parametrize('line', range(0, 36, 2))
def test_a_run_that_is_stopped_anywhere_can_be_resumed_where_it_was(tmp_path, line):
    run,_ = hooked(tmp_path)
    run.run_until(iter=3)
    for _ in range(line): run.step('line')
    run.stop()
    at = load_file(find_latest_checkpoint(tmp_path))['meta']
    assert at['iter'] == run.iter
    again = runner()
    again.resume(find_latest_checkpoint(tmp_path))
    again.train()
    assert again.iter == 15 and torch.equal(weights(again), uninterrupted())


@cache
def uninterrupted():
    run = runner()
    run.train()
    return weights(run)


def test_what_is_published_holds_just_what_was_asked_for_under_the_hash_of_it(tmp_path):
    run,_ = hooked(tmp_path, CheckpointHook(published_keys='state_dict', save_best='accuracy'))
    scores(run, [.1, .3, .2]).train()
    made = [o for o in files(tmp_path) if '-' in o]
    assert sorted(o.rsplit('-')[0] for o in made) == ['best_accuracy_epoch_2', 'epoch_3']
    assert all(list(load_file(tmp_path/o)) == ['state_dict'] for o in made)
    assert os.path.basename(publish(tmp_path/'epoch_3.pth', ['state_dict'])) in made
    with pytest.raises(KeyError, match="Did you mean 'state_dict'"): publish(tmp_path/'epoch_3.pth', ['state_dct'])


@pytest.mark.parametrize('given, error, text', [
    (dict(interval=0), ValueError, '1 or more, or -1'), (dict(interval=1.5), TypeError, 'whole number'),
    (dict(max_keep_ckpts=0), ValueError, 'max_keep_ckpts'), (dict(save_begin=-1), ValueError, 'save_begin must be 0 or more'),
    (dict(filename_tmpl='a.pth'), ValueError, 'where the number goes'), (dict(save_best='perplexity'), ValueError, "rule='greater'"),
    (dict(save_best=['auto', 'acc']), ValueError, "'auto' or names"), (dict(rule='more'), ValueError, 'rule must be')])
def test_arguments_that_cannot_be_meant_are_refused(given, error, text):
    with pytest.raises(error, match=text): CheckpointHook(**given)


def test_keys_of_ones_own_decide_what_is_better():
    hook = CheckpointHook(save_best=['perplexity', 'fit'], less_keys=['perp'], greater_keys=['fit'])
    assert [hook.rule_of(o) for o in ('perplexity', 'fit')] == ['less', 'greater'] and infer_rule('LOSS') == 'less'


def test_the_names_that_torch_is_given_stand_ins_for_are_just_those_of_mmengines_files():
    assert sorted({nm.split('.')[0] for _,nm in STAND_INS}) == ['builtins', 'mmengine', 'numpy']
