"Schedules: their values, how they chain, their state, and who steps them when."
import inspect
import pickle
import warnings
from math import cos, pi
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler as theirs

from interactive_runner import Runner, sched
from interactive_runner.curve import INF, ParamScheduler
from interactive_runner.hooks.sched import ParamSchedulerHook
from interactive_runner.optim import OptimWrapper, OptimWrapperDict
from interactive_runner.registry import PARAM_SCHEDULERS
from interactive_runner.sched import (ConstantLR, CosineAnnealingLR, CosineRestartLR, ExponentialLR, LinearLR, MultiStepLR, OneCycleLR, PolyLR,
                                      ReduceOnPlateauLR, StepLR, build_param_scheduler)

KINDS = 'Constant', 'Linear', 'Step', 'MultiStep', 'Exponential', 'CosineAnnealing', 'Poly', 'CosineRestart', 'OneCycle', 'ReduceOnPlateau'
NAMES = [f'{k}{o}' for k in KINDS for o in ('LR', 'Momentum', 'ParamScheduler') if k+o != 'OneCycleMomentum']

def sgd(*lrs, **kwargs):
    return torch.optim.SGD([dict(params=[torch.zeros(1)], lr=o) for o in lrs or (1.,)], **dict(momentum=1., nesterov=False) | kwargs)

def walk(n, *makers, optimizer=None, name='lr'):
    "The value at each of `n` steps, with one or more schedulers at work"
    optimizer = optimizer or sgd()
    scheds,res = [make(optimizer) for make in makers],[]
    for _ in range(n):
        res.append(optimizer.param_groups[0][name])
        for o in scheds: o.step()
    return res

def near(a, b, rel=1e-9): assert list(a) == pytest.approx(list(b), rel=rel, abs=1e-12)

# values

VECTORS = {
    'Constant': (dict(factor=.5, end=4), [.5, .5, .5, 1, 1]),
    'Linear': (dict(start_factor=.2, end=5), [.2, .4, .6, .8, 1, 1]),
    'Poly': (dict(end=5), [1, .75, .5, .25, 0, 0]),
    'CosineAnnealing': (dict(T_max=4), [1, .85355, .5, .14645, 0, .14645, .5]),
    'MultiStep': (dict(milestones=[2, 5]), [1, 1, .1, .1, .1, .01]),
    'Step': (dict(step_size=3), [1, 1, 1, .1, .1, .1, .01]),
    'OneCycle': (dict(eta_max=1, total_steps=8), [.04, .81928, .97194, .81175, .55598, .28306, .07664, 0]),
    'CosineRestart': (dict(periods=[3, 5], restart_weights=[1, .5]), [1, .75, .25, .5, .45225, .32725, .17275, .04775])}

MOVED = {'LR': 'lr', 'Momentum': 'momentum', 'ParamScheduler': 'weight_decay'}

@pytest.mark.parametrize('begin', [0, 3])
@pytest.mark.parametrize('kind, suffix, name', [(k, o, nm) for k in VECTORS for o,nm in MOVED.items() if k+o in NAMES])
def test_each_curve_has_the_values_that_are_known_of_it(kind, suffix, name, begin):
    args,wanted = VECTORS[kind]
    args = args | ({'param_name': name} if suffix == 'ParamScheduler' else {}) | ({'end': args['end']+begin} if 'end' in args else {})
    found = walk(len(wanted)+begin, lambda o: getattr(sched, kind+suffix)(o, begin=begin, **args), optimizer=sgd(weight_decay=1.), name=name)
    assert found == pytest.approx([1]*begin + wanted, abs=6e-6)

@settings(max_examples=60, deadline=None)
@given(data=st.data(), n=st.integers(1, 30))
def test_curves_that_torch_has_too_agree_with_it(data, n):
    gamma,k = data.draw(st.floats(.1, 1)),data.draw(st.integers(2, 12))
    ours,its = data.draw(st.sampled_from([
        (lambda o: StepLR(o, k, gamma), lambda o: theirs.StepLR(o, k, gamma)),
        (lambda o: MultiStepLR(o, [k, 2*k, k], gamma), lambda o: theirs.MultiStepLR(o, [k, k, 2*k], gamma)),
        (lambda o: ExponentialLR(o, gamma), lambda o: theirs.ExponentialLR(o, gamma)),
        (lambda o: LinearLR(o, gamma, .9, end=k+1), lambda o: theirs.LinearLR(o, gamma, .9, total_iters=k)),
        (lambda o: ConstantLR(o, gamma, end=k+1), lambda o: theirs.ConstantLR(o, gamma, total_iters=k)),
        (lambda o: CosineAnnealingLR(o, k, eta_min=.05), lambda o: theirs.CosineAnnealingLR(o, k, eta_min=.05)),
        (lambda o: PolyLR(o, power=gamma, end=k+1), lambda o: theirs.PolynomialLR(o, k, power=gamma))]))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore') # torch wants to see an optimizer step first
        near(walk(n, ours), walk(n, its), rel=1e-7)

