"""Microseconds that each hook takes per iteration, by the hook table's own clock: the median over passes and, in brackets, the quartiles.

One run with the usual hooks, and one more run for each other hook, on a small network with batches in memory. What a hook does now and then, such as a line of
the log, is spread over its iterations."""
import tempfile

import torch
from torch import nn
from torch.nn import functional as F

from _measure import NEVER, Passes, arguments, begun, report, row, silently
from interactive_runner.all import Runner

MORE = ['EMAHook', 'CheckInvalidLossHook', 'EmptyCacheHook', 'SyncBuffersHook', 'GradientFlowHook', 'ActivationStatsHook', 'UpdateRatioHook', 'MemoryHook',
        'ThroughputHook', 'OptimizerHook', dict(type='GradientCumulativeOptimizerHook', cumulative_iters=4), 'Fp16OptimizerHook', 'mmcv.EMAHook',
        dict(type='mmcv.StepLrUpdaterHook', step=[NEVER]), dict(type='mmcv.CosineAnnealingLrUpdaterHook', min_lr=0., by_epoch=False),
        dict(type='mmcv.CyclicMomentumUpdaterHook'), dict(type='mmcv.TextLoggerHook', interval=100),
        dict(type='EarlyStoppingHook', monitor='loss')]

def run_with(hook, folder):
    "A run with one hook beside the usual ones, whose `train()` is one pass"
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    data = Passes([(torch.randn(64, 64), torch.randint(10, (64,))) for _ in range(200)])
    schedule = {} if 'Lr' in str(hook) else dict(param_scheduler=dict(type='MultiStepLR', milestones=[NEVER], by_epoch=False))
    return begun(Runner(model, folder, data, loss_fn=F.cross_entropy, optimizer=torch.optim.SGD(model.parameters(), lr=.01), max_epochs=NEVER, log_level='INFO',
                        default_hooks=dict(checkpoint=dict(interval=NEVER, save_last=False)), custom_hooks=[hook] if hook else [], **schedule), data)

def costs(hook, rounds):
    "For each hook of a run: microseconds per iteration in each of several passes"
    with tempfile.TemporaryDirectory() as folder:
        runner = run_with(hook, folder)
        res = {}
        for _ in range(rounds+1):
            before,i = {r.name: r.seconds for r in runner.hooks.rows},runner.iter
            runner.train()
            for r in runner.hooks.rows: res.setdefault(r.name, []).append(1e6*(r.seconds-before[r.name])/(runner.iter-i))
        runner.stop()
    return {nm: v[1:] for nm,v in res.items()}

def usual(rounds):
    for nm,v in costs(None, rounds).items(): yield row(nm, 'us', v)

def others(rounds):
    for hook in MORE:
        kind = hook if isinstance(hook, str) else hook['type']
        yield row(kind, 'us', costs(dict(type=hook) if isinstance(hook, str) else hook, rounds)[kind.rpartition('.')[2]])

if __name__ == '__main__':
    args = arguments(__doc__).parse_args()
    n = 4 if args.quick else 20
    report(args, ((title, silently(fn, n)) for title,fn in (('usual hooks, per iteration', usual), ('one hook more', others))))
