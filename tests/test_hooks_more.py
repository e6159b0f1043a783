"Averages, early stopping, profiles and studies: against plain loops, from any road out of a run, and through checkpoints."
import json
import os
import threading
from copy import deepcopy

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from interactive_runner import HOOKS, Loop, Runner
from interactive_runner.average import BaseAveragedModel, ExponentialMovingAverage
from interactive_runner.ckpt import load_file
from interactive_runner.hooks.buffers import EmptyCacheHook, SyncBuffersHook
from interactive_runner.hooks.ema import EMAHook
from interactive_runner.hooks.optim import OptimizerHook
from interactive_runner.hooks.profiler import ProfilerHook
from interactive_runner.hooks.stopping import CheckInvalidLossHook, EarlyStoppingHook
from interactive_runner.hooks.study import ActivationStatsHook, GradientFlowHook, MemoryHook, ThroughputHook, UpdateRatioHook, layers, spread
from test_inside import Whole


def net(): return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))

def batches(n=24, size=6):
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(3))
    return DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), size)

def run_of(*hooks, make=net, **given):
    "A run of three epochs with four iterations each"
    torch.manual_seed(0)
    model = make()
    parts = dict(train_dataloader=batches(), val_dataloader=batches(12), loss_fn=F.cross_entropy, seed=7, log_level='ERROR', custom_hooks=hooks,
                 optimizer=torch.optim.SGD(model.parameters(), lr=.1, momentum=.9))
    if 'max_iters' not in given and 'train_loop' not in given: parts['max_epochs'] = 3
    return Runner(model, **parts | given)

def ended(run):
    run.train()
    return run

def equal(a, b):
    a,b = (o.state_dict() if isinstance(o, nn.Module) else o for o in (a, b))
    return a.keys() == b.keys() and all(torch.equal(v, b[k]) for k,v in a.items())

def hook_of(run, name): return run.hooks[name].hook
def ema_of(run): return hook_of(run, 'EMAHook').ema_model
def values(run, key): return run.message_hub.get_scalar(key).data[0].tolist()


# averages

