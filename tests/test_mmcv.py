"MMCV's runners: every example of its hook tutorial as it is written there, runs equal to a loop written by hand, and hooks that know nothing of this library."
import json
import re
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, Dataset

from interactive_runner.files import store_of
from interactive_runner.mmcv import (HOOKS, EMAHook, EpochBasedRunner, EvalHook, Fp16OptimizerHook, Hook, IterBasedRunner, auto_fp16, force_fp32)

class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 1)
    def forward(self, x, y=None, return_loss=True): return (self.linear(x)-y).square().mean() if return_loss else list(self.linear(x))
    def train_step(self, data, optimizer):
        loss = self(**data)
        return dict(loss=loss, log_vars=dict(loss=loss.item()), num_samples=len(data['x']))
    def val_step(self, data, optimizer): return self.train_step(data, optimizer)

class Numbers(Dataset):
    def __init__(self, n=12, seed=0): self.x = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    def __len__(self): return len(self.x)
    def __getitem__(self, i): return dict(x=self.x[i], y=self.x[i].sum(0, keepdim=True))
    def evaluate(self, results, logger=None, **kwargs):
        error = sum((r-o['y']).abs().item() for r,o in zip(results, self))/len(self)
        return dict(acc=1/(1+error))

def loaders(): return DataLoader(Numbers(), batch_size=3),DataLoader(Numbers(6, 1), batch_size=3)

def make(kind=EpochBasedRunner, opt=None, **kwargs):
    torch.manual_seed(0)
    model = Toy()
    optimizer = opt(model) if opt else torch.optim.SGD(model.parameters(), lr=.1, momentum=.9)
    return kind(model, optimizer=optimizer, **(dict(max_epochs=3) if kind is EpochBasedRunner else dict(max_iters=10)) | kwargs)

def go(runner, *parts):
    train,val = loaders()
    parts = parts or (('train', 1),)
    return runner.run([train if m == 'train' else val for m,_ in parts], list(parts))

def weights(runner): return [p.detach().clone() for p in runner.model.parameters()]

@pytest.mark.parametrize('clip', [None, dict(max_norm=.5, norm_type=2)])
def test_a_run_with_an_optimizer_hook_is_the_loop_written_by_hand(clip):
    runner = make()
    runner.register_training_hooks(None, dict(grad_clip=clip))
    go(runner)
    torch.manual_seed(0)
    model = Toy()
    opt = torch.optim.SGD(model.parameters(), lr=.1, momentum=.9)
    for _ in range(3):
        for data in loaders()[0]:
            loss = model(**data)
            opt.zero_grad()
            loss.backward()
            if clip: nn.utils.clip_grad_norm_(model.parameters(), **clip)
            opt.step()
    assert all(torch.equal(a, b) for a,b in zip(runner.model.parameters(), model.parameters()))

def test_without_an_optimizer_hook_no_weight_changes():
    runner = make()
    before = weights(runner)
    go(runner)
    assert all(torch.equal(a, b) for a,b in zip(before, runner.model.parameters())) and runner.iter == 12

def test_gradients_of_four_iterations_make_a_step_and_the_last_cycle_is_shorter():
    runner = make(IterBasedRunner)
    runner.register_optimizer_hook(dict(type='GradientCumulativeOptimizerHook', cumulative_iters=4))
    go(runner)
    torch.manual_seed(0)
    model = Toy()
    opt = torch.optim.SGD(model.parameters(), lr=.1, momentum=.9)
    batches = [*loaders()[0]]*3
    for start,n in ((0, 4), (4, 4), (8, 2)):
        opt.zero_grad()
        for data in batches[start:start+n]: (model(**data)/n).backward()
        opt.step()
    assert all(torch.allclose(a, b, rtol=0, atol=1e-7) for a,b in zip(runner.model.parameters(), model.parameters()))

@pytest.mark.parametrize('kind', [EpochBasedRunner, IterBasedRunner])
def test_a_run_that_is_stepped_paused_and_lost_is_the_run_in_one_go(kind):
    ready = lambda: make(kind).prepare([*loaders()], [('train', 2), ('val', 1)])
    a,b = ready(),ready()
    for r in (a, b): r.register_training_hooks(None, dict())
    a.train()
    while b.status != 'done':
        b.step('line', 3)
        if b.training: b.player.gen = None
    assert (a.iter, a.epoch) == (b.iter, b.epoch) and all(torch.equal(x, y) for x,y in zip(a.model.parameters(), b.model.parameters()))
    assert a.message_hub.get_scalar('val/loss').data[0].tolist() == b.message_hub.get_scalar('val/loss').data[0].tolist()

