"""Microseconds that the runner adds to a bare PyTorch loop doing the same work, beside the budgets.

What is compared takes turns in one process, in blocks; shown are the median over blocks and, in brackets, the quartiles.
It is CPU time of the process, so that other programs disturb less."""
import subprocess, sys, tempfile
from itertools import cycle, islice
from time import process_time

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from _measure import NEVER, NO_OPTIMIZER, IdleLoop, Passes, alternate, arguments, begun, report, row, silently, spin, spread
from interactive_runner import Runner
from interactive_runner.hooks.logger import LoggerHook
from interactive_runner.logproc import LogProcessor

BLOCK,EVERY = 400,10 # iterations in a block; iterations from log event to log event

def digits(n):
    "`n` batches of 64 digits"
    x,y = (torch.tensor(o) for o in load_digits(return_X_y=True))
    whole = [(x[i:i+64].float()/16, y[i:i+64]) for i in range(0, 1792, 64)]
    return list(islice(cycle(whole), n))

def net():
    "The same small classifier each time, and its optimizer"
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return model,torch.optim.SGD(model.parameters(), lr=.01)

@torch.enable_grad()
def bare(model, optimizer, batches):
    "A pass of the loop that everybody writes first"
    for x,y in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()

def usual(interval):
    "The usual hooks, with a schedule and checkpoints that are never due"
    return dict(param_scheduler=dict(type='MultiStepLR', milestones=[NEVER], by_epoch=False),
                default_hooks=dict(logger=LoggerHook(interval), checkpoint=dict(interval=NEVER, by_epoch=False, save_last=False)))

def ours(batches, interval, folder):
    "A runner with the usual hooks, each of whose `train()` is one pass"
    model,optimizer = net()
    loader = Passes(batches)
    return begun(Runner(model, folder, loader, loss_fn=F.cross_entropy, optimizer=optimizer, max_epochs=NEVER, **usual(interval)), loader)

CHORE = """
class Chore:
    def __init__(self): self.d,self.l = {},[]
    def put(self, k):
        self.d['k'] = k
        if len(self.l) > 3: self.l.clear()
        self.l.append(k)
        return self.get(k)
    def get(self, k): return k+1
"""

def chores(n):
    "Plain Python as a trainer is made of it: small methods of many objects, each with code of its own"
    objects = []
    for _ in range(n):
        space = {}
        exec(CHORE, space)
        objects.append(space['Chore']())
    return lambda: [o.put(1) for o in objects]

def beside(chore, batches):
    "The `batches`, with `chore` done before each"
    for b in batches:
        chore()
        yield b

def added(rounds, folder):
    "What the runner adds to an iteration, and to one that logs; each against a bare loop over the same tensors"
    batches,(model,optimizer),chore = digits(BLOCK),net(),chores(60)
    rare,often = ours(batches, BLOCK, folder),ours(batches, EVERY, folder)
    of = lambda r: lambda: bare(r.model, r.optimizer, batches)
    alone = lambda: [chore() for _ in range(BLOCK)]
    a,quiet,b,logging,p,both,chores_alone = alternate([of(rare), rare.train, of(often), often.train, lambda: bare(model, optimizer, batches),
                               lambda: bare(model, optimizer, beside(chore, batches)), alone], rounds)
    less = lambda xs, ys: [x-y for x,y in zip(xs, ys)]
    quiet,logging = less(quiet, a),less(logging, b)
    events = [x/(BLOCK//EVERY - 1) for x in less(logging, quiet)]
    us = 1e6/BLOCK
    return [row('added per non-logged iteration', 'us', [(x-e)*us for x,e in zip(quiet, events)], 12),
            row('added per log event', 'us', [e*1e6 for e in events], 200),
            row(f'added per iteration, logging each {EVERY}', 'us', [x*us for x in logging]),
            row('an iteration of the bare loop', 'us', [x*us for x in a]),
            row('plain Python, alone', 'us', [x*us for x in chores_alone]),
            row('the same inside the bare loop', 'us', [x*us for x in less(both, p)])]

def idle(interval, folder, block=1000):
    "A runner without work that logs over a global window"
    loader = Passes([0]*block)
    return begun(Runner(nn.Identity(), folder, optimizer=NO_OPTIMIZER, train_loop=IdleLoop(None, loader, max_epochs=NEVER),
                        log_processor=LogProcessor(window_size='global'), **usual(interval)), loader)

def flatness(n, folder):
    "Late against early costs of `n` iterations with a global window, with the speed of the machine taken out"
    speed,quiet,logged = alternate([spin, idle(1000, folder).train, idle(EVERY, folder).train], n//1000, 1)
    part = max(len(speed)//5, 2)
    event = [c-b for b,c in zip(quiet, logged)]
    res = []
    for what,values in ((f'iteration, late/early of {n:,}', quiet), (f'log event, late/early of {n//EVERY:,}', event)):
        rel = [v/s for v,s in zip(values, speed)]
        early = spread(rel[:part])[1]
        res.append(row(what, 'x', [o/early for o in rel[-part:]], 1.1))
    return [row('iteration without work', 'us', [o*1e3 for o in quiet]), row('log event, without work', 'us', [o*1e4 for o in event]), *res]

def import_time(n=5):
    "Seconds of `import interactive_runner` after `import torch`, in fresh processes"
    code = 'import torch; from time import perf_counter as t; a = t(); import interactive_runner; print(t()-a)'
    run = lambda: float(subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout)
    return [row('import interactive_runner, after torch', 's', [run() for _ in range(n)], .3)]

def between_bare(train, passes, folder):
    "Microseconds that an iteration of a trainer takes more than one of a bare pass right after it"
    batches,(model,optimizer),marks = digits(BLOCK),net(),[]
    def turn():
        start = process_time()
        bare(model, optimizer, batches)
        marks.append((start, process_time()))
    loader = Passes(batches)
    loader.between = turn
    train(*net(), loader, passes, folder)
    return [((b[0]-a[1]) - (b[1]-b[0]))*1e6/BLOCK for a,b in zip(marks[2:], marks[3:])]

def peers(passes, folder):
    "What trainers that are installed add to an iteration"
    from _peers import PEERS
    for fn in PEERS:
        what = f'{fn.__name__}: {fn.__doc__}'
        try: yield row(what, 'us', between_bare(fn, passes, folder))
        except ImportError as e: yield dict(what=what, note=f'not installed ({e.name or e})')
        except Exception as e: yield dict(what=what, note=f'failed: {e!r:.100}')

def sections(args, folder):
    "Titles and rows, as they are measured"
    q = args.quick
    yield 'runner', silently(added, 8 if q else 40, folder)
    yield 'growth', silently(flatness, args.long or (20_000 if q else 200_000), folder)
    yield 'import', import_time(2 if q else 5)
    if args.peers: yield f'peers, per iteration, logging each {EVERY}', silently(peers, 6 if q else 14, folder)

def main():
    p = arguments(__doc__)
    p.add_argument('--long', type=int, metavar='N', help='iterations over which costs must not grow (200000, quick 20000)')
    p.add_argument('--peers', action='store_true', help='other trainers too, those that are installed')
    args = p.parse_args()
    print(f"Hooks: RuntimeInfo, IterTimer, Logger, Progress (no terminal, so idle)\n"
          f"       beside them {usual.__doc__[0].lower()}{usual.__doc__[1:]}\n", flush=True)
    with tempfile.TemporaryDirectory() as folder: report(args, sections(args, folder), batch=64, block=BLOCK)

if __name__ == '__main__': main()
