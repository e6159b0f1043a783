"Signals at random moments: interrupts leave the result of a run left alone, SIGTERM leaves what a hook could save"
import functools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from test_runner import runner

CHILD = '''
import asyncio, hashlib, signal, sys
sys.path[:0] = sys.argv[4:6]
import torch
from test_runner import runner
mode,workers,iters = sys.argv[1],*map(int, sys.argv[2:4])
signal.signal(signal.SIGINT, lambda *args: None) # between two calls nobody is there to be interrupted
run,hits = runner(max_iters=iters, val_interval=iters//5, workers=workers),0

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
def go(): asyncio.run(play()) if mode == 'play' else train()
'''

INTERRUPTED = CHILD + '''
print('ready', flush=True)
go()
signal.signal(signal.SIGINT, signal.SIG_IGN) # a program that ends takes its own handlers away first
pieces = [*run.model.state_dict().values(), *[v for s in run.optimizer.state.values() for v in s.values()]]
pieces += [torch.tensor(run.message_hub.get_scalar(k).data[0]) for k in ('train/loss', 'val/loss', 'val/accuracy')]
digest = hashlib.sha256(b''.join(p.detach().contiguous().numpy().tobytes() for p in pieces)).hexdigest()
print(run.status, run.iter, hits, digest, flush=True)
'''


def start(code, mode, workers, iters, *more):
    "A process that is about to train"
    args = [sys.executable, '-c', code, mode, str(workers), str(iters), *map(str, Path(__file__).parents[:2]), *map(str, more)]
    p = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert p.stdout.readline() == 'ready\n', p.communicate()[1][-3000:]
    return p


def interrupted(mode, workers, iters, interrupts=0):
    "What a run printed at its end, after `interrupts` sent to it and its workers: status, iterations, interrupts noticed, digest of all it made"
    p,rnd = start(INTERRUPTED, mode, workers, iters),random.Random(0)
    for _ in range(interrupts):
        time.sleep(rnd.random()*(.08 if workers else .012))
        if p.poll() is None: os.killpg(p.pid, signal.SIGINT)
    out,err = p.communicate(timeout=120)
    assert p.returncode == 0, err[-3000:]
    status,iters,hits,digest = out.split()
    return status,int(iters),int(hits),digest


@functools.cache
def alone(workers, iters):
    "What a run is that nobody interrupts, played or not"
    return interrupted('train', workers, iters)


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('mode', ['train', 'play'])
def test_interrupts_at_any_moment_tear_nothing_and_kill_no_worker(mode, workers):
    iters,n = (200, 60) if workers else (2500, 200)
    left,disturbed = alone(workers, iters),interrupted(mode, workers, iters, n)
    assert disturbed[2] > 10, 'the interrupts came too late to be noticed'
    assert disturbed[:2] == left[:2] == ('done', iters) and disturbed[3] == left[3]


SAVING = CHILD + '''
import time
class Save:
    def on_exception(self, runner):
        time.sleep(.2) # the workers, told to end as well, are dead by now
        torch.save(dict(iter=runner.iter, line=runner.position.line, mode=runner.mode, weights=runner.model.state_dict()), sys.argv[6])
run.register_hook(Save())
print('ready', flush=True)
go()
'''


def is_gone(group):
    "Whether all processes of `group` end within 10 seconds"
    for _ in range(100):
        try: os.killpg(group, 0)
        except ProcessLookupError: return True
        time.sleep(.1)


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('mode', ['train', 'play'])
def test_a_run_told_to_end_pauses_lets_hooks_save_and_ends_by_the_signal(mode, workers, tmp_path):
    p = start(SAVING, mode, workers, 10**6, file := tmp_path/'last.pth')
    time.sleep(.5+random.random()/2)
    os.killpg(p.pid, signal.SIGTERM)
    out,err = p.communicate(timeout=30)
    assert p.returncode == -signal.SIGTERM, err[-3000:]
    assert is_gone(p.pid), 'a worker is left'
    saved,run = torch.load(file),runner(max_iters=10**6, val_interval=200_000)
    run.run_until(iter=saved['iter'], stage=saved['line'], when=lambda r: r.mode == saved['mode'])
    assert saved['iter'] > 0 and all(torch.equal(v, saved['weights'][k]) for k,v in run.model.state_dict().items())


def test_a_second_sigterm_does_not_wait(tmp_path):
    p = start(SAVING.replace('.2)', '60)'), 'train', 0, 10**6, tmp_path/'never.pth')
    time.sleep(.3)
    p.send_signal(signal.SIGTERM)
    time.sleep(.5)
    assert p.poll() is None, 'the hook has its time'
    p.send_signal(signal.SIGTERM)
    assert p.wait(10) == -signal.SIGTERM


def test_a_program_with_a_handler_of_its_own_for_sigterm_keeps_it(tmp_path):
    own = SAVING.replace('go()\n', "signal.signal(signal.SIGTERM, lambda *args: [print('mine', flush=True), run.stop()])\nrun.train()\nprint(run.status)\n")
    p = start(own, 'train', 0, 10**6, tmp_path/'never.pth')
    time.sleep(.3)
    p.send_signal(signal.SIGTERM)
    assert p.communicate(timeout=30)[0].split() == ['mine', 'stopped'] and p.returncode == 0
