"The optimizer's numbers: shown as they are, edited by commands, and honest about who else writes."
import gc, re, threading, weakref
from types import SimpleNamespace

import pytest, torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, lr_scheduler

from interactive_runner import Runner
from interactive_runner.play import Player
from interactive_runner.stage import Loop, commits
from interactive_runner.ui.optim import Optimizer
from interactive_runner.ui.style import inside
from test_panel import opened

evil = '<img src=x onerror=alert(1)>'

class Steps(Loop):
    def run(self):
        while self.iter < 40:
            yield self.work
            yield 'after_train_iter'
            yield self.commit
    def work(self): pass
    @commits('iter')
    def commit(self): self.iter += 1

class Run:
    "Has what the view looks at; each hook is a function of the run"
    def __init__(self, optimizer=None, *hooks, loop=None):
        self.optimizer,self.said,self.train_loop = optimizer,[],loop or Steps()
        self.player = Player(self.train_loop, runner=self, say=self.said.append)
        for i,fn in enumerate(hooks): self.player.hooks.register(SimpleNamespace(after_train_iter=fn), name=f'hook {i}')

def view_of(*args):
    "The view of a run that lives as long as the view does; by itself it holds the run weakly"
    run = Run(*args)
    view = Optimizer(run)
    view.kept = run
    return view

def params(n=2): return nn.Linear(n, n).parameters()
def rows(view): return [o for p in view.parts.values() for o in p.rows]
def field(view, key='lr', row=0): return next(o for o in rows(view)[row].fields if o.key == key)
def text(o): return re.sub('<.*?>', '', o.value)
def shown(view): return [[text(f.live) for f in r.fields] for r in rows(view)]
def heads(view): return [text(p.head) for p in view.parts.values()]
def edit(view, new, key='lr', row=0): field(view, key, row).box.value = new

@pytest.fixture
def sgd(): return SGD([dict(params=params()), dict(params=params(3), lr=.5, name='head')], .1, momentum=.9, weight_decay=1e-4)

def test_each_group_shows_its_own_numbers_and_its_size(sgd):
    view = view_of(sgd)
    assert shown(view) == [['0.1', '0.0001', '0.9'], ['0.5', '0.0001', '0.9']]
    assert [text(r.info) for r in rows(view)] == ['group 06 parameters', 'head12 parameters'] and 'SGD' in heads(view)[0]

@pytest.mark.parametrize('make, keys', [
    (lambda p: SGD(p, .1), ['lr', 'weight_decay', 'momentum']), (AdamW, ['lr', 'weight_decay', 'betas']),
    (torch.optim.LBFGS, ['lr']), (torch.optim.RMSprop, ['lr', 'weight_decay', 'momentum']), (torch.optim.Adagrad, ['lr', 'weight_decay'])])
def test_there_are_fields_for_the_numbers_that_the_optimizer_has(make, keys):
    view = view_of(make(params()))
    assert [f.key for f in rows(view)[0].fields] == keys

def test_an_edit_acts_on_its_group_alone_and_is_a_command_on_the_record(sgd):
    run = Run(sgd)
    view = Optimizer(run)
    edit(view, '1e-2', row=1)
    edit(view, '0', 'momentum')
    assert [g['lr'] for g in sgd.param_groups] == [.1, .01] and [g['momentum'] for g in sgd.param_groups] == [0, .9]
    assert [o.what for o in run.player.acks] == ['lr 1e-2 for head', 'momentum 0 for group 0']
    assert shown(view) == [['0.1', '0.0001', '0'], ['0.01', '0.0001', '0.9']] and field(view, row=1).box.value == ''
    assert text(rows(view)[1].note) == 'lr was set to 0.01 at iteration 0'

def test_the_first_beta_is_edited_and_the_second_stays():
    opt = Adam(params(), betas=(.9, .99))
    view = view_of(opt)
    edit(view, '.5', 'betas')
    assert opt.param_groups[0]['betas'] == (.5, .99) and 'betas[0]' in heads(view)[0]

def test_an_edited_number_is_what_the_optimizer_steps_with():
    p = nn.Parameter(torch.ones(1))
    opt = SGD([p], .1)
    p.grad = torch.ones(1)
    edit(view_of(opt), '0.25')
    opt.step()
    assert p.item() == .75

@pytest.mark.parametrize('key, new', [('lr', o) for o in ('abc', '-1', 'nan', 'inf', '1e999', '0,1', '0.1 0.2', evil)]
                         + [('weight_decay', '-0.1'), ('momentum', 'None')])
