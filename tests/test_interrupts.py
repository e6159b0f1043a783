"Two hundred interrupts at random moments, to the whole process group: the result is that of a run left alone."
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHILD = '''
import asyncio, hashlib, signal, sys
sys.path[:0] = sys.argv[4:]
import torch
from test_runner import runner
mode,workers,iters = sys.argv[1],*map(int, sys.argv[2:4])
signal.signal(signal.SIGINT, lambda *args: None) # between two calls nobody is there to be interrupted
run,hits = runner(max_iters=iters, val_interval=iters//5, workers=workers),0
print('ready', flush=True)

async def play():
    global hits
    while run.status != 'done':
        try: await run.play()
        except KeyboardInterrupt: hits += 1
def train():
    global hits
    while run.status != 'done':
        try: run.train()
        except KeyboardInterrupt: hits += 1
asyncio.run(play()) if mode == 'play' else train()
signal.signal(signal.SIGINT, signal.SIG_IGN) # a program that ends takes its own handlers away first
pieces = [*run.model.state_dict().values(), *[v for s in run.optimizer.state.values() for v in s.values()]]
pieces += [torch.tensor(run.message_hub.get_scalar(k).data[0]) for k in ('train/loss', 'val/loss', 'val/accuracy')]
digest = hashlib.sha256(b''.join(p.detach().contiguous().numpy().tobytes() for p in pieces)).hexdigest()
print(run.status, run.iter, hits, digest, flush=True)
'''


def child(mode, workers, iters, interrupts=0):
    "What a run printed at its end, after `interrupts` sent to it and its workers: status, iterations, interrupts noticed, digest of all it made"
    args = [sys.executable, '-c', CHILD, mode, str(workers), str(iters), *map(str, Path(__file__).parents[:2])]
    p = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert p.stdout.readline() == 'ready\n', p.communicate()[1][-3000:]
    rnd = random.Random(0)
    for _ in range(interrupts):
        time.sleep(rnd.random()*(.08 if workers else .012))
        if p.poll() is None: os.killpg(p.pid, signal.SIGINT)
    out,err = p.communicate(timeout=120)
    assert p.returncode == 0, err[-3000:]
    status,iters,hits,digest = out.split()
    return status,int(iters),int(hits),digest


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('mode', ['train', 'play'])
def test_interrupts_at_any_moment_tear_nothing_and_kill_no_worker(mode, workers):
    iters,n = (200, 60) if workers else (2500, 200)
    alone,disturbed = child(mode, workers, iters),child(mode, workers, iters, n)
    assert disturbed[2] > 10, 'the interrupts came too late to be noticed'
    assert disturbed[:2] == alone[:2] == ('done', iters) and disturbed[3] == alone[3]
