"A run from objects or from dicts: what is built, what is refused and how, and what foreign hooks and loops find."
import logging
import os

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from interactive_runner import Hook, Loop, Runner
from interactive_runner.base_model import BaseModel
from interactive_runner.config import Config
from interactive_runner.evaluator import BaseMetric
from interactive_runner.loop import DataLoop, EpochBasedTrainLoop
from interactive_runner.optim import OptimWrapper
from interactive_runner.registry import DATASETS, HOOKS, LOOPS, METRICS, MODELS, RUNNERS

class ToyData(TensorDataset):
    "24 points, on which side of a plane each lies"
    made = 0
    metainfo = dict(classes=('below', 'above'))
    def __init__(self, n=24):
        type(self).made += 1
        x = torch.randn(n, 4, generator=torch.Generator().manual_seed(0))
        super().__init__(x, (x.sum(1) > 0).long())
    def __getitem__(self, i):
        x,y = super().__getitem__(i)
        return dict(inputs=x, data_samples=y)

class ToyModel(BaseModel):
    def __init__(self, width=4, **kwargs):
        super().__init__(**kwargs)
        self.net = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))
    def forward(self, inputs, data_samples=None, mode='tensor'):
        out = self.net(torch.stack(inputs) if isinstance(inputs, list) else inputs)
        if mode == 'tensor': return out
        target = torch.stack(data_samples) if isinstance(data_samples, list) else data_samples
        if mode == 'loss': return dict(loss_cls=F.cross_entropy(out, target), loss_size=1e-3*out.square())
        return [dict(pred=int(p), target=int(t)) for p,t in zip(out.argmax(1), target)]

class ToyMetric(BaseMetric):
    def process(self, data_batch, data_samples): self.results += [o['pred'] == o['target'] for o in data_samples]
    def compute_metrics(self, results): return dict(hits=sum(results), of=len(results))

for registry,o in ((DATASETS, ToyData), (MODELS, ToyModel), (METRICS, ToyMetric)): registry.register_module(module=o, force=True)

def loader(**kwargs): return dict(dataset=dict(type='ToyData'), sampler=dict(type='DefaultSampler', shuffle=True), batch_size=6) | kwargs

def described(**kwargs):
    "A run in dicts"
    return dict(model=dict(type='ToyModel'), train_dataloader=loader(), train_cfg=dict(by_epoch=True, max_epochs=2),
                optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1)), val_dataloader=loader(sampler=dict(type='DefaultSampler', shuffle=False)),
                val_cfg=dict(), val_evaluator=dict(type='ToyMetric'), randomness=dict(seed=0), log_level='ERROR', work_dir=None) | kwargs

def objects(**kwargs):
    "A run in objects"
    model = kwargs.pop('model', None) or nn.Linear(4, 2)
    x = torch.randn(24, 4, generator=torch.Generator().manual_seed(0))
    given = dict(train_dataloader=DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), 6), loss_fn=F.cross_entropy,
                 optimizer=torch.optim.SGD(model.parameters(), .1), max_epochs=2, log_level='ERROR')
    return Runner(model, **given | kwargs)

def equal(a, b): return all(torch.equal(x, y) for x,y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))

def test_a_run_from_a_config_trains_validates_and_leaves_the_config_as_it_was():
    cfg = described()
    before = Config(cfg).pretty_text
    run = Runner.from_cfg(cfg)
    start = {k: v.clone() for k,v in run.model.state_dict().items()}
    run.train()
    assert (run.epoch, run.iter) == (2, 8) and Config(cfg).pretty_text == before
    assert run.val_loop.metrics['of'] == 24 and list(run.logs('val/hits').columns) == ['val/hits']
    assert not all(torch.equal(v, start[k]) for k,v in run.model.state_dict().items())
    again = Runner.from_cfg(cfg)
    torch.rand(5) # what a cell draws is none of the run's business
    again.train()
    assert equal(run.model, again.model)

def test_dicts_and_objects_give_the_same_weights():
    run = Runner.from_cfg(described())
    run.train()
    torch.manual_seed(0)
    model = ToyModel()
    data = ToyData()
    from interactive_runner.loader import DefaultSampler, pseudo_collate
    plain = Runner(model, train_dataloader=DataLoader(data, 6, sampler=DefaultSampler(data, seed=0), collate_fn=pseudo_collate),
                   optimizer=torch.optim.SGD(model.parameters(), .1), max_epochs=2, seed=0, log_level='ERROR')
    plain.train()
    assert equal(run.model, plain.model)

def test_nothing_is_read_or_built_before_it_is_needed():
    ToyData.made = 0
    run = Runner.from_cfg(described(test_dataloader=loader(), test_cfg=dict(), test_evaluator=dict(type='ToyMetric')))
    assert ToyData.made == 0 and 'optim_wrapper' not in vars(run)
    run.val()
    assert ToyData.made == 1 and 'optim_wrapper' not in vars(run)
    run.step('iter')
    assert ToyData.made == 2 and run.train_dataloader is run.train_loop.dataloader
    run.test()
    assert ToyData.made == 3

def test_the_users_own_loader_is_the_runners():
    data = DataLoader(TensorDataset(torch.zeros(4, 4), torch.zeros(4).long()), 2, num_workers=1, persistent_workers=True)
    assert objects(train_dataloader=data).train_dataloader is data