def test_what_cannot_be_changes_nothing_and_says_so(sgd, key, new):
    run = Run(sgd)
    view,before = Optimizer(run),[dict(g) for g in sgd.param_groups]
    edit(view, new, key)
    assert [dict(g) for g in sgd.param_groups] == before and shown(view)[0] == ['0.1', '0.0001', '0.9']
    note = rows(view)[0].note.value
    assert isinstance(run.player.acks[-1].error, ValueError) and 'ir-bad' in note and 'must be a number, 0 or more' in note
    assert '<img' not in note and field(view, key).box.value == ''

def test_the_first_beta_is_below_one():
    opt = Adam(params())
    view = view_of(opt)
    edit(view, '1', 'betas')
    assert opt.param_groups[0]['betas'][0] == .9 and 'below 1' in rows(view)[0].note.value

def test_blanks_are_no_edit(sgd):
    run = Run(sgd)
    view = Optimizer(run)
    edit(view, '   ')
    assert not run.player.acks and field(view).box.value == ''

def test_a_tensor_is_filled_in_place():
    lr,beta = torch.tensor(.1),torch.tensor(.9)
    opt = Adam(params(), lr=lr, betas=(beta, torch.tensor(.99)), capturable=False, foreach=False)
    view = view_of(opt)
    edit(view, '0.3')
    edit(view, '0.7', 'betas')
    g = opt.param_groups[0]
    assert g['lr'] is lr and g['betas'][0] is beta and [round(o.item(), 6) for o in (lr, beta)] == [.3, .7]
    assert shown(view)[0] == ['0.3', '0', '0.7'] and 'has changed' not in rows(view)[0].note.value

def test_a_tensor_is_fetched_only_when_it_was_written_to(monkeypatch):
    lr,fetched,item = torch.tensor(.1),[],torch.Tensor.item
    view = view_of(SGD(params(), lr))
    monkeypatch.setattr(torch.Tensor, 'item', lambda o: fetched.append(o) or item(o))
    view.refresh()
    assert not fetched
    lr.mul_(2)
    view.refresh()
    view.refresh()
    assert len(fetched) == 1 and shown(view)[0][0] == '0.2'

def test_while_a_line_runs_an_edit_waits_and_its_text_stays(sgd):
    seen = []
    def during(run):
        if run.player.iter: return
        edit(view, '0.3')
        view.refresh()
        seen.extend((sgd.param_groups[0]['lr'], field(view).box.value, text(rows(view)[0].note)))
    run = Run(sgd, during)
    view = Optimizer(run)
    run.player.step('iter')
    view.refresh()
    assert seen == [.1, '0.3', 'lr 0.3 for group 0: waiting for the line that is running']
    assert (sgd.param_groups[0]['lr'], field(view).box.value) == (.3, '') and 'was set to 0.3' in rows(view)[0].note.value

def test_an_edit_on_another_thread_only_queues(sgd):
    run = Run(sgd)
    view = Optimizer(run)
    run.player.step('iter')
    t = threading.Thread(target=edit, args=(view, '0.3'))
    t.start()
    t.join()
    assert sgd.param_groups[0]['lr'] == .1 and len(run.player.inbox) == 1
    run.player.step('line')
    assert sgd.param_groups[0]['lr'] == .3

def test_without_a_scheduler_nothing_is_said(sgd):
    assert heads(view_of(sgd)) == ['SGD lrweight decaymomentum']

@pytest.mark.parametrize('opt, scheduler, what', [
    (lambda: SGD(params(), .1), lambda o: lr_scheduler.StepLR(o, 2), 'lr'), (lambda: SGD(params(), .1), lambda o: lr_scheduler.LambdaLR(o, float), 'lr'),
    (lambda: SGD(params(), .1, .9), lambda o: lr_scheduler.OneCycleLR(o, .1, 9), 'lr and momentum'),
    (lambda: Adam(params()), lambda o: lr_scheduler.OneCycleLR(o, .1, 9), 'lr and betas[0]'),
    (lambda: SGD(params(), .1, .9), lambda o: lr_scheduler.OneCycleLR(o, .1, 9, cycle_momentum=False), 'lr')])
def test_a_scheduler_is_announced_before_it_has_done_anything(opt, scheduler, what):
    opt = opt()
    scheduler(opt)
    assert f'A scheduler sets {what}: an edit lasts until its next change.' in heads(view_of(opt))[0]

