"Checkpoints when things go wrong: processes that are killed, disks that are full, files that are broken, places that are far away"
import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import wait
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from interactive_runner import Runner, accuracy, ckpt
from interactive_runner import resuming, saving # noqa: F401, put the methods onto Runner
from interactive_runner.files import DISK, Remote, replacing, store_of
from interactive_runner.hooks.buffers import sync_buffers
from interactive_runner.hooks.checkpoint import CheckpointHook

root = Path(__file__).resolve().parents[1]

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))

def linear():
    torch.manual_seed(0)
    return nn.Linear(4, 2)

def data(n=40):
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(3))
    return TensorDataset(x, (x.sum(1) > 0).long())

def runner(work_dir=None, hook=None, model=None, **given):
    "A small run; two of them that are given the same come to the same weights"
    model = net() if model is None else model
    parts = dict(train_dataloader=DataLoader(data(), 8), loss_fn=F.cross_entropy, seed=7, log_level='WARNING', max_epochs=3,
                 optimizer=torch.optim.SGD(model.parameters(), lr=.1, momentum=.9), default_hooks=dict(checkpoint=hook))
    return Runner(model, work_dir, **parts | given)

def validated(**given): return dict(val_dataloader=DataLoader(data(20), 10), metrics={'accuracy': accuracy}) | given
def weights(run): return torch.cat([o.detach().flatten().float() for o in run.model.state_dict().values()])
def said(run): return '\n'.join(o.text for o in run.logger.recent)
def files(folder): return [o for o in store_of(folder)[0].names(store_of(folder)[1]) if not o.endswith(('.log', '.json'))]

def whole(**given):
    run = runner(**given)
    run.train()
    return weights(run)

@pytest.fixture
def memory():
    "The address of an empty folder in memory"
    MemoryFileSystem.store.clear()
    yield 'memory://bucket/runs'
    MemoryFileSystem.store.clear()

# ---- killed at any moment

def slowly(save, data, f, tell=lambda o: None, pause=.001, parts=16):
    "Saves as a disk does that is slow"
    save(data, buf := io.BytesIO())
    raw = buf.getvalue()
    tell(b'(')
    for i in range(parts):
        f.write(raw[len(raw)*i//parts:len(raw)*(i+1)//parts])
        f.flush()
        time.sleep(pause)

def victim(folder, pipe, background, max_epochs):
    "Trains in `folder` as long as it is let, and says when a save begins, and when a file is complete"
    save,settle,tell = torch.save,CheckpointHook._settle,lambda o: os.write(pipe, o)
    def settled(self, runner, path):
        settle(self, runner, path)
        tell(os.path.basename(path).encode() + b')')
    torch.save,CheckpointHook._settle = lambda data, f: slowly(save, data, f, tell),settled
    run = runner(folder, CheckpointHook(interval=1, by_epoch=False, max_keep_ckpts=2, background=background), max_epochs=max_epochs, resume=True)
    run.train()
    save(run.model.state_dict(), f'{folder}/end.weights')

def forked(fn, *args):
    "A process that calls `fn`, with a pipe on which it speaks"
    out,into = os.pipe()
    if pid := os.fork():
        os.close(into)
        return pid,out
    code = 1
    try:
        os.close(out)
        fn(args[0], into, *args[1:])
        code = 0
    finally: os._exit(code)

def heard(out):
    with os.fdopen(out, 'rb') as f: return f.read()

def kill_at(pid, out, inside, rng):
    "Kill a victim while it saves, or at some moment; all that it has said"
    text = b''
    if inside:
        for _ in range(rng.randint(1, 3)):
            text += (got := os.read(out, 1))
            while got not in (b'(', b''): text += (got := os.read(out, 1))
        time.sleep(rng.random()*.022)
    else: time.sleep(rng.random()*.25)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return text + heard(out)

def look(folder, newest, text):
    "What there is after a kill, and the newest file that was said to be complete"
    newest = max([newest, *(int(o.split(b'_')[1].split(b'.')[0]) for o in text.replace(b'(', b'').split(b')')[:-1])])
    _,state,failed = ckpt.latest_of(folder)
    whole = [o for o in ckpt.checkpoints_in(folder) if ckpt.load_run(o)]
    parts = sum(o.endswith('.part') for o in DISK.names(folder))
    return dict(newest=newest, latest=state['meta']['iter'] if state else 0, failed=len(failed), n=len(whole), parts=parts)

def kill_many(folder, n):
    "Kill a run `n` times; what there was each time, and whether it ends as if nothing had been"
    whole(work_dir=f'{folder}/../warm', hook=CheckpointHook(interval=1), max_epochs=1) # loads what is loaded late, before the forks
    rng,seen = random.Random(1),[dict(newest=0, latest=0)]
    for i in range(n): seen.append(look(folder, seen[-1]['newest'], kill_at(*forked(victim, folder, i % 4 > 1, 10**6), i % 2, rng)))
    epochs = seen[-1]['latest']//5 + 1
    pid,out = forked(victim, folder, False, epochs)
    heard(out)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    end = torch.cat([o.flatten().float() for o in torch.load(f'{folder}/end.weights').values()])
    return dict(seen=seen[1:], code=code, same=torch.equal(end, whole(max_epochs=epochs)))

def rank(folder, pipe, i):
    "One of two processes whose buffers have drifted apart"
    os.environ['GLOO_SOCKET_IFNAME'] = 'lo'
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=i, world_size=2)
    model = nn.BatchNorm1d(2)
    model.running_mean += i
    sync_buffers(model)
    os.write(pipe, json.dumps([model.running_mean.tolist(), int(model.num_batches_tracked), model.running_var.tolist()]).encode())

def ranks(folder):
    both = [forked(rank, folder, i) for i in range(2)]
    return [json.loads(heard(out)) for _,out in both]

def exits(folder, pipe):
    "Ends while a file is being written"
    save = torch.save
    torch.save = lambda data, f: slowly(save, data, f, pause=.02)
    run = runner(folder, CheckpointHook(interval=1, by_epoch=False, background=True))
    run.step('iter')
    assert run.writer.busy
    from concurrent.futures.thread import _python_exit # what Python calls at the exit of a process; `forked` ends without
    _python_exit()

def exit_early(folder):
    pid,_ = forked(exits, folder)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]),files(folder)