GROUPS = {
    'training without an optimizer': (dict(optim_wrapper=None), "got train_dataloader, train_cfg without optim_wrapper. Pass optim_wrapper=dict(optimizer="),
    'training without data': (dict(train_dataloader=None), "got train_cfg, optim_wrapper without train_dataloader. Pass train_dataloader=a DataLoader"),
    'training without a loop': (dict(train_cfg=None), "got train_dataloader, optim_wrapper without train_cfg. Pass train_cfg=dict(by_epoch="),
    'validation without metrics': (dict(val_evaluator=None), "got val_dataloader, val_cfg without val_evaluator. Pass val_evaluator=a metric"),
    'validation without data': (dict(val_dataloader=None), "got val_cfg, val_evaluator without val_dataloader"),
    'a test without a loop': (dict(test_dataloader=loader(), test_evaluator=dict(type='ToyMetric')), "without test_cfg. Pass test_cfg=dict()"),
    'a scheduler alone': (dict(train_dataloader=None, train_cfg=None, optim_wrapper=None, param_scheduler=dict(type='MultiStepLR', milestones=[1])),
                          "param_scheduler changes an optimizer, and there is none"),
    'two checkpoints': (dict(resume='a.pth', load_from='b.pth'), "resume ('a.pth') and load_from ('b.pth') both name a checkpoint"),
    'accumulate beside a wrapper': (dict(accumulate=2), "in an optim_wrapper it is called accumulative_counts"),
    'two optimizers': (dict(optimizer=torch.optim.SGD([torch.zeros(1)], .1)), "optimizer and optim_wrapper exclude each other"),
    'two seeds': (dict(seed=1), "seed=1 and randomness={'seed': 0} say different things"),
    'a launcher': (dict(launcher='pytorch'), "launcher 'pytorch' starts several processes"),
    'neither by_epoch nor type': (dict(train_cfg=dict(max_epochs=3)), "train_cfg has neither 'by_epoch' nor 'type', got max_epochs"),
    'a preprocessor for an object': (dict(model=nn.Linear(4, 2), data_preprocessor=dict()), 'data_preprocessor is for a model that is given as a dict'),
    'both lengths': (dict(train_cfg=None, max_epochs=1, max_iters=1), 'exclude each other'),
    'an interval beside a loop': (dict(val_interval=2), 'val_interval would not be heeded beside train_cfg, which says itself when to validate'),
    'an interval that never comes': (dict(train_cfg=dict(by_epoch=True, max_epochs=3, val_interval=0)), "train_cfg['val_interval'] must be 1, 2, ..., got 0"),
    'an end that is text': (dict(train_cfg=dict(type='EpochBasedTrainLoop', max_epochs='3')), "train_cfg['max_epochs'] must be 1, 2, ..., got '3'"),
    'an optimizer of another model': (dict(optim_wrapper=OptimWrapper(torch.optim.SGD([torch.zeros(1)], .1))), 'holds no parameter of this model'),
    'a loop twice': (dict(max_epochs=1), 'train_cfg and max_epochs each describe the loop of training: give one of them'),
}

@pytest.mark.parametrize('what', GROUPS)
def test_a_description_that_is_given_in_part_is_refused_with_what_to_pass(what):
    given,text = GROUPS[what]
    with pytest.raises(ValueError) as e: Runner(**described(**given))
    assert text in str(e.value)

KINDS = {
    'compile': (dict(compile='yes'), "compile must be bool or a dict, got 'yes' (str)"),
    'resume': (dict(resume=3), 'resume must be bool or str or Path, got 3 (int)'),
    'randomness': (dict(randomness=3), 'randomness must be a dict, got 3 (int)'),
    'a name in randomness': (dict(randomness=dict(sead=1)), "randomness has no 'sead'. Did you mean 'seed'?"),
    'a name in auto_scale_lr': (dict(auto_scale_lr=dict(enabled=True, base_batch_size=16)), "auto_scale_lr has no 'enabled'. Did you mean 'enable'?"),
    'a name in env_cfg': (dict(env_cfg=dict(cudnn_benchmrk=True)), "env_cfg has no 'cudnn_benchmrk'. Did you mean 'cudnn_benchmark'?"),
    'a name in compile': (dict(compile=dict(backnd='eager')), "compile takes no 'backnd'. Did you mean 'backend'?"),
    'hooks in no list': (dict(custom_hooks=Hook()), 'custom_hooks must be list or tuple'),
    'train_cfg': (dict(train_cfg=3), 'train_cfg must be a loop or a dict, got 3 (int)'),
    'val_cfg': (dict(val_cfg=3), 'val_cfg must be a loop or a dict, got 3 (int)'),
    'log_processor': (dict(log_processor=3), 'log_processor must be a dict, got 3 (int). Pass dict(window_size=20)'),
    'visualizer': (dict(visualizer=3), 'visualizer must be a dict, got 3 (int)'),
    'strategy': (dict(strategy='ddp'), "strategy must be BaseStrategy or a dict, got 'ddp' (str)"),
    'env_cfg': (dict(env_cfg=1), 'env_cfg must be a dict, got 1 (int)'),
    'an evaluator': (dict(val_evaluator=3), 'an evaluator must be an Evaluator'),
    'cfg': (dict(cfg=3), 'cfg must be Config or a dict, got 3 (int)'),
    'work_dir': (dict(work_dir=3), 'work_dir must be str or Path, got 3 (int)'),
    'experiment_name': (dict(experiment_name=3), 'experiment_name must be str, got 3 (int)'),
    'a class for the model': (dict(model=ToyModel), 'model is the class ToyModel; pass an object of it'),
    'a name for a hook': (dict(custom_hooks=['LoggerHook']), "a hook is a dict with its type, such as dict(type='LoggerHook'), or an object"),
    'nothing for a hook': (dict(custom_hooks=[None]), 'got None (NoneType)'),
    'a name for a default hook': (dict(default_hooks=dict(logger='LoggerHook')), "got 'LoggerHook' (str)"),
    'a slip in a loader': (dict(test_dataloader=loader(num_worker=2), test_cfg=dict(), test_evaluator=[]), "Did you mean 'num_workers'?"),
}

@pytest.mark.parametrize('what', KINDS)
def test_an_argument_of_a_wrong_kind_is_refused_with_what_was_got(what):
    given,text = KINDS[what]
    with pytest.raises(TypeError) as e: Runner(**described(**given))
    assert text in str(e.value)

