"What the benchmarks share: passes that take turns in one process, and tables of what was measured against the budgets."
import argparse, contextlib, json, os, platform
from statistics import quantiles
from time import process_time
from types import SimpleNamespace

import torch

from interactive_runner.loop import EpochBasedTrainLoop

NEVER = 10**9 # longer than any run
NO_OPTIMIZER = SimpleNamespace(param_groups=[dict(lr=.01)], step=None, zero_grad=None)

class Passes(list):
    "Batches in memory; `between` is called before each pass over them"
    dataset,between = (),staticmethod(lambda: None)
    def __iter__(self):
        self.between()
        return super().__iter__()

class IdleLoop(EpochBasedTrainLoop):
    "A training loop whose work costs nothing, but for the marks that a retry needs"
    def zero_grad(self): self.begin_work()
    def forward(self): self.outputs = dict(loss=.5)
    def backward(self): pass
    def optim_step(self): pass

def begun(runner, loader):
    "`runner`, trained to the begin of a pass, and pausing there from now on"
    loader.between = runner.pause
    runner.train()
    return runner

def alternate(acts, rounds, warm=2, clock=process_time, between=lambda: None):
    "Seconds that each of `acts` takes, called in turn, with the order turned round each time; `between` two calls is not timed"
    times = [[] for _ in acts]
    for r in range(rounds+warm):
        for i in list(range(len(acts)))[::1 if r % 2 else -1]:
            start = clock()
            acts[i]()
            times[i].append(clock()-start)
            between()
    return [o[warm:] for o in times]

def spin(n=200_000):
    "A fixed piece of pure Python, by which the speed of the machine is told"
    d = {}
    for i in range(n): d[i & 255] = i

def spread(values):
    "Lower quartile, median and upper quartile"
    return quantiles(values, n=4)

def row(what, unit, values, budget=None):
    "A line of the table: the spread of `values`"
    low,mid,high = spread(values)
    return dict(what=what, unit=unit, budget=budget, measured=mid, low=low, high=high, ok=None if budget is None else mid <= budget)

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

def arguments(doc, quick='under 20 s'):
    "A parser of what every benchmark takes"
    p = argparse.ArgumentParser(description=doc.partition('\n')[0])
    p.add_argument('--quick', action='store_true', help=f'fewer rounds: {quick}')
    p.add_argument('--json', metavar='FILE', help='write the numbers to a file too')
    return p

def report(args, sections, **about):
    "Print tables of the `sections` as they are measured"
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    about,res = dict(python=platform.python_version(), torch=torch.__version__, cores=os.cpu_count(), **about),{}
    print(f'{about}\n', flush=True)
    for title,rows in sections:
        res[title] = rows
        table(title, rows)
    if args.json:
        with open(args.json, 'w') as f: json.dump(dict(about=about, **res), f, indent=1)
