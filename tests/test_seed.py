"The example of a config that FlexibleRunner's docstring shows, with toy classes written out."
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from interactive_runner import BaseModel, Config, FlexibleRunner, Runner
from interactive_runner.evaluator import BaseMetric
from interactive_runner.registry import DATASETS, METRICS, MODELS

@pytest.fixture
def toys():
    tables = [(o.table, {nm: dict(known) for nm,known in o.table.items()}) for o in (MODELS, DATASETS, METRICS)]
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
    yield
    for table,before in tables: # other tests have toys of the same names
        table.clear()
        table.update(before)

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

METHODS = ['build_strategy',
           'build_message_hub', 'build_visualizer', 'build_evaluator', 'build_dataloader', 'build_train_loop', 'build_val_loop', 'build_test_loop',
           'build_log_processor', 'get_hooks_info', 'load_or_resume', 'train', 'val', 'test', 'call_hook', 'register_hook', 'register_default_hooks',
           'register_custom_hooks', 'register_hooks', 'resume', 'load_checkpoint', 'save_checkpoint', 'dump_config']

@pytest.mark.parametrize('name', METHODS)
def test_each_method_of_the_seed_is_one_of_the_runner(name): assert callable(getattr(Runner(nn.Linear(1, 1), log_level='ERROR'), name))

PROPERTIES = {
    'experiment_name': lambda r: r.experiment_name == 'ToyModel', 'model_name': lambda r: r.model_name == 'ToyModel',
    'work_dir': lambda r: r.work_dir.endswith('path/of/work_dir'), 'log_dir': lambda r: str(r.log_dir) == f'{r.work_dir}/{r.timestamp}',
    'logger': lambda r: callable(r.logger.info), 'max_epochs': lambda r: r.max_epochs == 3, 'max_iters': lambda r: r.max_iters == 36,
    'epoch': lambda r: r.epoch == 1, 'iter': lambda r: r.iter == 13, 'distributed': lambda r: r.distributed is False,
    'rank': lambda r: r.rank == 0, 'world_size': lambda r: r.world_size == 1, 'deterministic': lambda r: r.deterministic is False,
    'seed': lambda r: r.seed is None, 'timestamp': lambda r: '_' in r.timestamp, 'hooks': lambda r: len(r.hooks) == 8,
    'train_loop': lambda r: type(r.train_loop).__name__ == 'EpochBasedTrainLoop', 'val_loop': lambda r: type(r.val_loop).__name__ == 'ValLoop',
    'test_loop': lambda r: type(r.test_loop).__name__ == 'TestLoop', 'train_dataloader': lambda r: len(r.train_dataloader) == 12,
    'val_dataloader': lambda r: r.val_dataloader.sampler.shuffle is False, 'test_dataloader': lambda r: r.test_dataloader is not r.val_dataloader,
    'val_evaluator': lambda r: r.val_evaluator is r.val_loop.evaluator, 'test_evaluator': lambda r: r.test_evaluator is r.test_loop.evaluator,
    'val_interval': lambda r: r.val_interval == 1, 'val_begin': lambda r: r.val_begin == 1}

def test_each_property_of_the_seed_has_its_value_in_the_middle_of_a_run(toys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = FlexibleRunner.from_cfg(example() | dict(log_level='ERROR'))
    runner.run_until(iter=13)
    assert FlexibleRunner is Runner and [nm for nm,right in PROPERTIES.items() if not right(runner)] == []

def test_hooks_are_a_sequence(toys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hooks = FlexibleRunner.from_cfg(example() | dict(log_level='ERROR')).hooks
    kinds = ['RuntimeInfoHook', 'OptimizerHook', 'IterTimerHook', 'DistSamplerSeedHook', 'LoggerHook', 'ParamSchedulerHook', 'ProgressHook', 'CheckpointHook']
    assert [type(o).__name__ for o in hooks] == kinds and len(hooks) == 8
    assert type(hooks[0]).__name__ == kinds[0] and type(hooks[-1]).__name__ == kinds[-1] and [type(o).__name__ for o in hooks[1:3]] == kinds[1:3]
    assert isinstance(hooks, Sequence) and hooks.index(hooks[4]) == 4 and hooks.count(hooks[4]) == 1 and hooks[4] in hooks
    assert [type(o).__name__ for o in reversed(hooks)] == kinds[::-1]

def test_a_config_hands_over_every_argument_that_the_constructor_has():
    from interactive_runner.registry import arguments
    class Takes(Runner):
        def __init__(self, **kwargs): self.given = kwargs
    names = set(arguments(Runner))-{'cfg'}
    given = Takes.from_cfg({nm: [nm] for nm in names}).given
    assert {nm: given[nm] for nm in names} == {nm: [nm] for nm in names} and 'compile' in names and given.keys()-names == {'cfg'}

def test_a_config_file_gives_its_name_to_the_experiment_and_to_what_is_dumped(toys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Config(example() | dict(log_level='ERROR')).dump(tmp_path/'toy_run.py')
    runner = FlexibleRunner.from_cfg(Config.fromfile('toy_run.py'))
    assert runner.experiment_name == 'toy_run' and runner.dump_config().name == 'toy_run.py'
    assert Config.fromfile(runner.dump_config()) == Config.fromfile('toy_run.py')

@pytest.mark.parametrize('how', [dict(by_epoch=True, max_epochs=3), dict(by_epoch=False, max_iters=30, val_interval=7)])
def test_nobody_sleeps_between_the_passes_over_the_data(toys, tmp_path, monkeypatch, how):
    import time
    def sleeps(seconds): raise AssertionError(f'slept for {seconds} s')
    monkeypatch.chdir(tmp_path)
    runner = FlexibleRunner.from_cfg(example() | dict(log_level='ERROR', train_cfg=how, work_dir=None, visualizer=None))
    monkeypatch.setattr(time, 'sleep', sleeps)
    runner.train()
    assert runner.status == 'done'

def test_a_loader_is_built_from_a_dict_without_a_runner_too(toys):
    described = example()['train_dataloader']
    loader = Runner.build_dataloader(described, seed=3)
    assert len(loader) == 12 and loader.sampler.seed == 3 and Runner.build_dataloader(loader) is loader and described == example()['train_dataloader']
