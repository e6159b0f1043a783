"The hub: whose it is at the moment, what a model writes into it, what is saved."
import gc, io, weakref
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from interactive_runner import BaseModel, MessageHub, Runner

class ToyModel(BaseModel):
    "The model of MMEngine's documents: it tells the hub of a number that it does not return"
    asked = None
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 1)
    def forward(self, img, label, mode):
        tmp = (self.linear(img)-label).abs()
        self.asked = MessageHub.get_current_instance()
        if mode == 'loss': self.asked.update_scalar('train/loss_tmp', tmp.sum())
        return dict(loss=tmp.pow(2))

data = torch.arange(8.).view(4, 2, 1)
batches = [(o, 2*o) for o in data/8]

def toy(**given):
    torch.manual_seed(0)
    return Runner(**dict(model=ToyModel(), train_dataloader=batches, train_cfg=dict(by_epoch=True, max_epochs=2), log_level='ERROR',
                         optim_wrapper=dict(optimizer=dict(type='SGD', lr=.01))) | given)

def tmp(run): return run.message_hub.get_scalar('train/loss_tmp').data[0].tolist()

@pytest.fixture(scope='module')
def alone():
    "What the model tells the hub in a run that is alone"
    run = toy()
    run.train()
    return tmp(run)

@pytest.mark.parametrize('unit', ['hook', 'line', 'iter'])
def test_of_several_runs_that_take_turns_each_writes_to_its_own_hub(unit, alone):
    runs = [toy(optim_wrapper=dict(optimizer=dict(type='SGD', lr=o))) for o in (.01, .02, .03)]
    while any(o.status != 'done' for o in runs):
        for o in runs:
            if o.status != 'done': o.step(unit)
            assert o.model.asked in (None, o.message_hub)
    assert not MessageHub._entered
    first,*others = map(tmp, runs)
    assert first == alone and len({len(o) for o in others}) == 1 and all(o[0] == first[0] and o[-1] < first[-1] for o in others)

def test_a_run_inside_a_hook_of_another_has_its_own_hub_and_gives_back_the_outer(alone):
    inner = toy()
    class Nests:
        def after_train_iter(self, runner):
            if runner.iter == 1: inner.train()
            self.after = MessageHub.get_current_instance()
    hook = Nests()
    outer = toy(custom_hooks=[hook])
    outer.train()
    assert tmp(inner) == tmp(outer) == alone and hook.after is outer.message_hub and inner.model.asked is inner.message_hub

def test_a_run_that_fails_leaves_its_hub():
    class Fails(ToyModel):
        def forward(self, img, label, mode): raise ValueError('no')
    run = toy(model=Fails())
    with pytest.raises(ValueError): run.train()
    assert not MessageHub._entered

def lines(**given):
    "The lines of training, from the third item on"
    run = toy(default_hooks=dict(logger=dict(interval=2)), **given)
    run.logger.setLevel('INFO')
    run.train()
    res = [o.text for o in run.logger.recent if o.text.startswith('Epoch(train)')]
    return run,[o[o.index('loss'):] for o in res]

def test_a_number_of_the_model_stands_in_the_line_as_a_mean_before_the_loss(alone):
    run,text = lines()
    loss = run.message_hub.get_scalar('train/loss').data[0]
    assert text == [f'loss_tmp: {np.mean(alone[:n]):.4f}  loss: {loss[:n].mean():.4f}' for n in (2, 4, 6, 8)]

def test_a_number_of_the_model_is_shown_as_custom_cfg_says(alone):
    cfg = [dict(data_src='loss_tmp', method_name='mean', window_size=3), dict(data_src='loss_tmp', method_name='max', window_size='global', log_name='worst')]
    run,text = lines(log_processor=dict(custom_cfg=cfg))
    loss = run.message_hub.get_scalar('train/loss').data[0]
    assert text == [f'loss_tmp: {np.mean(alone[:n][-3:]):.4f}  worst: {max(alone[:n]):.4f}  loss: {loss[:n].mean():.4f}' for n in (2, 4, 6, 8)]

def returns_losses(): return dict(val_cfg=dict(with_loss=True), val_evaluator=[])
def has_a_loss_fn():
    net = nn.Linear(1, 1)
    return dict(model=net, loss_fn=F.mse_loss, optimizer=torch.optim.SGD(net.parameters(), .01), optim_wrapper=None, train_cfg=None, max_epochs=2)

@pytest.mark.parametrize('kind', [returns_losses, has_a_loss_fn])
def test_the_loss_of_a_validation_is_in_the_hub_and_in_its_line_epoch_by_epoch(kind):
    run = toy(val_dataloader=batches, **kind())
    run.logger.setLevel('INFO')
    run.train()
    text,losses = [o.text for o in run.logger.recent if o.text.startswith('Epoch(val)')],run.message_hub.get_scalar('val/loss').data[0]
    assert len(losses) == 2 and losses[1] < losses[0]
    assert [o.split('  ')[1] for o in text] == [f'loss: {o:.4f}' for o in losses]