@settings(max_examples=40, deadline=None)
@given(total=st.integers(4, 60), pct=st.floats(.2, .45), strategy=st.sampled_from(['cos', 'linear']), three=st.booleans())
def test_one_cycle_agrees_with_torchs(total, pct, strategy, three):
    kwargs = dict(pct_start=pct, anneal_strategy=strategy, three_phase=three, div_factor=10., final_div_factor=100.)
    if pct*total <= 1: return # torch divides by nothing there
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        other = walk(total-1, lambda o: theirs.OneCycleLR(o, .5, total, cycle_momentum=False, **kwargs))
    near(walk(total-1, lambda o: OneCycleLR(o, .5, total, **kwargs)), other, rel=1e-7)

@settings(max_examples=50, deadline=None)
@given(periods=st.lists(st.integers(1, 40), min_size=1, max_size=5), eta_min=st.sampled_from([None, .01]), data=st.data())
def test_restarts_are_half_waves_one_after_the_other(periods, eta_min, data):
    weights = [data.draw(st.floats(.1, 2)) for _ in periods]
    low = eta_min or 0
    wanted = [low+(1-low)*w*(1+cos(pi*i/p))/2 for p,w in zip(periods, weights) for i in range(p)]
    near(walk(sum(periods), lambda o: CosineRestartLR(o, periods, weights, eta_min=eta_min)), wanted, rel=1e-6)
    near(walk(sum(periods)+2, lambda o: CosineRestartLR(o, periods, weights, eta_min=eta_min))[-2:], wanted[-1:]*2, rel=1e-6)

def test_a_long_cosine_walked_step_by_step_stays_on_its_curve_through_the_bottom():
    T = 20_000
    found = walk(3*T, lambda o: CosineAnnealingLR(o, T, eta_min=1e-3))
    near(found[::97], [1e-3+(1-1e-3)*(1+cos(pi*(t % (2*T))/T))/2 for t in range(0, 3*T, 97)], rel=1e-6)

def test_the_lowest_value_may_be_a_part_of_each_groups_own():
    optim = sgd(1., .1)
    cosine = CosineAnnealingLR(optim, T_max=5, eta_min_ratio=.01)
    for _ in range(5): cosine.step()
    near(cosine.get_last_value(), [.01, .001])

def test_a_line_from_zero_rises():
    near(walk(6, lambda o: LinearLR(o, start_factor=0., end=5)), [0, .25, .5, .75, 1, 1])

@settings(max_examples=40, deadline=None)
@given(warm=st.integers(2, 12), rest=st.integers(1, 30), start=st.floats(0, 1), eta=st.sampled_from([0., .01]))
def test_warm_up_and_then_a_cosine_is_the_closed_form(warm, rest, start, eta):
    scheds = lambda o: LinearLR(o, start_factor=start, end=warm),lambda o: CosineAnnealingLR(o, eta_min=eta, begin=warm, end=warm+rest)
    wanted = [start+(1-start)*t/(warm-1) for t in range(warm)] + [eta+(1-eta)*(1+cos(pi*t/rest))/2 for t in range(rest)]
    near(walk(warm+rest, *scheds), wanted, rel=1e-8)

@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([lambda o: LinearLR(o, .1, end=7), lambda o: CosineAnnealingLR(o, T_max=40), lambda o: ExponentialLR(o, .9),
                                 lambda o: ConstantLR(o, .5, begin=3, end=9), lambda o: MultiStepLR(o, [4, 9])]), min_size=2, max_size=3))
def test_schedules_at_once_multiply(makers):
    alone = [walk(20, o) for o in makers]
    near(walk(20, *makers), [torch.tensor(each, dtype=torch.float64).prod().item() for each in zip(*alone)], rel=1e-7)

def test_an_edit_by_hand_stays_in_proportion():
    optim = sgd()
    expo = ExponentialLR(optim, .5)
    optim.param_groups[0]['lr'] = .8
    expo.step()
    assert expo.get_last_value() == [.4]

def test_a_schedule_acts_from_begin_to_before_end():
    assert walk(6, lambda o: ExponentialLR(o, .5, begin=2, end=4)) == [1, 1, 1, .5, .5, .5]
    assert walk(3, lambda o: LinearLR(o, .5, end=1)) == [1, 1, 1]

# what it works on

@pytest.mark.parametrize('make', [torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam])
def test_momentum_is_the_first_beta_where_there_are_betas(make):
    optim = OptimWrapper(make([torch.zeros(1)], lr=.1, betas=(.9, .99)))
    momentum = sched.StepMomentum(optim, 1, gamma=.5)
    momentum.step()
    assert optim.param_groups[0]['betas'] == (.45, .99) and momentum.get_last_value() == [.45]