def test_both_ways_to_name_a_loop_are_one_too_many():
    with pytest.raises(RuntimeError, match="both 'type' \\('EpochBasedTrainLoop'\\) and 'by_epoch'"):
        Runner(**described(train_cfg=dict(type='EpochBasedTrainLoop', by_epoch=True, max_epochs=1)))

def test_a_wrong_name_or_argument_in_a_dict_names_the_nearest():
    with pytest.raises(KeyError, match="Did you mean 'ToyModel'"): Runner(**described(model=dict(type='ToyModle')))
    with pytest.raises(TypeError) as e: Runner(**described(model=dict(type='ToyModel', witdh=3)))
    assert "witdh" in str(e.value)
    with pytest.raises(TypeError) as e: Runner(**described(train_cfg=dict(by_epoch=True, max_epoch=3)))
    assert any("It takes no 'max_epoch'. Did you mean 'max_epochs'?" in o for o in e.value.__notes__)
    with pytest.raises(KeyError, match='a run needs a model'): Runner.from_cfg(dict(modle=dict(type='ToyModel')))

def test_a_run_keeps_the_description_it_was_made_from():
    cfg,runs = Config(described()),[]
    for lr in (.1, .01):
        cfg.optim_wrapper.optimizer.lr = lr
        cfg.train_dataloader.batch_size = int(100*lr)
        runs.append(Runner.from_cfg(cfg))
    given = described(auto_scale_lr=dict(enable=False, base_batch_size=1))
    runs.append(Runner(**given))
    given['auto_scale_lr']['enable'] = True
    given['optim_wrapper']['optimizer']['lr'] = 5.
    for run in runs: run.step('iter')
    assert [o.current_lr() for o in runs] == [[.1], [.01], [.1]] and [o.train_dataloader.batch_size for o in runs] == [10, 1, 6]
    assert runs[0].cfg.optim_wrapper.optimizer.lr == .1

def test_a_subclass_may_override_what_builds_a_part_and_take_arguments_of_its_own():
    called = []
    def noted(nm): return lambda self, *args, **kwargs: called.append(nm) or getattr(Runner, nm)(self, *args, **kwargs)
    names = [f'build_{o}' for o in ('strategy', 'message_hub', 'visualizer', 'evaluator', 'dataloader', 'train_loop', 'val_loop', 'test_loop', 'log_processor')]
    names += ['register_hooks', 'register_default_hooks', 'register_custom_hooks', 'register_hook', 'dump_config']
    def init(self, *args, note=None, **kwargs):
        self.note = note
        Runner.__init__(self, *args, **kwargs)
    Mine = type('Mine', (Runner,), {'__init__': init} | {nm: noted(nm) for nm in names})
    run = Mine.from_cfg(described(note='mine', test_dataloader=loader(), test_cfg=dict(), test_evaluator=dict(type='ToyMetric'), custom_hooks=[Hook()]))
    run.train()
    assert run.note == 'mine' and set(called) == set(names)

def test_a_config_may_name_the_class_of_its_runner():
    @RUNNERS.register_module(force=True)
    class Quiet(Runner): pass
    assert type(RUNNERS.build(Config(described(runner_type='Quiet')))) is Quiet and type(RUNNERS.build(described())) is Runner
    assert type(RUNNERS.build(dict(type='FlexibleRunner', **described()))) is Runner

def test_how_long_to_train_may_be_said_later():
    run = Runner.from_cfg(described(train_cfg=dict(by_epoch=True)))
    with pytest.raises(RuntimeError, match='how long to train'): run.train()
    run.train(epochs=1)
    assert run.epoch == 1
    run = Runner.from_cfg(described(train_cfg=dict(by_epoch=False)))
    run.train(iters=3)
    assert run.iter == 3

def test_data_without_a_batch_is_found_before_training():
    for given in (dict(dataset=dict(type='ToyData', n=0)), dict(batch_size=25, drop_last=True, sampler=None)):
        with pytest.raises(ValueError, match='the train_dataloader gives no batch: its dataset is empty, or smaller than a batch'):
            Runner(**described(train_dataloader=loader(**given))).train()

def test_a_deterministic_run_asks_torch_for_it_before_the_first_batch(monkeypatch):
    monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG', raising=False)
    run = Runner(**described(randomness=dict(seed=0, deterministic=True), env_cfg=dict(cudnn_benchmark=True)))
    try:
        run.step('iter')
        assert torch.are_deterministic_algorithms_enabled() and os.environ['CUBLAS_WORKSPACE_CONFIG'] == ':4096:8'
        assert run.deterministic and torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = False

def test_the_search_for_fast_convolutions_is_switched_as_env_cfg_says(monkeypatch):
    for on in (True, False):
        monkeypatch.setattr(torch.backends.cudnn, 'benchmark', not on)
        Runner(**described(env_cfg=dict(cudnn_benchmark=on, dist_cfg=dict(backend='nccl')))).step('iter')
        assert torch.backends.cudnn.benchmark is on

def test_what_is_wrong_with_the_validation_data_shows_before_the_first_epoch():
    run = Runner.from_cfg(described(val_dataloader=loader(dataset=dict(type='ToyDta'))))
    with pytest.raises(KeyError, match="Did you mean 'ToyData'"): run.train()
    assert run.iter == 0

def test_custom_hooks_of_one_class_are_told_apart_by_a_number():
    @HOOKS.register_module(force=True)
    class Twin(Hook):
        def __init__(self, n): self.n = n
    run = Runner(**described(custom_hooks=[dict(type='Twin', n=1), dict(type='Twin', n=2)]))
    assert [run.hooks[nm].hook.n for nm in ('Twin', 'Twin_2')] == [1, 2]
    run.register_custom_hooks([Twin(3), Twin(4)])
    assert [run.hooks[nm].hook.n for nm in ('Twin', 'Twin_2')] == [3, 4] and 'Twin_3' not in run.hooks

