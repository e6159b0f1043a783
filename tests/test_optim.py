"The optimizer wrapper, mixed precision, groups from a config, and MMCV's optimizer hook."
from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from interactive_runner.hooks.optim import OptimizerHook
from interactive_runner.hub import MessageHub
from interactive_runner.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict, clipper
from interactive_runner.paramwise import DefaultOptimWrapperConstructor, build_optim_wrapper
from interactive_runner.registry import OPTIM_WRAPPERS

cuda = pytest.param('cuda', marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device'))
devices = pytest.mark.parametrize('device', ['cpu', cuda])

def sgd(model, **kwargs): return torch.optim.SGD(model.parameters(), **{'lr': .1} | kwargs)

def linear(device='cpu'):
    torch.manual_seed(0)
    return nn.Linear(4, 2).to(device),torch.randn(24, 4, device=device),torch.randn(24, 2, device=device)

class Counted(torch.optim.SGD):
    "Keeps how often it stepped"
    steps = 0
    def step(self, closure=None):
        self.steps += 1
        return super().step(closure)

# accumulation

@settings(max_examples=30, deadline=None)
@given(counts=st.integers(1, 6), total=st.integers(1, 20), start=st.integers(0, 19))
def test_each_cycle_weighs_one_and_only_the_last_may_be_shorter(counts, total, start):
    start = min(start, total)//counts*counts
    model,_,_ = linear()
    optim = OptimWrapper(Counted(model.parameters(), lr=0.), accumulative_counts=counts)
    optim.initialize_count_status(model, start, total)
    weights = []
    for _ in range(start, total):
        due = optim.should_sync()
        loss = optim.scale_loss(model.weight.sum())
        weights.append((loss/model.weight.sum()).item())
        optim.backward(loss)
        assert optim.should_update() == due
        if due: optim.step()
    cycles = [sum(weights[i:i+counts]) for i in range(0, len(weights), counts)]
    assert cycles == pytest.approx([1.]*len(cycles))
    assert optim.optimizer.steps == len(cycles)

@settings(max_examples=20, deadline=None)
@given(n=st.sampled_from([1, 2, 3, 4, 6]), clip=st.sampled_from([None, dict(max_norm=.1), dict(type='value', clip_value=.01)]))
def test_small_batches_of_one_size_make_the_step_of_the_large_one(n, clip):
    model,x,y = linear()
    whole = deepcopy(model)
    OptimWrapper(sgd(whole), clip_grad=clip).update_params(F.mse_loss(whole(x), y))
    optim = OptimWrapper(sgd(model), accumulative_counts=n, clip_grad=clip)
    for a,b in zip(x.chunk(n), y.chunk(n)): optim.update_params(F.mse_loss(model(a), b))
    assert torch.allclose(model.weight, whole.weight, atol=1e-6)
    assert model.weight.grad is None

def test_arguments_of_a_step_reach_the_optimizer():
    model,x,y = linear()
    optim = OptimWrapper(sgd(model))
    optim.update_params(F.mse_loss(model(x), y), step_kwargs=dict(closure=None), zero_kwargs=dict(set_to_none=False))
    assert not model.weight.grad.any()

def test_a_run_without_known_length_has_no_tail():
    model,x,_ = linear()
    optim = OptimWrapper(sgd(model), accumulative_counts=4)
    for _ in range(3): optim.update_params(model(x).sum())
    assert not optim.should_update() and model.weight.grad is not None

def test_what_a_summed_batch_normalisation_sees_is_worth_a_warning():
    model = nn.BatchNorm1d(3)
    with pytest.warns(UserWarning, match='batch normalisation'): OptimWrapper(sgd(model), 2).initialize_count_status(model, 0, 10)
    with pytest.warns(UserWarning, match='no multiple of 2'): OptimWrapper(sgd(nn.Linear(1, 1)), 2).initialize_count_status(nn.Linear(1, 1), 3, 10)

# clipping

def test_the_norm_is_logged_as_it_was_before_clipping_and_only_into_an_entered_hub():
    model,x,y = linear()
    optim,hub,other = OptimWrapper(sgd(model), clip_grad=dict(max_norm=1e-3)),MessageHub('mine'),MessageHub('created later')
    with hub: optim.update_params(F.mse_loss(model(x), y)*100)
    optim.update_params(F.mse_loss(model(x), y))
    assert len(hub.get_scalar('train/grad_norm')) == 1 and hub.get_scalar('train/grad_norm').current() > 1
    assert not other.log_scalars

def test_clip_grad_can_be_changed_in_mid_run_and_is_checked_then():
    model,x,y = linear()
    optim = OptimWrapper(sgd(model))
    optim.clip_grad = dict(max_norm=1e-6)
    before = model.weight.detach().clone()
    optim.update_params(F.mse_loss(model(x), y)*100)
    assert (model.weight-before).norm() < 1e-6
    with pytest.raises(TypeError, match="Did you mean 'max_norm'"): optim.clip_grad = dict(maxnorm=1)
    assert optim.clip_grad == dict(max_norm=1e-6)

@pytest.mark.parametrize('cfg, error, says', [
    (dict(norm_type=2), TypeError, 'needs max_norm='), (dict(type='value', max_norm=1.), TypeError, "takes no 'max_norm'"),
    (dict(type='value'), TypeError, 'needs clip_value='), (dict(type='vlue', clip_value=1.), ValueError, "Did you mean 'value'"),
    (True, TypeError, r'dict\(max_norm=1.\)')])
def test_a_wrong_clip_grad_is_refused_with_what_would_be_right(cfg, error, says):
    with pytest.raises(error, match=says): clipper(cfg)

def test_what_is_not_finite_raises_where_that_is_asked_for():
    model,x,_ = linear()
    optim = OptimWrapper(sgd(model), clip_grad=dict(max_norm=1., error_if_nonfinite=True))
    with pytest.raises(RuntimeError, match='non-finite'): optim.update_params(model(x).sum()*float('inf'))

# the wrapper

@pytest.mark.parametrize('wrong', [None, torch.optim.SGD, [], nn.Linear(1, 1)])
def test_what_is_no_optimizer_is_refused(wrong):
    with pytest.raises(TypeError, match='must be an optimizer object'): OptimWrapper(wrong)

def test_the_seeds_names_are_aliases():
    assert OPTIM_WRAPPERS.get('OptimizerWrapper') is OptimWrapper and OPTIM_WRAPPERS.get('AmpOptimizerWrapper') is AmpOptimWrapper

def test_a_state_goes_from_a_wrapper_to_a_bare_optimizer_and_back(tmp_path):
    model,x,y = linear()
    optim = OptimWrapper(sgd(model, momentum=.9), 3)
    for _ in range(4): optim.update_params(F.mse_loss(model(x), y))
    torch.save(optim.state_dict(), tmp_path/'state.pth')
    state = torch.load(tmp_path/'state.pth', weights_only=True)
    other,bare = OptimWrapper(sgd(model, momentum=.9), 3),sgd(model, momentum=.9)
    other.load_state_dict(state)
    bare.load_state_dict(state)
    same = lambda o: torch.equal(o.state[model.weight]['momentum_buffer'], optim.state[model.weight]['momentum_buffer'])
    assert other.inner_count == 4 and same(other) and same(bare)
    OptimWrapper(sgd(model, momentum=.9)).load_state_dict(bare.state_dict())

def test_a_wrapper_is_a_context_for_nothing_and_says_what_it_wraps():
    model,x,_ = linear()
    optim = OptimWrapper(torch.optim.Adam(model.parameters()))
    with optim.optim_context(model): assert model(x).dtype == torch.float32
    assert repr(optim) == 'OptimWrapper of Adam\n  0: lr 0.001, tensors: 2'
    assert optim.defaults['lr'] == .001 and optim.get_momentum() == {'momentum': [.9]}

# mixed precision

@devices
def test_bfloat16_needs_no_scaler_and_learns(device):
    model,x,y = linear(device)
    optim,losses = AmpOptimWrapper(optimizer=sgd(model), dtype='bfloat16', clip_grad=dict(max_norm=10.)),[]
    for _ in range(30):
        with optim.optim_context(model): losses.append(F.mse_loss(model(x), y))
        optim.update_params(losses[-1])
    assert model.weight.dtype == torch.float32 and not optim.loss_scaler.is_enabled()
    assert losses[-1] < losses[0]/1.2

@devices
@pytest.mark.parametrize('kind', ['SGD', 'Adam'])
def test_a_step_that_overflows_changes_nothing_and_lowers_the_scale(device, kind):
    model,x,y = linear(device)
    optim = AmpOptimWrapper(dict(init_scale=2.**16), 'float16', optimizer=getattr(torch.optim, kind)(model.parameters(), lr=.01))
    def step(factor):
        with optim.optim_context(model): loss = F.mse_loss(model(x), y)*factor
        optim.update_params(loss)
    step(1e-3)
    state,weight = deepcopy(optim.optimizer.state_dict()),model.weight.detach().clone()
    step(1e6)
    assert torch.equal(model.weight, weight) and optim.loss_scaler.get_scale() == 2.**15
    after = optim.optimizer.state_dict()['state']
    assert all(torch.equal(a, b) for k,o in state['state'].items() for a,b in zip(o.values(), after[k].values()) if isinstance(a, torch.Tensor))
    step(1e-3)
    assert not torch.equal(model.weight, weight)

@devices
def test_unscaled_gradients_are_those_of_full_precision_and_twice_is_harmless(device):
    model,x,y = linear(device)
    full = deepcopy(model)
    F.mse_loss(full(x), y).backward()
    optim = AmpOptimWrapper(128., 'float16', optimizer=sgd(model))
    with optim.optim_context(model): loss = F.mse_loss(model(x), y)
    optim.backward(loss)
    assert not torch.allclose(model.weight.grad, full.weight.grad, rtol=.05)
    for _ in range(2):
        optim.unscale()
        assert torch.allclose(model.weight.grad, full.weight.grad, rtol=.05, atol=1e-3)
    optim.step()
    assert optim.loss_scaler.get_scale() == 128

@devices
def test_an_iteration_begun_again_after_unscale_is_unscaled_again(device):
    model,x,y = linear(device)
    once = deepcopy(model)
    def run(net, tries):
        optim = AmpOptimWrapper(1024., 'float16', optimizer=sgd(net), clip_grad=dict(max_norm=.1))
        for _ in range(tries):
            optim.zero_grad()
            with optim.optim_context(net): loss = F.mse_loss(net(x), y)
            optim.backward(loss)
            optim.unscale()
        optim.step()
        return optim
    run(once, 1)
    assert run(model, 3).loss_scaler.get_scale() == 1024
    assert torch.equal(model.weight, once.weight)

@devices
def test_gradients_of_a_cycle_are_unscaled_once(device):
    model,x,y = linear(device)
    full = deepcopy(model)
    OptimWrapper(sgd(full)).update_params(F.mse_loss(full(x), y))
    optim = AmpOptimWrapper('dynamic', 'float16', optimizer=sgd(model), accumulative_counts=3, clip_grad=dict(max_norm=1e3))
    for a,b in zip(x.chunk(3), y.chunk(3)):
        with optim.optim_context(model): loss = F.mse_loss(model(a), b)
        optim.update_params(loss)
    assert torch.allclose(model.weight, full.weight, atol=1e-3)

def test_the_scale_is_in_the_state_and_a_state_without_it_loads_too():
    model,x,_ = linear()
    optim = AmpOptimWrapper(dict(init_scale=64., growth_interval=1), 'float16', optimizer=sgd(model))
    optim.update_params(model(x).mean())
    other = AmpOptimWrapper(dtype='float16', optimizer=sgd(model))
    other.load_state_dict(optim.state_dict())
    assert other.loss_scaler.get_scale() == 128
    other.load_state_dict(OptimWrapper(sgd(model)).state_dict())
    other.load_state_dict(AmpOptimWrapper(dtype='bfloat16', optimizer=sgd(model)).state_dict())
    OptimWrapper(sgd(model)).load_state_dict(optim.state_dict())
    assert other.loss_scaler.get_scale() == 128

def test_the_scale_is_logged_where_it_can_move():
    model,x,_ = linear()
    for scale,dtype,logged in (('dynamic', 'float16', True), (8., 'float16', False), ('dynamic', 'bfloat16', False)):
        hub = MessageHub('scale')
        with hub: AmpOptimWrapper(scale, dtype, optimizer=sgd(model)).update_params(model(x).mean())
        assert ('train/loss_scale' in hub.log_scalars) == logged

@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device: only there a synchronisation can be seen')
def test_clipping_and_logging_never_wait_for_the_device():
    model,x,y = linear('cuda')
    optims = [OptimWrapper(sgd(model), clip_grad=dict(max_norm=1.)), AmpOptimWrapper(dtype='bfloat16', optimizer=sgd(model), clip_grad=dict(max_norm=1.))]
    amp,hub = AmpOptimWrapper(dtype='float16', optimizer=sgd(model), clip_grad=dict(max_norm=1.)),MessageHub('no sync')
    with hub:
        for optim in optims: optim.update_params(F.mse_loss(model(x), y)) # the first time may wait
        amp.update_params(F.mse_loss(model(x), y))
        torch.cuda.set_sync_debug_mode('error')
        try:
            for optim in optims:
                with optim.optim_context(model): loss = F.mse_loss(model(x), y)
                optim.update_params(loss)
            amp.backward(F.mse_loss(model(x), y)) # the scaler's step has to look; what we add does not
            amp.clip_gradients()
            amp._tell_scale()
        finally: torch.cuda.set_sync_debug_mode('default')
    assert len(hub.get_scalar('train/grad_norm')) == 6 and len(hub.get_scalar('train/loss_scale')) == 2

@pytest.mark.parametrize('kwargs, error, says', [
    (dict(dtype='float32'), ValueError, 'use OptimWrapper'), (dict(dtype='flot16'), ValueError, "Did you mean 'float16'"),
    (dict(loss_scale=True), TypeError, "'dynamic', a number"), (dict(loss_scale='static'), TypeError, "'dynamic', a number"),
    (dict(loss_scale=dict(init=2.)), TypeError, "takes no 'init'")])
def test_wrong_arguments_of_mixed_precision_are_refused(kwargs, error, says):
    with pytest.raises(error, match=says): AmpOptimWrapper(**kwargs, optimizer=sgd(nn.Linear(1, 1)))

# several

def test_several_wrappers_are_a_mapping_that_does_nothing_to_weights_by_itself():
    model,x,_ = linear()
    both = OptimWrapperDict(a=OptimWrapper(sgd(model, momentum=.8)), b=OptimWrapper(sgd(model, lr=.2), 2))
    assert list(both) == ['a', 'b'] and len(both) == 2 and 'a' in both and both.get_momentum() == {'a.momentum': [.8], 'b.momentum': [0]}
    for verb in ('update_params', 'backward', 'step', 'optim_context', 'unscale', 'scale_loss', 'should_update', 'should_sync'):
        with pytest.raises(NotImplementedError, match=rf"optim\['a'\].{verb}"): getattr(both, verb)()
    both['b'].update_params(model(x).sum())
    both.zero_grad()
    assert model.weight.grad is None
    both.initialize_count_status(model, 4, 10)
    assert both['b'].max_counts == 10
    with pytest.raises(TypeError, match='a must be an OptimWrapper'): OptimWrapperDict(a=sgd(model))

# groups

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv,self.dw = nn.Conv2d(3, 4, 3),nn.Conv2d(4, 4, 3, groups=4)
        self.norm,self.scale,self.fc = nn.GroupNorm(2, 4),nn.Parameter(torch.ones(4)),nn.Linear(4, 2)

def options(paramwise, model=None, **optimizer):
    "Name of each parameter -> its rate and decay, both of which are 1 without a multiplier"
    model = model or Net()
    optim = DefaultOptimWrapperConstructor(dict(optimizer=dict(type='SGD', lr=1., weight_decay=1.) | optimizer), paramwise)(model)
    names = {id(p): nm for nm,p in model.named_parameters()}
    return {names[id(p)]: (g['lr'], g['weight_decay']) for g in optim.param_groups for p in g['params']}

@pytest.mark.parametrize('paramwise, changed', [
    (dict(norm_decay_mult=.1), {'norm.weight': (1, .1), 'norm.bias': (1, .1)}),
    (dict(bias_decay_mult=.2), {f'{o}.bias': (1, .2) for o in ('conv', 'dw', 'norm', 'fc')}),
    (dict(bias_lr_mult=2), {f'{o}.bias': (2, 1) for o in ('conv', 'dw', 'fc')}),
    (dict(dwconv_decay_mult=.3), {'dw.weight': (1, .3), 'dw.bias': (1, .3)}),
    (dict(flat_decay_mult=.4), {o: (1, .4) for o in ('conv.bias', 'dw.bias', 'norm.weight', 'norm.bias', 'scale', 'fc.bias')}),
    (dict(norm_decay_mult=.1, bias_decay_mult=.2, dwconv_decay_mult=.3, flat_decay_mult=.4),
     {'norm.weight': (1, .1), 'norm.bias': (1, .1), 'conv.bias': (1, .2), 'dw.bias': (1, .2), 'fc.bias': (1, .2), 'dw.weight': (1, .3), 'scale': (1, .4)}),
    (dict(custom_keys={'conv': dict(lr_mult=.5), 'conv.bias': dict(decay_mult=0)}), {'conv.weight': (.5, 1), 'conv.bias': (1, 0)}),
    (dict(custom_keys={'fc': dict(lr_mult=3)}, bias_lr_mult=2, bias_decay_mult=0), {'fc.weight': (3, 1), 'fc.bias': (3, 1), 'norm.bias': (1, 0)} |
     {f'{o}.bias': (2, 0) for o in ('conv', 'dw')}),
    (dict(custom_keys={'ale': dict(lr_mult=5), 'sca': dict(lr_mult=4)}), {'scale': (5, 1)}), # of one length: by the alphabet
])
def test_each_multiplier_chooses_what_it_should(paramwise, changed):
    assert options(paramwise) == {nm: (1, 1) for nm,_ in Net().named_parameters()} | changed

def test_parameters_with_the_same_options_share_a_group_and_base_comes_first():
    paramwise = dict(norm_decay_mult=0, bias_decay_mult=0, custom_keys={'conv': dict(lr_mult=.1, nesterov=True), 'scale': dict(lr_mult=1)})
    optim = build_optim_wrapper(dict(optimizer=dict(type='SGD', lr=.1, momentum=.9, weight_decay=.01), paramwise_cfg=paramwise), Net())
    groups = [(g['name'], len(g['params']), g['nesterov']) for g in optim.param_groups]
    assert groups == [('base', 3, False), ('conv', 2, True), ('bias_decay, norm_decay', 4, False)]
    assert optim.get_lr()['base_lr'] == [.1]

KINDS = 'norm_decay_mult', 'bias_decay_mult', 'flat_decay_mult', 'bias_lr_mult'

@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from(['conv', 'conv.', 'dw', 'norm', 'bias', 'weight', 'fc.weight', 'scale', 'c']),
                       st.fixed_dictionaries({}, optional=dict(lr_mult=st.sampled_from([0, .1, 1, 2]), decay_mult=st.sampled_from([0, 1]))), max_size=4),
       st.fixed_dictionaries({}, optional=dict.fromkeys(KINDS, st.sampled_from([None, 0, .5, 1]))))
