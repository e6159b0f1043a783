"What a schedule will do, drawn before it acts; and numbers set by hand."
import subprocess
import sys
import threading
from contextlib import nullcontext
from copy import deepcopy
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, lr_scheduler

from interactive_runner import Runner
from interactive_runner.edit import goes_on, writers
from interactive_runner.hooks.policies import ExpLrUpdaterHook, OneCycleLrUpdaterHook, StepLrUpdaterHook
from interactive_runner.hooks.policy import LrUpdaterHook, Policy
from interactive_runner.preview import Walk, effort, planned, preview, stand_in, values, walked
from interactive_runner.sched import CosineAnnealingLR, ExponentialLR, LinearLR, OneCycleLR, ReduceOnPlateauLR, StepLR

plt.switch_backend('Agg')

@pytest.fixture(autouse=True)
def close():
    yield
    plt.close('all')

def sgd(*lrs, **kwargs): return SGD([dict(params=[torch.zeros(1)], lr=o) for o in lrs or (1.,)], **dict(momentum=.9) | kwargs)
def near(a, b): assert np.allclose(a, b, rtol=1e-12, atol=1e-13), (a, b)

def small(n=5, epochs=6, optimizer=partial(SGD, lr=.1, momentum=.9), groups=lambda net: net.parameters(), **kwargs):
    "A run; `kwargs` may hold functions of its optimizer"
    torch.manual_seed(0)
    net = nn.Linear(2, 1)
    optim = optimizer(groups(net))
    kwargs = {k: v(optim) if callable(v) else v for k,v in kwargs.items()}
    runner = Runner(net, train_dataloader=[(torch.ones(4, 2), torch.ones(4, 1))]*n, optimizer=optim, loss_fn=nn.functional.mse_loss, max_epochs=epochs,
                    log_level='ERROR', **kwargs)
    runner.used = {}
    runner.on('before_optim_step', name='note')(lambda runner: runner.used.update({runner.iter: optim.param_groups[0]['lr']}))
    return runner

SCHEDULES = [
    dict(param_scheduler=dict(type='StepLR', step_size=2)), dict(param_scheduler=dict(type='CosineAnnealingLR', convert_to_iter_based=True, eta_min=.01)),
    dict(param_scheduler=[dict(type='LinearLR', start_factor=.1, by_epoch=False, end=8), dict(type='ExponentialLR', gamma=.7)]),
    dict(param_scheduler=dict(type='OneCycleLR', eta_max=.5, by_epoch=False)), dict(param_scheduler=dict(type=lr_scheduler.CosineAnnealingWarmRestarts, T_0=2)),
    dict(custom_hooks=[StepLrUpdaterHook([2, 4], warmup='exp', warmup_iters=7)]), dict(custom_hooks=[OneCycleLrUpdaterHook(.4)]),
    dict(custom_hooks=[dict(type='FlatCosineAnnealingLrUpdaterHook', min_lr=0, by_epoch=False)])]

@pytest.mark.parametrize('kwargs', SCHEDULES)
@pytest.mark.parametrize('at', [0, 1, 13, 15, 29])
def test_what_is_planned_is_what_comes_wherever_the_run_stands(kwargs, at):
    runner = small(**deepcopy(kwargs))
    if at: runner.run_until(iter=at)
    runner._open('train')
    plan = walked(planned(runner))[:, 0]
    before = dict(runner.used)
    runner.train()
    near(plan, [runner.used[i] for i in range(at, 30)])
    assert before == {i: runner.used[i] for i in range(at)}

@pytest.mark.parametrize('kwargs', SCHEDULES)
def test_looking_touches_nothing(kwargs):
    runner = small(**deepcopy(kwargs))
    runner.run_until(iter=7)
    state = lambda: (repr(runner.optimizer), repr([o.state_dict() for o in runner.param_schedulers or ()]),
                     [vars(h) for h in runner.hooks if isinstance(h, Policy)], runner.position, len(runner.player.acks))
    before = deepcopy(state())
    for _ in range(2): runner.preview_schedule()
    assert state() == before

def test_schedulers_that_are_not_built_yet_stay_so_and_are_drawn_from_their_description():
    runner = small(param_scheduler=dict(type='ExponentialLR', gamma=.5, convert_to_iter_based=True))
    ax = runner.preview_schedule()
    assert 'param_schedulers' not in vars(runner)
    near(ax.lines[0].get_ydata()[::5], .1*.5**np.arange(6))