def test_the_stages_come_in_the_order_of_the_tutorial():
    seen = []
    class Diary(Hook): pass
    stages = ['before_run', 'before_train_epoch', 'before_train_iter', 'after_train_iter', 'after_train_epoch', 'before_val_epoch', 'before_val_iter',
              'after_val_iter', 'after_val_epoch', 'after_run']
    for s in stages: setattr(Diary, s, lambda self, runner, s=s: seen.append(s))
    runner = make(max_epochs=1)
    runner.register_hook(Diary())
    runner.run([DataLoader(Numbers(3), batch_size=3)]*2, [('train', 1), ('val', 1)])
    assert seen == stages

class Generic:
    def __init__(self): self.seen = []
    def before_epoch(self, runner): self.seen.append(f'before_epoch {runner.mode}')
    def after_iter(self, runner): self.seen.append(f'after_iter {runner.mode} {runner.inner_iter}')

def test_generic_stages_stand_for_training_and_validation_and_the_runner_says_which():
    hook = Generic()
    runner = make(max_epochs=1)
    runner.register_hook(hook)
    runner.run([DataLoader(Numbers(6), batch_size=3), DataLoader(Numbers(3), batch_size=3)], [('train', 1), ('val', 1)])
    assert hook.seen == ['before_epoch train', 'after_iter train 0', 'after_iter train 1', 'before_epoch val', 'after_iter val 0']

# The tutorial's examples

def test_evaluating_each_epoch():
    runner = make()
    runner.register_hook(EvalHook(loaders()[1]))
    runner.register_optimizer_hook(dict(grad_clip=None))
    go(runner)
    assert len(runner.message_hub.get_scalar('val/acc')) == 3

def test_evaluating_each_fifth_epoch():
    runner = make(max_epochs=11)
    runner.register_hook(EvalHook(loaders()[1], interval=5))
    go(runner)
    assert len(runner.message_hub.get_scalar('val/acc')) == 2
    assert EvalHook(loaders()[1], by_epoch=False).priority == 'LOW' and EvalHook(loaders()[1]).priority == 'NORMAL'

def test_a_resumed_run_is_evaluated_before_it_trains(tmp_path):
    first = make(max_epochs=5, work_dir=str(tmp_path))
    first.register_training_hooks(None, dict(), dict(interval=5))
    go(first)
    for start,times in ((5, 2), (6, 1)):
        runner = make(max_epochs=6)
        runner.register_hook(EvalHook(loaders()[1], start=start))
        runner.register_optimizer_hook(dict())
        runner.resume(str(tmp_path/'latest.pth'))
        go(runner)
        assert len(runner.message_hub.get_scalar('val/acc')) == times and runner.epoch == 6

@pytest.mark.parametrize('save_best', ['acc', 'auto'])
def test_the_best_model_is_saved(save_best, tmp_path):
    runner = make(work_dir=str(tmp_path))
    runner.register_hook(EvalHook(loaders()[1], save_best=save_best))
    runner.register_optimizer_hook(dict(grad_clip=None))
    go(runner)
    values = runner.message_hub.get_scalar('val/acc').data[0]
    best = f'best_acc_epoch_{values.argmax()+1}.pth'
    assert [o.name for o in tmp_path.glob('best*')] == [best] and runner.meta['hook_msgs']['best_ckpt'] == str(tmp_path/best)

@pytest.mark.parametrize('background', [False, True])
def test_the_link_to_the_latest_leads_to_the_last_file_of_the_interval_and_not_to_a_best_one(background, tmp_path):
    runner = make(work_dir=str(tmp_path))
    runner.register_optimizer_hook(dict(grad_clip=None))
    runner.register_checkpoint_hook(dict(interval=2, save_last=False, background=background))
    runner.register_hook(EvalHook(loaders()[1], save_best='acc', rule='less'))
    go(runner)
    assert list(tmp_path.glob('best*')) and (tmp_path/'latest.pth').resolve().name == 'epoch_2.pth'

