"""What a checkpoint costs beside `torch.save` of the same weights and the same state of the optimizer: bytes, and seconds.

What is compared takes turns in one process; shown are the median over the turns and, in brackets, the quartiles.
It is time of the clock, since a disk is waited for."""
import os, tempfile
from pathlib import Path
from time import perf_counter

import torch
from torch import nn

from _measure import Passes, alternate, arguments, report, row, silently
from interactive_runner import Runner, ckpt

def run_of(width, iters, folder):
    "A run with a network of some layers of `width`, that has done `iters` iterations and kept their numbers"
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(width, width) for _ in range(4)))
    batches = Passes([(torch.randn(2, width), torch.randn(2, width))]*10)
    run = Runner(model, folder, batches, loss_fn=nn.functional.mse_loss, optimizer=torch.optim.Adam(model.parameters()), max_iters=iters,
                 default_hooks=dict(checkpoint=None))
    run.train()
    return run

def durable(state, path):
    "`torch.save`, and wait until it is on the disk"
    with open(path, 'wb') as f:
        torch.save(state, f)
        f.flush()
        os.fsync(f.fileno())

def costs(width, iters, rounds, folder):
    "Bytes and seconds of a checkpoint, as parts of those of `torch.save`"
    run,plain,path = run_of(width, iters, folder),f'{folder}/plain.pth',f'{folder}/ours.pth'
    state = lambda: dict(state_dict=run.model.state_dict(), optimizer=run.optimizer.state_dict())
    save = lambda **how: run.save_checkpoint(folder, 'ours.pth', **how)
    torch.save(state(), plain); save()
    bare,synced,ours,stage,load,load_ours = alternate([lambda: torch.save(state(), plain), lambda: durable(state(), plain), save, lambda: save(background=True),
        lambda: torch.load(plain, weights_only=True), lambda: ckpt.load_file(path)], rounds, clock=perf_counter, between=run.writer.wait)
    size,parts = Path(path).stat().st_size,Path(plain).stat().st_size
    per = lambda xs, ys: [x/y for x,y in zip(xs, ys)]
    return [row(f'bytes, after {iters:,} iterations', 'x', [size/parts]*2, 1.02 if width > 500 else None),
            row('bytes more, for each iteration', 'B', [(size-parts)/iters]*2),
            row('seconds to save, of `torch.save` and `fsync`', 'x', per(ours, synced), 1.25 if width > 500 else None),
            row('seconds to save, of `torch.save` alone', 'x', per(ours, bare)),
            row('seconds for which the run waits, in the background', 'x', per(stage, synced), .5 if width > 500 else None),
            row('seconds to load, of `torch.load`', 'x', per(load_ours, load)),
            *(row(nm, 'ms', [x*1e3 for x in xs]) for nm,xs in (('save', ours), ('background', stage), ('`torch.save` and `fsync`', synced)))]

def sections(args, folder):
    "Titles and rows, as they are measured"
    for width in (64, 1000) if args.quick else (64, 1000, 2000):
        mb = 3*4*4*width*(width+1)/1e6
        yield f'{mb:.3g} MB of weights and Adam', silently(costs, width, 200 if args.quick else 2000, 6 if args.quick else 20, tempfile.mkdtemp(dir=folder))

def main():
    args = arguments(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder: report(args, sections(args, folder))

if __name__ == '__main__': main()