def test_a_number_edited_by_hand_is_where_the_plan_goes_on():
    for kwargs,factor in ((dict(param_scheduler=dict(type='ExponentialLR', gamma=.5)), .5), (dict(custom_hooks=[ExpLrUpdaterHook(.5)]), 1)):
        runner = small(**kwargs)
        runner.run_until(iter=7)
        runner.set_param('lr', .025)
        plan = walked(planned(runner))[:, 0]
        near(plan, [.025]*3 + [.1*.5**e*factor for e in (2, 3, 4, 5) for _ in range(5)])
        runner.train()
        near(plan, [runner.used[i] for i in range(7, 30)])

def test_a_hook_that_is_off_plans_nothing():
    for nm,kwargs in (('ParamSchedulerHook', SCHEDULES[0]), ('OneCycleLrUpdaterHook', SCHEDULES[6])):
        runner = small(**deepcopy(kwargs))
        runner.hooks[nm].off()
        with pytest.raises(RuntimeError, match='no schedule that is switched on'): runner.preview_schedule()

def test_several_groups_and_several_optimizers_have_a_line_each():
    runner = small(groups=lambda net: [dict(params=[net.weight], lr=.1), dict(params=[net.bias], lr=.4)], param_scheduler=dict(type='ExponentialLR', gamma=.5))
    assert sorted(o.get_ydata()[0] for o in runner.preview_schedule().lines[:-1]) == [.1, .4]
    far = {'a': stand_in(sgd(1.)), 'b': stand_in(sgd(2., 3.))}
    near(walked(Walk(far, 2, 1, [ExponentialLR(far['b'], .5)])), [[1, 2, 3], [1, 1, 1.5]])

# descriptions

HALVED,STEPPED = [1, .5, .25, .125],[1, 1, .1, .1]

@pytest.mark.parametrize('schedule, wanted', [
    (partial(ExponentialLR, gamma=.5), HALVED), (dict(type='StepLR', step_size=2, gamma=.1), STEPPED), (lambda o: lr_scheduler.StepLR(o, 2), STEPPED),
    (dict(type=lr_scheduler.ExponentialLR, gamma=.5), HALVED), (dict(policy='exp', gamma=.5), HALVED), (ExpLrUpdaterHook(.5), HALVED),
    (dict(type='ExpLrUpdaterHook', gamma=.5), HALVED), (dict(type='LinearLR', start_factor=.1), [.1, .4, .7, 1]), (ReduceOnPlateauLR, [1]*4),
    (lr_scheduler.ReduceLROnPlateau, [1]*4), ([dict(type='ConstantLR', factor=.5, end=2), partial(ExponentialLR, gamma=.5)], [.5, .5, .25, .125])])
def test_a_schedule_may_be_given_in_many_ways(schedule, wanted):
    near(values(schedule, 4, lr=1.), wanted)
    near(preview(schedule, (2, 2), lr=1.).lines[0].get_ydata(), values(schedule, (2, 2), lr=1.))

def test_objects_go_on_from_where_they_stand_and_do_not_move():
    optim = sgd(1.)
    for one in (ExponentialLR(optim, .5), lr_scheduler.ExponentialLR(sgd(1.), .5)):
        with pytest.warns(UserWarning) if isinstance(one, lr_scheduler.LRScheduler) else nullcontext(): one.step()
        before = one.state_dict()
        near(values(one, 3, lr=7.), [.5, .25, .125])
        assert one.state_dict() == before and one.optimizer.param_groups[0]['lr'] == .5

def test_momentum_and_whatever_else_a_group_holds_can_be_asked_for():
    near(values(dict(policy='LinearAnnealing', min_momentum=.5), 4, name='momentum'), [.9, .8, .7, .6])
    near(values(dict(type='StepMomentum', step_size=2, gamma=.5), 4, name='momentum', momentum=.8), [.8, .8, .4, .4])
    near(values(dict(type='ExponentialParamScheduler', param_name='weight_decay', gamma=.5), 3, name='weight_decay', weight_decay=.4), [.4, .2, .1])
    adam = Adam([torch.zeros(1)], lr=.1)
    near(values(lr_scheduler.OneCycleLR(adam, .1, total_steps=5), 5, name='momentum')[[0, -1]], [.95, .95])

