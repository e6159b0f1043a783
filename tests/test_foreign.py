"Hooks of other projects, five of each dialect, run unchanged."
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import foreign
from interactive_runner.all import Runner
from interactive_runner.mmcv import EpochBasedRunner

class Noisy(Dataset):
    noise = 1.
    def __len__(self): return 8
    def __getitem__(self, i):
        x = torch.linspace(-1, 1, 8)[i].reshape(1)
        return dict(x=x, y=2*x+self.noise*(-1)**i)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear,self.epochs = nn.Linear(1, 1),[]
    def set_epoch(self, n): self.epochs.append(n)
    def forward(self, x, y): return dict(loss=(self.linear(x)-y).square().mean())

class StepNet(Net):
    def train_step(self, data, optimizer):
        loss = self(**data)['loss']
        return dict(loss=loss, log_vars=dict(loss=loss.item()), num_samples=len(data['x']))
    val_step = train_step

def test_hooks_of_mmengine_s_dialect_run_unchanged(tmp_path):
    torch.manual_seed(0)
    model,data = Net(),Noisy()
    hooks = [foreign.SetEpochInfo(), foreign.MeanTeacher(), foreign.SwitchPipeline(last=2), foreign.LossWatch(enough=-1.), foreign.BestKeeper()]
    runner = Runner(model, str(tmp_path), train_dataloader=DataLoader(data, batch_size=4), val_dataloader=DataLoader(Noisy(), batch_size=4),
                    optimizer=torch.optim.SGD(model.parameters(), lr=.1), max_epochs=4, custom_hooks=hooks, log_level='ERROR')
    runner.train()
    setter,teacher,switch,watch,keeper = hooks
    assert model.epochs == [0, 1, 2, 3] and switch.switched_at == 2 and data.noise == 0.
    assert not torch.equal(teacher.teacher.linear.weight, model.linear.weight) and len(runner.message_hub.get_scalar('train/log_loss')) == 8
    saved = torch.load(tmp_path/'epoch_4.pth', weights_only=True)
    losses = runner.message_hub.get_scalar('val/loss').data[0]
    assert saved['best_loss'] == min(losses[:3]) and keeper.best == min(losses) # saved before the last validation
    watch.enough = 1e9
    runner.train(epochs=5)
    assert runner.epoch == 5 and runner.status == 'done'

def test_hooks_of_mmcv_s_dialect_run_unchanged():
    def train(*hooks):
        torch.manual_seed(0)
        model = StepNet()
        runner = EpochBasedRunner(model, optimizer=torch.optim.SGD(model.parameters(), lr=.1), max_epochs=3)
        for o in hooks: runner.register_hook(o)
        runner.run([DataLoader(Noisy(), batch_size=4), DataLoader(Noisy(), batch_size=8)], [('train', 1), ('val', 1)])
        return runner
    hooks = [foreign.WarmRestart(), foreign.OptimizerHook(), foreign.CheckInvalidLoss(), foreign.GradNorm(), foreign.Messages()]
    runner = train(*hooks)
    warm,_,check,_,messages = hooks
    torch.manual_seed(0)
    model = Net()
    opt = torch.optim.SGD(model.parameters(), lr=.1)
    for epoch in range(3):
        opt.param_groups[0]['lr'] = .1/(1+epoch)
        for data in DataLoader(Noisy(), batch_size=4):
            opt.zero_grad()
            model(**data)['loss'].backward()
            opt.step()
    assert torch.equal(runner.model.linear.weight, model.linear.weight) and warm.seen == [.1/3] and check.checked == 3
    assert len(runner.message_hub.get_scalar('train/total_norm')) == 6
    assert messages.modes == [('train', 2), ('val', 1)]*3 and runner.meta['hook_msgs']['last'] == ('val', 3, 0, 3)