def test_an_edit_that_a_scheduler_has_overwritten_says_so(sgd):
    scheduler = lr_scheduler.StepLR(sgd, 3, gamma=.5)
    def step(run): sgd.step(); scheduler.step()
    run = Run(sgd, step)
    view = Optimizer(run)
    run.player.step('iter', 1)
    edit(view, '0.4')
    run.player.step('iter', 1)
    view.refresh()
    assert text(rows(view)[0].note) == 'lr was set to 0.4 at iteration 1'
    run.player.step('iter', 2)
    view.refresh()
    assert text(rows(view)[0].note) == 'lr was set to 0.4 at iteration 1, and has changed since' and shown(view)[0][0] == '0.2'
    edit(view, '0.3')
    assert text(rows(view)[0].note) == 'lr was set to 0.3 at iteration 4'

def test_a_schedule_written_by_hand_is_noticed_and_an_edit_is_not_taken_for_one(sgd):
    def warm(run): sgd.param_groups[0]['lr'] *= 1.1 if run.player.iter > 2 else 1
    run = Run(sgd, warm)
    view = Optimizer(run)
    edit(view, '0.2')
    run.player.step('iter', 2)
    view.refresh()
    assert 'Something else' not in heads(view)[0]
    run.player.step('iter', 3)
    view.refresh()
    assert 'Something else changes lr: an edit lasts until its next change.' in heads(view)[0]

def test_nothing_is_sent_to_a_box_while_somebody_may_be_typing_there(sgd):
    def schedule(run):
        for g in sgd.param_groups: g['lr'] *= .9
    run = Run(sgd, schedule)
    view,sent = Optimizer(run),[]
    for r in rows(view):
        for f in r.fields:
            for o in (f.box, f.box.layout, f.box.style): o.observe(sent.append)
    before = shown(view)
    for _ in range(5): run.player.step('iter'); view.refresh()
    assert not sent and shown(view) != before

class GAN(Steps):
    def __init__(self):
        self.opt_g,self.opt_c,self.batch = Adam(params(), 1e-3),SGD(params(), .1),{'x': torch.ones(2)}
        self.again = self.opt_g

def test_the_optimizers_of_a_loop_of_ones_own_are_found_by_name():
    loop = GAN()
    run = Run(loop=loop)
    view = Optimizer(run)
    assert [o.partition('lr')[0] for o in heads(view)] == ['Adam opt_g', 'SGD opt_c']
    edit(view, '0.2', row=1)
    assert (loop.opt_g.param_groups[0]['lr'], loop.opt_c.param_groups[0]['lr']) == (1e-3, .2)
    assert run.player.acks[-1].what == 'lr 0.2 for group 0 of opt_c'

def test_a_mapping_of_optimizers_has_a_part_for_each():
    view = view_of({'a': SGD(params(), .1), 'b': SGD(params(), .2)})
    assert shown(view) == [['0.1', '0', '0'], ['0.2', '0', '0']] and [o.partition('lr')[0] for o in heads(view)] == ['SGD a', 'SGD b']

def test_a_checkpoint_replaces_the_groups_and_edits_go_to_the_new_ones(sgd):
    run = Run(sgd)
    view = Optimizer(run)
    before,old = rows(view),sgd.param_groups[0]
    sgd.load_state_dict(sgd.state_dict())
    edit(view, '0.7')
    assert sgd.param_groups[0] is not old and sgd.param_groups[0]['lr'] == .7 and rows(view) == before

def test_a_group_that_is_added_gets_a_row_and_the_others_keep_theirs(sgd):
    view = Optimizer(run := Run(sgd))
    before = rows(view)
    sgd.add_param_group(dict(params=params(), lr=.01))
    view.refresh()
    assert view.runner is run and rows(view)[:2] == before and shown(view)[2][0] == '0.01'

def test_an_optimizer_that_is_replaced_takes_its_widgets_along(sgd):
    run = Run(sgd)
    view = opened(Optimizer(run))
    old = field(view).box
    assert old.comm is not None
    run.optimizer = Adam(params())
    view.refresh()
    assert old.comm is None and shown(view) == [['0.001', '0', '0.9']]
    run.optimizer = None
    view.refresh()
    assert shown(view) == [] and 'no optimizer' in view.note.value

@pytest.mark.parametrize('optimizer', [None, {}, SimpleNamespace(step=0, zero_grad=0)])
def test_a_run_without_an_optimizer_says_so(optimizer):
    assert 'This run has no optimizer' in view_of(optimizer).note.value
    assert 'This run has no optimizer' in Optimizer(Nothing()).note.value