def test_the_best_model_goes_where_a_url_says(tmp_path):
    runner = make(work_dir=str(tmp_path))
    runner.register_hook(EvalHook(loaders()[1], save_best='acc', out_dir='runs/mmcv', file_client_args=dict(backend='memory')))
    runner.register_optimizer_hook(dict(grad_clip=None))
    go(runner)
    store,folder = store_of('memory://runs/mmcv')
    assert [f'{folder}/{o}' for o in store.names(folder)] == [runner.meta['hook_msgs']['best_ckpt']] and not list(tmp_path.glob('best*'))

@pytest.mark.parametrize('config,files', [
    (dict(interval=5), ['epoch_10.pth', 'epoch_11.pth', 'epoch_5.pth']),
    (dict(interval=2, max_keep_ckpts=2), ['epoch_10.pth', 'epoch_11.pth']),
    (dict(interval=5, sync_buffer=True), ['epoch_10.pth', 'epoch_11.pth', 'epoch_5.pth'])])
def test_checkpoints_at_an_interval(config, files, tmp_path):
    runner = make(max_epochs=11, work_dir=str(tmp_path))
    runner.register_checkpoint_hook(config)
    go(runner)
    assert sorted(o.name for o in tmp_path.glob('epoch*')) == files and (tmp_path/'latest.pth').resolve().name == 'epoch_11.pth'

def test_checkpoints_in_another_folder(tmp_path):
    runner = make(work_dir=str(tmp_path/'work'))
    runner.register_checkpoint_hook(dict(interval=1, out_dir=str(tmp_path/'expected')))
    go(runner)
    assert sorted(o.name for o in (tmp_path/'expected'/'work').glob('epoch*')) == ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth']

def test_parameters_outside_of_the_graph_are_named(caplog):
    import logging
    runner = make(logger=logging.getLogger('anomalous'))
    runner.model.spare = nn.Linear(1, 1)
    runner.register_optimizer_hook(dict(grad_clip=None, detect_anomalous_params=True))
    go(runner)
    assert 'spare.weight' in caplog.text

def test_methods_marked_for_half_precision_run_in_it():
    seen = []
    class Marked(Toy):
        fp16_enabled = False
        @auto_fp16(apply_to=('x',))
        def forward(self, x, y=None, return_loss=True):
            out = self.linear(x)
            seen.append(out.dtype)
            return self.loss(out, y)
        @force_fp32(apply_to=('out',))
        def loss(self, out, y):
            seen.append(out.dtype)
            return (out-y).square().mean()
    torch.manual_seed(0)
    model = Marked()
    runner = EpochBasedRunner(model, optimizer=torch.optim.SGD(model.parameters(), lr=.1), max_epochs=1)
    before = weights(runner)
    runner.register_training_hooks(None, Fp16OptimizerHook(grad_clip=None, loss_scale=512., distributed=False))
    go(runner)
    assert set(seen) == {torch.bfloat16, torch.float32} and not torch.equal(before[0], model.linear.weight)

@pytest.mark.parametrize('config', [dict(type='EMAHook'), dict(type='EMAHook', interval=4)])
def test_the_average_of_the_weights_is_that_of_the_formula(config):
    runner = make()
    runner.register_optimizer_hook(dict())
    runner.register_hook(config, priority='NORMAL')
    go(runner)
    torch.manual_seed(0)
    model,n,i = Toy(),config.get('interval', 1),0
    opt = torch.optim.SGD(model.parameters(), lr=.1, momentum=.9)
    means = [p.detach().clone() for p in model.parameters()]
    for _ in range(3):
        for data in loaders()[0]:
            opt.zero_grad()
            model(**data).backward()
            opt.step()
            if (i+1) % n == 0:
                m = min(.0002**n, (1+i)/(100+i))
                for mean,p in zip(means, model.parameters()): mean.lerp_(p.detach(), m)
            i += 1
    assert all(torch.equal(a, b) for a,b in zip(runner.model.parameters(), means))
    assert torch.equal(runner.model.ema_linear_weight, model.linear.weight)