MEANS = {'ExponentialMovingAverage': (dict(momentum=.1), lambda steps, every: .1),
         'MomentumAnnealingEMA': (dict(momentum=.1, gamma=3), lambda steps, every: max(.1, 3/(3+steps))),
         'StochasticWeightAverage': ({}, lambda steps, every: 1/(steps//every+1))}

def plain_loop(share, begin=1, every=1, with_buffers=False, epochs=3):
    "Train without a runner; the weights, and the average that one writes by hand"
    torch.manual_seed(0)
    model = net()
    optim,mean,steps,i = torch.optim.SGD(model.parameters(), lr=.1, momentum=.9),None,0,0
    for _ in range(epochs):
        for x,y in batches():
            optim.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optim.step()
            i += 1
            if i < begin: continue
            now = {k: v.clone() for k,v in model.state_dict().items()}
            learned = dict(model.named_parameters()).keys() | ({k for k,v in now.items() if v.is_floating_point()} if with_buffers else set())
            if mean is None: mean = now
            else: mean = {k: now[k] if k not in learned else mean[k].lerp(now[k], share(steps, every)) if steps % every == 0 else mean[k] for k in now}
            steps += 1
    return model,mean

HOWS = [dict(), dict(begin_iter=4), dict(begin_epoch=2), dict(interval=3), dict(update_buffers=True), dict(begin_iter=3, interval=2, update_buffers=True)]

@pytest.mark.parametrize('how', HOWS, ids=str)
@pytest.mark.parametrize('kind', MEANS)
def test_an_average_is_that_of_a_plain_loop(kind, how):
    args,share = MEANS[kind]
    begin = how.get('begin_iter', 4*(how['begin_epoch']-1)+1 if 'begin_epoch' in how else 1)
    model,mean = plain_loop(share, begin, how.get('interval', 1), how.get('update_buffers', False))
    run = ended(run_of(dict(type='EMAHook', ema_type=kind, **args, **how)))
    assert equal(run.model, model) and equal(ema_of(run).module, mean)
    assert int(ema_of(run).steps) == 12-begin+1

def fail_at(n):
    "A function that raises when it is called for the `n`-th time"
    calls = iter(range(1, 1000))
    def maybe(*args, **kwargs):
        if next(calls) == n: raise ValueError('once')
    return maybe

PLACES = {'forward': lambda run: run.model[0].register_forward_hook(fail_at(9)), 'step': lambda run: run.optimizer.register_step_pre_hook(fail_at(6)),
          'end of the step': lambda run: run.optimizer.register_step_post_hook(fail_at(6))}
PLACES |= {o: lambda run, o=o: run.on(o, name='fails')(fail_at(2)) for o in ('before_val', 'after_val_iter', 'after_val')}
PLACES |= {o: lambda run, o=o: run.on(o, name='fails')(fail_at(6)) for o in ('before_train_iter', 'after_forward', 'after_backward', 'after_train_iter')}

@pytest.mark.parametrize('place', PLACES)
def test_an_error_in_the_middle_of_an_iteration_counts_no_update_twice(place):
    straight,run = (run_of(EMAHook(momentum=.1)) for _ in range(2))
    PLACES[place](run)
    with pytest.raises(ValueError, match='once'): run.train()
    run.train()
    assert int(ema_of(run).steps) == 12
    if place == 'end of the step': return # there the weights themselves have moved twice
    assert equal(run.model, ended(straight).model) and equal(ema_of(run), ema_of(straight))

def test_an_iteration_whose_place_was_lost_behind_the_hook_counts_no_update_twice():
    straight,run = ended(run_of(EMAHook(momentum=.1))),run_of(EMAHook(momentum=.1))
    run.run_until(stage='after_train_iter', iter=5)
    while 'EMAHook' not in run.player.cursor.ran: run.step('hook')
    run.player.gen = None
    assert equal(ended(run).model, straight.model) and equal(ema_of(run), ema_of(straight))

def test_an_iteration_that_a_foreign_loop_repeats_is_counted_once():
    hook,run = EMAHook(momentum=.1),run_of()
    hook.before_run(run)
    for i in (0, 1, 1, 1, 2):
        run.main.iter = i
        hook.after_train_iter(run)
    assert int(hook.ema_model.steps) == 3

def test_one_that_joins_in_mid_run_begins_with_the_weights_of_then():
    run = run_of()
    run.run_until(iter=7)
    run.register_hook(EMAHook(momentum=.1))
    run.step('iter')
    assert int(ema_of(run).steps) == 1 and equal(ema_of(run).module, run.model)

def test_another_momentum_holds_from_the_next_iteration_on():
    run = run_of(EMAHook(momentum=.1))
    run.run_until(iter=6)
    before = deepcopy(ema_of(run).module)
    run.hooks['EMAHook'].set(momentum=.4, interval=2)
    run.step('iter')
    now = dict(run.model.named_parameters())
    assert all(torch.equal(p, dict(before.named_parameters())[k].lerp(now[k], .4)) for k,p in ema_of(run).module.named_parameters())
    run.step('iter')
    assert ema_of(run).interval == 2

def test_an_average_of_ones_own_needs_avg_func_alone_and_can_be_built_by_name():
    class Latest(BaseAveragedModel):
        def avg_func(self, averaged_param, source_param, steps): averaged_param.copy_(source_param)
    run = ended(run_of(EMAHook(Latest)))
    assert equal(ema_of(run).module, run.model)
    with pytest.raises(NotImplementedError, match='avg_func'): ended(run_of(EMAHook(BaseAveragedModel)))

def test_a_model_whose_weights_are_not_there_yet_is_averaged_from_its_first_step_on():
    run = run_of(EMAHook('StochasticWeightAverage'), make=lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.LazyLinear(2)))
    run.run_until(stage='before_train_iter')
    assert ema_of(run) is None
    assert int(ema_of(ended(run)).steps) == 12

def test_a_model_with_another_layer_says_that_its_average_does_not_fit():
    run = run_of(EMAHook())
    run.run_until(iter=2)
    run.model.append(nn.Linear(2, 2))
    with pytest.raises(RuntimeError, match='make a new average'): run.train()
    hook_of(run, 'EMAHook').ema_model = None
    assert ended(run).status == 'done'

def test_what_is_validated_and_tested_is_the_average_and_the_run_has_its_own_weights_back():
    seen = []
    class Looks:
        priority = 'LOW'
        def note(self, runner): seen.append(equal(runner.model, ema_of(runner).module))
        before_val_epoch = after_val_iter = after_val_epoch = before_test_epoch = note
        def before_train_epoch(self, runner): seen.append(runner.epoch == 0 or not equal(runner.model, ema_of(runner).module))
    run = ended(run_of(EMAHook(momentum=.1), Looks(), test_dataloader=batches(12)))
    own = deepcopy(run.model)
    run.test()
    run.val()
    assert len(seen) == 3*(1+4)+1+4 and all(seen) and equal(run.model, own) and equal(own, ended(run_of()).model)

def test_before_the_beginning_own_weights_are_validated():
    plain,run = (ended(run_of(*hooks)) for hooks in ((), (EMAHook(begin_epoch=3, momentum=.1),)))
    a,b = (values(o, 'val/loss') for o in (plain, run))
    assert a[:2] == b[:2] and a[2] != b[2]

class Behind:
    "Lets a stop come when the average is in the model, and the validation has not begun yet"
    priority = 'LOW'
    def before_val(self, runner): pass

ROADS = {'stop': lambda run: run.stop(), 'off and stop': lambda run: (run.hooks['EMAHook'].off(), run.stop()), 'go on': lambda run: run.train(),
         'off and on': lambda run: (run.hooks['EMAHook'].off(), run.step('hook', 3), run.hooks['EMAHook'].on(), run.train()),
         'remove': lambda run: (run.hooks.remove('EMAHook'), run.train()), 'replace': lambda run: (run.register_hook(EMAHook()), run.train()),
         'lose the place': lambda run: (setattr(run.player, 'gen', None), run.train()),
         'move': lambda run: (setattr(run.hooks['EMAHook'], 'priority', 95), run.train())}

@pytest.mark.parametrize('road', ROADS)
def test_wherever_a_validation_is_left_and_by_whatever_road_own_weights_are_back(road):
    short = dict(train_dataloader=batches(12), val_dataloader=batches(6))
    whole,first = (ended(run_of(max_epochs=n, **short)).model for n in (2, 1))
    for n in range(30):
        run = run_of(EMAHook(momentum=.1), Behind(), max_epochs=2, **short)
        hook = hook_of(run, 'EMAHook')
        run.run_until(stage='before_val')
        if n: run.step('hook', n)
        if run.main.val_due is False: break
        ROADS[road](run)
        assert hook._own is None, n
        assert equal(run.model, first if 'stop' in road else whole), n
    assert n > 15

def test_two_averages_cannot_both_be_in_the_model():
    run = run_of(EMAHook(momentum=.1), EMAHook(momentum=.3))
    with pytest.raises(RuntimeError, match='EMAHook has put its average into the model already'): run.train()
    run.disable()
    assert equal(ended(run).model, ended(run_of()).model)

def test_an_ema_that_cannot_bring_weights_back_is_disabled_and_they_are_back(monkeypatch):
    run = run_of(EMAHook(momentum=.1))
    run.run_until(stage='evaluate')
    own,after = hook_of(run, 'EMAHook')._own,EMAHook.after_val
    run.hooks['EMAHook']._calls['after_val'] = run.hooks['EMAHook']._calls['after_val']._replace(fn=lambda runner: 1/0)
    run.hooks.changed()
    with pytest.raises(ZeroDivisionError): run.train()
    run.disable()
    assert equal(run.model, own) and equal(ended(run).model, ended(run_of()).model) and after is EMAHook.after_val


# in files

def saved(run, tmp_path, name='c.pth'): return run.save_checkpoint(tmp_path, name)

@pytest.mark.parametrize('kind', MEANS)
@pytest.mark.parametrize('where', ['iter', 'after_train_iter', 'before_val', 'after_val_iter', 'after_val_epoch', 'after_val', 'before_train_epoch'])
def test_a_resumed_run_ends_with_the_same_weights_and_the_same_average(where, kind, tmp_path):
    def make(**given): return run_of(EMAHook(kind, interval=2, update_buffers=True, **MEANS[kind][0]), **given)
    straight,run = ended(make()),make()
    run.run_until(iter=5) if where == 'iter' else run.run_until(stage=where, epoch=0 if where == 'after_train_iter' else 1)
    if where == 'after_train_iter': run.on(where, priority='VERY_LOW')(lambda runner: saved(runner, tmp_path))
    path = str(tmp_path/'c.pth') if where == 'after_train_iter' else saved(run, tmp_path)
    run.step('iter')
    file = load_file(path)
    assert set(file['ema_state_dict']) == {'steps', *(f'module.{k}' for k in file['state_dict'])}
    resumed = ended(make(resume=path))
    assert equal(resumed.model, straight.model) and equal(ema_of(resumed), ema_of(straight))

def test_a_file_holds_the_average_as_its_weights_wherever_it_is_written(tmp_path):
    for stage in ('before_train_epoch', 'after_val_iter'):
        run = run_of(EMAHook(momentum=.1))
        run.run_until(stage=stage, epoch=1)
        own,file = hook_of(run, 'EMAHook')._own or run.model.state_dict(),load_file(saved(run, tmp_path))
        assert equal(dict(file['state_dict']), dict(ema_of(run).module.state_dict()))
        assert all(torch.equal(file['ema_state_dict'][f'module.{k}'], v) for k,v in own.items()) and int(file['ema_state_dict']['steps']) == 4
        run.stop()

@pytest.mark.parametrize('place', ['NORMAL', 'LOWEST'])
@pytest.mark.parametrize('by_epoch', [True, False])
def test_the_checkpoints_of_the_hook_that_saves_are_resumed_exactly_wherever_the_average_stands(by_epoch, place, tmp_path):
    def make(folder, **given):
        saving = dict(interval=1 if by_epoch else 3, by_epoch=by_epoch, save_best='loss', rule='less')
        run = run_of(EMAHook(momentum=.1), work_dir=tmp_path/folder, default_hooks=dict(checkpoint=saving), **given)
        run.hooks['EMAHook'].priority = place
        return run
    straight = ended(make('a'))
    for file in sorted((tmp_path/'a').glob('*.pth')):
        resumed = ended(make('b', resume=str(file)))
        assert equal(resumed.model, straight.model) and equal(ema_of(resumed), ema_of(straight)), file.name

def test_weights_that_are_only_loaded_are_the_average_and_a_new_one_begins(tmp_path):
    run = ended(run_of(EMAHook(momentum=.1)))
    other = run_of(EMAHook(momentum=.1), load_from=saved(run, tmp_path))
    other.run_until(stage='before_train_iter')
    assert equal(other.model, ema_of(run).module) and int(ema_of(other).steps) == 0

def test_mmengines_file_with_an_average_is_resumed_and_one_without_is_said(tmp_path):
    run = ended(run_of(EMAHook(momentum=.1), max_epochs=1))
    file = load_file(saved(run, tmp_path))
    theirs = {k: file[k] for k in ('meta', 'state_dict', 'ema_state_dict', 'optimizer')}
    torch.save(theirs, tmp_path/'theirs.pth')
    torch.save({k: v for k,v in theirs.items() if k != 'ema_state_dict'} , tmp_path/'without.pth')
    resumed = run_of(EMAHook(momentum=.1))
    resumed.resume(tmp_path/'theirs.pth')
    assert equal(resumed.model, run.model) and equal(ema_of(resumed), ema_of(run))
    other,said = run_of(EMAHook()),[]
    other.logger.warning = said.append
    other.resume(tmp_path/'without.pth')
    assert any('holds no average' in o for o in said)

def test_an_average_in_a_file_that_does_not_fit_is_said_or_refused(tmp_path):
    path = saved(ended(run_of(EMAHook())), tmp_path)
    def small(): return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    with pytest.raises(RuntimeError, match='of another shape'): run_of(EMAHook(strict_load=True), make=small).resume(path, resume_optimizer=False)
    run_of(EMAHook(), make=small).resume(path, resume_optimizer=False)

@pytest.mark.parametrize('given, error, text', [
    (dict(ema_type='ExpMovingAverage'), KeyError, 'Did you mean'), (dict(momentum=1.5), ValueError, 'above 0 and below 1'),
    (dict(momentum='a'), TypeError, 'must be a number'),
    (dict(begin_iter=-1), ValueError, 'begin_iter must be 0, 1, 2'), (dict(begin_iter=1, begin_epoch=1), ValueError, 'give one of them'),
    (dict(interval=0), ValueError, '1 or more'), (dict(gama=3), TypeError, 'gama'),
    (dict(ema_type='MomentumAnnealingEMA', gamma=0), ValueError, 'more than 0')], ids=str)
def test_arguments_that_cannot_be_meant_are_refused_when_the_hook_is_made(given, error, text):
    with pytest.raises(error, match=text): EMAHook(**given)

def test_a_decay_given_as_momentum_is_questioned():
    with pytest.warns(UserWarning, match='decay of 0.999'): ExponentialMovingAverage(nn.Linear(1, 1), momentum=.999)


# stopping

def scripted(*scores):
    "A run whose validations give these scores"
    def make(*hooks, **given):
        run = run_of(*hooks, max_epochs=len(scores), **given)
        run.on('after_val_epoch', priority='HIGHEST', name='script')(lambda runner, metrics: metrics.update(score=scores[min(runner.epoch, len(scores))-1]))
        return run
    return make

@pytest.mark.parametrize('scores, given, epochs', [
    ((1, 1, 1, 1, 1, 1, 1), dict(rule='greater', patience=3), 4),
    ((1, 2, 3, 4, 5, 6), dict(rule='greater', patience=1), 6),
    ((1, 2, 3, 4, 5, 6), dict(rule='less', patience=2), 3),
    ((.1, .15, .3, .35, .3), dict(rule='greater', patience=1), 2),
    ((.1, .15, .3, .35, .3), dict(rule='greater', patience=1, min_delta=.01), 5),
    ((.1, float('nan'), 3, 4), dict(rule='greater'), 2),
    ((.1, float('nan'), 3, 4), dict(rule='greater', check_finite=False), 4),
    ((.1, .5, .9, 4), dict(rule='greater', stopping_threshold=.8), 3),
    ((9, 5, .7, 4), dict(rule='less', stopping_threshold=.8), 3),
    ((float('inf'), 5, 4), dict(rule='greater', stopping_threshold=1.), 1)], ids=str)
def test_a_run_ends_when_its_rule_says_so_with_everything_closed(scores, given, epochs, tmp_path):
    run = scripted(*scores)(EarlyStoppingHook('score', **given), work_dir=tmp_path)
    closed = []
    for stage in ('after_val', 'after_train', 'after_run'): run.on(stage, name=stage)(lambda runner, s=stage: closed.append(s))
    run.train()
    assert (run.status, run.epoch) == ('done', epochs) and closed == ['after_val']*epochs + ['after_train', 'after_run']
    assert (tmp_path/'last_checkpoint').read_text().endswith(f'epoch_{epochs}.pth')

def test_a_run_that_is_told_to_go_on_has_its_patience_again_and_one_counted_by_iterations_ends_too():
    run = scripted(*[1]*9)(EarlyStoppingHook('score', rule='greater', patience=2))
    assert ended(run).epoch == 3
    run.train(epochs=4)
    assert run.epoch == 5
    run = run_of(EarlyStoppingHook('loss', min_delta=9., patience=2), max_iters=20, val_interval=3)
    assert ended(run).iter == 9 and run.status == 'done'

@pytest.mark.parametrize('epoch', [1, 2, 3])
def test_waiting_is_in_checkpoints(epoch, tmp_path):
    make = scripted(5, 6, 6, 6, 6, 6)
    run = make(EarlyStoppingHook('score', rule='greater', patience=3))
    run.run_until(epoch=epoch, stage='fetch')
    path = saved(run, tmp_path)
    resumed = make(EarlyStoppingHook('score', rule='greater', patience=3), resume=path)
    assert ended(resumed).epoch == ended(run).epoch == 5

def test_a_loop_of_ones_own_without_the_flag_is_stopped_after_the_line():
    class Mine(Loop):
        def run(self):
            yield 'before_train'
            while True: yield self.look; yield 'after_val_epoch'
        def look(self): self.metrics = dict(loss=1.)
    run = run_of(EarlyStoppingHook('loss', patience=4), train_loop=Mine(), train_dataloader=None)
    run.train()
    assert run.status == 'stopped' and hook_of(run, 'EarlyStoppingHook').best_score == 1.

def test_a_metric_that_is_missing_is_warned_of_or_refused():
    with pytest.warns(UserWarning, match="watches 'los'.*Did you mean 'loss'"): ended(run_of(EarlyStoppingHook('los', rule='less')))
    with pytest.raises(KeyError, match='Set monitor='): ended(run_of(EarlyStoppingHook('los', rule='less', strict=True)))

def test_another_metric_begins_the_count_anew_and_a_look_at_the_model_is_none():
    run = scripted(1, 1, 1, 1, 1)(EarlyStoppingHook('score', rule='greater', patience=3))
    run.run_until(epoch=2, stage='fetch')
    run.hooks['EarlyStoppingHook'].set(monitor='loss', rule=None, min_delta=0.)
    run.run_until(epoch=3, stage='fetch')
    hook = hook_of(run, 'EarlyStoppingHook')
    assert hook.best_score == values(run, 'val/loss')[-1] and hook.wait_count == 0
    run = ended(run_of(EarlyStoppingHook('loss', min_delta=9., patience=2), max_epochs=1))
    before = hook_of(run, 'EarlyStoppingHook').state_dict()
    run.val()
    assert hook_of(run, 'EarlyStoppingHook').state_dict() == before

@pytest.mark.parametrize('kind', ['loop', 'whole', 'hook'])
def test_a_loss_that_is_no_number_is_found_in_its_iteration(kind):
    make,loss_fn = (Whole, None) if kind == 'whole' else (net, F.cross_entropy)
    run = run_of(CheckInvalidLossHook(interval=3), *[OptimizerHook()]*(kind == 'hook'), make=make, loss_fn=loss_fn)
    run.run_until(iter=4)
    with torch.no_grad(): next(run.model.parameters()).fill_(float('inf'))
    with pytest.raises(FloatingPointError, match='loss is infinite or no number in iteration 6'): run.train()
    with pytest.raises(FloatingPointError): run.train()
    run.disable()
    assert ended(run).status == 'done'


# buffers

def agree(rank, folder):
    os.environ['GLOO_SOCKET_IFNAME'] = 'lo'
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    run = run_of(max_epochs=1)
    bn = run.model[1]
    bn.running_mean.fill_(float(rank))
    bn.num_batches_tracked.fill_(7+rank)
    hook = SyncBuffersHook()
    hook.before_val_epoch(run) # not by epoch
    before = bn.running_mean.clone()
    hook.after_train_epoch(run)
    torch.save(dict(before=before, mean=bn.running_mean, n=bn.num_batches_tracked, weight=bn.weight), f'{folder}/{rank}')
    distributed.destroy_process_group()

def test_two_processes_have_the_mean_of_their_buffers(tmp_path):
    multiprocessing.start_processes(agree, (str(tmp_path),), nprocs=2, start_method='fork')
    a,b = (torch.load(tmp_path/str(i), weights_only=True) for i in (0, 1))
    assert a['before'].tolist() == [0.]*8 and b['before'].tolist() == [1.]*8
    assert all(o['mean'].tolist() == [.5]*8 and o['n'] == 7 for o in (a, b))

CALLS = [(dict(), 6), (dict(before_epoch=True), 12), (dict(after_epoch=False), 0), (dict(after_epoch=False, after_iter=True), 3*(4+2))]

@pytest.mark.parametrize('given, calls', CALLS, ids=str)
def test_a_cache_is_emptied_where_it_is_asked_for(given, calls, monkeypatch):
    made = []
    monkeypatch.setattr(torch.cuda, 'empty_cache', lambda: made.append(1))
    ended(run_of(EmptyCacheHook(**given)))
    assert len(made) == calls


# profiles

def recording(): return torch.autograd._profiler_enabled()
def trace(path):
    with open(path) as f: events = json.load(f)['traceEvents']
    return lambda name: sum(o.get('name') == name for o in events)

def test_an_epoch_is_profiled_and_the_trace_holds_its_steps(tmp_path):
    run = run_of(ProfilerHook(json_trace_path=str(tmp_path/'deep'/'trace.json'), record_shapes=True, profile_memory=True))
    ended(run)
    assert trace(tmp_path/'deep'/'trace.json')('Optimizer.step#SGD.step') == 4 and not recording()

def test_tensorboards_trace_is_written_to_the_folder_of_the_run(tmp_path):
    run = ended(run_of(ProfilerHook(by_epoch=False, profile_times=2, on_trace_ready=dict(type='tb_trace', worker_name='me')), work_dir=tmp_path))
    file, = (run.log_dir/'tf_tracing_logs').glob('me*.pt.trace.json')
    assert trace(file)('Optimizer.step#SGD.step') == 2
    with pytest.raises(ValueError, match='needs a folder'): ended(run_of(ProfilerHook(on_trace_ready=dict(type='tb_trace'))))

def test_a_table_goes_to_the_log_and_a_schedule_gives_a_trace_for_each_of_its_windows(tmp_path):
    said,seen = [],[]
    run = run_of(ProfilerHook(by_epoch=False, profile_times=2, on_trace_ready=dict(type='log_trace', sort_by='cpu_time_total', row_limit=5)))
    run.say = said.append
    ended(run)
    assert 'CPU total' in said[-1]
    plan = dict(wait=1, warmup=1, active=2, repeat=2)
    def steps(prof): seen.append(sum(o.count for o in prof.key_averages() if o.key == 'Optimizer.step#SGD.step'))
    ended(run_of(ProfilerHook(profile_times=3, schedule=plan, on_trace_ready=steps)))
    assert seen == [2, 2] and not recording()

def off(run): run.hooks['ProfilerHook'].off()
def replace(run): run.register_hook(ProfilerHook(by_epoch=False))
def remove(run): run.hooks.remove('ProfilerHook')
def stop(run): run.stop()
def pause(run): run.pause()
def fail(run): raise ValueError('once')

@pytest.mark.parametrize('end', [off, replace, remove, stop, pause, fail])
def test_a_profile_ends_with_whatever_interrupts_it_and_the_run_can_go_on(end, tmp_path):
    run = run_of(ProfilerHook(profile_times=3, json_trace_path=str(tmp_path/'trace.json')))
    @run.on('after_forward', every=6)
    def interrupts(runner):
        assert recording()
        run.hooks.remove('interrupts')
        end(run)
    try: run.train()
    except ValueError: assert end is fail
    if end is pause or end is fail: assert not recording()
    assert run.status == 'stopped' or ended(run).status == 'done'
    assert not recording() and trace(tmp_path/'trace.json')('Optimizer.step#SGD.step') in (5, 6)

def test_a_profile_that_another_thread_switches_off_is_ended_by_the_runs_own():
    run = run_of(ProfilerHook(profile_times=3))
    @run.on('after_train_iter')
    def elsewhere(runner):
        if runner.iter != 3: return
        t = threading.Thread(target=runner.hooks['ProfilerHook'].off)
        t.start(); t.join()
    run.on('before_train_iter', name='look')(lambda runner: seen.append(recording()))
    seen = []
    ended(run)
    assert not recording() and seen[2] and not any(seen[5:])

def test_one_that_is_switched_on_again_makes_a_new_profile(tmp_path):
    path = tmp_path/'trace.json'
    run = run_of(ProfilerHook(by_epoch=False, profile_times=1, json_trace_path=str(path)))
    run.run_until(iter=3)
    assert path.exists() and not recording()
    path.unlink()
    run.hooks['ProfilerHook'].off().on()
    ended(run)
    assert trace(path)('Optimizer.step#SGD.step') == 1

@pytest.mark.parametrize('given, error, text', [
    (dict(activity_with_cpu=False), ValueError, 'nothing to record'), (dict(profile_times=0), ValueError, '1 or more'),
    (dict(schedule=dict(active=1, waits=1)), TypeError, "Did you mean 'wait'"),
    (dict(on_trace_ready='tb'), TypeError, 'a function of the profile'),
    (dict(on_trace_ready=dict(type='tb_trace', dirname='a')), TypeError, "Did you mean 'dir_name'"),
    (dict(on_trace_ready=dict(type='tb_trace'), json_trace_path='a'), ValueError, 'written once')], ids=str)
def test_a_profile_that_cannot_be_meant_is_refused_when_the_hook_is_made(given, error, text):
    with pytest.raises(error, match=text): ProfilerHook(**given)

def test_a_run_of_iterations_profiled_by_epochs_is_warned_of():
    with pytest.warns(UserWarning, match='set by_epoch=False'): run_of(ProfilerHook(), max_iters=3).step('line', 3)


# studies

STUDIES = {o.__name__: o for o in (GradientFlowHook, ActivationStatsHook, UpdateRatioHook, MemoryHook, ThroughputHook)}

@pytest.mark.parametrize('name', STUDIES)
def test_a_study_looks_at_the_first_iteration_and_at_its_interval_wherever_it_is_resumed(name, tmp_path):
    def make(**given): return run_of(STUDIES[name](interval=5), **given)
    run = make()
    run.run_until(iter=6)
    path = saved(run, tmp_path)
    def at(run):
        own = [k for k in run.message_hub.log_scalars if any(w in k for w in ('norm/', 'act_', 'ratio/', 'memory', 'throughput'))]
        return sorted({int(i) for k in own for i in run.message_hub.steps(k)})
    assert at(ended(run)) == at(ended(make(resume=path))) == [1, 5, 10]
    assert equal(run.model, ended(run_of()).model)

@pytest.mark.parametrize('name', ['GradientFlowHook', 'UpdateRatioHook'])
@pytest.mark.parametrize('kind', ['loop', 'hook', 'accumulated', 'whole'])
def test_gradients_and_updates_are_those_of_a_plain_look_whoever_makes_the_step(name, kind):
    make,loss_fn = (Whole, None) if kind == 'whole' else (net, F.cross_entropy)
    grads,steps,names = [],[],[nm for nm in layers(make())]
    run = run_of(STUDIES[name](interval=1), *[OptimizerHook()]*(kind == 'hook'), make=make, loss_fn=loss_fn, accumulate=2 if kind == 'accumulated' else 1)
    ps = layers(run.model)[names[0]]
    def before(*args): grads.append(torch.cat([p.grad.flatten() for p in ps]).norm().item()); steps.append([p.detach().clone() for p in ps])
    def after(*args):
        old = steps.pop()
        steps.append((torch.cat([(p.detach()-o).flatten() for p,o in zip(ps, old)]).norm()/torch.cat([o.flatten() for o in old]).norm()).item())
    run.optimizer.register_step_pre_hook(before)
    run.optimizer.register_step_post_hook(after)
    ended(run)
    if kind == 'whole' and name == 'GradientFlowHook': return
    got = values(run, f"train/{'grad_norm' if name == 'GradientFlowHook' else 'update_ratio'}/{names[0]}")
    assert len(got) == (6 if kind == 'accumulated' else 12) and got == pytest.approx(grads if name == 'GradientFlowHook' else steps, rel=1e-5)

def test_layers_that_get_no_gradient_are_named_once():
    class Split(nn.Module):
        def __init__(self): super().__init__(); self.a,self.b,self.spare = nn.Linear(4, 4),nn.Linear(4, 2),nn.Linear(1, 1)
        def forward(self, x): return self.b(self.a(x).detach())
    run,said = run_of(GradientFlowHook(interval=1), make=Split),[]
    run.say = said.append
    ended(run)
    assert said == ['no gradient comes to: a, spare'] and values(run, 'train/grad_norm/a') == [0.]*12 and values(run, 'train/grad_norm/b')[0] > 0

def test_keys_are_bounded_and_spread_over_the_depth():
    def deep(): return nn.Sequential(nn.Linear(4, 4), *(nn.Linear(4, 4) for _ in range(30)), nn.Linear(4, 2))
    run = ended(run_of(GradientFlowHook(most=5), UpdateRatioHook(most=1), ActivationStatsHook(most=2), make=deep, max_epochs=1))
    of = lambda start: [k.rpartition('/')[2] for k in run.message_hub.log_scalars if k.startswith(start)]
    assert of('train/grad_norm/') == ['0', '8', '16', '23', '31'] and of('train/update_ratio/') == ['0'] and of('train/act_std/') == ['0', '31']
    assert all(len(spread(range(n), m)) == min(n, m) == len(set(spread(range(n), m))) for n in range(1, 20) for m in range(1, 12))

def test_activations_are_those_of_the_forward_pass_and_one_that_is_done_again_counts_once():
    run,seen = run_of(ActivationStatsHook(['2'], interval=1)),[]
    run.model[2].register_forward_hook(lambda m, args, out: seen.append(out) if m.training else None)
    run.model[3].register_forward_hook(fail_at(3))
    with pytest.raises(ValueError, match='once'): run.train()
    ended(run)
    del seen[2] # of the pass that failed
    for key,of in (('mean', lambda o: o.mean()), ('std', lambda o: o.std(correction=0)), ('zero', lambda o: (o == 0).float().mean())):
        assert values(run, f'train/act_{key}/2') == pytest.approx([of(o).item() for o in seen])

def test_forward_hooks_are_there_only_while_an_iteration_is_looked_at_and_no_longer_than_the_hook():
    run = run_of(ActivationStatsHook(interval=4))
    def there(): return sum(len(m._forward_hooks) for m in run.model.modules())
    seen = []
    run.on('after_train_iter', priority='VERY_HIGH')(lambda runner: seen.append(there()))
    run.run_until(iter=3, stage='forward')
    assert there() == 4 and seen == [0, 0, 0]
    run.hooks['ActivationStatsHook'].off()
    run.step('iter')
    assert there() == 0 and not run.hooks['ActivationStatsHook'].enabled
    run.hooks['ActivationStatsHook'].on()
    run.run_until(iter=7, stage='forward')
    run.stop()
    assert there() == 0

def test_modules_are_chosen_by_name_or_pattern():
    hook = ActivationStatsHook(['0', '[12]'])
    assert list(hook.chosen(net())) == ['0', '1', '2'] and list(ActivationStatsHook().chosen(net())) == ['0', '1', '2', '3']
    assert list(ActivationStatsHook('3').chosen(net())) == ['3']
    with pytest.raises(KeyError, match="no module 'layer1'"): ActivationStatsHook(['0', 'layer1']).chosen(net())

def test_an_update_ratio_that_joins_between_a_step_and_its_end_says_nothing_of_it():
    run = run_of()
    run.run_until(iter=2, stage='after_optim_step')
    run.register_hook(UpdateRatioHook(interval=1))
    run.step('iter')
    assert 'train/update_ratio/0' not in run.message_hub.log_scalars
    assert min(values(ended(run), 'train/update_ratio/0')) > 0

def test_throughput_leaves_validations_and_pauses_out():
    run,now = run_of(ThroughputHook(interval=2)),[0.]
    run.player.clock = lambda: now[0]
    def takes(seconds): return lambda runner: now.__setitem__(0, now[0]+seconds)
    run.on('after_forward', name='train')(takes(2.))
    run.on('after_val_iter', name='val')(takes(50.))
    run.run_until(iter=5)
    run.hooks['ThroughputHook'].off()
    run.run_until(iter=7)
    run.hooks['ThroughputHook'].on()
    ended(run)
    assert values(run, 'train/throughput') == [3.]*len(values(run, 'train/throughput')) and len(values(run, 'train/throughput')) >= 5

@pytest.mark.parametrize('name', [*STUDIES, 'EMAHook', 'ProfilerHook', 'SyncBuffersHook', 'EmptyCacheHook', 'CheckInvalidLossHook', 'EarlyStoppingHook'])
def test_each_hook_can_be_had_by_its_name(name):
    assert type(HOOKS.build(dict(type=name, **(dict(monitor='loss') if name == 'EarlyStoppingHook' else {})))).__name__ == name
