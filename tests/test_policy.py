"MMCV's policies: each a function of progress, whatever happens to the run."
import inspect
import math
import pickle
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from interactive_runner import Runner
from interactive_runner.hook import parameters
from interactive_runner.hooks import policies as module
from interactive_runner.hooks.policies import (CosineAnnealingLrUpdaterHook, CyclicLrUpdaterHook, ExpLrUpdaterHook, FixedLrUpdaterHook, OneCycleLrUpdaterHook,
                                               OneCycleMomentumUpdaterHook, StepLrUpdaterHook, policies, policy_hook)
from interactive_runner.hooks.policy import LrUpdaterHook
from interactive_runner.registry import HOOKS, default_scope
from test_sched import CHANGES, CUTS, train_with_cuts, train_with_failures

LR = ['Fixed', 'Step', 'Exp', 'Poly', 'Inv', 'CosineAnnealing', 'FlatCosineAnnealing', 'CosineRestart', 'Cyclic', 'OneCycle', 'LinearAnnealing']
MOMENTUM = ['Step', 'CosineAnnealing', 'LinearAnnealing', 'Cyclic', 'OneCycle']

# The formulas once more, as plain as can be and without a line of the library

def cos_between(a, b, x, w=1.): return b + w*(a-b)*(1+math.cos(math.pi*x))/2
def line_between(a, b, x): return a + (b-a)*x
def low_of(c, b, of): return c[f'min_{of}'] if c.get(f'min_{of}') is not None else b*c[f'min_{of}_ratio']

def f_fixed(b, p, P, c, of): return b
def f_step(b, p, P, c, of):
    k = p//c['step'] if isinstance(c['step'], int) else sum(s <= p for s in c['step'])
    x = b*c['gamma']**k
    return x if c.get(f'min_{of}') is None else max(x, c[f'min_{of}'])
def f_exp(b, p, P, c, of): return b*c['gamma']**p
def f_poly(b, p, P, c, of): return (b-c['min_lr'])*(1-p/P)**c['power']+c['min_lr']
def f_inv(b, p, P, c, of): return b/(1+c['gamma']*p)**c['power']
def f_cosine(b, p, P, c, of): return cos_between(b, low_of(c, b, of), p/P)
def f_line(b, p, P, c, of): return line_between(b, low_of(c, b, of), p/P)
def f_flat(b, p, P, c, of):
    s = round(P*c['start_percent'])
    return b if p < s else cos_between(b, low_of(c, b, of), (p-s)/(P-s))
def f_restart(b, p, P, c, of):
    start = 0
    for n,w in zip(c['periods'], c['restart_weights']):
        if p < start+n: return cos_between(b, low_of(c, b, of), (p-start)/n, w)
        start += n