def test_a_default_hook_is_changed_in_what_is_said_and_a_slip_in_its_name_is_found(tmp_path):
    run = Runner(**described(work_dir=tmp_path, default_hooks=dict(checkpoint=dict(max_keep_ckpts=3))))
    assert (run.hooks['CheckpointHook'].hook.interval, run.hooks['CheckpointHook'].hook.max_keep_ckpts) == (1, 3)
    wrong = described(default_hooks=dict(loger=dict(interval=3)))
    with pytest.raises(KeyError, match="no default hook 'loger' to change. Did you mean 'logger'"): Runner(**wrong)

def test_a_key_of_a_config_that_looks_misspelt_is_pointed_at(capsys):
    run = Runner.from_cfg(described(custom_hook=[], my_notes='mine', log_level='WARNING'))
    assert [o.text for o in run.logger.recent] == ["the config has 'custom_hook', which the runner does not know. Did you mean 'custom_hooks'?"]

def test_what_is_missing_under_a_misspelt_key_is_pointed_at_in_the_error():
    cfg = described()
    cfg['train_dataloder'] = cfg.pop('train_dataloader')
    with pytest.raises(ValueError, match='without train_dataloader') as e: Runner.from_cfg(cfg)
    assert e.value.__notes__ == ["the config has 'train_dataloder', which the runner does not know. Did you mean 'train_dataloader'?"]

def test_a_forgotten_loss_fn_is_named_where_the_model_cannot_take_the_batch():
    with pytest.raises(TypeError) as e: objects(loss_fn=None).train()
    assert any('Linear was called with the whole batch, a list of 2, since there is no loss_fn. Give the runner loss_fn=' in o for o in e.value.__notes__)
    class Breaks(nn.Linear):
        def forward(self, x, y): return len(3)
    with pytest.raises(TypeError) as e: objects(model=Breaks(4, 2), loss_fn=None).train()
    assert not any('loss_fn' in o for o in e.value.__notes__), 'an error within the model is its own'

def test_train_without_a_description_says_what_is_missing():
    with pytest.raises(RuntimeError, match='training needs train_dataloader='): Runner(ToyModel(), log_level='ERROR').train()
    with pytest.raises(RuntimeError, match='val\\(\\) needs a val_dataloader='): Runner(ToyModel(), log_level='ERROR').val()

def test_hooks_come_as_dicts_with_a_priority_and_the_dicts_stay_as_they_are():
    @HOOKS.register_module(force=True)
    class Mark(Hook):
        priority = 'LOW'
        def __init__(self, colour='red'): self.colour = colour
        def after_train_iter(self, runner): pass
    given = dict(type='Mark', colour='blue', priority='HIGH')
    run = Runner(**described(custom_hooks=[given], default_hooks=dict(logger=dict(interval=3), timer=None)))
    assert run.hooks['Mark'].hook.colour == 'blue' and run.hooks['Mark'].priority == 30 and given == dict(type='Mark', colour='blue', priority='HIGH')
    assert run.hooks['LoggerHook'].hook.interval == 3 and 'IterTimerHook' not in run.hooks
    assert run.register_hook(dict(type='Mark'), priority=5, name='again').priority == 5
    assert 'before_train_iter:\n(VERY_HIGH   ) RuntimeInfoHook' in run.get_hooks_info()

def test_two_runners_of_one_second_share_no_folder_and_none_is_made_before_something_is_written(tmp_path):
    runs = [Runner(**described(work_dir=tmp_path)) for _ in range(3)]
    assert len({o.log_dir for o in runs}) == 3 and not list(tmp_path.iterdir())
    runs[1].train()
    assert list(runs[1].log_dir.rglob('scalars.json')) and not runs[0].log_dir.exists() and not runs[2].log_dir.exists()

def test_the_config_is_written_into_the_folder_of_the_run_and_reads_back(tmp_path):
    run = Runner.from_cfg(described(work_dir=str(tmp_path)))
    run.step('iter')
    path = run.dump_config()
    assert Config.fromfile(path).to_dict() == Config(run.cfg).to_dict()

def test_learning_rates_are_scaled_with_the_batch_size_before_schedulers_see_them():
    run = Runner(**described(auto_scale_lr=dict(enable=True, base_batch_size=12)))
    run.step('iter')
    assert run.optimizer.param_groups[0]['lr'] == pytest.approx(.05)
    by_batches = loader(batch_sampler=dict(type='BatchSampler', drop_last=False))
    run = Runner(**described(auto_scale_lr=dict(enable=True, base_batch_size=12), train_dataloader=by_batches))
    assert run.current_lr() == [pytest.approx(.05)], 'whoever asks first, and whatever says how large a batch is'
    with pytest.raises(ValueError, match='needs a train_dataloader that has a batch_size'):
        Runner(**described(auto_scale_lr=dict(enable=True, base_batch_size=12), train_dataloader=[next(iter(run.train_dataloader))])).train()
    with pytest.raises(KeyError, match="auto_scale_lr needs 'base_batch_size'"): Runner(**described(auto_scale_lr=dict(enable=True))).train()

def test_compile_makes_faster_code_of_the_forward_pass_and_nothing_else():
    runs = [Runner(**described(compile=o)) for o in (False, dict(backend='eager'))]
    for run in runs: run.train()
    assert equal(runs[0].model, runs[1].model) and list(runs[0].model.state_dict()) == list(runs[1].model.state_dict())

def test_a_model_given_as_a_dict_gets_the_preprocessor_that_is_given_beside_it():
    run = Runner(**described(data_preprocessor=dict(type='BaseDataPreprocessor', non_blocking=True)))
    assert run.model.data_preprocessor.non_blocking

