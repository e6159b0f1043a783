"What happens inside a run: whoever does backward and step, wherever it is stopped or fails, it is the run that nobody touched"
import signal
from functools import cache

import pytest
import torch
from test_runner import Order, runner
from torch import nn
from torch.nn import functional as F

from interactive_runner import BaseModel, OptimWrapper
from interactive_runner.evaluator import BaseMetric, build_evaluator
from interactive_runner.hooks.optim import OptimizerHook
from interactive_runner.loop import DataLoop
from interactive_runner.optim import AmpOptimWrapper, OptimWrapperDict


class Whole(BaseModel):
    "Steps by itself, and fails once at the place `fails`"
    fails = None
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(.3), nn.ReLU(), nn.Linear(8, 2))
    def forward(self, x, y, mode='tensor'): return dict(loss=F.cross_entropy(self.net(x), y)) if mode == 'loss' else self.net(x)
    def maybe(self, place):
        if self.fails == place: self.fails = None; raise ValueError(place)
    def train_step(self, data, optim_wrapper):
        with optim_wrapper.optim_context(self): loss,log = self.parse_losses(self._run_forward(data, 'loss'))
        self.maybe('forward')
        optim_wrapper.backward(optim_wrapper.scale_loss(loss))
        self.maybe('backward')
        if optim_wrapper.should_update():
            optim_wrapper.step()
            self.maybe('step')
            optim_wrapper.zero_grad()
        return log

class Rows(BaseMetric):
    def process(self, data_batch, data_samples): self.results += data_samples.argmax(-1).tolist()
    def compute_metrics(self, results): return dict(mean=sum(results)/len(results))

class Tells(Order):
    "Also notes of what it is told that it is over, and averages the weights"
    def __init__(self): self.came,self.calls,self.average = [],[],0
    def after_train_iter(self, runner, data_batch):
        super().after_train_iter(runner, data_batch)
        self.calls.append(('iter', runner.iter))
        self.average = .9*self.average + .1*nn.utils.parameters_to_vector(runner.model.parameters()).detach()
    def after_train_epoch(self, runner): self.calls.append(('epoch', runner.epoch))
    def after_val_epoch(self, metrics): self.calls.append(('val', metrics['mean']))

def make(kind, **given):
    "A run of two epochs (or eight iterations) with schedules of all sorts"
    torch.manual_seed(0)
    model = Whole() if 'whole' in kind else Whole().net
    adam,n = torch.optim.Adam(model.parameters(), lr=.02),3 if 'accumulated' in kind else 1
    clip = None if 'hook' in kind else dict(max_norm=.5)
    half = dict(dtype='float16', loss_scale=dict(init_scale=2.**8, growth_interval=3))
    optim = AmpOptimWrapper(optimizer=adam, accumulative_counts=n, clip_grad=clip, **half) if 'float16' in kind else OptimWrapper(adam, n, clip)
    plateau = dict(type='ReduceOnPlateauLR', monitor='mean', rule='greater', patience=0, threshold=9., factor=.5)
    schedule = [dict(type='ExponentialLR', gamma=.9, by_epoch=False), plateau]
    ends = dict(max_iters=8, val_interval=3) if 'iterations' in kind else dict(max_epochs=2)
    hooks = [OptimizerHook(dict(max_norm=.5))]*('hook' in kind) + [Tells()]
    return runner(lambda: model, **dict(optimizer=None, optim_wrapper=optim, loss_fn=None if 'whole' in kind else F.cross_entropy, metrics=[Rows()],
                                        param_scheduler=schedule, custom_hooks=hooks) | ends | given)

def state(run):
    "All that a run leaves, as plain values and tensors; but for the rate, which is noted again when an iteration is begun again"
    told,logs = run.hooks['Tells'].hook,{k: b.data[0].tolist() for k,b in run.message_hub.log_scalars.items() if 'time' not in k and 'lr' not in k}
    optim = [v for s in run.optimizer.state_dict()['state'].values() for v in s.values()]
    return [*run.model.state_dict().values(), *optim, *told.came, told.average], [told.calls, run.optimizer.param_groups[0]['lr'], logs,
                                                                                 [o.state_dict() for o in run.param_schedulers]]

@cache
def straight(kind):
    run = make(kind)
    run.train()
    return state(run)

def same(run, kind):
    (ta,a),(tb,b) = state(run),straight(kind)
    assert len(ta) == len(tb) and all(torch.equal(x, y) for x,y in zip(ta, tb))
    assert a == b


KINDS = ['epochs, accumulated', 'iterations, float16, accumulated', 'hook', 'whole, accumulated']