def f_cyclic(b, p, P, c, of):
    n = P//c['cyclic_times']
    up,t,s = int(c['step_ratio_up']*n),p % n,c['gamma']**(p//n)
    between = cos_between if c['anneal_strategy'] == 'cos' else line_between
    top = b*(1-s+c['target_ratio'][0]*s)
    return between(b, top, t/up) if t < up else between(top, b*c['target_ratio'][1], (t-up)/(n-up))
def phases(p, corners, between):
    (a,x) = corners[0]
    for e,y in corners[1:]:
        if p <= e: return between(x, y, (p-a)/(e-a))
        a,x = e,y
def f_one_cycle(b, p, P, c, of):
    between,first = cos_between if c['anneal_strategy'] == 'cos' else line_between,c['max_lr']/c['div_factor']
    mid = [(2*c['pct_start']*P-2, first)] if c['three_phase'] else []
    return phases(p, [(0, first), (c['pct_start']*P-1, c['max_lr']), *mid, (P-1, first/c['final_div_factor'])], between)
def f_one_cycle_momentum(b, p, P, c, of):
    between,low,high = cos_between if c['anneal_strategy'] == 'cos' else line_between,c['base_momentum'],c['max_momentum']
    mid = [(2*c['pct_start']*P-2, high)] if c['three_phase'] else []
    return phases(p, [(0, high), (c['pct_start']*P-1, low), *mid, (P-1, high)], between)

FORMULAS = dict(Fixed=f_fixed, Step=f_step, Exp=f_exp, Poly=f_poly, Inv=f_inv, CosineAnnealing=f_cosine, FlatCosineAnnealing=f_flat, CosineRestart=f_restart,
                Cyclic=f_cyclic, OneCycle=f_one_cycle, LinearAnnealing=f_line)

def warm(c, i):
    "The part of the value at iteration `i`"
    W,r = c.get('warmup_iters', 0),c.get('warmup_ratio')
    if not c.get('warmup') or i >= W: return 1.
    return {'constant': r, 'linear': 1-(1-i/W)*(1-r), 'exp': r**(1-i/W)}[c['warmup']]

def wanted(kind, of, c, b, epoch, i, E, n):
    "The number at iteration `i` in epoch `epoch` of E epochs of n iterations"
    f = f_one_cycle_momentum if (kind, of) == ('OneCycle', 'momentum') else FORMULAS[kind]
    p,P = (epoch, E) if c.get('by_epoch', True) else (i, E*n)
    x = f(b, p, P, c, of)
    return x*warm(c, i) if of == 'lr' else x/warm(c, i)

floats = lambda a, b: st.floats(a, b, allow_nan=False)

@st.composite
def configs(draw, of, P_epochs=6, P_iters=18):
    "A policy with arguments, for a run of that length"
    kind = draw(st.sampled_from(LR if of == 'lr' else MOMENTUM))
    by_epoch = kind not in ('Cyclic', 'OneCycle') and draw(st.booleans())
    P,low = P_epochs if by_epoch else P_iters,draw(st.sampled_from([{f'min_{of}': .01}, {f'min_{of}_ratio': .1}, {f'min_{of}': 0.}]))
    form = dict(anneal_strategy=draw(st.sampled_from(['cos', 'linear'])))
    cycle = dict(pct_start=draw(floats(.2, .45)), three_phase=draw(st.booleans()))
    args = dict(
        Fixed={}, Exp=dict(gamma=draw(floats(.5, 1.1))), Inv=dict(gamma=draw(floats(.01, 2)), power=draw(floats(0, 3))),
        Poly=dict(power=draw(floats(.3, 3)), min_lr=draw(floats(0, .05))), CosineAnnealing=low, LinearAnnealing=low,
        Step=dict(step=draw(st.one_of(st.integers(1, 7), st.lists(st.integers(1, P), max_size=4))), gamma=draw(floats(.05, .9)),
                  **{f'min_{of}': draw(st.sampled_from([None, .02]))}),
        FlatCosineAnnealing=dict(start_percent=draw(floats(0, .9)), **low),
        CosineRestart=dict(periods=[P//3, P-P//3], restart_weights=[draw(floats(.2, 2)), draw(floats(.2, 2))], **low),
        Cyclic=dict(target_ratio=(draw(floats(.5, 10)), draw(floats(1e-4, 1))), cyclic_times=draw(st.integers(1, 4)), step_ratio_up=draw(floats(.1, .9)),
                    gamma=draw(floats(.3, 1)), **form),
        OneCycle={**form, **cycle, **(dict(max_lr=draw(floats(.01, 2)), div_factor=draw(floats(2, 30)), final_div_factor=draw(floats(10, 1e4)))
                                      if of == 'lr' else dict(base_momentum=.8, max_momentum=.97))})[kind]
    warmup = draw(st.sampled_from([None, 'constant', 'linear', 'exp']))
    w = dict(warmup=warmup, warmup_iters=draw(st.integers(1, 20)), warmup_ratio=draw(floats(.01, 1))) if warmup else {}
    return kind, dict(args, by_epoch=by_epoch, **w)

class Play:
    "As much of a run as a policy looks at; it can stand anywhere"
    def __init__(self, E=6, n=3, lrs=(1., .3), momentum=.9, make=torch.optim.SGD):
        groups = [dict(params=[torch.zeros(1)], lr=o) for o in lrs]
        self.optimizer = make(groups, momentum=momentum) if make is torch.optim.SGD else make(groups)
        self.E,self.n,self.epoch,self.iter,self.by_epoch,self.training = E,n,0,0,True,True
        self.max_epochs,self.max_iters = E,E*n
    def loop_length(self, mode): return self.n
    def stand(self, i): self.iter,self.epoch = i,i//self.n
    def begin(self, hook):
        "The stages with which an iteration begins"
        if self.iter % self.n == 0: hook.before_train_epoch(self)
        hook.before_train_iter(self)
    def now(self, of='lr'): return [g[of] for g in self.optimizer.param_groups]

def build(kind, of, c): return policy_hook(dict(c, policy=kind), 'Lr' if of == 'lr' else 'Momentum')
def all_of(run, kind, of, c, i): return [wanted(kind, of, c, b, i//run.n, i, run.E, run.n) for b in ([1., .3] if of == 'lr' else [.9, .9])]
def same(a, b): assert a == pytest.approx(b, rel=1e-12, abs=1e-13)

@pytest.mark.parametrize('of', ['lr', 'momentum'])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_each_policy_follows_its_formula_with_any_arguments(of, data):
    kind,c = data.draw(configs(of))
    run,hook = Play(),build(kind, of, c)
    hook.before_run(run)
    hook.before_train(run)
    for i in range(run.max_iters):
        run.stand(i)
        run.begin(hook)
        same(run.now(of), all_of(run, kind, of, c, i))

@pytest.mark.parametrize('of', ['lr', 'momentum'])
@settings(max_examples=100, deadline=None)
@given(data=st.data(), epoch=st.integers(0, 5))
def test_a_run_that_begins_in_the_middle_has_the_right_number_at_once(of, data, epoch):
    kind,c = data.draw(configs(of))
    run,hook = Play(),build(kind, of, c)
    run.stand(3*epoch)
    hook.before_run(run)
    run.begin(hook)
    same(run.now(of), all_of(run, kind, of, c, 3*epoch))

@settings(max_examples=100, deadline=None)
@given(data=st.data(), places=st.lists(st.integers(0, 17), min_size=1, max_size=12))
def test_wherever_the_hook_is_switched_on_and_in_whatever_order_the_number_is_the_one_of_that_place(data, places):
    kind,c = data.draw(configs('lr'))
    run,hook = Play(),build(kind, 'lr', c)
    hook.before_run(run)
    for i in places:
        run.stand(i)
        for g in run.optimizer.param_groups: g['lr'] = 7.
        hook.on_enable(run)
        same(run.now(), all_of(run, kind, 'lr', c, i))

@pytest.mark.parametrize('kind, args, found', [
    ('Step', dict(step=[16, 19]), {15: 1, 16: .1, 18: .1, 19: .01}), ('step', dict(step=8, gamma=.5), {7: 1, 8: .5, 16: .25}),
    ('CosineAnnealing', dict(min_lr=.01), {0: 1, 10: .505, 19: .01+.99*(1+math.cos(math.pi*.95))/2}),
    ('OneCycle', dict(max_lr=1.), {0: .04, 5: 1., 19: .04/1e4}),
    ('cyclic', dict(target_ratio=10.), {0: 1, 8: 10., 19: 10.+(1e-4-10)*(1-math.cos(math.pi*11/12))/2}),
    ('CosineRestart', dict(periods=[5, 15], restart_weights=[1, .5], min_lr=0.), {0: 1, 5: .5, 10: .375}),
    ('Inv', dict(gamma=.5, power=2), {0: 1, 2: .25}), ('FlatCosineAnnealing', dict(min_lr_ratio=0.), {15: 1, 17: (1+math.cos(math.pi*2/5))/2})])
def test_numbers_worked_out_by_hand(kind, args, found):
    run,hook = Play(20, 1, [1.]),policy_hook(dict(args, policy=kind))
    hook.before_run(run)
    for i,x in found.items():
        run.stand(i)
        run.begin(hook)
        same(run.now(), [x])

def test_a_warm_up_may_be_counted_in_epochs():
    by_iter,by_epoch = (FixedLrUpdaterHook(warmup='exp', **o) for o in (dict(warmup_iters=6), dict(warmup_iters=2, warmup_by_epoch=True)))
    runs = Play(),Play()
    for i in range(9):
        for run,hook in zip(runs, (by_iter, by_epoch)):
            run.stand(i)
            run.begin(hook)
        assert runs[0].now() == runs[1].now()
    assert runs[0].now() == [1., .3]

def test_unless_it_is_told_otherwise_a_warm_up_begins_with_a_tenth_of_the_rate_and_the_momentum_over_nine_tenths():
    assert FixedLrUpdaterHook().warmup_ratio == .1 and OneCycleMomentumUpdaterHook().warmup_ratio == .9

# groups and optimizers

def test_momentum_is_the_first_beta_in_adam_and_the_second_stays():
    run,hook = Play(make=torch.optim.Adam),build('LinearAnnealing', 'momentum', dict(min_momentum=.3))
    hook.before_run(run)
    run.stand(9)
    run.begin(hook)
    same([g['betas'][0] for g in run.optimizer.param_groups], [.6, .6])
    assert run.optimizer.param_groups[0]['betas'][1] == .999 and run.optimizer.param_groups[0]['initial_momentum'] == .9

def test_each_group_starts_from_its_own_number_and_a_maximum_may_be_given_for_each():
    run,hook = Play(lrs=(1., .1)),OneCycleLrUpdaterHook(max_lr=[2., .5], pct_start=.5, div_factor=10)
    hook.before_run(run)
    run.begin(hook)
    same(run.now(), [.2, .05])
    with pytest.raises(ValueError, match='max_lr has 3 numbers, and the optimizer has 2 groups'): OneCycleLrUpdaterHook([1., 2., 3.]).before_run(run)

def test_several_optimizers_are_all_treated():
    run = Play()
    run.optimizer = {nm: Play(lrs=lrs).optimizer for nm,lrs in dict(gen=[1.], critic=[4., 2.]).items()}
    hook = ExpLrUpdaterHook(.5)
    hook.before_run(run)
    run.stand(3)
    run.begin(hook)
    assert {nm: [g['lr'] for g in o.param_groups] for nm,o in run.optimizer.items()} == dict(gen=[.5], critic=[2., 1.])
    cycle = OneCycleMomentumUpdaterHook(base_momentum=dict(gen=.5, critic=.6), max_momentum=dict(gen=.7, critic=[.8, .9]))
    run.stand(0)
    run.begin(cycle)
    assert [g['momentum'] for o in run.optimizer.values() for g in o.param_groups] == [.7, .8, .9]
    with pytest.raises(KeyError, match="nothing for the optimizer 'gen', only for genn, critic"):
        OneCycleLrUpdaterHook(dict(genn=1., critic=2.)).before_run(run)

def test_a_rate_that_is_a_tensor_stays_the_same_tensor():
    lr,run,hook = torch.tensor(1., dtype=torch.float64),Play(lrs=[1.]),ExpLrUpdaterHook(.5)
    run.optimizer.param_groups[0]['lr'] = lr
    hook.before_run(run)
    for i in (0, 3, 6):
        run.stand(i)
        run.begin(hook)
    assert run.optimizer.param_groups[0]['lr'] is lr and lr.item() == .25

def test_without_an_optimizer_there_is_nothing_to_write():
    run = Play()
    run.optimizer = None
    FixedLrUpdaterHook().before_run(run)
    run.begin(FixedLrUpdaterHook())

def test_an_optimizer_without_momentum_is_refused_before_the_run():
    run = Play()
    run.optimizer = torch.optim.Adagrad([torch.zeros(1)])
    with pytest.raises(ValueError, match="Adagrad has no 'momentum'"): build('Step', 'momentum', dict(step=1)).before_run(run)

# from a config

@pytest.mark.parametrize('name', [f'{k}LrUpdaterHook' for k in LR] + [f'{k}MomentumUpdaterHook' for k in MOMENTUM])
def test_each_name_is_a_class_that_readers_pickle_and_the_registry_find(name):
    cls = getattr(module, name)
    assert HOOKS.get(name) is HOOKS.get(f'mmcv.{name}') is cls and pickle.loads(pickle.dumps(cls)) is cls and cls.__doc__
    with default_scope('mmcv'): assert HOOKS.get(name) is cls
    params = inspect.signature(cls).parameters
    assert 'warmup_ratio' in params and not {'args', 'kwargs'} & set(params)

@pytest.mark.parametrize('name, cls', [('step', 'Step'), ('Step', 'Step'), ('fixed', 'Fixed'), ('exp', 'Exp'), ('poly', 'Poly'), ('Inv', 'Inv'), ('inv', 'Inv'),
                                       ('CosineAnnealing', 'CosineAnnealing'), ('cyclic', 'Cyclic'), ('OneCycle', 'OneCycle')])
def test_policies_have_the_names_of_the_tutorial(name, cls):
    args = dict(Step=dict(step=2), Exp=dict(gamma=.5), Inv=dict(gamma=.5), CosineAnnealing=dict(min_lr=0), OneCycle=dict(max_lr=1)).get(cls, {})
    cfg = dict(args, policy=name)
    kept = dict(cfg)
    assert type(policy_hook(cfg)).__name__ == f'{cls}LrUpdaterHook' and cfg == kept

def test_a_hook_none_and_a_dict_with_a_type_are_taken_too():
    hook = FixedLrUpdaterHook()
    assert policy_hook(hook) is hook and policy_hook(None) is None
    assert type(policy_hook(dict(type='StepMomentumUpdaterHook', step=3))).__name__ == 'StepMomentumUpdaterHook'
    assert sorted(policies()) == sorted(LR) and sorted(policies('Momentum')) == sorted(MOMENTUM)

def test_a_policy_that_a_project_has_registered_can_be_asked_for():
    @HOOKS.register_module(scope='mmcv')
    class TriangleLrUpdaterHook(LrUpdaterHook):
        "Written for MMCV: it knows the runner"
        def get_lr(self, runner, base_lr): return base_lr*(1-abs(2*runner.epoch/runner.max_epochs-1))
    try:
        run,hook = Play(),policy_hook(dict(policy='triangle', warmup='constant', warmup_iters=7, warmup_ratio=.5))
        run.stand(6)
        hook.on_enable(run)
        same(run.now(), [1/3, .1])
    finally: HOOKS.table.pop('TriangleLrUpdaterHook')

@pytest.mark.parametrize('cfg, error, says', [
    (dict(policy='steps', step=3), KeyError, "Did you mean 'Step'"), (dict(policy='one_cycle'), KeyError, "Did you mean 'OneCycle'"),
    (dict(step=3), KeyError, r"dict\(policy='step'"), (dict(policy=3), KeyError, "dict\\(policy='step'"), ('step', TypeError, 'a policy is a dict'),
    (FixedLrUpdaterHook, TypeError, 'a policy is a dict'), (3, TypeError, 'a policy is a dict')])
def test_what_names_no_policy_is_refused(cfg, error, says):
    with pytest.raises(error, match=says): policy_hook(cfg)
    with pytest.raises(KeyError, match='for the momentum'): policy_hook(dict(policy='poly'), 'Momentum')

@pytest.mark.parametrize('cfg, says', [
    (dict(policy='step', step=0), 'step must be 1 or more'), (dict(policy='step', step=[3, -1]), 'step must be'), (dict(policy='step', step=2.5), 'step must'),
    (dict(policy='step', step=2, warmup='linar', warmup_iters=3), "warmup must be one of None, 'constant', 'linear', 'exp', got 'linar'"),
    (dict(policy='step', step=2, warmup='linear'), 'needs warmup_iters=, its length in iterations'),
    (dict(policy='step', step=2, warmup='linear', warmup_by_epoch=True), 'its length in epochs'),
    (dict(policy='step', step=2, warmup='linear', warmup_iters=3, warmup_ratio=0), 'warmup_ratio must be'),
    (dict(policy='step', step=2, warmup_iters=-3), 'warmup_iters must be'),
    (dict(policy='exp', gamma=0), 'gamma must be'), (dict(policy='inv', gamma=-1), 'gamma must be'),
    (dict(policy='CosineAnnealing'), 'one of min_lr and min_lr_ratio, got None and None'),
    (dict(policy='LinearAnnealing', min_lr=.1, min_lr_ratio=.1), 'one of min_lr and min_lr_ratio, got 0.1 and 0.1'),
    (dict(policy='FlatCosineAnnealing', min_lr=0, start_percent=1.5), 'start_percent must be a number from 0 to 1'),
    (dict(policy='CosineRestart', min_lr=0, periods=[3, 4]), '2 periods and 1 restart_weights'),
    (dict(policy='cyclic', by_epoch=True), 'by_epoch must be'), (dict(policy='OneCycle', max_lr=1, by_epoch=True), 'by_epoch must be one of False'),
    (dict(policy='cyclic', target_ratio=(1, 2, 3)), 'target_ratio must be'), (dict(policy='cyclic', gamma=2), 'gamma must be'),
    (dict(policy='cyclic', anneal_strategy='poly'), "one of 'cos', 'linear'"), (dict(policy='OneCycle', max_lr=1, pct_start=30), 'pct_start must be')])
def test_arguments_that_cannot_be_are_refused_when_the_hook_is_made(cfg, says):
    with pytest.raises(ValueError, match=says): policy_hook(cfg)

def test_an_argument_misspelt_is_pointed_at():
    with pytest.raises(TypeError) as e: policy_hook(dict(policy='step', step=2, gama=.5))
    assert "Did you mean 'gamma'?" in ''.join(e.value.__notes__)
    with pytest.raises(TypeError, match='warmup_iter'): StepLrUpdaterHook(2, warmup_iter=5)
    with pytest.raises(NotImplementedError, match='write a method `value'): LrUpdaterHook().on_enable(Play())

@pytest.mark.parametrize('cfg, change, says', [
    (dict(policy='CosineRestart', min_lr=0, periods=[3]), {}, 'over after 3, and the run is 6 long'),
    (dict(policy='OneCycle', max_lr=1, total_steps=9), {}, 'total_steps=9, and the run has 18'),
    (dict(policy='cyclic', cyclic_times=30), {}, '30 cycles do not fit into 18'),
    (dict(policy='poly', by_epoch=False), dict(max_iters=None), 'max_iters is not known: set by_epoch=True'),
    (dict(policy='fixed', warmup='linear', warmup_iters=1, warmup_by_epoch=True), dict(loop_length=lambda mode: None), 'the loader has no length')])
def test_a_run_that_a_policy_does_not_fit_is_refused_before_its_first_iteration(cfg, change, says):
    run = Play()
    vars(run).update(change)
    with pytest.raises(ValueError, match=says): policy_hook(cfg).before_train(run)

def test_a_policy_by_epochs_in_a_run_by_iterations_is_pointed_at():
    run = Play()
    run.by_epoch = False
    with pytest.warns(UserWarning, match='set by_epoch=False'): StepLrUpdaterHook(3).before_train(run)

# in a run

def small(*hooks, lr=.1, **kwargs):
    torch.manual_seed(0)
    x = torch.randn(12, 3)
    net = nn.Linear(3, 1)
    given = dict(train_dataloader=DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), 4), optimizer=torch.optim.SGD(net.parameters(), lr, momentum=.9),
                 loss_fn=nn.functional.mse_loss, max_epochs=6, log_level='ERROR', custom_hooks=list(hooks))
    runner = Runner(net, **given | kwargs)
    runner.used = {}
    runner.on('before_optim_step', name='note')(lambda runner: runner.used.update({runner.iter: runner.optimizer.param_groups[0]['lr']}))
    return runner

def rates(runner): return list(runner.used.values())
def formula(kind, c, n=18, b=.1): return [wanted(kind, 'lr', c, b, i//3, i, 6, 3) for i in range(n)]

CASES = [('Step', dict(step=[2, 4], gamma=.1)), ('CosineAnnealing', dict(min_lr=.01, warmup='linear', warmup_iters=5, warmup_ratio=.1)),
         ('Poly', dict(power=.9, min_lr=0., by_epoch=False)),
         ('Cyclic', dict(target_ratio=(3, .1), cyclic_times=2, step_ratio_up=.4, anneal_strategy='cos', gamma=1., by_epoch=False))]

@pytest.mark.parametrize('kind, c', CASES)
def test_the_rates_that_a_run_was_trained_with_are_those_of_the_formula(kind, c):
    runner = small(policy_hook(dict(c, policy=kind)))
    runner.train()
    same(rates(runner), formula(kind, c))

@settings(max_examples=25, deadline=None)
@given(case=st.sampled_from(CASES), cuts=CUTS)
def test_stops_and_restarts_anywhere_change_nothing(case, cuts):
    kind,c = case
    runner = train_with_cuts(small(policy_hook(dict(c, policy=kind))), cuts)
    same(rates(runner), formula(kind, c))

def test_an_iteration_that_failed_and_is_begun_again_has_the_same_rate():
    kind,c = CASES[2]
    runner = train_with_failures(small(policy_hook(dict(c, policy=kind))), 'after_backward')
    same(rates(runner), formula(kind, c))

@pytest.mark.parametrize('kind, c', CASES)
@pytest.mark.parametrize('off, on', [(4, 11), (1, 2), (7, 16)])
def test_switched_off_the_rate_stays_and_switched_on_it_is_that_of_the_formula_at_once(kind, c, off, on):
    runner = small(hook := policy_hook(dict(c, policy=kind)))
    row = runner.hooks[type(hook).__name__]
    runner.run_until(iter=off)
    row.off()
    runner.run_until(iter=on)
    row.on()
    runner.train()
    plan,found = formula(kind, c),rates(runner)
    same(found[:off]+found[on:], plan[:off]+plan[on:])
    assert len(set(found[off:on])) == 1

@settings(max_examples=40, deadline=None)
@given(case=st.sampled_from(CASES), changes=CHANGES)
def test_switched_and_moved_anywhere_the_rate_is_that_of_the_formula_while_on_and_stays_while_off(case, changes):
    kind,c = case
    runner,seen = small(hook := policy_hook(dict(c, policy=kind))),{}
    row,now = runner.hooks[type(hook).__name__],lambda: runner.optimizer.param_groups[0]['lr']
    runner.on('before_optim_step', name='look')(lambda runner: seen.update({runner.iter: (now(), row.enabled)}))
    stays = None # what was there when it was switched off
    for unit,n,what in changes:
        for _ in range(n):
            if runner.status == 'done': return
            runner.step(unit)
            if not row.enabled: assert now() == stays
        if what in ('on', 'off'): getattr(row, what)()
        else: row.priority = what
        stays = now()
    row.on()
    runner.train()
    same([x for x,on in seen.values() if on], [x for x,(_,on) in zip(formula(kind, c), seen.values()) if on])

@pytest.mark.parametrize('kind, c', CASES)
@pytest.mark.parametrize('epochs', [1, 4])
def test_a_resumed_run_goes_on_along_the_formula(kind, c, epochs, tmp_path):
    runner = small(policy_hook(dict(c, policy=kind)))
    runner.run_until(epoch=epochs)
    path = runner.save_checkpoint(tmp_path, 'half.pth')
    other = small(policy_hook(dict(c, policy=kind)), lr=9.)
    other.resume(path)
    seen = []
    other.on('after_backward')(lambda runner: seen.append(runner.optimizer.param_groups[0]['lr']))
    other.train()
    same(seen, formula(kind, c)[3*epochs:])

def test_a_run_that_is_made_longer_follows_the_longer_curve():
    runner = small(CosineAnnealingLrUpdaterHook(min_lr=0))
    runner.train()
    runner.train(epochs=6)
    plan = [wanted('CosineAnnealing', 'lr', dict(min_lr=0), .1, i//3, i, 12, 3) for i in range(18, 36)]
    same(rates(runner)[18:], plan)

def test_a_hook_that_joins_in_the_middle_starts_from_what_it_finds():
    runner = small()
    runner.run_until(epoch=2)
    runner.register_hook(ExpLrUpdaterHook(.5))
    runner.train()
    same(rates(runner)[6::3], [.1*.5**e for e in (2, 3, 4, 5)])

def test_a_parameter_that_is_set_acts_at_the_next_writing_and_a_wrong_one_changes_nothing():
    runner = small(ExpLrUpdaterHook(.5))
    row = runner.hooks['ExpLrUpdaterHook']
    assert {*parameters(row.hook)} == {'gamma', 'by_epoch', 'warmup', 'warmup_iters', 'warmup_ratio', 'warmup_by_epoch'}
    runner.run_until(iter=4)
    row.set(gamma=.9)
    with pytest.raises(ValueError, match='gamma must be'): row.set(gamma=-1)
    runner.train()
    same(rates(runner), [.1]*3+[.05]*3+[.1*.9**e for e in (2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5)])

def test_learning_rate_and_momentum_go_together():
    runner = small(OneCycleLrUpdaterHook(1., by_epoch=False), OneCycleMomentumUpdaterHook())
    seen = []
    runner.on('after_backward')(lambda runner: seen.append((runner.optimizer.param_groups[0]['lr'], runner.optimizer.param_groups[0]['momentum'])))
    runner.train()
    args = dict(anneal_strategy='cos', pct_start=.3, three_phase=False)
    same([o[0] for o in seen], [f_one_cycle(0, i, 18, dict(args, max_lr=1., div_factor=25., final_div_factor=1e4), 'lr') for i in range(18)])
    same([o[1] for o in seen], [f_one_cycle_momentum(0, i, 18, dict(args, base_momentum=.85, max_momentum=.95), 'momentum') for i in range(18)])

def test_a_run_by_iterations_knows_its_length():
    runner = small(CyclicLrUpdaterHook(target_ratio=(2, .5)), max_epochs=None, max_iters=10)
    runner.train()
    c = dict(target_ratio=(2, .5), cyclic_times=1, step_ratio_up=.4, anneal_strategy='cos', gamma=1.)
    same(rates(runner), [f_cyclic(.1, i, 10, c, 'lr') for i in range(10)])

def test_a_schedule_beside_a_policy_is_pointed_at_and_the_policy_has_the_last_word():
    runner = small(StepLrUpdaterHook(2), param_scheduler=dict(type='ExponentialLR', gamma=.5))
    with pytest.warns(UserWarning, match='ExponentialLR and StepLrUpdaterHook both set lr'): runner.train()
    same(rates(runner), [wanted('Step', 'lr', dict(step=2, gamma=.1), .1, i//3, i, 6, 3) for i in range(18)])
    quiet = small(StepLrUpdaterHook(2), param_scheduler=dict(type='ExponentialMomentum', gamma=.5))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        quiet.step()