def test_validation_comes_at_begin_interval_and_end_and_as_dynamic_intervals_say():
    when = []
    class Note:
        def before_val(self, runner): when.append(runner.epoch)
    def run(**kwargs):
        when.clear()
        Runner(**described(train_cfg=dict(by_epoch=True, max_epochs=7, **kwargs), custom_hooks=[Note()])).train()
        return list(when)
    assert run(val_interval=3) == [3, 6, 7]
    assert run(val_begin=4, val_interval=2) == [4, 6, 7]
    assert run(val_interval=3, dynamic_intervals=[(5, 1)]) == [3, 4, 5, 6, 7]
    def counted(**kwargs):
        when.clear()
        Runner(**described(train_cfg=dict(by_epoch=False, max_iters=10, **kwargs), custom_hooks=[Counts()])).train()
        return list(when)
    class Counts:
        def before_val(self, runner): when.append(runner.iter)
    assert counted(val_interval=4) == [4, 8, 10] and counted(val_begin=5, val_interval=4) == [8, 10]
    assert counted(val_interval=4, dynamic_intervals=[(7, 2)]) == [4, 6, 8, 10] and counted(val_interval=6, dynamic_intervals=[(8, 1)]) == [6, 7, 8, 9, 10]
    runner = Runner(**described(train_cfg=dict(by_epoch=True, max_epochs=7, val_begin=2, val_interval=3)))
    assert (runner.val_begin, runner.val_interval) == (2, 3)

def test_a_validation_in_half_precision_runs_under_autocast():
    seen = []
    class Sees(ToyModel):
        def forward(self, inputs, data_samples=None, mode='tensor'):
            seen.append((mode, torch.is_autocast_enabled('cpu')))
            return super().forward(inputs, data_samples, mode)
    run = Runner(**described(model=Sees(), val_cfg=dict(fp16=True)))
    run.val()
    assert set(seen) == {('predict', True)}

def test_the_loss_of_a_validation_is_shown_for_every_habit_of_models():
    assert 'loss' in objects(val_dataloader=objects().train_dataloader).val()
    both = Runner(**described(val_cfg=dict(with_loss=True))).val()
    assert list(both)[:3] == ['loss_cls', 'loss_size', 'loss'] and both['of'] == 24
    class Adds(ToyModel):
        def val_step(self, data): return [*super().val_step(data), dict(loss=torch.tensor(2.))]
    assert Runner(**described(model=Adds())).val() == pytest.approx(dict(loss=2., hits=Runner(**described(model=Adds())).val()['hits'], of=24), abs=24)

def test_a_loop_of_ones_own_is_found_by_name_and_given_what_it_takes():
    @LOOPS.register_module(force=True)
    class Short(EpochBasedTrainLoop):
        def __init__(self, runner, dataloader, max_epochs, note=''):
            super().__init__(runner, dataloader, max_epochs)
            self.note = note
    run = Runner(**described(train_cfg=dict(type='Short', max_epochs=1, note='mine')))
    run.train()
    assert (run.train_loop.note, run.iter, run.val_loop.metrics['of']) == ('mine', 4, 24)

def test_a_loop_of_mmengines_kind_runs_as_one_line_and_calls_its_hooks():
    @LOOPS.register_module(force=True)
    class Foreign(DataLoop):
        def __init__(self, runner, dataloader, max_epochs):
            super().__init__(runner, dataloader)
            self._max_epochs,self._epoch,self._iter = max_epochs,0,0
        max_epochs,epoch,iter = (property(lambda self, nm=nm: getattr(self, nm)) for nm in ('_max_epochs', '_epoch', '_iter'))
        def run(self):
            self.runner.call_hook('before_train')
            while self._epoch < self._max_epochs:
                self.runner.call_hook('before_train_epoch')
                for i,batch in enumerate(self.dataloader):
                    self.runner.call_hook('before_train_iter', batch_idx=i, data_batch=batch)
                    outputs = self.runner.model.train_step(batch, optim_wrapper=self.runner.optim_wrapper)
                    self.runner.call_hook('after_train_iter', batch_idx=i, data_batch=batch, outputs=outputs)
                    self._iter += 1
                self.runner.call_hook('after_train_epoch')
                self._epoch += 1
            self.runner.call_hook('after_train')
            return self.runner.model
    seen = []
    class Note:
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None): seen.append((runner.iter, batch_idx, 'loss' in outputs))
    mine = Runner(**described(train_cfg=dict(type='Foreign', max_epochs=2), custom_hooks=[Note()]))
    mine.train()
    assert (mine.epoch, mine.iter, mine.status, seen[:5]) == (2, 8, 'done', [(0, 0, True), (1, 1, True), (2, 2, True), (3, 3, True), (4, 0, True)])
    lines = Runner(**described())
    lines.train()
    assert equal(mine.model, lines.model), 'the same sums, line by line or all at once'

def test_a_loop_of_mmengines_kind_validates_by_running_the_validation_loop():
    class Foreign(Loop):
        max_epochs,epoch,iter = 2,0,0
        def run(self):
            while self.epoch < self.max_epochs:
                self.runner.model.train()
                self.epoch += 1
                metrics.append(self.runner.val_loop.run())
    class Own(DataLoop):
        def __init__(self, runner, dataloader, evaluator):
            super().__init__(runner, dataloader)
            self.evaluator = evaluator
        def run(self):
            for batch in self.dataloader: self.evaluator.process(data_batch=batch, data_samples=self.runner.model.val_step(batch))
            return self.evaluator.evaluate(24)
    class Note:
        def after_val_iter(self, runner, batch_idx, outputs): seen.append((batch_idx, len(outputs)))
        def after_val_epoch(self, runner, metrics): seen.append(metrics['of'])
    metrics,seen = [],[]
    given = described(train_cfg=None, optim_wrapper=None, train_dataloader=None, train_loop=Foreign(), custom_hooks=[Note()])
    run = Runner(**given)
    run.train()
    assert seen == [(0, 6), (1, 6), (2, 6), (3, 6), 24]*2 and metrics == [run.val()]*2
    LOOPS.register_module(module=Own, force=True)
    again = Runner(**given | dict(train_loop=Foreign(), val_cfg=dict(type='Own')))
    again.train()
    assert metrics == metrics[:1]*4