def test_a_rate_that_is_a_tensor_stays_the_same_tensor():
    lr = torch.tensor(1.)
    optim = torch.optim.SGD([torch.zeros(1)], lr=lr)
    for o in (LinearLR(optim, .5, end=3), ExponentialLR(optim, .5)): o.step()
    assert optim.param_groups[0]['lr'] is lr and float(lr) == pytest.approx(.375) and float(optim.param_groups[0]['initial_lr']) == 1

def test_a_group_that_comes_later_is_moved_too():
    optim = sgd()
    expo = ExponentialLR(optim, .5)
    optim.add_param_group(dict(params=[torch.zeros(1)], lr=4.))
    expo.step()
    assert expo.get_last_value() == [.5, 2.]

@pytest.mark.parametrize('make, error, says', [
    (lambda: ExponentialLR(None, .5), TypeError, 'works on an optimizer'),
    (lambda: ExponentialLR(OptimWrapperDict(a=OptimWrapper(sgd())), .5), TypeError, 'several optimizers, a'),
    (lambda: sched.ExponentialMomentum(torch.optim.Adagrad([torch.zeros(1)]), .5), ValueError, "Adagrad has no 'momentum'"),
    (lambda: sched.ExponentialParamScheduler(sgd(), 'weigt_decay', .5), ValueError, "SGD has no 'weigt_decay'"),
    (lambda: ExponentialLR(sgd(), .5, begin=3, end=3), ValueError, 'begin=3, end=3'),
    (lambda: ExponentialLR(sgd(), .5, begin=-1), ValueError, '0 <= begin'),
    (lambda: ExponentialLR(sgd(), .5, last_step=3), KeyError, "no 'initial_lr'"),
    (lambda: ConstantLR(sgd(), 1.5), ValueError, 'factor must lie between 0 and 1'),
    (lambda: LinearLR(sgd(), end_factor=-1, end=5), ValueError, 'end_factor must lie'),
    (lambda: LinearLR(sgd()), ValueError, 'LinearLR needs end='),
    (lambda: CosineAnnealingLR(sgd()), ValueError, 'end= or T_max='),
    (lambda: CosineAnnealingLR(sgd(), 5, eta_min=.1, eta_min_ratio=.1), ValueError, 'one of eta_min'),
    (lambda: CosineAnnealingLR(sgd(), 0), ValueError, 'T_max must be'),
    (lambda: StepLR(sgd(), 0), ValueError, 'step_size must be'),
    (lambda: CosineRestartLR(sgd(), [3, 4]), ValueError, '2 periods and 1 restart_weights'),
    (lambda: CosineRestartLR(sgd(), [3], end=9), ValueError, r'add a period, or set end=3'),
    (lambda: OneCycleLR(sgd(), 1., 9, anneal_strategy='poly'), ValueError, "'cos' or 'linear'"),
    (lambda: ReduceOnPlateauLR(sgd(), rule='lesss'), ValueError, "Did you mean 'less'"),
    (lambda: ReduceOnPlateauLR(sgd(), factor=1.), ValueError, 'less than 1'),
    (lambda: ReduceOnPlateauLR(sgd(), by_epoch=False), ValueError, 'leave by_epoch=False out'),
    (lambda: ReduceOnPlateauLR(sgd(1., 1.), min_value=[0.]), ValueError, '1 numbers, but the optimizer has 2 groups'),
    (lambda: ParamScheduler(sgd(), 'lr'), NotImplementedError, 'has no curve')])
def test_what_cannot_work_is_refused_with_what_would(make, error, says):
    with pytest.raises(error, match=says): make()

# classes

@pytest.mark.parametrize('name', NAMES)
def test_each_name_is_a_class_that_readers_pickle_and_the_registry_find(name):
    cls = getattr(sched, name)
    assert PARAM_SCHEDULERS.get(name) is cls and pickle.loads(pickle.dumps(cls)) is cls and f'class {name}(' in inspect.getsource(cls)
    params = list(inspect.signature(cls).parameters)
    assert params[0] == 'optimizer' and {'begin', 'end', 'last_step', 'by_epoch'} <= set(params)
    assert ('param_name' in params) == name.endswith('ParamScheduler') and not {'args', 'kwargs'} & set(params)
    assert cls.__doc__ and issubclass(cls, ParamScheduler)

def test_a_class_of_ones_own_needs_only_a_curve():
    class Halve(sched.ExponentialLR):
        def __init__(self, optimizer, **kwargs): super().__init__(optimizer, gamma=.5, **kwargs)
    class Saw(ParamScheduler):
        def curve(self, t): return 1-t % 3/3
    assert walk(3, Halve) == [1, .5, .25]
    near(walk(5, lambda o: Saw(o, 'lr')), [1, 2/3, 1/3, 1, 2/3])
    assert list(inspect.signature(Halve).parameters) == ['optimizer', 'kwargs']

# state

ARGS = {'Constant': dict(factor=.5, end=9), 'Linear': dict(start_factor=0., end=9), 'Step': dict(step_size=3), 'MultiStep': dict(milestones=[2, 7]),
        'Exponential': dict(gamma=.8), 'CosineAnnealing': dict(T_max=4), 'Poly': dict(end=9, power=2), 'OneCycle': dict(eta_max=2., total_steps=12),
        'CosineRestart': dict(periods=[4, 9], restart_weights=[1, .4])}