def test_groups_hold_each_parameter_once_and_no_two_have_the_same_options(keys, kinds):
    net = Net()
    groups = build_optim_wrapper(dict(optimizer=dict(type='SGD', lr=.1, weight_decay=.01), paramwise_cfg=dict(custom_keys=keys, **kinds)), net).param_groups
    held = [id(p) for g in groups for p in g['params']]
    assert sorted(held) == sorted(map(id, net.parameters()))
    assert len({(g['lr'], g['weight_decay']) for g in groups}) == len(groups) == len({g['name'] for g in groups})

def test_a_parameter_with_two_names_goes_by_the_first_if_told_so():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    keys = dict(custom_keys={'1.': dict(lr_mult=2)})
    with pytest.raises(ValueError, match='bypass_duplicate=True'): options(keys, net)
    assert options(keys | dict(bypass_duplicate=True), net) == {'0.weight': (1, 1), '0.bias': (1, 1), '1.bias': (2, 1)}

def test_frozen_parameters_are_left_out():
    net = Net()
    net.conv.requires_grad_(False)
    assert not any(nm.startswith('conv') for nm in options(dict(bias_lr_mult=2), net))
    with pytest.raises(ValueError, match='no parameter to train'): options({}, net.requires_grad_(False))

@pytest.mark.parametrize('paramwise, optimizer, error, says', [
    (dict(norm_decay_mult=0), dict(weight_decay=None), ValueError, 'norm_decay_mult multiplies the weight_decay'),
    (dict(custom_keys={'fc': dict(decay_mult=0)}), dict(weight_decay=None), ValueError, "decay_mult of 'fc'"),
    (dict(bias_lr_mult=0), dict(lr=None), ValueError, 'multiplies the lr'),
    (dict(bias_lr=0), {}, TypeError, "Did you mean 'bias_lr_mult'"),
    (dict(custom_keys={'fc': .1}), {}, TypeError, 'custom_keys must be like'),
    (dict(custom_keys=['fc']), {}, TypeError, 'custom_keys must be like'),
    ([], {}, TypeError, 'must be a dict')])