def test_a_train_step_of_ones_own_is_called_whole_and_the_loops_lines_stand_back():
    class Whole(ToyModel):
        def train_step(self, data, optim_wrapper):
            with optim_wrapper.optim_context(self): loss,log = self.parse_losses(self._run_forward(self.data_preprocessor(data, True), 'loss'))
            optim_wrapper.update_params(loss)
            return log
    torch.manual_seed(0)
    whole = Runner(**described(model=Whole(), log_level='INFO'))
    whole.train()
    said = [o.text for o in whole.logger.recent]
    assert any("Whole.train_step is called whole, and does forward, backward and the optimizer's step; the loop's own lines stand back" in o for o in said)
    lines = Runner(**described())
    lines.train()
    assert equal(whole.model, lines.model)

def test_a_train_step_of_mmcvs_kind_returns_the_loss_and_what_is_to_be_logged():
    class Old(nn.Linear):
        def train_step(self, data, optimizer):
            loss = F.cross_entropy(self(data[0]), data[1])
            return dict(loss=loss, log_vars=dict(loss_cls=float(loss.detach())), num_samples=len(data[0]))
    torch.manual_seed(0)
    old = objects(model=Old(4, 2), loss_fn=None)
    old.train()
    torch.manual_seed(0)
    new = objects()
    new.train()
    assert equal(old.model, new.model) and list(old.logs('train/loss_cls'))

@pytest.mark.parametrize('by', ['hook', 'loop'])
def test_accumulating_four_small_batches_equals_one_large_one(by):
    def run(batch, n):
        torch.manual_seed(0)
        model = nn.Linear(4, 2).double()
        x = torch.randn(24, 4, generator=torch.Generator().manual_seed(0)).double()
        data = DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), batch)
        optim = OptimWrapper(torch.optim.SGD(model.parameters(), .1, momentum=.9), accumulative_counts=n)
        Runner(model, train_dataloader=data, optim_wrapper=optim, loss_fn=F.cross_entropy, max_epochs=3, log_level='ERROR').train()
        return model
    small,large = run(2, 4),run(8, 1)
    for a,b in zip(small.parameters(), large.parameters()): torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)

def test_the_last_cycle_of_a_run_is_divided_by_its_own_length():
    torch.manual_seed(0)
    grads = []
    model = nn.Linear(4, 2).double()
    x = torch.randn(6, 4).double()
    run = Runner(model, train_dataloader=DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), 1), loss_fn=F.cross_entropy, accumulate=4,
                 optimizer=torch.optim.SGD(model.parameters(), 0.), max_epochs=1, log_level='ERROR')
    @run.on('before_optim_step')
    def keep(): grads.append(model.weight.grad.clone())
    run.train()
    for got,part in zip(grads, (x[:4], x[4:]), strict=True):
        model.zero_grad()
        F.cross_entropy(model(part), (part.sum(1) > 0).long()).backward()
        torch.testing.assert_close(got, model.weight.grad, rtol=1e-12, atol=1e-12)

def test_mixed_precision_on_the_cpu_trains_in_bfloat16():
    seen = []
    class Sees(ToyModel):
        def forward(self, inputs, data_samples=None, mode='tensor'):
            seen.append(self.net(torch.stack(inputs)).dtype)
            return super().forward(inputs, data_samples, mode)
    run = Runner(**described(model=Sees(), optim_wrapper=dict(type='AmpOptimWrapper', dtype='bfloat16', optimizer=dict(type='SGD', lr=.1)), val_dataloader=None,
                             val_cfg=None, val_evaluator=None))
    run.train()
    assert set(seen) == {torch.bfloat16} and run.model.net[0].weight.dtype is torch.float32 and run.iter == 8

def test_the_optimizer_hook_of_mmcv_owns_backward_and_step():
    run = Runner(**described(custom_hooks=[dict(type='OptimizerHook', grad_clip=False)], log_level='INFO'))
    owned = Runner(**described())
    run.train()
    owned.train()
    assert equal(run.model, owned.model)
    assert any("OptimizerHook does backward and the optimizer's step; the loop's own lines for them stand back." == o.text for o in run.logger.recent)
    run.hooks['OptimizerHook'].off()
    before = run.model.net[0].weight.clone()
    run.train(epochs=1)
    assert torch.equal(before, run.model.net[0].weight), 'switched off, nobody updates the weights'