@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(sorted(ARGS)), at=st.integers(0, 12), begin=st.integers(0, 3))
def test_a_run_that_is_resumed_in_the_middle_gets_the_same_values(kind, at, begin):
    args = ARGS[kind] | {'begin': begin} | ({'end': 9+begin} if 'end' in ARGS[kind] else {})
    make = lambda o: getattr(sched, f'{kind}LR')(o, **args)
    whole = walk(14, make)
    optim = sgd()
    one,found = make(optim),[]
    for i in range(14):
        if i == at:
            state,opt_state = one.state_dict(),optim.state_dict()
            optim = sgd()
            one = make(optim)
            optim.load_state_dict(opt_state)
            one.load_state_dict(state)
        found.append(optim.param_groups[0]['lr'])
        one.step()
    assert found == whole

def test_a_state_is_plain_data_that_a_checkpoint_may_hold(tmp_path):
    states = [getattr(sched, f'{k}LR')(sgd(), **v).state_dict() for k,v in ARGS.items()] + [ReduceOnPlateauLR(sgd()).state_dict()]
    torch.save(states, tmp_path/'state.pth')
    assert torch.load(tmp_path/'state.pth', weights_only=True) == states

def test_a_schedule_that_was_changed_before_resuming_is_the_new_one_and_that_is_said():
    one,other = StepLR(sgd(), 2, gamma=.5),StepLR(sgd(), 3, gamma=.5)
    for _ in range(2): one.step()
    with pytest.warns(UserWarning, match='saved with step_size=2, and goes on with step_size=3'): other.load_state_dict(one.state_dict())
    assert other.step_size == 3 and other.last_step == 2
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        one.load_state_dict(one.state_dict() | {'_last_value': [.1], 'base_values': [.1]}) # as in MMEngine's files
    with pytest.raises(KeyError, match='needs _global_step'): one.load_state_dict({})

def test_last_step_goes_on_from_there():
    optim = sgd()
    one = ExponentialLR(optim, .5)
    for _ in range(3): one.step()
    optim.param_groups[0]['lr'] = .25
    again = ExponentialLR(optim, .5, last_step=2)
    assert (again.last_step, again.get_last_value()) == (3, [.125])

# by iterations

@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(['Step', 'MultiStep', 'Exponential', 'CosineAnnealing', 'CosineRestart']), n=st.integers(1, 9), begin=st.integers(0, 3))
def test_a_schedule_by_iterations_meets_the_one_by_epochs_where_an_epoch_begins(kind, n, begin):
    cls,args = getattr(sched, f'{kind}LR'),ARGS[kind]
    by_epoch = walk(12, lambda o: cls(o, begin=begin, **args))
    by_iter = walk(12*n, lambda o: cls.build_iter_from_epoch(o, begin=begin, epoch_length=n, **args))
    near(by_iter[::n], by_epoch, rel=1e-6)

@pytest.mark.parametrize('kind', ['Constant', 'Linear', 'Poly', 'OneCycle'])
def test_whatever_counts_steps_is_multiplied(kind):
    cls,args = getattr(sched, f'{kind}LR'),ARGS[kind]
    one = cls.build_iter_from_epoch(sgd(), begin=1, epoch_length=10, **args)
    assert (one.begin, one.end, one.by_epoch) == (10, args.get('end', INF//10)*10, False)
    if kind == 'OneCycle': assert one.total_steps == 120

@pytest.mark.parametrize('kwargs, says', [(dict(by_epoch=False, epoch_length=3), 'leave convert_to_iter_based out'), ({}, 'epoch_length must be'),
                                          (dict(epoch_length=0), 'epoch_length must be')])
def test_what_cannot_be_converted_is_said(kwargs, says):
    with pytest.raises(ValueError, match=says): ExponentialLR.build_iter_from_epoch(sgd(), .5, **kwargs)

# plateau

def plateau(losses, **kwargs):
    optim = sgd()
    one,res = ReduceOnPlateauLR(optim, **dict(patience=1, factor=.5) | kwargs),[]
    for o in losses:
        one.step()
        one.step({'loss': o})
        res.append(optim.param_groups[0]['lr'])
    return res

@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(.1, 10), max_size=25), st.sampled_from(['less', 'greater']), st.sampled_from(['rel', 'abs']),
       st.integers(0, 3), st.integers(0, 3), st.sampled_from([0., .01, .2]), st.sampled_from([0., .2]))
def test_a_plateau_is_what_torch_takes_for_one(values, rule, threshold_rule, patience, cooldown, threshold, low):
    found = plateau(values, rule=rule, threshold_rule=threshold_rule, patience=patience, cooldown=cooldown, threshold=threshold, min_value=low)
    optim,wanted = sgd(),[]
    its = theirs.ReduceLROnPlateau(optim, 'min' if rule == 'less' else 'max', .5, patience, threshold, threshold_rule, cooldown, low)
    for o in values:
        its.step(o)
        wanted.append(optim.param_groups[0]['lr'])
    assert found == wanted

