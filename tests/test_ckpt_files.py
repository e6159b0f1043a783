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
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from interactive_runner import Runner, accuracy, ckpt
from interactive_runner import saving # noqa: F401, puts the methods onto Runner
from interactive_runner.files import DISK, Remote, replacing, store_of
from interactive_runner.hooks.checkpoint import CheckpointHook, average_buffers

root = Path(__file__).resolve().parents[1]

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))

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

def slowly(data, f, save=torch.save, tell=lambda o: None, pause=.001, parts=16):
    "Saves as a disk does that is slow"
    buf = io.BytesIO()
    save(data, buf)
    raw = buf.getvalue()
    tell(b'(')
    for i in range(parts):
        f.write(raw[len(raw)*i//parts:len(raw)*(i+1)//parts])
        f.flush()
        time.sleep(pause)

def victim(folder, pipe, background, max_epochs):
    "Trains in `folder` as long as it is let, and says when a save begins, and when a file is complete"
    tell = lambda o: os.write(pipe, o)
    torch.save = lambda data, f: slowly(data, f, save, tell)
    save,point = torch.save.__globals__['SAVE'],CheckpointHook._settle
    def settled(self, runner, name, path):
        point(self, runner, name, path)
        tell(name.encode() + b')')
    CheckpointHook._settle = settled
    run = runner(folder, CheckpointHook(interval=1, by_epoch=False, max_keep_ckpts=2, background=background), max_epochs=max_epochs, resume=True)
    run.train()
    torch.save = save
    save(run.model.state_dict(), f'{folder}/end.weights')

SAVE = torch.save

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

def kill_many(folder, n):
    "Kill a run `n` times; what there was each time, and whether it ends as if nothing had been"
    rng,seen,newest = random.Random(1),[],0
    for i in range(n):
        text = kill_at(*forked(victim, folder, i % 4 > 1, 10**6), i % 2, rng)
        done = [int(o.split(b'_')[1].split(b'.')[0]) for o in text.replace(b'(', b'').split(b')')[:-1]]
        newest = max([newest, *done])
        latest,state,failed = ckpt.latest_of(folder) if done or newest else (None, None, [])
        broken = 0
        for o in ckpt.checkpoints_in(folder):
            try: ckpt.load_run(o)
            except ckpt.Unreadable: broken += 1
        seen.append(dict(newest=newest, latest=state['meta']['iter'] if state else 0, failed=len(failed), broken=broken, n=len(ckpt.checkpoints_in(folder)),
                         parts=sum(o.endswith('.part') for o in os.listdir(folder)) if os.path.isdir(folder) else 0))
    epochs = seen[-1]['latest']//5 + 1
    pid,out = forked(victim, folder, False, epochs)
    heard(out)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    run = runner(max_epochs=epochs)
    run.train()
    same = all(torch.equal(a, b) for a,b in zip(run.model.state_dict().values(), torch.load(f'{folder}/end.weights').values()))
    return dict(seen=seen, code=code, same=same)

def separately(call):
    "What `call` gives in a process of its own, in which nothing has run yet, so that it may fork"
    code = f'import json, sys; sys.path[:0] = {[str(root/"tests"), str(root)]!r}; import test_ckpt_files as t; print(json.dumps(t.{call}))'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=os.environ | dict(OMP_NUM_THREADS='1'), timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_a_run_that_is_killed_at_sixty_moments_never_loses_a_finished_checkpoint_and_ends_as_if_nothing_had_been(tmp_path):
    got = separately(f'kill_many({str(tmp_path/"run")!r}, 60)')
    seen = got['seen']
    assert all(o['latest'] >= o['newest'] and o['failed'] == o['broken'] == 0 for o in seen)
    assert seen[-1]['parts'] >= 20, 'most of the kills that were meant to fall into a save did not'
    assert max(o['n'] for o in seen) <= 4 and seen[-1]['newest'] > 30
    assert got['code'] == 0 and got['same']