@pytest.mark.parametrize('first', [True, False])
def test_an_average_stands_behind_the_optimizer_and_before_the_checkpoint_whichever_is_registered_first(first, tmp_path):
    runner = make(work_dir=str(tmp_path))
    if first: runner.register_hook(dict(type='EMAHook'))
    runner.register_training_hooks(None, dict(), dict(interval=1))
    if not first: runner.register_hook(dict(type='EMAHook'))
    names = [r.name for r in runner.hooks.rows]
    assert names.index('OptimizerHook') < names.index('EMAHook') < names.index('CheckpointHook')

@pytest.mark.parametrize('by', ['runner', 'hook'])
def test_a_resumed_average_goes_on_as_if_there_had_been_no_break(by, tmp_path):
    def run(n, **more):
        r = make(max_epochs=n, work_dir=str(tmp_path))
        r.register_training_hooks(None, dict(), dict(interval=1))
        r.register_hook(dict(type='EMAHook', momentum=.1, **more), priority='NORMAL')
        r.hooks['EMAHook'].move(before='CheckpointHook')
        return r
    whole,half = run(4),run(2)
    go(whole)
    go(half)
    path = str(tmp_path/'epoch_2.pth')
    rest = run(4, **(dict(resume_from=path) if by == 'hook' else {}))
    if by == 'runner': rest.resume(path)
    go(rest)
    a,b = whole.model.state_dict(),rest.model.state_dict()
    assert rest.epoch == 4 and a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)

LINE = r'Epoch \[\d\]\[\d/4\]\tlr: \d\.\d{3}e[+-]\d\d, eta: \d+:\d\d:\d\d, time: \d+\.\d{3}, data_time: \d+\.\d{3}, (memory: \d+, )?loss: \d+\.\d{4}'

def test_the_text_logger_writes_lines_and_json_and_copies_them_in_the_end(tmp_path, capsys):
    runner = make(work_dir=str(tmp_path/'work'))
    text = dict(type='TextLoggerHook', out_dir=str(tmp_path/'out'), out_suffix=('.log.json', '.log'))
    runner.register_training_hooks(None, dict(), log_config=dict(interval=2, hooks=[text]))
    runner.register_hook(EvalHook(loaders()[1]))
    go(runner)
    lines = [o.partition(' - INFO - ')[2] for o in capsys.readouterr().out.splitlines()]
    epochs = [o for o in lines if o.startswith('Epoch [')]
    assert len(epochs) == 6 and all(re.fullmatch(LINE, o) for o in epochs)
    assert len([o for o in lines if re.fullmatch(r'Epoch\(val\) \[\d\]\[2\]\tacc: 0\.\d{4}', o)]) == 3
    file, = (tmp_path/'out'/'work').glob('*.log.json')
    rows = [json.loads(o) for o in file.read_text().splitlines()]
    assert [(o['mode'], o['epoch'], o['iter']) for o in rows[:3]] == [('train', 1, 2), ('train', 1, 4), ('val', 1, 2)]
    assert list((tmp_path/'out'/'work').glob('*.log')) and list((tmp_path/'work').glob('*.log.json'))

def test_a_log_config_without_interval_logs_each_ten_iterations(tmp_path):
    runner = make(IterBasedRunner, max_iters=20, work_dir=str(tmp_path))
    runner.register_logger_hooks(dict(hooks=[dict(type='TextLoggerHook', keep_local=False, out_dir=str(tmp_path/'out'))]))
    go(runner)
    file, = (tmp_path/'out').rglob('*.log.json')
    assert [json.loads(o)['iter'] for o in file.read_text().splitlines()] == [10, 20] and not list(tmp_path.glob('*.log.json'))

def test_a_text_logger_that_moves_its_files_moves_all_lines_of_a_run_that_is_carried_on(tmp_path):
    runner = make(work_dir=str(tmp_path/'work'))
    runner.register_logger_hooks(dict(interval=4, hooks=[dict(type='TextLoggerHook', keep_local=False, out_dir=str(tmp_path/'out'))]))
    go(runner)
    runner.train_loop.max_epochs += 1
    runner.run_until(epoch=4)
    runner.stop()
    (log,),(rows,) = ([*(tmp_path/'out'/'work').glob(o)] for o in ('*.log', '*.log.json'))
    epochs = runner.epoch
    assert log.read_text().count('Epoch [') == len(rows.read_text().splitlines()) == epochs and not list((tmp_path/'work').rglob('*.log*'))