def test_a_plateau_looks_only_between_begin_and_end_and_bears_what_is_no_number():
    assert plateau([1.]*6, patience=0, begin=3, end=5) == [1, 1, 1, .5, .5, .5]
    assert plateau([float('nan')]*3, patience=0) == [.5, .25, .125]

def test_a_plateau_goes_on_after_a_resume():
    optim = sgd()
    one,other = ReduceOnPlateauLR(optim, patience=2),ReduceOnPlateauLR(optim, patience=2)
    for _ in range(3): one.step({'loss': 1.})
    other.load_state_dict(one.state_dict())
    other.step({'loss': 1.})
    assert other.get_last_value() == [.1] and one.get_last_value() == [.1]

# from a config

def test_one_a_list_and_none():
    optim = OptimWrapper(sgd())
    assert build_param_scheduler(None, optim) is None
    assert [type(o) for o in build_param_scheduler(dict(type='StepLR', step_size=2), optim)] == [StepLR]
    mine = StepLR(optim, 2)
    assert build_param_scheduler(mine, optim) == [mine]
    assert [type(o).__name__ for o in build_param_scheduler([mine, dict(type=LinearLR, end=3)], optim)] == ['StepLR', 'LinearLR']

@pytest.mark.parametrize('cfg, defaults, end', [
    (dict(), dict(end=12), 12), (dict(), dict(max_epochs=5, max_iters=70), 5), (dict(by_epoch=False), dict(max_epochs=5, max_iters=70), 70),
    (dict(end=3), dict(end=12), 3), (dict(), None, INF), (dict(convert_to_iter_based=True), dict(max_epochs=5, max_iters=70), 50),
    (dict(convert_to_iter_based=True, end=2), dict(end=5), 20), (dict(), dict(max_epochs=None), INF)])
def test_what_has_no_end_ends_with_the_run(cfg, defaults, end):
    cfg = dict(type='ExponentialLR', gamma=.9) | cfg
    kept = dict(cfg)
    assert build_param_scheduler(cfg, sgd(), defaults, epoch_length=10)[0].end == end and cfg == kept

def test_several_optimizers_have_lists_by_name_or_one_for_all():
    both = OptimWrapperDict(gen=OptimWrapper(sgd(1.)), critic=OptimWrapper(sgd(2.)))
    one = dict(type='ExponentialLR', gamma=.5)
    found = build_param_scheduler(dict(gen=[one, one], critic=one), both)
    assert {k: len(v) for k,v in found.items()} == {'gen': 2, 'critic': 1}
    assert [o[0].get_last_value() for o in build_param_scheduler([one], both).values()] == [[1.], [2.]]
    assert list(build_param_scheduler(dict(gen=one), both)) == ['gen']
    with pytest.raises(ValueError, match="Did you mean 'critic'"): build_param_scheduler(dict(critics=one), both)
    with pytest.raises(ValueError, match='need several optimizers'): build_param_scheduler(dict(gen=one), sgd())
    with pytest.raises(ValueError, match='belongs to another optimizer'): build_param_scheduler(StepLR(both['gen'], 2), both)

def test_torchs_own_schedulers_are_taken_by_object_and_by_name():
    optim = OptimWrapper(sgd())
    its = theirs.StepLR(optim.optimizer, 2)
    cfg = [its, dict(type='torch.optim.lr_scheduler.StepLR', step_size=3), dict(type=theirs.ReduceLROnPlateau)]
    found = build_param_scheduler(cfg, optim, dict(max_epochs=9))
    assert found[0] is its and [type(o) for o in found] == [theirs.StepLR, theirs.StepLR, theirs.ReduceLROnPlateau]

@pytest.mark.parametrize('cfg, error, says', [
    ('StepLR', TypeError, 'a dict with its type'), ([None], TypeError, 'a dict with its type'), (dict(step_size=3), ValueError, 'needs type='),
    ([dict(step_size=3)], KeyError, "with 'type'"), (dict(type='ReduceLROnPlato'), KeyError, 'Did you mean'), (dict(type='StepLR'), TypeError, 'step_size')])
def test_what_describes_no_scheduler_is_refused(cfg, error, says):
    with pytest.raises(error, match=says): build_param_scheduler(cfg, sgd())

# the hook

def run(scheds, epochs=2, iters=3, metrics=None):
    hook,runner = ParamSchedulerHook(),SimpleNamespace(param_schedulers=scheds, by_epoch=True, training=True)
    hook.before_train(runner)
    for _ in range(epochs):
        for _ in range(iters): hook.after_train_iter(runner)
        hook.after_train_epoch(runner)
        hook.after_val_epoch(runner, metrics)