def test_wrong_multipliers_are_refused(paramwise, optimizer, error, says):
    cfg = {k: v for k,v in (dict(type='SGD', lr=.1, weight_decay=.1) | optimizer).items() if v is not None}
    if paramwise == []: paramwise = [1]
    with pytest.raises(error, match=says): DefaultOptimWrapperConstructor(dict(optimizer=cfg), paramwise)

# from a config

@pytest.mark.parametrize('name', ['SGD', 'Adam', 'AdamW', 'RMSprop', 'Adagrad', 'torch.optim.NAdam'])
def test_any_optimizer_of_torch_is_known_by_name(name):
    optim = build_optim_wrapper(dict(type='OptimWrapper', optimizer=dict(type=name, lr=.01)), Net())
    assert type(optim.optimizer).__name__ == name.split('.')[-1] and len(optim.param_groups) == 1

@pytest.mark.parametrize('cfg, error, says', [
    (None, TypeError, 'an optimizer of torch'), ([], TypeError, 'an optimizer of torch'), ({}, ValueError, 'is a dict with nothing'),
    (dict(type='OptimWrapper'), ValueError, 'type is not'), (dict(optimizer='SGD'), TypeError, "needs optimizer=dict"),
    (dict(optimizer=dict(lr=.1)), KeyError, "'type'"), (dict(type='OptimWraper', optimizer=dict(type='SGD', lr=.1)), KeyError, "Did you mean 'OptimWrapper'"),
    (dict(optimizer=dict(type='SGD', lr=.1), clip_gard={}), TypeError, "clip_gard"),
    (dict(constructor='DefaultConstructor', optimizer=dict(type='SGD', lr=.1)), KeyError, 'DefaultOptimWrapperConstructor')])