@pytest.mark.parametrize('n', range(4, 130, 7))
@pytest.mark.parametrize('kind', KINDS)
def test_a_run_stopped_anywhere_and_trained_on_steps_schedules_and_tells_hooks_once(kind, n):
    run = make(kind)
    run.step('line', n)
    run.stop()
    run.train()
    same(run, kind)

def test_a_stop_while_hooks_are_told_that_an_iteration_is_over_tells_the_others_too():
    run = make('epochs, accumulated')
    run.run_until(stage='after_train_iter', iter=1)
    run.step('hook', 2)
    run.stop()
    assert run.iter == 2
    run.train()
    same(run, 'epochs, accumulated')

def test_a_stop_asked_for_by_the_result_of_a_validation_completes_it():
    run = make('epochs, accumulated')
    run.on('after_val_epoch')(lambda runner: runner.stop() if runner.epoch == 1 else None)
    run.train()
    assert (run.status, run.epoch, len(run.message_hub.get_scalar('val/mean'))) == ('stopped', 1, 1)
    run.train()
    same(run, 'epochs, accumulated')

def test_a_validation_that_is_broken_off_gives_no_hook_the_numbers_of_the_one_before():
    run,seen = make('epochs'),[]
    class Brackets:
        def before_val_epoch(self, runner): pass
        def after_val_epoch(self, runner, metrics): seen.append(metrics and list(metrics))
    run.register_hook(Brackets())
    run.run_until(stage='before_val_iter', epoch=2)
    run.stop()
    assert seen == [['loss', 'mean'], None]

def test_a_model_after_a_stop_has_the_buffers_of_what_is_complete():
    run = make('epochs')
    run.step('iter', 2)
    before = run.model[1].running_mean.clone()
    run.run_until(stage='after_forward')
    run.stop()
    assert torch.equal(before, run.model[1].running_mean)
    with torch.no_grad(): run.model[1].running_mean.fill_(3.)
    run.run_until(stage='forward')
    assert run.model[1].running_mean.eq(3).all(), 'what was loaded meanwhile stays'


@pytest.mark.parametrize('place', ['forward', 'backward', 'step'])
@pytest.mark.parametrize('kind', ['whole, accumulated', 'whole, accumulated, float16'])
@pytest.mark.parametrize('iter', [1, 2, 5])
def test_a_train_step_that_raises_before_its_step_is_begun_again_from_the_same_gradients(kind, place, iter):
    if place == 'step' and iter == 1: return # there is no step
    run = make(kind)
    run.run_until(iter=iter)
    run.model.fails = place
    with pytest.raises(ValueError) as e: run.train()
    torn = any('may have changed the weights in part' in o for o in e.value.__notes__)
    assert torn == (place == 'step')
    run.train()
    if not torn: same(run, kind)

def test_a_train_step_of_which_one_optimizer_has_stepped_is_said_to_be_torn_and_skipped_as_it_is():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a,self.b = nn.Linear(4, 1),nn.Linear(4, 1)
        def train_step(self, data, optim_wrapper):
            optim_wrapper['a'].update_params(self.a(data[0]).square().mean())
            if self.bad: raise OSError
            optim_wrapper['b'].update_params(loss := self.b(data[0]).square().mean())
            return dict(loss=loss)
    torch.manual_seed(0)
    model = Two()
    model.bad = True
    optim = OptimWrapperDict(**{k: OptimWrapper(torch.optim.SGD(getattr(model, k).parameters(), .1)) for k in 'ab'})
    run = runner(lambda: model, optimizer=None, optim_wrapper=optim, loss_fn=None, val_dataloader=None, metrics=None)
    before = model.a.weight.clone()
    with pytest.raises(OSError) as e: run.train()
    assert 'may have changed the weights in part' in e.value.__notes__[-1]
    model.bad = False
    run.skip()
    run.run_until(iter=1)
    assert not torch.equal(before, model.a.weight) and optim['a'].inner_count == 1
    run.train()
    assert (optim['a'].inner_count, optim['b'].inner_count) == (12, 11)

def test_two_interrupts_do_not_break_a_step_that_a_model_makes_itself():
    class Slow(torch.optim.SGD):
        def step(self, closure=None):
            for _ in range(2): signal.raise_signal(signal.SIGINT)
            return super().step()
    torch.manual_seed(0)
    model = Whole()
    run = runner(lambda: model, optimizer=None, optim_wrapper=OptimWrapper(Slow(model.parameters(), .1)), loss_fn=None, val_dataloader=None, metrics=None)
    before = model.net[0].weight.clone()
    with pytest.raises(KeyboardInterrupt): run.train()
    assert run.status == 'paused' and not torch.equal(before, model.net[0].weight)