@pytest.mark.parametrize('args, error, says', [
    ((StepLR, 0), ValueError, 'a pair of epochs and iterations'), ((StepLR, (2, 3, 4)), ValueError, 'a pair of'),
    ((StepLR, 2.5), ValueError, 'a pair of epochs'),
    ((3, 4), TypeError, 'a schedule is'), ((dict(type='StpLR'), 4), KeyError, 'Did you mean'), ((dict(policy='stp'), 4), KeyError, 'Did you mean')])
def test_what_cannot_be_drawn_is_said(args, error, says):
    with pytest.raises(error, match=says): values(*args)

def test_steps_taken_at_once_lead_to_the_same_place():
    for make in (lambda o: [CosineAnnealingLR(o, 100, eta_min=.1)], lambda o: [LinearLR(o, .1, by_epoch=False, end=30), ExponentialLR(o, .9)],
                 lambda o: [OneCycleLR(o, 2., 300, by_epoch=False)], lambda o: [lr_scheduler.ExponentialLR(o, .99)]):
        one,other = (Walk(o, 100, 3, make(o)) for o in (stand_in(sgd()), stand_in(sgd())))
        near(walked(one)[::17], walked(other, at=range(0, 300, 17)))

def test_a_policy_looked_at_now_and_then_is_the_same_as_looked_at_each_time():
    for hook in (StepLrUpdaterHook(3, warmup='linear', warmup_iters=7), ExpLrUpdaterHook(.99, by_epoch=False)):
        one,other = (Walk(stand_in(sgd()), 20, 5, policies=[hook]) for _ in range(2))
        near(walked(one)[::6], walked(other, at=range(0, 100, 6)))

def test_the_effort_counts_what_is_taken_step_by_step():
    optim = stand_in(sgd())
    assert effort(Walk(optim, 10, 7, [ExponentialLR(optim, .5), ReduceOnPlateauLR(optim)])) == 0
    assert effort(Walk(optim, 10, 7, [lr_scheduler.StepLR(optim, 2)])) == 10 and effort(Walk(optim, 10, 7, [lr_scheduler.OneCycleLR(optim, 1., 70)])) == 70

def test_a_policy_of_ones_own_is_drawn_too():
    class Saw(LrUpdaterHook):
        def get_lr(self, runner, base_lr): return base_lr*(1-runner.epoch % 2/2)
    near(values(Saw(), (4, 2), lr=1.), [1, 1, .5, .5]*2)

def test_matplotlib_is_imported_when_something_is_drawn_and_not_before():
    code = "import sys, interactive_runner; assert not {'matplotlib', 'ipywidgets'} & set(sys.modules)"
    subprocess.run([sys.executable, '-c', code], check=True)

# edits

def test_an_edit_is_on_record_and_says_what_becomes_of_it():
    runner = small(param_scheduler=dict(type='ExponentialLR', gamma=.5))
    runner.run_until(iter=3)
    assert runner.set_param('lr', .02, group=0) == 'lr is 0.02 for group 0. ExponentialLR moves lr after each epoch and goes on from an edit.'
    assert runner.player.acks[-1].what == 'lr 0.02 for group 0' and runner.player.acks[-1].position.iter == 3
    assert runner.set_param('weight_decay', '1e-4') == 'weight_decay is 1e-4 for all groups.' and runner.optimizer.param_groups[0]['weight_decay'] == 1e-4

def test_a_schedule_that_is_over_is_no_longer_spoken_of():
    runner = small(param_scheduler=[dict(type='LinearLR', by_epoch=False, end=4), dict(type='ExponentialLR', gamma=.5)])
    names = lambda: [o.who for o in writers(runner, runner.optimizer)]
    runner.run_until(iter=2)
    assert names() == ['LinearLR', 'ExponentialLR']
    runner.run_until(iter=6)
    assert names() == ['ExponentialLR']

@pytest.mark.parametrize('make, says', [
    (lambda o: lr_scheduler.StepLR(o, 2), 'StepLR moves lr after each epoch and goes on from an edit.'),
    (lambda o: lr_scheduler.LambdaLR(o, float), 'LambdaLR sets lr after each epoch: an edit lasts until then.'),
    (lambda o: lr_scheduler.OneCycleLR(o, .1, 90), 'OneCycleLR sets lr and momentum after each iteration: an edit lasts until then.'),
    (lambda o: lr_scheduler.ReduceLROnPlateau(o), 'ReduceLROnPlateau moves lr after each validation and goes on from an edit.'),
    (lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.StepLR(o, 2)]), 'ChainedScheduler moves lr after each epoch and goes on from an edit.'),
    (lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(o, 2), lr_scheduler.StepLR(o, 3)], [3]),
     'SequentialLR sets lr after each epoch: an edit lasts until then.')])
