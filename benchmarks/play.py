"""What it costs to play a run in the background of a notebook, and how soon other cells are answered.

What is compared takes turns in one process; shown are the median and, in brackets, the quartiles. Times of runs are CPU time of the process, so that other
programs disturb less; the answers of a real kernel are timed by the clock on the wall, as a person would."""
import asyncio, os, queue, signal, subprocess, tempfile
from contextlib import nullcontext
from pathlib import Path
from time import monotonic, perf_counter, process_time
from timeit import repeat

import torch
from jupyter_client.manager import start_new_kernel
from torch import nn

from _measure import NEVER, NO_OPTIMIZER, IdleLoop, Passes, alternate, arguments, begun, report, row, silently
from interactive_runner import Runner
from interactive_runner.hooks.logger import LoggerHook
from interactive_runner.play import HAND_OVER

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
    return begun(Runner(nn.Identity(), optimizer=NO_OPTIMIZER, train_loop=loop, default_hooks=dict(logger=LoggerHook(block))), loader)

async def play_against_train(rounds, block=100):
    "How much longer than `train()` `play()` takes for the same passes, in percent"
    runner,res = busy(block),[]
    signal.signal(signal.SIGINT, signal.SIG_IGN) # as in an idle kernel
    async def timed(playing):
        start = process_time()
        if playing: await runner.play()
        else: runner.train()
        return process_time()-start
    for r in range(rounds):
        times = {k: await timed(k) for k in ((True, False) if r % 2 else (False, True))}
        res.append((times[True]/times[False]-1)*100)
    return [row('play() longer than train(), 3 ms iterations', '%', res, 1.5)]

def quiet(block, guarded):
    "A runner whose iterations do nothing but count, with or without the guard around them"
    loader = Passes([0]*block)
    runner = begun(Runner(nn.Sequential(nn.BatchNorm1d(8), nn.Dropout()), optimizer=NO_OPTIMIZER, train_loop=IdleLoop(None, loader, max_epochs=NEVER),
                          default_hooks=dict(logger=LoggerHook(block))), loader)
    if not guarded: runner.player.around = nullcontext()
    return runner

def per_call(fn, n=20_000, rounds=9):
    "Microseconds of a call"
    return [t/n*1e6 for t in repeat(fn, number=n, repeat=rounds)]

def guard_and_clock(rounds, block=5000):
    "What the run's ownership of its state costs: by iteration, and each time the thread is handed over"
    a,b = quiet(block, True),quiet(block, False)
    with_guard,without = alternate([a.train, b.train], rounds)
    def hand_over():
        with a.guard: pass
    enter = per_call(hand_over, 500)
    less = zip(per_call(a.clock), per_call(perf_counter))
    return [row('guard, per iteration', 'us', [(x-y)*1e6/block for x,y in zip(with_guard, without)], .2),
            row('guard, per hand-over', 'us', enter),
            row(f'the same, of the {HAND_OVER*1e3:.0f} ms from one to the next', '%', [t/HAND_OVER/1e4 for t in enter], .5),
            row('clock() more than perf_counter(), per call', 'us', [x-y for x,y in less], .5)]

CELL = """
import asyncio, os, time, torch
os.chdir({folder!r})
torch.set_num_threads(1)
from torch import nn
from interactive_runner import Runner
class Busy:
    def after_train_iter(self, runner):
        end = time.perf_counter()+.005
        while time.perf_counter() < end: pass
model = nn.Linear(4, 2)
runner = Runner(model, train_dataloader=[(torch.randn(8, 4), torch.zeros(8).long())]*100, loss_fn=nn.functional.cross_entropy, log_level='ERROR',
                optimizer=torch.optim.SGD(model.parameters(), lr=.1), max_epochs=10**6, custom_hooks=[Busy()])
"""

def ask(client, code):
    "Milliseconds until a cell that runs `code` is answered"
    start = monotonic()
    msg = client.execute(code)
    while client.get_shell_msg(timeout=60)['parent_header'].get('msg_id') != msg: pass
    took = (monotonic()-start)*1e3
    while True:
        try: client.get_iopub_msg(timeout=0)
        except queue.Empty: return took

def answers(n):
    "How long a cell waits in a real kernel that plays iterations of 5 ms, and in one that has nothing to do"
    manager,client = start_new_kernel(env=os.environ | dict(PYTHONPATH=str(Path(__file__).parents[1])), stderr=subprocess.DEVNULL)
    try:
        with tempfile.TemporaryDirectory() as folder:
            ask(client, CELL.format(folder=folder))
            idle = [ask(client, 'runner.iter') for _ in range(n)]
            ask(client, 'runner.play(); await asyncio.sleep(.5)')
            busy = [ask(client, 'runner.iter') for _ in range(n)]
            ask(client, 'runner.pause()')
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    late = sorted(busy)[-max(n//20, 2):]
    return [row('a cell is answered, idle kernel', 'ms', idle), row('while 5 ms iterations are played', 'ms', busy, 50),
            row('the same, the slowest twentieth', 'ms', late, 50)]

def sections(args):
    "Titles and rows, as they are measured"
    q = args.quick
    yield 'play', silently(lambda: asyncio.run(play_against_train(8 if q else 80)))
    yield 'guard and clock', silently(guard_and_clock, 10 if q else 40)
    yield 'other cells', answers(60 if q else 300)

if __name__ == '__main__':
    args = arguments(__doc__).parse_args()
    report(args, sections(args))