def test_a_hook_of_ones_own_from_the_registry_finds_an_infinite_loss():
    @HOOKS.register_module(force=True)
    class CheckInvalidLoss(Hook):
        def __init__(self, interval=50): self.interval = interval
        def after_train_iter(self, runner):
            if self.every_n_iters(runner, self.interval):
                assert torch.isfinite(runner.outputs['loss']), runner.logger.info('loss become infinite or NaN!')
    runner = make(opt=lambda m: torch.optim.SGD(m.parameters(), lr=1e30))
    runner.register_training_hooks(None, dict(), custom_hooks_config=[dict(type='CheckInvalidLoss', interval=2)])
    with pytest.raises(AssertionError): go(runner)
    assert runner.status == 'error' and runner.hooks.failed == 'CheckInvalidLoss'

# Bad input

@pytest.mark.parametrize('second', ['OptimizerHook', 'Fp16OptimizerHook', 'GradientCumulativeOptimizerHook'])
def test_a_second_hook_that_goes_backward_is_refused_and_the_run_is_that_without_it(second):
    first = 'GradientCumulativeOptimizerHook' if second == 'OptimizerHook' else 'OptimizerHook'
    a,b = make(),make()
    for r in (a, b): r.register_optimizer_hook(dict(type=first))
    with pytest.raises(ValueError, match=f'{first} does backward.*{second} would run the same graph backward a second time'):
        b.register_optimizer_hook(dict(type=second))
    go(a), go(b)
    assert all(torch.equal(p, q) for p,q in zip(a.model.parameters(), b.model.parameters()))

@pytest.mark.parametrize('call,error,text', [
    (lambda: make(max_epochs=2, max_iters=3), ValueError, 'exclude each other'),
    (lambda: EpochBasedRunner(Toy(), max_iters=3), ValueError, 'is counted by max_epochs'),
    (lambda: EpochBasedRunner(nn.Linear(1, 1), max_epochs=1), TypeError, 'has no train_step and no val_step'),
    (lambda: make(logger='me'), TypeError, 'logging.Logger'),
    (lambda: make(meta=3), TypeError, 'meta must be a dict'),
    (lambda: go(make(max_epochs=None)), RuntimeError, 'how long to train'),
    (lambda: make().train(), RuntimeError, 'run(data_loaders, workflow)'),
    (lambda: go(make(), ('vali', 1)), ValueError, "parts 'train' and 'val'"),
    (lambda: EvalHook([1]), TypeError, 'torch DataLoader'),
    (lambda: EvalHook(loaders()[1], start=-1), ValueError, '0 or more'),
    (lambda: EvalHook(loaders()[1], save_best='thing'), ValueError, 'greater, or less'),
    (lambda: EMAHook(momentum=2.), ValueError, 'above 0 and below 1')])
def test_what_cannot_be_meant_is_refused(call, error, text):
    with pytest.raises(error, match=re.escape(text)): call()

def test_dicts_of_the_caller_stay_as_they_are():
    configs = dict(optimizer_config=dict(type='OptimizerHook', grad_clip=None), log_config=dict(interval=3, hooks=[dict(type='TextLoggerHook')]),
                   timer_config=dict(type='IterTimerHook'), custom_hooks_config=[dict(type='EMAHook', priority='LOW')])
    before = json.dumps(configs)
    runner = make(IterBasedRunner)
    runner.register_training_hooks(None, **configs)
    assert json.dumps(configs) == before and runner.hooks['EMAHook'].priority == 70 and not runner.hooks['TextLoggerHook'].hook.by_epoch

def test_a_name_that_both_dialects_have_means_what_the_run_s_scope_says():
    code = '''
from interactive_runner.registry import HOOKS, default_scope
assert HOOKS.get('mmcv.EMAHook').__module__ == 'interactive_runner.hooks.average'
import interactive_runner.mmcv
for scope,where in ((None, 'ema'), ('mmengine', 'ema'), ('mmcv', 'average')):
    with default_scope(scope): assert HOOKS.get('EMAHook').__module__ == f'interactive_runner.hooks.{where}', scope
'''
    subprocess.run([sys.executable, '-c', code], check=True)