class Nothing: player = None

def test_parameters_without_a_shape_are_counted_when_they_have_one():
    net = nn.LazyLinear(2)
    view = view_of(SGD(net.parameters(), .1))
    assert '–' in text(rows(view)[0].info)
    net(torch.ones(1, 3))
    view.refresh()
    assert '8 parameters' in text(rows(view)[0].info)

def test_names_are_text():
    view = view_of({evil: SGD([dict(params=params(), name=evil)], .1), 'b': SGD(params(), .1)})
    html = ' '.join(o.value for o in inside(view.widget).values() if type(o).__name__ == 'HTML')
    assert '<img' not in html and html.count('&lt;img') == 2 and not field(view).box.description_allow_html

def test_drawing_without_a_change_sends_nothing(sgd):
    lr_scheduler.StepLR(sgd, 3)
    run = Run(sgd)
    view,sent = Optimizer(run),[]
    edit(view, '0.3')
    edit(view, 'no', row=1)
    for o in inside(view.frame).values(): o.observe(lambda c: sent.append((c['owner'], c['name'])))
    view.refresh()
    assert not sent

def test_the_view_keeps_neither_run_nor_optimizer_even_after_an_edit_has_failed():
    run = Run(SGD(params(), .1))
    view = Optimizer(run)
    edit(view, 'no')
    gone = weakref.ref(run),weakref.ref(run.optimizer)
    del run
    gc.collect()
    assert [o() for o in gone] == [None, None]
    view.refresh()

def test_in_a_real_run_the_edit_is_what_the_numbers_show():
    data = [(torch.randn(4, 2), torch.randn(4, 2)) for _ in range(3)]
    net = nn.Linear(2, 2)
    runner = Runner(net, train_dataloader=data, optimizer=SGD(net.parameters(), .1), loss_fn=nn.functional.mse_loss, max_epochs=2, log_level='ERROR')
    runner.step('iter', 2)
    edit(runner.panel.optim, '0.03')
    runner.train()
    assert list(runner.logs('train/lr')['train/lr']) == [.1, .1, .03, .03, .03, .03]
    assert 'lr was set to 0.03 at iteration 2' in text(rows(runner.panel.optim)[0].note)

def test_a_scheduler_of_the_run_is_announced_for_what_it_sets():
    net = nn.Linear(2, 1)
    data = [(torch.zeros(4, 2), torch.zeros(4, 1))]
    scheds = [dict(type='ExponentialLR', gamma=.9), dict(type='CosineAnnealingMomentum', T_max=4)]
    runner = Runner(net, train_dataloader=data, optimizer=SGD(net.parameters(), .1, momentum=.9), loss_fn=nn.functional.mse_loss, max_epochs=3,
                    param_scheduler=scheds, log_level='ERROR')
    view = runner.panel.optim
    assert 'an edit' not in view.parts[next(iter(view.parts))].head.value, 'none is built before the run begins'
    runner.train(epochs=1)
    view.refresh()
    assert text(next(iter(view.parts.values())).head).endswith('ExponentialLR moves lr after each epoch and goes on from an edit. '
                                                               'CosineAnnealingMomentum moves momentum after each epoch and goes on from an edit.')

# the plan

def trained(net=None, **kwargs):
    net = net or nn.Linear(2, 1)
    given = dict(train_dataloader=[(torch.ones(4, 2), torch.ones(4, 1))]*10, optimizer=SGD(net.parameters(), .1), loss_fn=nn.functional.mse_loss,
                 max_epochs=12, log_level='ERROR')
    return Runner(net, **given | kwargs)

def plan(view): return next(iter(view.parts.values())).plan
def dot(view): return [float(o) for o in re.findall('[a-z]+:([0-9.]+)%', plan(view).dot.value)]

@pytest.mark.parametrize('kwargs', [dict(param_scheduler=dict(type='CosineAnnealingLR')),
                                    dict(param_scheduler=[dict(type='CosineAnnealingLR', convert_to_iter_based=True)]),
                                    dict(custom_hooks=[dict(type='CosineAnnealingLrUpdaterHook', min_lr=0.)]),
                                    dict(custom_hooks=[dict(type='CosineAnnealingLrUpdaterHook', min_lr=0., by_epoch=False)])])