def test_what_is_no_description_of_a_wrapper_is_refused(cfg, error, says):
    with pytest.raises(error, match=says): build_optim_wrapper(cfg, Net())

def test_a_constructor_of_ones_own_is_called_with_config_and_model():
    class Own:
        def __init__(self, optim_wrapper_cfg, paramwise_cfg=None): self.cfg,self.paramwise = optim_wrapper_cfg,paramwise_cfg
        def __call__(self, model): return self.cfg,self.paramwise,model
    net = Net()
    assert build_optim_wrapper(dict(constructor=Own, gen=dict(lr=1), paramwise_cfg=dict(a=1)), net) == (dict(gen=dict(lr=1)), dict(a=1), net)

# MMCV's hook

def run(hook, model, loss, **kwargs):
    runner = SimpleNamespace(model=model, outputs={'loss': loss}, message_hub=MessageHub('hook'), **kwargs)
    hook.after_train_iter(runner)
    return runner

@pytest.mark.parametrize('grad_clip', [None, False, dict(max_norm=.01)])
def test_the_hook_does_a_whole_step_with_a_bare_optimizer(grad_clip):
    model,x,y = linear()
    other = deepcopy(model)
    OptimWrapper(sgd(other), clip_grad=grad_clip).update_params(F.mse_loss(other(x), y))
    model.weight.grad = torch.ones_like(model.weight) # of long ago
    runner = run(OptimizerHook(grad_clip), model, F.mse_loss(model(x), y), optimizer=sgd(model))
    assert torch.equal(model.weight, other.weight)
    assert ('train/grad_norm' in runner.message_hub.log_scalars) == bool(grad_clip)

def test_the_hook_goes_by_the_wrapper_where_there_is_one():
    model,x,y = linear()
    optim = AmpOptimWrapper(256., 'float16', optimizer=sgd(model))
    with optim.optim_context(model): loss = F.mse_loss(model(x), y)
    runner = run(OptimizerHook(dict(max_norm=100.)), model, loss, optim_wrapper=optim, optimizer=optim.optimizer)
    assert 0 < runner.message_hub.get_scalar('train/grad_norm').current() < 20 and optim.inner_count == 1

def test_the_hook_names_parameters_that_have_no_part_in_the_loss_once():
    model,x,y = linear()
    model.spare,model.frozen,errors = nn.Linear(2, 2),nn.Linear(1, 1).requires_grad_(False),[]
    hook,logger = OptimizerHook(detect_anomalous_params=True),SimpleNamespace(error=errors.append)
    for _ in range(2): run(hook, model, F.mse_loss(model(x), y), optimizer=sgd(model), logger=logger)
    assert len(errors) == 1 and 'spare.weight, spare.bias' in errors[0] and 'frozen' not in errors[0]