def test_each_is_stepped_when_it_is_due():
    optims = [sgd() for _ in range(5)]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        one = ReduceOnPlateauLR(optims[4], 'f1', patience=0)
        run({'a': [ExponentialLR(optims[0], .5), ExponentialLR(optims[1], .5, by_epoch=False)],
             'b': [theirs.ExponentialLR(optims[2], .5), theirs.ReduceLROnPlateau(optims[3], factor=.5, patience=0), one]},
            metrics={'loss': 1., 'f1': .5})
    assert [o.param_groups[0]['lr'] for o in optims] == [.25, .5**6, .25, .5, .1] and one.last_step == 2
    run(None)

def test_torchs_cycles_go_by_batches_unless_told_otherwise():
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        cycle,told = theirs.OneCycleLR(sgd(), 1., total_steps=7),theirs.ExponentialLR(sgd(), .5)
        told.by_epoch = False
        run([cycle, told])
    assert cycle.last_epoch == told.last_epoch == 6

def test_the_metric_for_torchs_plateau_can_be_named():
    its = theirs.ReduceLROnPlateau(sgd(), 'max', patience=0)
    with pytest.raises(KeyError, match='Set its `monitor`'): run([its], metrics={'acc': 1., 'f1': 1.})
    its.monitor = 'f1'
    run([its], metrics={'acc': 1., 'f1': 1.})
    assert its.best == 1

def test_the_hook_steers_and_stands_late():
    assert ParamSchedulerHook.steers and ParamSchedulerHook.priority == 'LOW'

def test_a_scheduler_by_epochs_in_a_run_by_iterations_is_said_before_it_begins():
    runner = SimpleNamespace(param_schedulers=[ExponentialLR(sgd(), .5)], by_epoch=False)
    with pytest.warns(UserWarning, match='ExponentialLR would step after each epoch'): ParamSchedulerHook().before_train(runner)

# formulas once more, as plain as can be and without a line of the library: base 1, value at step `t`

def wave(x): return (1+cos(pi*x))/2