TOUCHED = {
    'optimizer': lambda r: isinstance(r.optimizer, torch.optim.SGD),
    'optim_wrapper': lambda r: r.optim_wrapper.get_lr() == {'lr': [.1]},
    'outputs': lambda r: set(r.outputs) == {'loss_cls', 'loss_size', 'loss'},
    'data_batch': lambda r: set(r.data_batch) == {'inputs', 'data_samples'},
    'data_loader': lambda r: r.data_loader is r.train_dataloader,
    'inner_iter': lambda r: r.inner_iter == r.iter % 4,
    'mode': lambda r: r.mode == 'train',
    'log_buffer': lambda r: (r.log_buffer.update({'x': 1.}, 2), r.log_buffer.output['x'] == 1.)[1] and r.log_buffer.ready,
    'meta': lambda r: r.meta.setdefault('hook_msgs', {}) is r.meta['hook_msgs'],
    'train_loop.stop_training': lambda r: r.train_loop.stop_training is False,
    'train_loop.dataloader': lambda r: r.train_loop.dataloader.dataset.metainfo['classes'] == ('below', 'above'),
    '_hooks': lambda r: [type(o).__name__ for o in r._hooks] == [type(o).__name__ for o in r.hooks],
    'param_schedulers': lambda r: len(r.param_schedulers) == 1,
    'visualizer': lambda r: callable(r.visualizer.add_scalars),
    'message_hub': lambda r: r.message_hub.get_info('iter') == r.iter,
    'model': lambda r: isinstance(r.model, ToyModel),
    'model_name': lambda r: r.model_name == 'ToyModel',
    'logger': lambda r: isinstance(r.logger, logging.Logger),
    'cfg': lambda r: r.cfg is None,
    'work_dir': lambda r: r.work_dir is None,
    'timestamp': lambda r: len(r.timestamp.split('_')) >= 2,
    'epoch and iter': lambda r: (r.epoch, r._epoch, r._iter) == (r.train_loop.epoch, r.epoch, r.iter),
    'max_epochs and max_iters': lambda r: (r.max_epochs, r.max_iters, r._max_epochs, r._max_iters) == (2, 8, 2, 8),
    'rank and world_size': lambda r: (r.rank, r.world_size, r.distributed) == (0, 1, False),
    'seed and deterministic': lambda r: (r.seed, r.deterministic) == (0, False),
    'val_loop and val_evaluator': lambda r: r._val_loop is r.val_loop and r.val_evaluator is r.val_loop.evaluator,
    'val_begin and val_interval': lambda r: (r.val_begin, r.val_interval) == (1, 1),
    'current_lr and current_momentum': lambda r: (r.current_lr(), r.current_momentum()) == ([.1], [0]),
    'hooks': lambda r: len(r.hooks) == len(r._hooks) and r.hooks[0] is r._hooks[0],
    'register_hook': lambda r: r.register_hook(Hook(), name='late') is r.hooks['late'],
    'get_hooks_info': lambda r: r.get_hooks_info().startswith('before_run:'),
    'by_epoch': lambda r: r.by_epoch is True,
    '_inner_iter': lambda r: r._inner_iter == r.inner_iter,
    'train_dataloader': lambda r: len(r.train_dataloader) == 4,
    'val_dataloader': lambda r: r.val_dataloader is r.val_loop.dataloader,
    'test_loop, test_dataloader and test_evaluator': lambda r: (r.test_loop, r._test_loop, r.test_dataloader, r.test_evaluator) == (None,)*4,
    'log_dir': lambda r: r.log_dir is None,
    'call_hook': lambda r: r.call_hook('before_something_of_ones_own') is None,
    'every_n_iters': lambda r: Hook().every_n_iters(r, 1),
    'strategy': lambda r: r.strategy.unwrap(r.model) is r.model,
    'log_processor': lambda r: r.log_processor.by_epoch,
    'default_scope': lambda r: r.default_scope == 'mmengine',
    'experiment_name': lambda r: r.experiment_name == 'ToyModel',
}

@pytest.fixture(scope='module')
def touched():
    "What a hook in the middle of training finds"
    found = {}
    class Touches:
        def after_train_iter(self, runner):
            for nm,look in TOUCHED.items():
                try: found.setdefault(nm, set()).add(bool(look(runner)))
                except Exception as e: found.setdefault(nm, set()).add(repr(e))
    Runner(**described(custom_hooks=[Touches()], param_scheduler=dict(type='MultiStepLR', milestones=[9]))).train()
    return found

@pytest.mark.parametrize('name', TOUCHED)
def test_what_foreign_hooks_touch_is_there(touched, name): assert touched[name] == {True}

def test_without_training_there_is_nothing_to_ask_of_it():
    run = Runner(**described(train_dataloader=None, train_cfg=None, optim_wrapper=None))
    assert (run.val_interval, run.val_begin, run.max_epochs, run.optimizer, run.train_dataloader) == (None,)*5
    with pytest.raises(RuntimeError, match='has no optimizer'): run.current_lr()

def test_stop_training_ends_the_run_after_the_epoch():
    class Ends:
        def after_train_iter(self, runner): runner.train_loop.stop_training = True
    run = Runner(**described(custom_hooks=[Ends()]))
    run.train()
    assert (run.epoch, run.iter, run.status) == (1, 4, 'done')

def test_a_model_of_hugging_faces_kind_is_called_with_the_batch_and_only_its_loss_is_logged():
    from collections import OrderedDict
    class Output(OrderedDict):
        __getattr__ = OrderedDict.__getitem__
    class Face(nn.Linear):
        def forward(self, input_ids, labels=None):
            logits = super().forward(input_ids)
            return Output(logits=logits) if labels is None else Output(loss=F.cross_entropy(logits, labels), logits=logits)
    x = torch.randn(12, 4)
    batches = [dict(input_ids=x, labels=(x.sum(1) > 0).long())]*3
    hits = lambda pred, target: (pred['logits'].argmax(1) == target).float().mean()
    run = objects(model=Face(4, 2), loss_fn=None, train_dataloader=batches, val_dataloader=batches, metrics=dict(accuracy=hits))
    run.train()
    assert set(run.outputs) == {'loss'} and run.val().keys() == {'loss', 'accuracy'}

def test_gradients_are_true_and_unclipped_before_the_step_and_scaled_by_nobody():
    seen = {}
    def run(kind, **kwargs):
        torch.manual_seed(0)
        model = nn.Linear(4, 2)
        sgd = torch.optim.SGD(model.parameters(), .1)
        r = objects(model=model, optimizer=None, optim_wrapper=dict(type=kind, optimizer=sgd, clip_grad=dict(max_norm=1e-3), **kwargs))
        @r.on('before_optim_step')
        def keep(): seen.setdefault(kind, model.weight.grad.clone())
        r.train()
        return r
    run('OptimWrapper')
    amp = run('AmpOptimWrapper', dtype='float16', loss_scale=1024.)
    torch.testing.assert_close(seen['OptimWrapper'], seen['AmpOptimWrapper'], rtol=2e-2, atol=1e-3)
    assert seen['OptimWrapper'].norm() > 1e-2 and amp.logs('train/grad_norm')['train/grad_norm'].min() > 1e-3

def test_a_step_that_overflows_in_half_precision_is_left_out_and_the_scale_is_halved():
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    def loss(pred, target): return F.cross_entropy(pred, target)*(1e38 if run.iter == 1 else 1)
    run = objects(model=model, loss_fn=loss, optimizer=None, optim_wrapper=dict(type='AmpOptimWrapper', dtype='float16', loss_scale=dict(init_scale=64.),
                                                                                optimizer=torch.optim.SGD(model.parameters(), .1)))
    run.step('iter')
    before = model.weight.detach().clone()
    run.step('iter')
    assert torch.equal(before, model.weight) and run.optim_wrapper.loss_scaler.get_scale() == 32
    run.step('iter')
    assert not torch.equal(before, model.weight) and model.weight.isfinite().all()

