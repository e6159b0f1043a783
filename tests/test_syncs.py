"A training iteration that is not logged waits for no device, by a tensor that counts and, where there is one, by CUDA itself."
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from interactive_runner import BaseModel, MessageHub, Runner
from interactive_runner.history import HistoryBuffer

WAITS = 'item __float__ __int__ __bool__ __index__ __array__ __repr__ __format__ __contains__ is_nonzero nonzero cpu tolist numpy equal allclose'.split()

class Counted(torch.Tensor):
    "Claims to be on a device, and notes who makes the host wait for its value; what is computed from it does the same"
    is_cpu,waits = False,[]
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func.__name__ in WAITS or (func.__name__ == 'to' and not args[0].dim()): cls.waits.append(func.__name__)
        return super().__torch_function__(func, types, args, kwargs or {})

class ToyModel(BaseModel):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 2)
    def forward(self, x, y, mode='tensor'):
        loss = F.cross_entropy(self.net(x), y)
        MessageHub.get_current_instance().update_scalar('train/loss_tmp', loss*3)
        return dict(loss1=loss, loss2=[loss/2, loss/4], hits=(self.net(x).argmax(-1) == y).sum())

def plain(): return dict(model=nn.Linear(4, 2), loss_fn=F.cross_entropy, max_epochs=1)
def many_losses(): return dict(model=ToyModel(), max_epochs=1)
def iterations(): return dict(plain(), max_epochs=None, max_iters=20)
def accumulated(): return dict(plain(), accumulate=3)
def scheduled(): return dict(plain(), param_scheduler=dict(type='LinearLR', start_factor=.1, end=9, by_epoch=False))
def windows(): return dict(plain(), log_processor=dict(window_size='global', custom_cfg=[dict(data_src='loss', method_name='max', window_size='epoch')]))

KINDS = plain, many_losses, iterations, accumulated, scheduled, windows

def made(kind, batches, interval=10**9, **given):
    given = kind() | dict(log_level='ERROR', default_hooks=dict(logger=dict(interval=interval)), train_dataloader=batches) | given
    given['model'].to(batches[0][0].device)
    return Runner(**given, optimizer=torch.optim.SGD(given['model'].parameters(), .01))

def data(n=20, device='cpu', kind=torch.Tensor):
    return [(torch.randn(8, 4, device=device).as_subclass(kind), torch.arange(8, device=device) % 2) for _ in range(n)]

def waits(fn):
    Counted.waits.clear()
    fn()
    return len(Counted.waits)

def bare(model, batches):
    "The loop that everybody writes first"
    optimizer = torch.optim.SGD(model.parameters(), .01)
    for x,y in batches:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

@pytest.mark.parametrize('kind', KINDS)
def test_an_iteration_that_is_not_logged_waits_for_nothing_as_the_bare_loop(kind):
    batches = data(kind=Counted)
    run = made(kind, batches)
    assert waits(lambda: bare(nn.Linear(4, 2), batches[:10])) == 0
    assert waits(lambda: run.step('iter', 10)) == 0
    assert {'train/loss'} <= {k for k,o in run.message_hub.log_scalars.items() if len(o._late) == 10}

def test_a_hook_that_waits_is_counted():
    class Waits:
        def after_train_iter(self, runner, outputs): self.loss = float(loss := outputs['loss'].detach()), loss.item(), bool(loss > 0), loss.to('cpu')
    run = made(plain, data(kind=Counted), custom_hooks=[Waits()])
    assert waits(lambda: run.step('iter', 10)) == 40

def test_a_line_brings_each_history_over_in_one_transfer(monkeypatch):
    run,fetched = made(many_losses, data(kind=Counted), 10),[]
    fetch = HistoryBuffer._fetch
    monkeypatch.setattr(HistoryBuffer, '_fetch', lambda self: fetched.append(len(self._late)) or fetch(self))
    run.step('iter', 9)
    assert not fetched
    run.step('iter', 1)
    assert fetched == [10]*5 # loss_tmp, loss1, loss2, hits, loss

@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
@pytest.mark.parametrize('kind', KINDS)
def test_on_a_gpu_an_iteration_that_is_not_logged_does_not_synchronise(kind):
    batches = data(device='cuda')
    run,net = made(kind, batches),nn.Linear(4, 2).cuda()
    bare(net, batches[:3])
    run.step('iter', 3)
    torch.cuda.set_sync_debug_mode('error')
    try:
        bare(net, batches[:10])
        run.step('iter', 10)
    finally: torch.cuda.set_sync_debug_mode('default')
    assert len(run.message_hub.get_scalar('train/loss')._late) == 13
