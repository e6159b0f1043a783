"""Microseconds that the runner adds to a bare PyTorch loop doing the same work, beside the budgets.

What is compared takes turns in one process, in blocks; shown are the median over blocks and, in brackets, the quartiles.
It is CPU time of the process, so that other programs disturb less."""
import argparse, asyncio, contextlib, json, os, platform, subprocess, sys, tempfile
from itertools import cycle, islice
from statistics import quantiles
from time import process_time
from types import SimpleNamespace

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from interactive_runner import Hook, Runner
from interactive_runner.hooks.logger import LoggerHook
from interactive_runner.logproc import LogProcessor
from interactive_runner.loop import EpochBasedTrainLoop

BLOCK,EVERY,NEVER = 400,10,10**9 # iterations in a block; iterations from log event to log event; longer than any run

class Passes(list):
    "Batches in memory; `between` is called before each pass over them"
    dataset,between = (),staticmethod(lambda: None)
    def __iter__(self):
        self.between()
        return super().__iter__()

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

class RateHook:
    "Stands in for a ParamScheduler that is not due: writes one float"
    priority = 'LOW'
    def after_train_iter(self, runner): runner.optimizer.param_groups[0]['lr'] = .01

class SaveHook(Hook):
    "Stands in for a Checkpoint hook that is not due"
    priority = 'VERY_LOW'
    def after_train_iter(self, runner, batch_idx, data_batch, outputs):
        if self.every_n_train_iters(runner, NEVER): raise AssertionError('a benchmark has no such iteration')

def begun(runner, loader):
    "`runner`, trained to the begin of a pass, and pausing there from now on"
    loader.between = runner.pause
    runner.train()
    return runner

def ours(batches, interval, folder):
    "A runner with the usual hooks, each of whose `train()` is one pass"
    model,optimizer = net()
    loader = Passes(batches)
    return begun(Runner(model, folder, loader, loss_fn=F.cross_entropy, optimizer=optimizer, max_epochs=NEVER,
                        default_hooks=dict(logger=LoggerHook(interval)), custom_hooks=[RateHook(), SaveHook()]), loader)

def alternate(acts, rounds, warm=2):
    "Seconds that each of `acts` takes, called in turn, with the order turned round each time"
    times = [[] for _ in acts]
    for r in range(rounds+warm):
        for i in list(range(len(acts)))[::1 if r % 2 else -1]:
            start = process_time()
            acts[i]()
            times[i].append(process_time()-start)
    return [o[warm:] for o in times]

def spread(values):
    "Lower quartile, median and upper quartile"
    return quantiles(values, n=4)

def row(what, unit, values, budget=None):
    "A line of the table: the spread of `values`"
    low,mid,high = spread(values)
    return dict(what=what, unit=unit, budget=budget, measured=mid, low=low, high=high, ok=None if budget is None else mid <= budget)

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

@torch.enable_grad()
def bare_and(chore, model, optimizer, batches):
    "The bare loop with `chore` in each iteration"
    for x,y in batches:
        chore()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()

def added(rounds, folder):
    "What the runner adds to an iteration, and to one that logs; each against a bare loop over the same tensors"
    batches,(model,optimizer),chore = digits(BLOCK),net(),chores(60)
    rare,often = ours(batches, BLOCK, folder),ours(batches, EVERY, folder)
    of = lambda r: lambda: bare(r.model, r.optimizer, batches)
    alone = lambda: [chore() for _ in range(BLOCK)]
    a,quiet,b,logging,p,both,chores_alone = alternate([of(rare), rare.train, of(often), often.train, lambda: bare(model, optimizer, batches),
                               lambda: bare_and(chore, model, optimizer, batches), alone], rounds)
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

class IdleLoop(EpochBasedTrainLoop):
    "A training loop whose work costs nothing"
    def zero_grad(self): pass
    def forward(self): self.outputs = dict(loss=.5)
    def backward(self): pass
    def optim_step(self): pass

def idle(interval, folder, block=1000):
    "A runner without work that logs over a global window"
    loader,optimizer = Passes([0]*block),SimpleNamespace(param_groups=[dict(lr=.01)], step=None, zero_grad=None)
    return begun(Runner(nn.Identity(), folder, optimizer=optimizer, train_loop=IdleLoop(None, loader, max_epochs=NEVER),
                        log_processor=LogProcessor(window_size='global'), default_hooks=dict(logger=LoggerHook(interval)),
                        custom_hooks=[RateHook(), SaveHook()]), loader)