def failing_step(run, iter):
    "Let the optimizer of `run` raise once before it does anything"
    step,left = run.optimizer.step,[1]
    def broken(*args, **kwargs):
        if run.iter == iter and left: left.pop(); raise MemoryError
        return step(*args, **kwargs)
    run.optimizer.step = broken

@pytest.mark.parametrize('kind', ['hook without clipping', 'hook without clipping, float16'])
@pytest.mark.parametrize('replaced', [False, True])
def test_the_hook_that_owns_the_step_goes_on_behind_backward_when_it_is_tried_again(kind, replaced):
    def run(fails):
        r = make(kind)
        r.hooks['OptimizerHook'].set(grad_clip=None)
        if fails:
            failing_step(r, 3)
            with pytest.raises(MemoryError): r.train()
            assert r.position.hook == 'OptimizerHook'
            if replaced: r.register_hook(OptimizerHook())
        r.train()
        return state(r)
    (ta,a),(tb,b) = run(False),run(True)
    assert a == b and all(torch.equal(x, y) for x,y in zip(ta, tb))

@pytest.mark.parametrize('line', ['fetch', 'before_train_iter', 'zero_grad', 'forward', 'after_backward', 'after_train_iter', 'commit'])
@pytest.mark.parametrize('comes', [False, True])
def test_the_hook_that_owns_the_step_comes_and_goes_between_lines_and_each_iteration_is_stepped_once(line, comes):
    "With plain descent the weights are the same whoever steps"
    def run():
        torch.manual_seed(0)
        model = Whole().net
        r = runner(lambda: model, optimizer=torch.optim.SGD(model.parameters(), .1), val_dataloader=None, metrics=None)
        if not comes: r.register_hook(OptimizerHook())
        return r
    changed,plain = run(),run()
    changed.step('iter', 2)
    changed.run_until(stage=line)
    if comes: changed.register_hook(OptimizerHook())
    else: changed.hooks.remove('OptimizerHook')
    changed.train()
    plain.train()
    assert all(torch.equal(a, b) for a,b in zip(changed.model.state_dict().values(), plain.model.state_dict().values()))
    assert (changed.optim_owner is not None) == comes


class OwnTraining(DataLoop):
    "Of MMEngine's form: runs by itself, and validates by `runner.val_loop.run()`"
    def __init__(self, runner, dataloader, max_epochs):
        super().__init__(runner, dataloader)
        self._max_epochs,self._epoch,self._iter = max_epochs,0,0
    max_epochs,epoch,iter = (property(lambda self, nm=nm: getattr(self, nm)) for nm in ('_max_epochs', '_epoch', '_iter'))
    max_iters = property(lambda self: self.max_epochs*len(self.dataloader))
    def run(self):
        tell = self.runner.call_hook
        tell('before_train')
        while self._epoch < self._max_epochs:
            tell('before_train_epoch')
            self.runner.model.train()
            for i,batch in enumerate(self.dataloader):
                tell('before_train_iter', batch_idx=i, data_batch=batch)
                outputs = self.runner.model.train_step(batch, optim_wrapper=self.runner.optim_wrapper)
                tell('after_train_iter', batch_idx=i, data_batch=batch, outputs=outputs)
                self._iter += 1
            tell('after_train_epoch')
            self._epoch += 1
            if self.runner.val_loop is not None: self.runner.val_loop.run()
        tell('after_train')

class OwnValidation:
    "Of MMEngine's form, without a `mode`"
    def __init__(self, runner, dataloader, evaluator): self.runner,self.dataloader,self.evaluator = runner,dataloader,build_evaluator(evaluator)
    @torch.no_grad()
    def run(self):
        tell = self.runner.call_hook
        tell('before_val')
        tell('before_val_epoch')
        self.runner.model.eval()
        for i,batch in enumerate(self.dataloader):
            tell('before_val_iter', batch_idx=i, data_batch=batch)
            outputs = self.runner.model.val_step(batch)
            self.evaluator.process(data_samples=outputs, data_batch=batch)
            tell('after_val_iter', batch_idx=i, data_batch=batch, outputs=outputs)
        tell('after_val_epoch', metrics=self.evaluator.evaluate(20))
        tell('after_val')

def by_itself(*whats):
    "A run of which training, validation, or both run by themselves; the models' own step makes them comparable"
    given = {f'{o}_cfg': dict(type=dict(train=OwnTraining, val=OwnValidation)[o], **dict(max_epochs=2) if o == 'train' else {}) for o in whats}
    if 'train' in whats: given['max_epochs'] = None
    if 'val' in whats: given['val_evaluator'] = [Rows()]
    return make('whole', **given)