def test_what_becomes_of_an_edit_under_each_scheduler_of_torch(make, says):
    runner = small(param_scheduler=make)
    runner.step()
    assert says in runner.set_param('lr', .01)
    runner.hooks['ParamSchedulerHook'].off()
    assert writers(runner, runner.optimizer) == []

@pytest.mark.parametrize('name, args', [
    ('StepLR', (2, .5)), ('MultiStepLR', ([1, 3], .5)), ('ExponentialLR', (.5,)), ('ConstantLR', (.5, 3)), ('LinearLR', (.5,)), ('CosineAnnealingLR', (9,)),
    ('PolynomialLR', (9,)), ('MultiplicativeLR', (lambda t: .5,)), ('LambdaLR', (lambda t: .5**t,)), ('CyclicLR', (.1, 1., 3)), ('OneCycleLR', (1., 9)),
    ('CosineAnnealingWarmRestarts', (3,))])
def test_whether_a_scheduler_of_torch_goes_on_from_an_edit_is_told_truly(name, args):
    def after(edit):
        optim = sgd(1.)
        one = getattr(lr_scheduler, name)(optim, *args)
        optim.step()
        for _ in range(2): one.step()
        if edit: optim.param_groups[0]['lr'] /= 2
        for _ in range(2): one.step()
        return optim.param_groups[0]['lr'], goes_on(one)
    (plain,told),(edited,_) = after(False),after(True)
    assert told == (edited != plain)
    if told: assert edited == pytest.approx(plain/2)

def test_a_scheduler_that_the_run_does_not_know_of_is_said_to_be_there():
    runner = small(optimizer=partial(Adam, lr=.1))
    lr_scheduler.OneCycleLR(runner.optimizer, .1, 90)
    assert runner.set_param('betas', .5).endswith('A scheduler sets lr and momentum: an edit lasts until its next change.')
    assert runner.optimizer.param_groups[0]['betas'] == (.5, .999)

def test_one_group_is_meant_by_its_number_or_its_name():
    runner = small(groups=lambda net: [dict(params=[net.weight], name='body'), dict(params=[net.bias], name='head')])
    runner.set_param('lr', .5, group='head')
    runner.set_param('lr', .2, group=0)
    assert [g['lr'] for g in runner.optimizer.param_groups] == [.2, .5]
    for group,says in (('heat', "Did you mean 'head'"), (2, 'Groups are: body, head')):
        with pytest.raises(KeyError, match=says): runner.set_param('lr', .1, group=group)

@pytest.mark.parametrize('name, value, error, says', [
    ('lr', -1, ValueError, '0 or more'), ('lr', 'fast', ValueError, 'fast'), ('lr', None, ValueError, 'None'), ('momentum', 1.5, ValueError, 'below 1'),
    ('learning_rate', .1, ValueError, "Adam has no 'learning_rate'"), ('weight_decy', .1, ValueError, "Did you mean 'weight_decay'")])
def test_an_edit_that_cannot_be_changes_nothing_and_raises(name, value, error, says):
    runner = small(optimizer=partial(Adam, lr=.1))
    before = repr(runner.optimizer)
    with pytest.raises(error, match=says): runner.set_param(name, value)
    assert repr(runner.optimizer) == before and not runner.player.acks

def test_a_hook_may_edit_and_that_is_part_of_the_run_and_not_on_record():
    runner = small(n=2, epochs=2)
    runner.on('after_train_iter')(lambda runner: runner.set_param('lr', .1/(runner.iter+2)))
    runner.train()
    near(list(runner.used.values()), [.1, .05, .1/3, .025])
    assert not [o for o in runner.player.acks if o.what.startswith('lr')]

def test_an_edit_from_another_thread_waits_for_the_next_line():
    runner = small()
    runner.step()
    t = threading.Thread(target=runner.set_param, args=('lr', .3))
    t.start()
    t.join()
    assert runner.optimizer.param_groups[0]['lr'] == .1
    runner.step('line')
    assert runner.optimizer.param_groups[0]['lr'] == .3