def spin():
    "A fixed piece of pure Python, by which the speed of the machine is told"
    d = {}
    for i in range(200_000): d[i & 255] = i

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
    return [row('iteration without work', 'us', [o*1e3 for o in quiet]), *res]

class MatmulLoop(IdleLoop):
    "A training loop whose work is some fixed milliseconds of matrix products"
    def forward(self):
        for _ in range(self.products): torch.mm(self.a, self.a, out=self.b)
        super().forward()

def busy(block, seconds=3e-3):
    "A runner with iterations of about `seconds`"
    loader = Passes([0]*block)
    loop = MatmulLoop(None, loader, max_epochs=NEVER)
    loop.a,loop.b = torch.rand(256, 256),torch.empty(256, 256)
    one = min(alternate([lambda: torch.mm(loop.a, loop.a, out=loop.b)], 50)[0])
    loop.products = max(round(seconds/one), 1)
    optimizer = SimpleNamespace(param_groups=[dict(lr=.01)], step=None, zero_grad=None)
    return begun(Runner(nn.Identity(), optimizer=optimizer, train_loop=loop, default_hooks=dict(logger=LoggerHook(block))), loader)

async def play_against_train(rounds, block=40):
    "How much longer than `train()` `play()` takes for the same passes, in percent"
    runner,res = busy(block),[]
    async def timed(playing):
        start = process_time()
        if playing: await runner.play()
        else: runner.train()
        return process_time()-start
    for r in range(rounds):
        times = {k: await timed(k) for k in ((True, False) if r % 2 else (False, True))}
        res.append((times[True]/times[False]-1)*100)
    return [row('play() longer than train(), 3 ms iterations', '%', res, 1.5)]

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

def number(v): return f'{v:.3g}' if abs(v) < 100 else f'{v:.0f}'

def shown(r):
    "A row as the cells of a table"
    if 'note' in r: return r['what'],'',r['note'],''
    budget = '' if r['budget'] is None else f"<= {number(r['budget'])}"
    measured = f"{number(r['measured'])} {r['unit']} [{number(r['low'])}, {number(r['high'])}]"
    return r['what'],budget,measured,{True: 'ok', False: 'OVER', None: ''}[r['ok']]

def table(title, rows):
    "Print `rows` in columns"
    cells = [(title, 'budget', 'median [quartiles]', ''), *map(shown, rows)]
    widths = [max(len(c[i]) for c in cells) for i in range(4)]
    print('\n'.join('  '.join(o.ljust(w) for o,w in zip(c, widths)).rstrip() for c in cells) + '\n', flush=True)

def silently(fn, *args):
    "Call `fn`, with what it prints thrown away by the system, so that printing costs what it costs"
    with open(os.devnull, 'w') as f, contextlib.redirect_stdout(f), contextlib.redirect_stderr(f): return list(fn(*args))

def sections(args, folder):
    "Titles and rows, as they are measured"
    q = args.quick
    yield 'runner', silently(added, 8 if q else 40, folder)
    yield 'growth', silently(flatness, args.long or (20_000 if q else 200_000), folder)
    yield 'play', silently(lambda: asyncio.run(play_against_train(10 if q else 40)))
    yield 'import', import_time(2 if q else 5)
    if args.peers: yield f'peers, per iteration, logging each {EVERY}', silently(peers, 6 if q else 14, folder)

def main():
    p = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    p.add_argument('--quick', action='store_true', help='fewer rounds: under 20 s')
    p.add_argument('--long', type=int, metavar='N', help='iterations over which costs must not grow (200000, quick 20000)')
    p.add_argument('--peers', action='store_true', help='other trainers too, those that are installed')
    p.add_argument('--json', metavar='FILE', help='write the numbers to a file too')
    args,res = p.parse_args(),{}
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    about = dict(python=platform.python_version(), torch=torch.__version__, cores=os.cpu_count(), batch=64, block=BLOCK)
    print(f"{about}\nHooks: RuntimeInfo, IterTimer, Logger, Progress (no terminal, so idle)\n"
          f"       RateHook: {RateHook.__doc__}\n       SaveHook: {SaveHook.__doc__}\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for title,rows in sections(args, folder):
            res[title] = rows
            table(title, rows)
    if args.json:
        with open(args.json, 'w') as f: json.dump(dict(about=about, **res), f, indent=1)

if __name__ == '__main__': main()