def test_the_rate_that_is_logged_is_the_one_that_was_used():
    used = []
    class Look:
        def after_train_iter(self, runner): used.append(runner.current_lr()[0])
    runner = make(IterBasedRunner)
    runner.register_training_hooks(dict(policy='CosineAnnealing', min_lr=0., warmup='linear', warmup_iters=3), dict())
    runner.register_hook(Look())
    go(runner)
    assert used == runner.message_hub.get_scalar('train/lr').data[0].tolist() and len(set(used)) == 10

@pytest.mark.parametrize('config', [dict(policy='step', step=[1, 2]), dict(policy='CosineAnnealing', min_lr=.01)])
def test_learning_rate_configs_of_the_tutorial(config):
    runner = make()
    runner.register_lr_hook(config)
    runner.register_optimizer_hook(dict())
    go(runner)
    rates = runner.message_hub.get_scalar('train/lr').data[0][::4]
    want = [.1, .01, .001] if 'step' in config else [.01+.09*(1+torch.cos(torch.tensor(torch.pi*p/3, dtype=torch.float64)).item())/2 for p in range(3)]
    assert rates == pytest.approx(want, abs=1e-12)

# Off and on, and elsewhere

def switched(kind, hook, moves):
    "The run with `hook`, which is switched and moved by commands at these lines"
    runner = make(kind).prepare([*loaders()], [('train', 2), ('val', 1)])
    runner.register_training_hooks(dict(policy='CosineAnnealing', min_lr=.01), dict())
    row = runner.register_hook(hook) if hook is not None else None
    acts = dict(on=lambda: row.on(), off=lambda: row.off(), first=lambda: setattr(row, 'priority', 1), last=lambda: setattr(row, 'priority', 100))
    for n,act in moves if row else ():
        if runner.status != 'done': runner.step('line', n)
        acts[act]()
    if row: row.on()
    return runner.train() and runner

@pytest.mark.parametrize('kind', [EpochBasedRunner, IterBasedRunner])
@pytest.mark.parametrize('hook', [lambda: EvalHook(loaders()[1], by_epoch=False), lambda: EvalHook(loaders()[1]),
                                  lambda: dict(type='TextLoggerHook', interval=2)])
@settings(max_examples=6, deadline=None)
@given(moves=st.lists(st.tuples(st.integers(1, 17), st.sampled_from(['on', 'off', 'first', 'last'])), max_size=5))
def test_a_hook_that_only_looks_changes_no_weight_however_it_is_switched_and_moved(kind, hook, moves):
    plain,other = switched(kind, None, ()),switched(kind, hook(), moves)
    assert all(torch.equal(a, b) for a,b in zip(plain.model.parameters(), other.model.parameters()))
    assert plain.message_hub.get_scalar('train/lr').data[0].tolist() == other.message_hub.get_scalar('train/lr').data[0].tolist()

@settings(max_examples=12, deadline=None)
@given(moves=st.lists(st.tuples(st.integers(1, 17), st.sampled_from(['on', 'off', 'first', 'last'])), max_size=5))
def test_weights_and_their_average_are_never_lost_however_the_average_is_switched_and_moved(moves):
    runner = switched(EpochBasedRunner, EMAHook(momentum=.1), moves)
    plain = switched(EpochBasedRunner, None, ())
    hook = runner.hooks['EMAHook'].hook
    hook.swap(runner, False)
    assert all(torch.equal(a, b) for a,b in zip(runner.model.parameters(), plain.model.parameters()))

@pytest.mark.parametrize('config', [dict(grad_clip=None), dict(type='GradientCumulativeOptimizerHook', cumulative_iters=2), dict(type='Fp16OptimizerHook')])
def test_an_optimizer_hook_that_is_off_for_some_iterations_makes_no_step_in_them(config):
    runner = make(IterBasedRunner).prepare([loaders()[0]], [('train', 1)])
    row = runner.register_optimizer_hook(config)
    runner.step('iter', 4)
    before = weights(runner)
    row.off()
    runner.step('iter', 3)
    assert all(torch.equal(a, b) for a,b in zip(before, runner.model.parameters()))
    row.on()
    runner.train()
    assert runner.iter == 10 and not torch.equal(before[0], runner.model.linear.weight)