@pytest.mark.parametrize('given, loop, begins', [
    (dict(by_epoch=False), dict(by_epoch=True, max_epochs=1), 'Epoch(train) [1][2/4]'),
    (dict(by_epoch=True), dict(by_epoch=False, max_iters=4), 'Iter(train) [2/4]')])
def test_a_log_that_counts_otherwise_than_the_loop_is_said_when_the_run_is_built(given, loop, begins):
    with pytest.warns(UserWarning, match='give both the same by_epoch') as said:
        run = toy(log_processor=given, train_cfg=loop, default_hooks=dict(logger=dict(interval=2)))
        n = len(said)
        run.logger.setLevel('INFO')
        run.train()
    assert n == len([o for o in said if 'by_epoch' in str(o.message)]) == 1
    assert next(o.text for o in run.logger.recent if '(train)' in o.text).startswith(begins)

def test_a_window_that_the_loop_cannot_have_is_refused_when_the_run_is_built():
    with pytest.raises(AssertionError, match='no epochs'):
        toy(log_processor=dict(window_size='epoch', by_epoch=True), train_cfg=dict(by_epoch=False, max_iters=4))

def test_the_current_hub_without_a_run_is_the_one_made_last():
    a,b = MessageHub('a'),MessageHub('b')
    assert MessageHub.get_current_instance() is b
    with a: assert MessageHub.get_current_instance() is a
    assert MessageHub.get_current_instance() is b

def test_a_hub_is_loaded_from_another():
    a,b = MessageHub('a'),MessageHub('b')
    a.update_scalar('train/loss', 2.)
    b.load_state_dict(a)
    a.update_scalar('train/loss', 3.)
    assert b.get_scalar('train/loss').data[0].tolist() == [2.]

def test_a_key_that_changes_its_mind_about_checkpoints_is_refused_as_upstream_does():
    hub = MessageHub('mind')
    hub.update_scalar('train/loss', 1.)
    for fn in (hub.update_scalar, hub.update_info):
        with pytest.raises(AssertionError, match="'train/loss' was first written with resumed=True"): fn('train/loss', 1., resumed=False)

def test_a_hub_is_freed_with_its_run():
    hub = MessageHub('short')
    hub.update_scalar('train/loss', 1.)
    with hub: pass
    ref = weakref.ref(hub)
    del hub
    gc.collect()
    assert ref() is None and 'short' not in MessageHub._known

def test_hubs_of_runs_that_take_turns_are_not_mixed():
    a,b = MessageHub('same'),MessageHub('same')
    a.enter()
    b.enter()
    a.leave()
    assert MessageHub.get_current_instance() is b
    b.leave()
    b.leave()
    assert not MessageHub._entered and not a.log_scalars

def test_what_a_hub_made_by_name_holds_is_kept():
    MessageHub.get_instance('nobody').update_scalar('train/x', 1.)
    gc.collect()
    assert MessageHub.get_instance('nobody').get_scalar('train/x').current() == 1
    del MessageHub._known.kept['nobody']

def test_a_hub_saves_what_is_to_be_resumed_and_names_what_cannot_be():
    hub,new = MessageHub('old'),MessageHub('new')
    hub.update_scalars({'train/loss': torch.tensor(2.), 'train/acc': dict(value=3, count=4)})
    hub.update_scalar('train/time', 1., resumed=False)
    hub.update_info_dict(dict(epoch=np.int64(3), m=np.eye(2), f=print))
    hub.update_info('cfg', object(), resumed=False)
    f = io.BytesIO()
    with pytest.warns(UserWarning, match="'f'"): torch.save(hub.state_dict(), f)
    f.seek(0)
    new.load_state_dict(torch.load(f, weights_only=True))
    assert list(new.log_scalars) == ['train/loss', 'train/acc'] and new.get_scalar('train/acc').mean() == 0.75
    assert new.get_info('epoch') == 3 and torch.equal(new.get_info('m'), torch.eye(2).double()) and 'cfg' not in new.runtime_info
    with pytest.raises(KeyError, match='resumed_keys'): new.load_state_dict({})

def test_a_chart_that_holds_a_history_sees_what_is_loaded():
    hub,old = MessageHub('chart'),MessageHub('saved')
    for v in (1., 2.): old.update_scalar('train/loss', v)
    hub.update_scalar('train/loss', 5.)
    held = hub.get_scalar('train/loss')
    hub.load_state_dict(old.state_dict())
    assert held.tail(9).tolist() == [1, 2] and hub.get_scalar('train/loss') is held