@st.composite
def plans(draw):
    "A scheduler, its arguments, and the value at step t"
    n,low = draw(st.integers(2, 14)),draw(st.sampled_from([0., .01, .3]))
    gamma,f,g = (draw(st.floats(a, b)) for a,b in ((.3, 1.), (0, 1), (0, 1)))
    marks = draw(st.lists(st.integers(1, 14), max_size=5))
    periods = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    weights = [draw(st.floats(.1, 2)) for _ in periods]
    power,pct,three = draw(st.floats(.4, 3)),draw(st.floats(.2, .45)),draw(st.booleans())
    def restart(t):
        for p,w in zip(periods, weights):
            if t < p: return low+(1-low)*w*wave(t/p)
            t -= p
        return low+(1-low)*weights[-1]*wave((periods[-1]-1)/periods[-1])
    def cycle(t):
        top,first,last = pct*n-1,.05,.05/1e3
        corners = [(0, first), (top, 1.3), *([(2*top, first)] if three else []), (n-1, last)]
        for (a,x),(b,y) in zip(corners, corners[1:]):
            if t <= b: return y+(x-y)*wave((t-a)/(b-a))
        return last
    return draw(st.sampled_from([
        ('Constant', dict(factor=f, end=n), lambda t: f if t < n-1 else 1.),
        ('Linear', dict(start_factor=f, end_factor=g, end=n), lambda t: f+(g-f)*min(t, n-1)/(n-1)),
        ('Step', dict(step_size=n, gamma=gamma), lambda t: gamma**(t//n)),
        ('MultiStep', dict(milestones=marks, gamma=gamma), lambda t: gamma**sum(m <= t for m in marks)),
        ('Exponential', dict(gamma=gamma), lambda t: gamma**t),
        ('CosineAnnealing', dict(T_max=n, eta_min=low), lambda t: low+(1-low)*wave(t/n)),
        ('CosineAnnealing', dict(end=n, eta_min_ratio=low), lambda t: low+(1-low)*wave(min(t, n-1)/n)),
        ('Poly', dict(power=power, eta_min=low, end=n), lambda t: low+(1-low)*(1-min(t, n-1)/(n-1))**power),
        ('CosineRestart', dict(periods=periods, restart_weights=weights, eta_min=low), restart),
        *[('OneCycle', dict(eta_max=1.3, total_steps=n, pct_start=pct, three_phase=three, div_factor=26, final_div_factor=1e3, end=n), cycle)]*(pct*n > 1.01)]))

def exact(a, b): assert list(a) == pytest.approx(list(b), rel=1e-12, abs=1e-13)

@settings(max_examples=250, deadline=None)
@given(plan=plans(), n=st.integers(1, 40))
def test_each_schedule_follows_its_formula_with_any_arguments(plan, n):
    kind,args,formula = plan
    exact(walk(n, lambda o: getattr(sched, f'{kind}LR')(o, **args)), map(formula, range(n)))

@settings(max_examples=150, deadline=None)
@given(plan=plans(), begin=st.integers(1, 5))
def test_the_formula_is_counted_from_where_the_schedule_begins(plan, begin):
    kind,args,formula = plan
    args = args | {'begin': begin} | ({'end': args['end']+begin} if 'end' in args else {})
    exact(walk(30, lambda o: getattr(sched, f'{kind}LR')(o, **args)), [1.]*begin + [formula(t) for t in range(30-begin)])

@settings(max_examples=150, deadline=None)
@given(plan=plans(), at=st.integers(0, 25), leaps=st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_a_run_begun_in_the_middle_and_one_that_takes_several_steps_at_once_are_on_the_same_curve(plan, at, leaps):
    kind,args,formula = plan
    optim,make = sgd(),lambda o: getattr(sched, f'{kind}LR')(o, **args)
    one = make(optim)
    for _ in range(at): one.step()
    other = sgd()
    late = make(other)
    other.load_state_dict(optim.state_dict())
    late.load_state_dict(one.state_dict())
    for n in leaps:
        at += n
        late.step(n=n)
        exact(late.get_last_value(), [formula(at)])

@settings(max_examples=100, deadline=None)
@given(a=plans(), b=plans(), n=st.integers(1, 25))
def test_two_at_once_act_one_after_the_other_on_what_they_find(a, b, n):
    "How schedules compose: each moves what is above its floor by the ratio of its curve, in the order of the list"
    assume('OneCycle' not in (a[0], b[0]) and all(o[2](t) > 1e-9 for o in (a, b) for t in range(n))) # from nothing, the original is taken
    x,wanted = 1.,[]
    for t in range(n):
        for kind,args,formula in (a, b):
            floor = args.get('eta_min', args.get('eta_min_ratio', 0.)) if kind in ('CosineAnnealing', 'Poly', 'CosineRestart') else 0.
            now,before = formula(t)-floor,(formula(t-1) if t else 1.)-floor
            assume(before > 1e-9)
            x = floor+(x-floor)*(now/before)
        wanted.append(x)
    found = walk(n, *(lambda o, k=kind, c=args: getattr(sched, f'{k}LR')(o, **c) for kind,args,_ in (a, b)))
    assert found == pytest.approx(wanted, rel=1e-6, abs=1e-9)

# in a run

def small(schedule, lr=1., **kwargs):
    torch.manual_seed(0)
    net = nn.Linear(2, 1)
    optim = torch.optim.SGD(net.parameters(), lr, momentum=.9)
    made = schedule(optim) if callable(schedule) else schedule
    runner = Runner(net, train_dataloader=[(torch.zeros(4, 2), torch.zeros(4, 1))]*3, optimizer=optim, loss_fn=nn.functional.mse_loss, max_epochs=6,
                    param_scheduler=made, log_level='ERROR', **kwargs)
    runner.used = {}
    runner.on('before_optim_step', name='note')(lambda runner: runner.used.update({runner.iter: optim.param_groups[0]['lr']}))
    return runner

CUTS = st.lists(st.tuples(st.sampled_from(['line', 'hook', 'iter', 'epoch']), st.integers(1, 9), st.booleans()), max_size=6)
CHANGES = st.lists(st.tuples(st.sampled_from(['line', 'hook']), st.integers(1, 40), st.sampled_from(['on', 'off', 0, 50, 100])), max_size=8)

def train_with_cuts(runner, cuts):
    "Train to the end, with steps, and stops after some of them"
    for unit,n,stop in cuts:
        runner.step(unit, n)
        if stop: runner.stop()
    runner.train()
    return runner

def train_with_failures(runner, stage):
    "Train to the end, where two iterations fail once at `stage` and are begun again"
    failed = []
    @runner.on(stage, priority='VERY_LOW')
    def fail(runner):
        if runner.iter in (4, 7) and runner.iter not in failed: failed.append(runner.iter); raise OSError('once')
    for _ in range(2):
        with pytest.raises(OSError): runner.train()
        runner.retry()
    runner.train()
    assert failed == [4, 7]
    return runner

RUNS = [(dict(type='CosineAnnealingLR', eta_min=.1), lambda i: .1+.9*wave(i//3/6)), (dict(type='PolyLR', by_epoch=False, power=2), lambda i: (1-i/17)**2),
        (dict(type='LinearLR', start_factor=.1, end=4, convert_to_iter_based=True), lambda i: .1+.9*min(i, 11)/11),
        (dict(type='MultiStepLR', milestones=[2, 4]), lambda i: .1**(i//6)),
        ([dict(type='LinearLR', start_factor=.2, by_epoch=False, end=5), dict(type='ExponentialLR', gamma=.5)], lambda i: (.2+.8*min(i, 4)/4)*.5**(i//3))]

@pytest.mark.parametrize('cfg, formula', RUNS)
def test_a_run_is_trained_with_the_rates_of_the_formula(cfg, formula):
    runner = small(cfg)
    runner.train()
    exact(runner.used.values(), map(formula, range(18)))

@settings(max_examples=25, deadline=None)
@given(case=st.sampled_from(RUNS), cuts=CUTS)
def test_stops_and_restarts_anywhere_leave_a_schedule_on_its_curve(case, cuts):
    cfg,formula = case
    runner = train_with_cuts(small(cfg), cuts)
    exact(runner.used.values(), map(formula, range(18)))

@pytest.mark.parametrize('stage', ['after_backward', 'after_train_iter'])
def test_an_iteration_that_failed_and_is_begun_again_takes_one_step_of_the_schedule(stage):
    runner = train_with_failures(small(RUNS[1][0]), stage)
    exact(runner.used.values(), map(RUNS[1][1], range(18)))

@settings(max_examples=15, deadline=None)
@given(off=st.integers(1, 16), more=st.integers(1, 16))
def test_switched_off_a_schedule_stands_still_and_goes_on_from_there(off, more):
    on = min(off+more, 17)
    runner = small(RUNS[1][0])
    runner.run_until(iter=off)
    runner.hooks['ParamSchedulerHook'].off()
    runner.run_until(iter=on)
    runner.hooks['ParamSchedulerHook'].on()
    runner.train()
    exact(runner.used.values(), [RUNS[1][1](min(i, off) if i <= on else i-(on-off)) for i in range(18)])

@settings(max_examples=25, deadline=None)
@given(changes=CHANGES)
def test_switched_and_moved_anywhere_a_schedule_has_made_as_many_steps_as_iterations_ended_while_it_was_on(changes):
    runner,ended = small(RUNS[1][0]),[]
    row = runner.hooks['ParamSchedulerHook']
    runner.on('before_optim_step', name='look')(lambda runner: ended.append(row.spent('after_train_iter')[0]))
    for unit,n,what in changes:
        runner.step(unit, n)
        if what in ('on', 'off'): getattr(row, what)()
        else: row.priority = what
    runner.train()
    exact(runner.used.values(), map(RUNS[1][1], ended))
    assert all(b-a in (0, 1) for a,b in zip(ended, ended[1:])) and len(ended) == 18

@pytest.mark.parametrize('cfg, formula', RUNS)
@pytest.mark.parametrize('epochs', [1, 4])
def test_a_resumed_run_is_on_the_same_curve(cfg, formula, epochs, tmp_path):
    runner = small(cfg)
    runner.on('after_train_epoch', priority='LOWEST')(lambda runner: runner.epoch+1 == epochs and runner.save_checkpoint(tmp_path, 'half.pth'))
    runner.train()
    other = small(cfg, lr=7.)
    other.resume(tmp_path/'half.pth')
    other.train()
    exact(other.used.values(), map(formula, range(3*epochs, 18)))

# torch's own in a run: as in a plain loop

def cycle(o, **kwargs): return theirs.OneCycleLR(o, 1., total_steps=18, **kwargs)

@pytest.mark.parametrize('make, by_epoch', [
    (lambda o: theirs.StepLR(o, 2), True), (lambda o: theirs.MultiStepLR(o, [2, 4]), True), (lambda o: theirs.ConstantLR(o, .5, 3), True),
    (lambda o: theirs.LinearLR(o, .1, total_iters=3), True), (lambda o: theirs.ExponentialLR(o, .8), True),
    (lambda o: theirs.CosineAnnealingLR(o, 6), True),
    (lambda o: theirs.CosineAnnealingWarmRestarts(o, 2), True), (lambda o: theirs.PolynomialLR(o, 6, 2), True),
    (lambda o: theirs.LambdaLR(o, lambda t: .9**t), True),
    (lambda o: theirs.MultiplicativeLR(o, lambda t: .9), True), (lambda o: theirs.CyclicLR(o, .1, 1., step_size_up=4), False), (cycle, False),
    (lambda o: theirs.ChainedScheduler([theirs.LinearLR(o, .1, total_iters=3), theirs.ExponentialLR(o, .8)]), True),
    (lambda o: theirs.SequentialLR(o, [theirs.ConstantLR(o, .1, 2), theirs.ExponentialLR(o, .8)], [2]), True)])
@pytest.mark.parametrize('as_list', [False, True])
def test_torchs_schedulers_are_stepped_as_in_a_plain_loop(make, by_epoch, as_list):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        optim,wanted = sgd(1., momentum=.9),[]
        its = make(optim)
        for i in range(18):
            wanted.append(optim.param_groups[0]['lr'])
            if not by_epoch or i % 3 == 2: its.step()
        runner = small(lambda o: [make(o)] if as_list else make(o))
        runner.train()
        assert list(runner.used.values()) == wanted

def test_torchs_plateau_in_a_run_follows_the_metric_of_the_validation():
    runner = small(lambda o: theirs.ReduceLROnPlateau(o, factor=.5, patience=0), metrics={'acc': lambda *args: 1.},
                   val_dataloader=[(torch.zeros(4, 2), torch.zeros(4, 1))])
    runner.param_schedulers[0].monitor = 'acc'
    runner.train()
    assert list(runner.used.values())[::3] == [1, 1, .5, .25, .125, .0625]