def test_a_retry_in_mixed_precision_with_accumulation_gives_the_weights_of_a_run_without_a_fault():
    def run(fails):
        torch.manual_seed(0)
        model,left = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 2)),[1]*fails
        r = objects(model=model, optimizer=None, optim_wrapper=dict(type='AmpOptimWrapper', dtype='float16', accumulative_counts=2, clip_grad=dict(max_norm=.1),
                                                                    optimizer=torch.optim.SGD(model.parameters(), .1)))
        step = r.optimizer.step
        def faulty(*args, **kwargs):
            if left and r.iter >= 3: raise RuntimeError(left.pop())
            return step(*args, **kwargs)
        r.optimizer.step = faulty
        for _ in range(fails):
            with pytest.raises(RuntimeError): r.train()
        r.train()
        return model
    assert equal(run(0), run(2))

def test_the_panel_of_a_run_that_is_only_described_reads_no_data():
    ToyData.made = 0
    run = Runner.from_cfg(described())
    run.panel.refresh()
    repr(run)
    assert ToyData.made == 0
    run.step('iter')
    run.panel.refresh()
    assert ToyData.made == 2 and run.max_iters == 8, 'of training and of the validation that belongs to it'

def test_a_loop_of_mmengines_kind_can_be_made_longer():
    mine = Runner(**described(train_cfg=dict(type='Foreign', max_epochs=1)))
    mine.train()
    mine.train(epochs=2)
    assert (mine.epoch, mine.iter) == (3, 12)

def test_an_image_preprocessor_of_a_config_makes_one_normalised_tensor_of_the_images():
    seen = []
    @DATASETS.register_module(force=True)
    class Pictures(torch.utils.data.Dataset):
        def __len__(self): return 6
        def __getitem__(self, i): return dict(inputs=torch.full((1, 5+i%2, 7), 255, dtype=torch.uint8), data_samples=torch.tensor(i % 2))
    @MODELS.register_module(force=True)
    class Looks(BaseModel):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.lin = nn.Linear(1, 2)
        def forward(self, inputs, data_samples=None, mode='tensor'):
            seen.append((tuple(inputs.shape), inputs.max().item(), inputs.dtype))
            return dict(loss=F.cross_entropy(self.lin(inputs.mean((2, 3))), torch.stack(data_samples)))
    prepare = dict(type='ImgDataPreprocessor', mean=[127.5], std=[127.5], pad_size_divisor=4)
    data = dict(dataset=dict(type='Pictures'), sampler=dict(type='DefaultSampler', shuffle=False), batch_size=2)
    none = dict.fromkeys(('val_dataloader', 'val_cfg', 'val_evaluator'))
    Runner(**described(model=dict(type='Looks'), data_preprocessor=prepare, train_dataloader=data, **none)).train()
    assert set(seen) == {((2, 1, 8, 8), 1., torch.float32)}

def test_a_model_with_mmcvs_half_precision_marks_trains():
    from interactive_runner.fp16 import auto_fp16, force_fp32
    seen = set()
    class Marked(ToyModel):
        fp16_enabled = True
        def forward(self, inputs, data_samples=None, mode='tensor'):
            out = self.scores(torch.stack(inputs))
            seen.add(out.dtype)
            return self.loss(out, torch.stack(data_samples)) if mode == 'loss' else super().forward(inputs, data_samples, mode)
        @auto_fp16()
        def scores(self, x): return self.net(x)
        @force_fp32(apply_to=('out',))
        def loss(self, out, target):
            seen.add(out.dtype)
            return dict(loss=F.cross_entropy(out, target))
    run = Runner(**described(model=Marked()))
    before = run.model.net[0].weight.clone()
    run.train()
    assert seen == {torch.bfloat16, torch.float32} and not torch.equal(before, run.model.net[0].weight)

def test_processes_differ_in_their_seed_where_that_is_asked_for_and_a_deterministic_run_says_so_to_torch():
    from interactive_runner.strategy.base import SingleDeviceStrategy
    class Second(SingleDeviceStrategy):
        rank = 1
    for differ in (False, True):
        run = Runner(**described(strategy=Second(None), randomness=dict(seed=3, diff_rank_seed=differ, deterministic=True)))
        assert (run.seed, run.guard.seed) == (3, 3+differ)
    try:
        run.step('iter')
        assert torch.are_deterministic_algorithms_enabled() and torch.backends.cudnn.deterministic and run.deterministic
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = False

def test_a_work_dir_that_is_a_url_is_refused_before_a_folder_of_that_name_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r'a folder of this machine.*out_dir'): Runner(nn.Linear(1, 1), 'memory://runs')
    assert not list(tmp_path.iterdir())

@pytest.mark.parametrize('cuda, mps, best', [(True, True, 'cuda'), (True, False, 'cuda'), (False, True, 'mps'), (False, False, 'cpu')])
def test_the_best_device_is_a_gpu_then_apples_then_the_cpu(monkeypatch, cuda, mps, best):
    from interactive_runner.strategy.base import best_device
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: mps)
    assert best_device() == torch.device(best)

def test_a_strategy_of_a_config_puts_the_model_and_its_batches_on_its_device():
    seen = set()
    class Sees(ToyModel):
        def forward(self, inputs, data_samples=None, mode='tensor'):
            seen.update(o.device.type for o in inputs)
            return super().forward(inputs, data_samples, mode)
    run = Runner(**described(model=Sees(), strategy=dict(type='SingleDeviceStrategy', device='cpu')))
    run.step('iter')
    assert seen == {run.device.type} == {'cpu'} and repr(run.strategy) == 'SingleDeviceStrategy on cpu'