def test_the_coming_rate_is_drawn_with_a_dot_for_now(kwargs):
    runner = trained(**kwargs)
    view = runner.panel.optim
    assert '<path' in plan(view).curve.value and dot(view) == [0, 95]
    curve = plan(view).curve.value
    runner.run_until(iter=60)
    runner.step('iter')
    view.refresh()
    assert dot(view) == [51, pytest.approx(50, abs=3)] and plan(view).y[60] == pytest.approx(.05, abs=2e-3)
    assert plan(view).curve.value == curve, 'what was planned came'
    runner.train()
    view.refresh()
    assert dot(view)[0] == 100 and dot(view)[1] <= 8

def test_the_plan_is_worked_out_once_for_each_change_and_not_for_each_drawing(monkeypatch):
    from interactive_runner.ui import optim
    asked,real = [],optim.planned
    monkeypatch.setattr(optim, 'planned', lambda *args: asked.append(1) or real(*args))
    runner = trained(param_scheduler=dict(type='ExponentialLR', gamma=.9))
    view = runner.panel.optim
    runner.run_until(iter=11)
    view.refresh()
    asked.clear()
    for _ in range(3): view.refresh()
    assert not asked
    runner.set_param('lr', .05)
    view.refresh()
    assert len(asked) == 1 and plan(view).y[11] == .05
    runner.optimizer.param_groups[0]['lr'] = .03
    view.refresh()
    view.refresh()
    assert len(asked) == 2 and plan(view).y[11] == .03 and plan(view).y[0] == .1, 'what lies behind stays'
    runner.hooks['ParamSchedulerHook'].off()
    view.refresh()
    assert len(asked) == 3 and plan(view).curve.value == plan(view).dot.value == ''

def test_a_run_that_is_made_longer_has_a_longer_plan():
    runner = trained(custom_hooks=[dict(type='LinearAnnealingLrUpdaterHook', min_lr=0.)])
    view = runner.panel.optim
    runner.train()
    runner.train_loop.max_epochs = 24
    view.refresh()
    assert dot(view)[0] == 50 and plan(view).where[-1] == 239 and plan(view).y[-1] < .01 and plan(view).y[0] == .1
    assert plan(view).y[30] == pytest.approx(.05, abs=.01)

def test_a_run_without_a_schedule_or_without_an_end_has_no_plan():
    class Stream:
        def __iter__(self): return iter([(torch.ones(4, 2), torch.ones(4, 1))]*3)
    for kwargs in (dict(), dict(custom_hooks=[dict(type='FixedLrUpdaterHook')], train_dataloader=Stream())):
        view = trained(**kwargs).panel.optim
        assert plan(view).curve.value == plan(view).dot.value == ''

def test_a_schedule_that_would_take_long_to_follow_is_not_drawn_and_one_that_fails_says_so():
    net = nn.Linear(2, 1)
    optimizer = SGD(net.parameters(), .1)
    far = trained(net, max_epochs=10**6, optimizer=optimizer, param_scheduler=lr_scheduler.StepLR(optimizer, 3))
    assert plan(far.panel.optim).curve.value == ''
    long = trained(max_epochs=10**6, custom_hooks=[dict(type='CosineAnnealingLrUpdaterHook', min_lr=0., by_epoch=False)])
    assert '<path' in plan(long.panel.optim).curve.value
    broken = trained(param_scheduler=dict(type='StpLR'))
    assert 'cannot be drawn' in text(plan(broken.panel.optim).curve) and 'StepLR' in text(plan(broken.panel.optim).curve)

def test_what_an_edit_becomes_is_said_for_each_kind_of_schedule():
    runner = trained(custom_hooks=[dict(type='StepLrUpdaterHook', step=3, warmup='linear', warmup_iters=4)])
    view = runner.panel.optim
    head = lambda: view.refresh() or text(next(iter(view.parts.values())).head)
    assert 'StepLrUpdaterHook sets lr before the next iteration: an edit lasts until then.' in head()
    runner.run_until(iter=5)
    assert 'StepLrUpdaterHook sets lr before the next epoch: an edit lasts until then.' in head()
    runner.hooks['StepLrUpdaterHook'].off()
    assert 'StepLrUpdaterHook' not in head()

def test_an_edit_from_a_cell_is_not_taken_for_a_hook_that_writes():
    runner = trained()
    view = runner.panel.optim
    runner.step('iter', 3)
    view.refresh()
    runner.set_param('lr', .02)
    view.refresh()
    runner.step('iter')
    view.refresh()
    assert 'Something else' not in heads(view)[0] and shown(view)[0][0] == '0.02'
