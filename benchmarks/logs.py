"""What numbers and log lines cost, beside the budgets: adding values by the million, and one log event part by part.

It is CPU time of the process, warm: in a training loop a log event finds cold caches and costs more, see overhead.py."""
import logging, tempfile, tracemalloc
from functools import partial
from time import process_time
from types import SimpleNamespace

import torch

from _measure import arguments, report, row, silently, spin, spread
from interactive_runner.history import HistoryBuffer
from interactive_runner.hooks.logger import LoggerHook
from interactive_runner.hub import MessageHub
from interactive_runner.logger import get_logger
from interactive_runner.logproc import LogProcessor
from interactive_runner.visualizer import Visualizer

EVERY,BLOCK = 50,1000 # values from one reading of the mean to the next; values in a block that is timed
NAMES = 'lr data_time time loss_cls loss_box loss'.split() # of what a log line shows

class Far(torch.Tensor):
    "A tensor on the CPU that claims to be on a device"
    is_cpu,__torch_function__ = False,torch._C._disabled_torch_function_impl

def seconds(fn, *args):
    "CPU time of a call"
    start = process_time()
    fn(*args)
    return process_time()-start

def some(value, add):
    for _ in range(EVERY): add(value)

def adding(n, value, add, read):
    "For blocks of `n` values: microseconds per value, the same with readings, and the latter by the speed of the machine"
    alone,both,rel = [],[],[]
    for _ in range(n//BLOCK):
        speed,a,b = seconds(spin, 10_000),0,0
        for _ in range(BLOCK//EVERY):
            a += seconds(some, value, add)
            b += seconds(read)
        alone.append(a*1e6/BLOCK)
        both.append((a+b)*1e6/BLOCK)
        rel.append((a+b)/speed)
    return alone,both,rel

def late(rel):
    "The last tenth against the median of the first"
    part = len(rel)//10
    early = spread(rel[:part])[1]
    return [o/early for o in rel[-part:]]

def through_hub(n, value):
    "`adding` to a hub, read by its global mean"
    hub,processor,rule = MessageHub('benchmark'),LogProcessor(),('mean', 'global', {})
    return adding(n, value, partial(hub.update_scalar, 'train/loss'), lambda: processor.value(hub, 'train/loss', rule))

def weight(n):
    "Most bytes per value that a history of 1000 to `n` values takes"
    tracemalloc.start()
    buf,worst,base = HistoryBuffer(),0,tracemalloc.get_traced_memory()[0]
    for i in range(1, n+1):
        buf.update(.5)
        if i >= 1000 and buf._next+1 >= buf._room*.8: worst = max(worst, (tracemalloc.get_traced_memory()[0]-base)/i)
    tracemalloc.stop()
    return worst

def growing(n):
    "Costs of `n` values from the first to the last"
    buf = HistoryBuffer()
    kinds = {'a host number': .5, 'a tensor on the host': torch.tensor(.5), 'a device scalar': torch.tensor(.5).as_subclass(Far)}
    alone,*_ = adding(n, .5, buf.update, buf.mean)
    yield row('a host number, to a history', 'us', alone, .5)
    for what,value in kinds.items():
        alone,both,rel = through_hub(n, value)
        yield row(f'{what}, to the hub', 'us', alone, 4 if 'device' in what else .5 if 'number' in what else None)
        yield row(f'{what}, with the readings', 'us', both)
        yield row(f'{what}, last tenth / first', 'x', late(rel), 1.1)
    yield row('most bytes per value', 'B', [weight(n)]*2, 32)

def timed(rounds, prepare, *acts):
    "Microseconds of each of `acts`, all of which take turns, after `prepare`"
    times = [[] for _ in acts]
    for _ in range(rounds):
        for act,res in zip(acts, times):
            prepare()
            start = process_time()
            act()
            res.append((process_time()-start)*1e6)
    return [o[rounds//10:] for o in times]

def fake_run(folder, **kw):
    "What a `LoggerHook` and its processor read of a runner"
    hub = MessageHub('benchmark')
    hub.update_info('eta', 3725.4)
    return SimpleNamespace(message_hub=hub, epoch=0, iter=9, max_epochs=3, max_iters=3000, by_epoch=True, loop_length=dict(train=1000).get,
                           val_loop=None, main=None, log_processor=LogProcessor(**kw), logger=get_logger(file=f'{folder}/run.log'),
                           visualizer=Visualizer(folder))

def ten(run, value):
    "Ten iterations without work"
    for _ in range(10):
        for nm in NAMES: run.message_hub.update_scalar(f'train/{nm}', value)

def event(rounds, folder):
    "One log event, as a whole and in parts"
    run,far,wide = fake_run(folder),fake_run(folder),fake_run(folder, window_size='global')
    for o in (run, far, wide): ten(o, .5)
    hook,log,(tag,text) = LoggerHook(),run.logger,run.log_processor.get_log_after_iter(run, 9, 'train')
    record = log.makeRecord(log.name, logging.INFO, __file__, 1, text, (), None)
    line = lambda r: lambda: r.log_processor.get_log_after_iter(r, 9, 'train')
    parts = {'numbers and text': line(run)} | {type(h).__name__: lambda h=h: h.handle(record) for h in log.handlers} | {
        'JSON': lambda: run.visualizer.add_scalars(tag, 10)}
    def more(): ten(run, .5), ten(wide, .5), ten(far, x)
    x = torch.tensor(.5).as_subclass(Far)
    acts = {'a log event': lambda: hook.after_train_iter(run, 9), **parts,
            'numbers and text, global window': line(wide), 'numbers and text, from a device': line(far)}
    for nm,us in zip(acts, timed(rounds, more, *acts.values())): yield row(nm, 'us', us, 200 if nm == 'a log event' else None)

def sections(args, folder):
    "Titles and rows, as they are measured"
    n = args.n or (100_000 if args.quick else 1_000_000)
    yield f'{n:,} values, a global mean each {EVERY}', list(growing(n))
    yield f'a log event of {len(NAMES)} numbers', silently(event, 300 if args.quick else 3000, folder)

def main():
    p = arguments(__doc__)
    p.add_argument('--n', type=int, metavar='N', help='values that are added (1000000, quick 100000)')
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as folder: report(args, sections(args, folder))

if __name__ == '__main__': main()
