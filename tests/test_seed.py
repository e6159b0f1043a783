"The example of a config that FlexibleRunner's docstring shows, with toy classes written out."
import pytest
import torch
from torch import nn

from interactive_runner import BaseModel, FlexibleRunner
from interactive_runner.evaluator import BaseMetric
from interactive_runner.registry import DATASETS, METRICS, MODELS

@pytest.fixture
def toys():
    @MODELS.register_module(force=True)
    class ToyModel(BaseModel):
        def __init__(self, data_preprocessor=None):
            super().__init__(data_preprocessor)
            self.linear1,self.linear2 = nn.Linear(2, 2),nn.Linear(2, 1)
        def forward(self, inputs, data_samples, mode='tensor'):
            out = self.linear2(self.linear1(torch.stack(inputs)))
            if mode == 'loss': return dict(loss=(torch.stack(data_samples)-out).square().sum())
            return out
    @DATASETS.register_module(force=True)
    class ToyDataset(torch.utils.data.Dataset):
        metainfo = dict()
        data,label = torch.randn(12, 2, generator=torch.Generator().manual_seed(0)),torch.ones(12, 1)
        def __len__(self): return 12
        def __getitem__(self, i): return dict(inputs=self.data[i], data_samples=self.label[i])
    @METRICS.register_module(force=True)
    class ToyEvaluator(BaseMetric):
        def process(self, data_batch, data_samples): self.results += [len(data_samples)]
        def compute_metrics(self, results): return dict(acc=sum(results))

def example():
    return dict(
        model=dict(type='ToyModel'),
        work_dir='path/of/work_dir',
        train_dataloader=dict(dataset=dict(type='ToyDataset'), sampler=dict(type='DefaultSampler', shuffle=True), batch_size=1, num_workers=0),
        val_dataloader=dict(dataset=dict(type='ToyDataset'), sampler=dict(type='DefaultSampler', shuffle=False), batch_size=1, num_workers=0),
        test_dataloader=dict(dataset=dict(type='ToyDataset'), sampler=dict(type='DefaultSampler', shuffle=False), batch_size=1, num_workers=0),
        auto_scale_lr=dict(base_batch_size=16, enable=False),
        optim_wrapper=dict(type='OptimizerWrapper', optimizer=dict(type='SGD', lr=0.01)),
        param_scheduler=dict(type='MultiStepLR', milestones=[1, 2]),
        val_evaluator=dict(type='ToyEvaluator'),
        test_evaluator=dict(type='ToyEvaluator'),
        train_cfg=dict(by_epoch=True, max_epochs=3, val_interval=1),
        val_cfg=dict(),
        test_cfg=dict(),
        custom_hooks=[],
        default_hooks=dict(
            timer=dict(type='IterTimerHook'), checkpoint=dict(type='CheckpointHook', interval=1), logger=dict(type='LoggerHook'),
            optimizer=dict(type='OptimizerHook', grad_clip=False), param_scheduler=dict(type='ParamSchedulerHook')),
        launcher='none',
        env_cfg=dict(dist_cfg=dict(backend='nccl')),
        log_processor=dict(window_size=20),
        visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend', save_dir='temp_dir')]))

def test_the_example_of_the_seed_runs_as_it_stands(toys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = FlexibleRunner.from_cfg(example())
    before = runner.model.linear1.weight.clone()
    runner.train()
    assert (runner.epoch, runner.iter, runner.status) == (3, 36, 'done') and not torch.equal(before, runner.model.linear1.weight)
    assert runner.test() == dict(acc=12) and runner.val_loop.metrics == dict(acc=12)
    assert runner.optimizer.param_groups[0]['lr'] == pytest.approx(.01*.1*.1)
    said = [o.text for o in runner.logger.recent]
    assert "OptimizerHook does backward and the optimizer's step; the loop's own lines for them stand back." in said
    work = tmp_path/'path/of/work_dir'
    assert {o.name for o in work.glob('epoch_*.pth')} == {'epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth'}
    assert len(list((tmp_path/'temp_dir').rglob('scalars.json'))) == 1
    assert {o.suffix for o in (work/runner.timestamp).iterdir()} >= {'.log', '.py'}

def test_the_hook_that_owns_the_step_gives_the_weights_that_the_loops_own_lines_give(toys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    models = []
    for hooks in (example()['default_hooks'], {}):
        runner = FlexibleRunner.from_cfg(example() | dict(default_hooks=hooks, randomness=dict(seed=3), log_level='ERROR'))
        runner.train()
        models.append(runner.model)
    assert all(torch.equal(a, b) for a,b in zip(*(o.state_dict().values() for o in models), strict=True))