@pytest.mark.parametrize('whats', [['train'], ['val'], ['train', 'val']])
def test_loops_that_run_by_themselves_validate_and_steer_schedules_as_those_in_lines(whats):
    run,lines = by_itself(*whats),make('whole')
    run.train()
    lines.train()
    told = lambda r: r.hooks['Tells'].hook.calls
    assert told(run) == told(lines) and run.param_schedulers[1].num_bad_epochs == lines.param_schedulers[1].num_bad_epochs
    assert run.optimizer.param_groups[0]['lr'] == lines.optimizer.param_groups[0]['lr']
    assert all(torch.equal(a, b) for a,b in zip(run.model.state_dict().values(), lines.model.state_dict().values()))

def test_inside_a_loop_that_runs_by_itself_the_run_knows_what_it_is_in_the_middle_of():
    run,seen = by_itself('train', 'val'),[]
    @run.on('after_val_iter', name='looks')
    def look(runner):
        seen.append((runner.mode, runner.training))
        runner.hooks['waits'].off()
    class Waits:
        n = 0
        def before_val(self, runner): self.n += 1
        def after_val(self, runner): self.n -= 1
    run.register_hook(Waits(), name='waits')
    run.train()
    assert set(seen) == {('val', True)} and run.hooks['waits'].hook.n == 0 and not run.hooks['waits'].enabled
    assert run.mode == 'train' and not run.training

@pytest.mark.parametrize('answer', ['retry', 'stop'])
def test_a_validation_that_runs_by_itself_and_fails_is_done_again_from_its_beginning(answer):
    run,left = by_itself('val'),[1]
    @run.on('after_val_iter')
    def fails(runner):
        if left: left.pop(); raise OSError
    with pytest.raises(OSError): run.train()
    getattr(run, answer)()
    run.train()
    good = by_itself('val')
    good.train()
    (ta,a),(tb,b) = state(run),state(good)
    assert [o for o in a[0] if o[0] != 'iter'] == [o for o in b[0] if o[0] != 'iter'] and a[1:] == b[1:]
    assert torch.equal(ta[0], tb[0])

def test_a_stop_behind_a_validation_that_runs_by_itself_does_not_repeat_it():
    run = by_itself('val')
    run.on('after_val_epoch')(lambda runner: runner.stop() if runner.epoch == 1 else None)
    run.train()
    run.train()
    good = by_itself('val')
    good.train()
    (ta,a),(tb,b) = state(run),state(good)
    assert a == b and all(torch.equal(x, y) for x,y in zip(ta, tb))

@pytest.mark.filterwarnings('ignore:gradients of 3 batches')
@pytest.mark.parametrize('own', [False, True])
def test_a_last_cycle_that_is_cut_short_is_stepped_whoever_steps(own):
    given = dict(train_cfg=dict(type=OwnTraining, max_epochs=2), max_epochs=None) if own else {}
    run,lines = make('whole, accumulated', **given),make('epochs, accumulated')
    for r in (run, lines): r.train()
    steps = lambda r: {int(s['step']) for s in r.optimizer.state.values()}
    assert steps(run) == steps(lines) == {3} and (run.optim_wrapper.inner_count, run.optim_wrapper.max_counts) == (8, 8)

def test_a_train_step_in_a_run_made_longer_goes_on_with_its_cycle():
    run,long = make('whole, accumulated', param_scheduler=None),make('whole, accumulated', param_scheduler=None, max_epochs=3)
    run.run_until(iter=5)
    run.train(epochs=2)
    long.train()
    assert all(torch.equal(a, b) for a,b in zip(run.model.state_dict().values(), long.model.state_dict().values()))

def test_a_train_step_may_return_its_loss_and_no_hook_steps_beside_it():
    class Plain(nn.Linear):
        def train_step(self, data, optim_wrapper):
            optim_wrapper.update_params(loss := F.cross_entropy(self(data[0]), data[1]))
            return loss
    def run(*hooks):
        r = runner(lambda: Plain(4, 2), loss_fn=None, val_dataloader=None, metrics=None, custom_hooks=[*hooks, Order()])
        r.train()
        return r
    alone = run()
    with pytest.warns(UserWarning, match='steps by itself'): beside = run(OptimizerHook())
    assert len(alone.message_hub.get_scalar('train/loss')) == 12 and torch.equal(alone.model.weight, beside.model.weight)
    class Wrong(nn.Linear):
        def train_step(self, data, optim_wrapper): return 'done'
    with pytest.raises(TypeError, match='Wrong.train_step returned str; it must return'): runner(lambda: Wrong(4, 2), loss_fn=None).train()