@pytest.mark.parametrize('kind', [EpochBasedRunner, IterBasedRunner])
@pytest.mark.parametrize('n', [1, 5, 8])
@pytest.mark.parametrize('optim', [dict(), dict(type='GradientCumulativeOptimizerHook', cumulative_iters=3)])
def test_a_run_that_is_saved_anywhere_in_its_workflow_goes_on_there(kind, n, optim, tmp_path):
    def ready():
        runner = make(kind)
        runner.register_training_hooks(dict(policy='poly', power=2., by_epoch=False), optim)
        return runner
    flow = lambda runner: runner.prepare([*loaders()], [('train', 2), ('val', 1)])
    whole,half,rest = flow(ready()),flow(ready()),ready()
    whole.train()
    half.run_until(iter=n)
    rest.resume(half.save_checkpoint(str(tmp_path), 'middle.pth'))
    flow(rest).train()
    assert (rest.iter, rest.epoch) == (whole.iter, whole.epoch) and all(torch.equal(a, b) for a,b in zip(whole.model.parameters(), rest.model.parameters()))
    values = lambda runner: {k: runner.message_hub.get_scalar(k).data[0].tolist() for k in ('train/loss', 'train/lr', 'val/loss')}
    assert values(rest) == values(whole)

@pytest.mark.parametrize('n', [None, 2, 5, 7, 8])
def test_each_part_of_a_workflow_of_iterations_goes_over_its_own_loader_from_turn_to_turn(n, tmp_path):
    class Diary:
        def __init__(self): self.seen = []
        def after_iter(self, runner): self.seen += runner.data_batch['x'][:, 0].tolist()
    def ready():
        runner,diary = make(IterBasedRunner),Diary()
        runner.register_training_hooks(None, dict())
        runner.register_hook(diary)
        return runner,diary
    sets = Numbers(6),Numbers(15, 1),Numbers(9, 2),Numbers(6, 3)
    flow = [('train', 1), ('train', 2), ('val', 1), ('val', 1)]
    go = lambda runner: runner.prepare([DataLoader(o, batch_size=3) for o in sets], flow)
    (runner,diary),(rest,after) = ready(),ready()
    go(runner)
    if n is not None:
        runner.run_until(iter=n)
        rest.resume(runner.save_checkpoint(str(tmp_path), 'middle.pth'))
        go(rest).train()
    else: runner.train()
    want,at = [],[0]*4
    for turn in range(4): # 3 + 3 + 3 + 1 iterations of training
        for i in (0, 1, 1, 2, 3):
            if turn == 3 and i == 1: continue # beyond the end, but its validation is due
            want += sets[i].x[[(at[i]+j) % len(sets[i]) for j in range(3)], 0].tolist()
            at[i] += 3
    assert diary.seen + after.seen == want

def test_a_run_with_another_workflow_says_so_and_goes_on_from_what_is_complete(tmp_path, capsys):
    first,rest = make(IterBasedRunner),make(IterBasedRunner)
    first.prepare([*loaders()], [('train', 2), ('val', 1)]).run_until(iter=5)
    rest.resume(first.save_checkpoint(str(tmp_path)))
    rest.prepare([loaders()[0]], [('train', 1)]).train()
    assert rest.iter == 10 and "the workflow was [('train', 2), ('val', 1)] and is [('train', 1)] here" in capsys.readouterr().out
    assert [o.name for o in tmp_path.glob('iter*')] == ['iter_5.pth']

def test_what_hooks_leave_in_meta_is_in_the_file_and_there_after_a_resume(tmp_path):
    first,rest = make(meta=dict(note='mine')),make()
    first.meta['hook_msgs']['best'] = 3
    go(first)
    file = first.save_checkpoint(str(tmp_path))
    rest.resume(file)
    go(rest)
    assert torch.load(file, weights_only=True)['meta']['note'] == 'mine' and rest.meta['hook_msgs'] == dict(best=3)

def test_helpers_of_the_base_find_everything_on_the_runner():
    class Last(Hook):
        def __init__(self): self.seen = []
        def after_train_iter(self, runner):
            if self.end_of_epoch(runner): self.seen.append((runner.epoch, self.is_last_epoch(runner), self.is_last_iter(runner)))
            elif self.every_n_inner_iters(runner, 2): self.seen.append(runner.inner_iter)
    hook,runner = Last(),make()
    runner.register_hook(hook)
    go(runner)
    assert hook.seen == [1, (0, False, False), 1, (1, False, False), 1, (2, True, True)]