def separately(call):
    "What `call` gives in a process of its own, in which nothing has run yet, so that it may fork"
    code = f'import json, sys; sys.path[:0] = {[str(root/"tests"), str(root)]!r}; import test_ckpt_files as t; print(json.dumps(t.{call}))'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=os.environ | dict(OMP_NUM_THREADS='1'), timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


forking = pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')

@forking
def test_a_run_that_is_killed_at_sixty_moments_never_loses_a_finished_checkpoint_and_ends_as_if_nothing_had_been(tmp_path):
    got = separately(f'kill_many({str(tmp_path/"run")!r}, 60)')
    seen = got['seen']
    assert all(o['latest'] >= o['newest'] and o['failed'] == 0 for o in seen)
    assert seen[-1]['parts'] >= 20, 'most of the kills that were meant to fall into a save did not'
    assert max(o['n'] for o in seen) <= 4 and seen[-1]['newest'] > 30
    assert got['code'] == 0 and got['same']


@forking
def test_a_process_that_ends_waits_for_the_file_that_is_being_written(tmp_path):
    assert separately(f'exit_early({str(tmp_path/"run")!r})') == [0, ['iter_1.pth', 'last_checkpoint']]


@forking
def test_buffers_are_averaged_over_all_processes_and_counts_are_left(tmp_path):
    assert separately(f'ranks({str(tmp_path)!r})') == [[[.5, .5], 0, [1, 1]]]*2


def test_the_hook_averages_buffers_before_it_saves_if_asked_to(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr('interactive_runner.hooks.checkpoint.sync_buffers', lambda model: seen.append(DISK.names(tmp_path)))
    runner(tmp_path, CheckpointHook(interval=3, sync_buffer=True)).train()
    assert len(seen) == 1 and 'epoch_3.pth' not in seen[0]

# ---- a disk that is full

@contextmanager
def small_files(folder):
    "No file can be larger than 4 kB inside"
    soft,hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try: yield
    finally: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

@contextmanager
def no_room(folder):
    "The disk of the folder is full inside"
    with suppress(OSError), open(folder/'filler', 'wb', buffering=0) as f:
        while f.write(b'0'*1024): pass
    try: yield
    finally: (folder/'filler').unlink()

@pytest.fixture
def disk(request, tmp_path):
    "A folder, and a context in which nothing can be written there"
    if request.param == 'limit': yield tmp_path,small_files; return
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=128k', 'tmpfs', tmp_path], capture_output=True).returncode: pytest.skip('needs the right to mount')
    try: yield tmp_path,no_room
    finally: subprocess.run(['umount', '-l', tmp_path], check=True)

@pytest.mark.skipif(sys.platform == 'win32', reason='needs limits of the system')
@pytest.mark.parametrize('background', [False, True])
@pytest.mark.parametrize('disk', ['limit', 'tmpfs'], indirect=True)
def test_on_a_full_disk_the_run_pauses_with_the_reason_and_goes_on_when_there_is_room(disk, background):
    folder,full = disk
    run = runner(None, CheckpointHook(interval=1, out_dir=folder, max_keep_ckpts=2, background=background))
    run.run_until(epoch=1)
    run.writer.wait()
    with full(folder):
        with pytest.raises(OSError, match='No space left|File too large') as e: run.train()
        assert 'in hook CheckpointHook' in e.value.__notes__[-1] and any('while writing' in o for o in e.value.__notes__)
        assert run.status == 'error' and [o for o in files(folder) if o != 'filler'] == ['epoch_1.pth', 'last_checkpoint']
        with pytest.raises(OSError): run.train() # still no room
        assert ckpt.load_run(ckpt.find_latest_checkpoint(folder))['meta']['epoch'] == 1
    run.train()
    last = files(folder)
    assert run.status == 'done' and 'epoch_3.pth' in last and len(last) == 3 and not any(o.endswith('.part') for o in os.listdir(folder))
    assert torch.equal(weights(run), whole())
    assert ckpt.load_run(folder/'epoch_3.pth')['meta']['iter'] == 15

# ---- poison

class Poisoned:
    "A hook with a state that may be anything"
    def __init__(self, o): self.o = o
    def state_dict(self):
        if isinstance(self.o, Exception): raise self.o
        return dict(deep=[1, dict(here=self.o)])
    def load_state_dict(self, state): self.o = state['deep'][1]['here']

class Custom(dict): pass

@pytest.mark.parametrize('background', [False, True])
@pytest.mark.parametrize('poison, text', [(lambda: 1, 'function'), (threading.Lock(), '_thread.lock'), (Custom(a=1), 'Custom'),
                                          (ValueError('no state'), 'no state')])
def test_poison_in_the_state_leaves_the_old_file_and_a_run_that_goes_on(tmp_path, poison, text, background):
    hook = Poisoned(1)
    run = runner(tmp_path, CheckpointHook(interval=1, background=background), custom_hooks=[hook])
    run.run_until(epoch=1)
    run.writer.wait()
    before,hook.o = (tmp_path/'epoch_1.pth').read_bytes(),poison
    with pytest.raises((TypeError, ValueError), match=text) as e: run.train()
    told = str(e.value) + ''.join(e.value.__notes__)
    assert "['hooks']['Poisoned']['deep'][1]['here']" in told or 'in state_dict of hook Poisoned' in told
    assert files(tmp_path) == ['epoch_1.pth', 'last_checkpoint'] and (tmp_path/'epoch_1.pth').read_bytes() == before
    again = runner(tmp_path, CheckpointHook(), resume=True)
    again.train()
    hook.o = 2
    run.train()
    assert torch.equal(weights(run), weights(again)) and ckpt.load_file(tmp_path/'epoch_3.pth')['hooks']['Poisoned']['deep'][1]['here'] == 2


def test_poison_in_a_model_is_named_by_its_place(tmp_path):
    class Extra(nn.Linear):
        def get_extra_state(self): return open
        def set_extra_state(self, state): pass
    with pytest.raises(TypeError, match=r"\['state_dict'\]\['0._extra_state'\] is builtin_function"):
        runner(model=nn.Sequential(Extra(4, 2))).save_checkpoint(tmp_path)
    assert not files(tmp_path)

# ---- files that are broken

def cut(path): path.write_bytes(path.read_bytes()[:500])
def foreign(path): torch.save(dict(meta=dict(epoch=1, iter=1), state_dict=Poisoned(1)), path)
def newer(path): torch.save(torch.load(path) | dict(meta=dict(epoch=3, iter=15, interactive_runner_version='9.0', interactive_runner_format=99)), path)
def only_weights(path): torch.save(net().state_dict(), path)

@pytest.mark.parametrize('spoil, text', [(cut, 'it is cut off'), (foreign, 'holds test_ckpt_files.Poisoned'), (newer, r'format \(99\) that this version'),
                                         (only_weights, 'does not say where its run stood'), (Path.unlink, None)])
def test_a_file_that_cannot_be_read_is_said_and_the_next_older_good_one_is_offered_or_taken(tmp_path, spoil, text):
    runner(tmp_path, CheckpointHook(interval=1)).train()
    for i in (1, 2, 3): os.utime(tmp_path/f'epoch_{i}.pth', (i, i))
    spoil(tmp_path/'epoch_3.pth')
    if text: os.utime(tmp_path/'epoch_3.pth', (3, 3))
    run = runner(tmp_path, resume=True)
    run.step('line')
    assert run.epoch == 2 and (text is None or 'is taken instead' in said(run) and 'epoch_2.pth' in said(run))
    run.train()
    assert torch.equal(weights(run), whole())
    with pytest.raises((ValueError, FileNotFoundError), match=text or 'there is no file') as e: runner().resume(tmp_path/'epoch_3.pth')
    assert 'epoch_2.pth' in str(e.value)


def test_if_no_checkpoint_can_be_read_the_run_does_not_begin_anew_in_silence(tmp_path):
    runner(tmp_path, CheckpointHook(interval=3)).train()
    cut(tmp_path/'epoch_3.pth')
    with pytest.raises(ckpt.Unreadable, match='it is cut off'): runner(tmp_path, resume=True).train()
    with pytest.raises(ckpt.Unreadable, match='No other checkpoint beside it can be read'): runner(resume=tmp_path/'epoch_3.pth').train()


def test_a_run_that_was_killed_before_its_first_file_got_known_is_found(tmp_path):
    runner(tmp_path, CheckpointHook(interval=3)).train()
    (tmp_path/'last_checkpoint').unlink()
    run = runner(tmp_path, resume=True)
    run.load_or_resume()
    assert run.epoch == 3


def test_weights_beside_a_run_that_has_no_checkpoint_yet_do_not_hinder_it(tmp_path):
    torch.save(net().state_dict(), tmp_path/'pretrained.pth')
    run = runner(tmp_path, resume=True)
    run.train()
    assert run.epoch == 3


def test_our_files_say_their_format(tmp_path):
    assert ckpt.load_file(runner().save_checkpoint(tmp_path))['meta']['interactive_runner_format'] == ckpt.FORMAT

# ---- files of others

def test_a_run_goes_on_from_a_file_of_mmcv(tmp_path):
    model = net()
    whole_ = runner(model=model)
    whole_.run_until(epoch=1)
    optimizer = whole_.optimizer.state_dict()
    meta = dict(mmcv_version='1.7.2', time='Mon Jan 1 00:00:00 2024', CLASSES=('cat', 'dog'), epoch=1, iter=5, hook_msgs=dict(best_score=.5, last_ckpt='a.pth'))
    state = {f'module.{k}': v for k,v in model.state_dict().items()}
    torch.save(dict(meta=meta, state_dict=state, optimizer=optimizer), tmp_path/'epoch_1.pth', _use_new_zipfile_serialization=False)
    os.symlink('epoch_1.pth', tmp_path/'latest.pth') # MMCV's way to name the last
    run = runner(tmp_path, resume=True)
    run.train()
    assert run.iter == 15 and torch.equal(weights(run), whole())


def test_the_optimizers_of_mmengine_load_with_what_it_keeps_beside_them(tmp_path):
    whole_ = runner(param_scheduler=dict(type='StepLR', step_size=1, gamma=.5))
    whole_.run_until(epoch=1)
    scheduler = dict(param_name='lr', begin=0, end=1000000000, by_epoch=True, base_values=[.1], last_step=1, _global_step=2, verbose=False, _last_value=[.05],
                     step_size=1, gamma=.5)
    optimizer = whole_.optimizer.state_dict() | dict(base_param_settings=dict(params=[torch.zeros(1)], lr=.05), loss_scaler=dict(scale=1.))
    torch.save(dict(meta=dict(epoch=1, iter=5, mmengine_version='0.10.3'), state_dict=whole_.model.state_dict(), optimizer=optimizer,
                    param_schedulers=[scheduler]), tmp_path/'epoch_1.pth')
    whole_.train()
    run = runner(param_scheduler=dict(type='StepLR', step_size=1, gamma=.5), resume=tmp_path/'epoch_1.pth')
    run.train()
    assert torch.equal(weights(run), weights(whole_)) and run.optim_wrapper.get_lr() == whole_.optim_wrapper.get_lr()

# ---- elsewhere

class Immovable(MemoryFileSystem):
    "A place that can put files, and not move them"
    protocol,store = 'immovable',{}
    def cp_file(self, *args, **kwargs): raise NotImplementedError
    def mv(self, *args, **kwargs): raise NotImplementedError

@pytest.fixture(params=['memory', 'file', 'immovable'])
def place(request, tmp_path, memory):
    "The address of an empty folder somewhere"
    from fsspec import register_implementation
    register_implementation('immovable', Immovable, clobber=True)
    Immovable.store.clear()
    return dict(memory=memory, file=f'file://{tmp_path}/out', immovable='immovable://runs')[request.param]

def test_all_goes_to_a_place_behind_a_url_and_comes_back(place, tmp_path):
    hook = CheckpointHook(interval=1, max_keep_ckpts=1, out_dir=place, save_best='accuracy', published_keys='state_dict')
    runner(tmp_path/'run', hook, **validated()).train()
    folder = hook._place(runner(tmp_path/'run'))[1]
    names = files(folder)
    assert folder.rstrip('/').endswith('/run') and {'epoch_3.pth', 'last_checkpoint', hook.best['accuracy']['file']} <= {*names}
    assert not {'epoch_1.pth', 'epoch_2.pth'} & {*names} and sum('-' in o for o in names) == 2 and not any(o.endswith('.part') for o in names)
    for resume in (True, f'{folder}/epoch_3.pth', folder):
        run = runner(tmp_path/'run', resume=resume, max_epochs=4, **validated())
        run.train()
        assert run.epoch == 4 and torch.equal(weights(run), whole(max_epochs=4, **validated()))
    run = runner(load_from=f'{folder}/epoch_3.pth')
    run.load_or_resume()
    assert run.epoch == 0 and torch.equal(weights(run), whole())
    with pytest.raises(FileNotFoundError, match="Did you mean 'epoch_3.pth'"): run.load_checkpoint(f'{folder}/epoch_4.pth')


def test_half_a_file_is_nowhere_to_be_seen(place):
    path = f'{place}/a.pth'
    ckpt.save_file(path, dict(epoch=1))
    with pytest.raises(KeyboardInterrupt), replacing(path) as f:
        f.write(b'half of it')
        raise KeyboardInterrupt
    assert ckpt.load_file(path) == dict(epoch=1) and files(place) == ['a.pth']


def test_a_file_far_away_that_is_cut_off_is_passed_over(memory):
    runner(None, CheckpointHook(interval=1, out_dir=memory)).train()
    store,_ = store_of(memory)
    with store.reading(f'{memory}/epoch_3.pth') as f: raw = f.read()
    with replacing(f'{memory}/epoch_3.pth') as f: f.write(raw[:500])
    run = runner(resume=memory)
    run.train()
    assert 'epoch_3.pth cannot be read' in said(run) and torch.equal(weights(run), whole())


def test_a_backend_says_where_files_go(tmp_path, memory):
    assert isinstance(store_of('bucket/runs', backend_args=dict(backend='memory'))[0], Remote)
    runner(None, CheckpointHook(out_dir='bucket/runs', file_client_args=dict(backend='memory'))).train()
    assert 'epoch_3.pth' in files(memory)
    runner(None, CheckpointHook(out_dir=tmp_path, backend_args=dict(backend='disk'))).train()
    assert 'epoch_3.pth' in files(tmp_path)
    here = dict(backend='disk')
    with pytest.raises(ValueError, match='give one of them'): CheckpointHook(out_dir='a', backend_args=here, file_client_args=here)
    with pytest.raises(ValueError, match='need an out_dir'): CheckpointHook(backend_args=dict(backend='memory'))


@pytest.mark.parametrize('path, args, want', [
    ('runs', {}, 'runs'), (Path('runs'), {}, 'runs'), ('file:///a/b', {}, '/a/b'), ('local:///a/b', {}, '/a/b'), (r'C:\runs', {}, r'C:\runs'),
    ('runs', dict(backend_args=dict(backend='disk')), 'runs'), ('s3://b/runs', {}, 's3://b/runs'), ('b/runs', dict(backend_args=dict(backend='s3', key=1)), 's3://b/runs'),
    ('simplecache::memory://a', {}, 'simplecache::memory://a'), ('memory://a', dict(backend_args=dict(size=1)), 'memory://a')])
def test_a_path_or_a_url_says_who_keeps_its_files(path, args, want):
    store,at = store_of(path, **args)
    options = args.get('backend_args', {})
    assert at == want and isinstance(store, Remote) == ('://' in want) and args.get('backend_args', {}) == options
    assert store is DISK or store.options == {k: v for k,v in options.items() if k != 'backend'}


def test_what_killed_processes_have_left_is_removed_unless_somebody_may_still_write_it(tmp_path):
    old,new = (tmp_path/f'.epoch_{i}.pth.0123abcd.part' for i in (1, 2))
    for o in (old, new): o.touch()
    os.utime(old, (1, 1))
    runner(tmp_path, CheckpointHook()).step()
    assert not old.exists() and new.exists()


def test_fsspec_is_not_imported_for_files_of_this_machine(tmp_path):
    path = repr(str(tmp_path/'a.pth'))
    code = f'import sys; from interactive_runner import ckpt; ckpt.save_file({path}, 1); ckpt.load_file({path}); print("fsspec" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=root, check=True).stdout.strip() == 'False'

# ---- in the background

class Gate:
    "Lets a save go on when it is opened"
    def __init__(self, monkeypatch):
        self.open,self.writers,self.most,save = threading.Event(),0,0,torch.save
        def slow(data, f):
            self.writers += 1
            self.most = max(self.most, self.writers)
            self.open.wait(10)
            save(data, f)
            self.writers -= 1
        monkeypatch.setattr(torch, 'save', slow)

@pytest.fixture
def gate(monkeypatch): return Gate(monkeypatch)

def test_training_goes_on_while_a_copy_is_written_and_the_copy_stays_as_it_was(tmp_path, gate):
    run = runner(tmp_path, CheckpointHook(interval=1, background=True))
    run.run_until(iter=5, stage='after_train_epoch')
    at = weights(run).clone()
    run.run_until(iter=9)
    assert run.writer.busy and not torch.equal(at, weights(run)) and 'epoch_1.pth' not in files(tmp_path)
    gate.open.set()
    run.train()
    saved = ckpt.load_run(tmp_path/'epoch_1.pth')
    assert torch.equal(at, torch.cat([o.flatten().float() for o in saved['state_dict'].values()])) and gate.most == 1
    assert saved['meta']['iter'] == 5 and files(tmp_path)[-1] == 'last_checkpoint' and torch.equal(weights(run), whole())
    again = runner(resume=tmp_path/'epoch_1.pth')
    again.train()
    assert torch.equal(weights(again), weights(run))


@pytest.mark.parametrize('save', [lambda run: run.train(), lambda run: run.save_checkpoint(), lambda run: run.stop(),
                                  lambda run: run.hooks['CheckpointHook'].off()], ids=['the next', 'from a cell', 'stop', 'off'])
def test_whoever_comes_next_waits_for_the_file_that_is_being_written(tmp_path, gate, save):
    run = runner(tmp_path, CheckpointHook(interval=1, background=True))
    run.run_until(iter=7)
    assert run.writer.busy
    threading.Timer(.2, gate.open.set).start()
    save(run)
    assert gate.open.is_set() and gate.most == 1 and not run.writer.busy and 'epoch_1.pth' in files(tmp_path)


@pytest.fixture
def failing(monkeypatch):
    "Numbers of saves that fail, to be filled"
    fails,calls,save = set(),[],torch.save
    def broken(data, f):
        calls.append(1)
        if len(calls) in fails: raise OSError('the disk is away')
        save(data, f)
    monkeypatch.setattr(torch, 'save', broken)
    return fails

def to_the_error(run):
    if not run.epoch:
        run.run_until(epoch=2)
        wait([run.writer.job])
    with pytest.raises(OSError, match='the disk is away'): run.train()
    assert run.status == 'error' and run.player.failed.name == 'CheckpointHook'

def test_an_error_in_the_background_stops_the_run_and_a_retry_saves_it_as_it_stands(tmp_path, failing):
    failing |= {2, 3}
    run = runner(tmp_path, CheckpointHook(interval=1, background=True, max_keep_ckpts=3))
    to_the_error(run)
    assert files(tmp_path) == ['epoch_1.pth', 'last_checkpoint'] and run.hooks['CheckpointHook'].hook.kept == ['epoch_1.pth']
    to_the_error(run) # the retry writes at once, and it fails as well
    run.step('line')
    assert f'iter_{run.iter+1}.pth' in files(tmp_path)
    run.train()
    assert files(tmp_path) == ['epoch_1.pth', 'epoch_3.pth', 'iter_11.pth', 'last_checkpoint'] and torch.equal(weights(run), whole())


def test_an_error_in_the_background_can_be_passed_over(tmp_path, failing):
    failing |= {2}
    run = runner(tmp_path, CheckpointHook(interval=1, background=True))
    to_the_error(run)
    run.skip()
    run.train()
    assert files(tmp_path) == ['epoch_1.pth', 'epoch_3.pth', 'last_checkpoint']


def test_an_error_in_the_last_write_is_said_and_made_up_for_by_the_end(tmp_path, failing):
    failing |= {1}
    run = runner(tmp_path, CheckpointHook(interval=4, by_epoch=False, background=True), max_epochs=1, log_level='INFO')
    run.run_until(iter=4)
    wait([run.writer.job])
    assert "could not be written in the background: OSError('the disk is away')" in said(run)
    run.stop()
    assert files(tmp_path) == ['iter_4.pth', 'last_checkpoint']


def test_the_best_is_written_in_the_background_and_the_one_before_it_goes_after_that(tmp_path):
    hook = CheckpointHook(save_best='accuracy', background=True, save_last=False)
    run = runner(tmp_path, hook, **validated())
    values = iter([.1, .3, .2])
    @run.on('after_val_epoch', priority='HIGHEST')
    def rig(runner, metrics): metrics['accuracy'] = next(values)
    run.train()
    assert files(tmp_path) == ['best_accuracy_epoch_2.pth'] and hook.best['accuracy']['score'] == .3

# ---- from a cell

@pytest.mark.parametrize('line', range(0, 40, 3))
def test_from_a_cell_a_run_is_saved_at_any_pause_without_a_word_and_resumed(tmp_path, line):
    run = runner(tmp_path, model=linear())
    run.run_until(iter=3)
    for _ in range(line): run.step('line')
    path = run.save_checkpoint()
    assert os.path.dirname(path) == str(tmp_path) and ckpt.find_latest_checkpoint(tmp_path) == path
    again = runner(tmp_path, model=linear(), resume=True)
    again.train()
    assert os.path.basename(path) in [f'epoch_{ckpt.load_run(path)["meta"]["epoch"]}.pth', f'iter_{ckpt.load_run(path)["meta"]["iter"]}.pth']
    run.train()
    assert torch.equal(weights(again), weights(run))


def test_weights_are_loaded_from_the_latest_if_no_file_is_named(tmp_path):
    run = runner(tmp_path)
    with pytest.raises(FileNotFoundError, match='there is no latest checkpoint'): run.load_checkpoint()
    run.run_until(epoch=1)
    run.save_checkpoint()
    at = weights(run)
    run.run_until(iter=8)
    run.load_checkpoint()
    assert torch.equal(weights(run), at) and run.iter == 8
    with pytest.raises(ValueError, match='Give one, or make the Runner with work_dir='): runner().save_checkpoint()


def test_a_template_in_the_place_of_a_name_is_filled_in(tmp_path):
    run = runner()
    run.run_until(epoch=2)
    assert os.path.basename(run.save_checkpoint(tmp_path, 'epoch_{}.pth')) == 'epoch_2.pth'


def test_the_best_checkpoint_can_be_trained_on(tmp_path):
    hook = CheckpointHook(save_best='accuracy', rule='less', save_last=False)
    run = runner(tmp_path, hook, param_scheduler=dict(type='StepLR', step_size=1), **validated())
    values = iter([.3, .1, .2])
    @run.on('after_val_epoch', priority='HIGHEST')
    def rig(runner, metrics): metrics['accuracy'] = next(values)
    run.train()
    again = runner(resume=tmp_path/'best_accuracy_epoch_2.pth', param_scheduler=dict(type='StepLR', step_size=1), **validated())
    again.train()
    assert again.epoch == 3 and torch.equal(weights(again), weights(run)) and again.optim_wrapper.get_lr() == run.optim_wrapper.get_lr()

# ---- MMCV's arguments

@pytest.mark.parametrize('args, named', [
    ((2, True, False, 'out', 3, False, True, None), dict(interval=2, save_optimizer=False, out_dir='out', max_keep_ckpts=3, save_last=False, sync_buffer=True)),
    ((1, False, True, None), dict(interval=1, by_epoch=False)),
    ((1, True, True, False, 'out', 3), dict(interval=1, save_param_scheduler=False, out_dir='out', max_keep_ckpts=3))])
def test_arguments_by_place_mean_what_they_mean_in_mmcv_or_in_mmengine(args, named): assert vars(CheckpointHook(*args)) == vars(CheckpointHook(**named))

def test_an_argument_that_is_given_twice_is_refused():
    with pytest.raises(TypeError, match='out_dir'): CheckpointHook(1, True, True, 'out', out_dir='other')
    with pytest.raises(TypeError, match='save_param_scheduler must be True or False'): CheckpointHook(save_param_scheduler='out')

def test_a_link_to_the_last_file_is_made_if_asked_for(tmp_path):
    runner(tmp_path, CheckpointHook(interval=1, create_symlink=True)).train()
    assert os.readlink(tmp_path/'latest.pth') == 'epoch_3.pth'
    run = runner(resume=tmp_path/'latest.pth')
    run.load_or_resume()
    assert run.epoch == 3

def test_the_link_is_there_when_the_file_is_and_what_a_killed_process_has_left_does_not_hinder_it(tmp_path, gate):
    (tmp_path/'latest.pth.part').symlink_to('nowhere')
    run = runner(tmp_path, CheckpointHook(interval=1, create_symlink=True, background=True))
    run.run_until(iter=7)
    assert run.writer.busy and not os.path.lexists(tmp_path/'latest.pth')
    gate.open.set()
    run.writer.wait()
    assert os.readlink(tmp_path/'latest.pth') == 'epoch_1.pth'

def test_from_a_cell_the_link_is_made_too_and_where_there_are_no_links_there_is_none(tmp_path, memory, monkeypatch):
    run = runner(tmp_path)
    path = run.save_checkpoint(create_symlink=True)
    assert os.path.realpath(tmp_path/'latest.pth') == os.path.realpath(path)
    run.save_checkpoint(memory, create_symlink=True)
    assert 'latest.pth' not in files(memory)
    def refuse(*args, **kwargs): raise OSError('no links here')
    monkeypatch.setattr(os, 'symlink', refuse)
    other = tmp_path/'other'
    run.save_checkpoint(other, 'a.pth', create_symlink=True)
    assert os.listdir(other) == ['a.pth']

# ---- copies

def test_a_copy_shares_no_tensor_and_keeps_what_is_one():
    a = torch.arange(4.)
    state = dict(a=a, view=a[:2], same=a, deep=[(a.to_sparse(), nn.Parameter(a))], flag=True, empty=torch.zeros(0))
    copy = ckpt.copied(state)
    a.zero_()
    assert copy['a'].tolist() == [0, 1, 2, 3] and copy['same'] is copy['a'] and copy['view'].tolist() == [0, 1] and copy['flag']
    assert copy['deep'][0][0].to_dense().tolist() == [0, 1, 2, 3] and type(copy['deep'][0][1]) is nn.Parameter
