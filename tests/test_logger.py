"The mouth of a run: who writes which file, what is in it, and when a line is written"
import gc
import json
import logging
import os
import re
import signal
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest
import torch
from test_runner import data, runner
from torch import distributed, multiprocessing, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

from interactive_runner import BaseModel, DataLoop, MessageHub, Runner
from interactive_runner.evaluator import BaseMetric
from interactive_runner.hooks.logger import LoggerHook
from interactive_runner.logger import ConsoleHandler, file_handler, get_logger, print_log
from interactive_runner.ui.panel import covered

ON = dict(log_level='INFO')

def texts(run): return [o.text for o in run.logger.recent]
def train_lines(run): return [int(m[1]) for o in texts(run) if (m := re.match(r'(?:Epoch|Iter)\(train\) *(?:\[\d+\])?\[ *(\d+)/', o))]
def scalars(run): return [json.loads(o) for o in (run.log_dir/'vis_data'/'scalars.json').read_text().splitlines()]
def tree(folder): return sorted(str(o.relative_to(folder)) for o in Path(folder).rglob('*') if o.is_file())

def describe(**given):
    "A run from a config, nothing of which is an object"
    return dict(model=dict(type='Linear', in_features=4, out_features=2), loss_fn=F.cross_entropy, max_epochs=1, train_dataloader=DataLoader(data(), 12),
                optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1))) | given


# ---- files of ranks

def write(folder, level):
    "What three processes write, one after the other"
    for rank in range(3):
        log = get_logger('ranks', level, folder/'tmp.log', rank)
        log.info(f'said by {rank}')
        log.error(f'failed in {rank}')
        log.close()

def test_at_debug_level_each_rank_writes_a_file_of_its_own_beside_that_of_rank_0(tmp_path):
    write(tmp_path, 'DEBUG')
    assert tree(tmp_path) == ['tmp.log', 'tmp_rank1.log', 'tmp_rank2.log']
    for rank,name in enumerate(('tmp', 'tmp_rank1', 'tmp_rank2')):
        lines = (tmp_path/f'{name}.log').read_text().splitlines()
        assert [o.rpartition(' - ')[2] for o in lines] == [f'said by {rank}', f'failed in {rank}']

@pytest.mark.parametrize('level', ['INFO', 'WARNING', logging.DEBUG+1])
def test_above_debug_level_only_rank_0_writes_a_file(tmp_path, level):
    write(tmp_path, level)
    assert tree(tmp_path) == ['tmp.log']

def test_other_ranks_say_nothing_on_the_console_but_what_failed(tmp_path, capsys):
    write(tmp_path, 'DEBUG')
    out = capsys.readouterr().out
    assert out.count('said by') == 1 and [out.count(f'failed in {o}') for o in range(3)] == [1, 1, 1]

def in_a_group(rank, folder):
    "Runs of two processes: with a disk that they share, with a disk for each, and at the usual level"
    os.environ['GLOO_SOCKET_IFNAME'] = 'lo'
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    for name,level in (('shared', 'DEBUG'), (f'machine{rank}', 'DEBUG'), ('usual', 'INFO')):
        copies = LoggerHook(interval=1, out_dir=f'{folder}/copies', keep_local=name == 'shared')
        run = runner(work_dir=f'{folder}/{name}', log_level=level, max_iters=2, default_hooks=dict(logger=copies, checkpoint=None))
        run.logger.debug(f'I am {rank}')
        run.train()
    distributed.barrier()
    distributed.destroy_process_group()

def be_killed(folder):
    run = runner(work_dir=folder, **ON, default_hooks=dict(logger=dict(interval=1), checkpoint=None))
    @run.on('after_train_iter', priority='LOWEST')
    def kill(runner):
        if runner.iter == 2: os.kill(os.getpid(), signal.SIGKILL)
    run.train()

@pytest.fixture(scope='module')
def group(tmp_path_factory):
    folder,context = tmp_path_factory.mktemp('group'),multiprocessing.get_context('spawn') # a fork of a process that has trained cannot train
    all_three = [context.Process(target=in_a_group, args=(o, str(folder))) for o in (0, 1)] + [context.Process(target=be_killed, args=(folder/'killed',))]
    for o in all_three: o.start()
    for o in all_three: o.join(120)
    codes = [o.exitcode for o in all_three]
    for o in all_three: o.kill()
    assert codes == [0, 0, -signal.SIGKILL]
    return folder

def names(folder): return [re.sub(r'\d{8}_\d{6}(_\d+)?(?=/|\.|_rank)', 'T', o) for o in tree(folder)]

def test_two_processes_that_share_a_disk_write_into_one_folder_and_count_each_number_once(group):
    assert names(group/'shared') == ['T/T.log', 'T/T_rank1.log', 'T/vis_data/scalars.json']
    said = [o.read_text() for o in sorted((group/'shared').rglob('*.log'))]
    assert 'I am 0' in said[0] and 'I am 1' not in said[0] and 'I am 1' in said[1]
    lines, = (o.read_text().splitlines() for o in (group/'shared').rglob('*.json'))
    assert [json.loads(o)['step'] for o in lines] == [1, 2, 2], 'two iterations and a validation'

def test_a_machine_with_a_disk_to_itself_has_the_files_of_its_own_processes_and_takes_them_along(group):
    assert tree(group/'machine0') == tree(group/'machine1') == []
    assert names(group/'copies'/'machine0') == ['T/T.log', 'T/vis_data/scalars.json']
    assert names(group/'copies'/'machine1') == ['T/T_rank1.log']
    assert names(group/'copies'/'shared') == ['T/T.log', 'T/T_rank1.log', 'T/vis_data/scalars.json']

def test_at_the_usual_level_a_group_writes_what_one_process_would(group):
    assert names(group/'copies'/'usual') == ['T/T.log', 'T/vis_data/scalars.json']


# ---- what is said at the start

def test_at_debug_level_the_log_says_of_each_part_from_which_registry_and_file_it_came(tmp_path):
    run = Runner(**describe(work_dir=tmp_path, log_level='DEBUG'))
    run.train()
    said,file = [o for o in texts(run) if o.startswith('built ')],run.logger.log_file.read_text()
    of = lambda name: next(o for o in said if o.startswith(f'built {name},'))
    module = nn.modules.linear
    assert of('Linear') == f'built Linear, from {module.__name__}, not registered among the models: {module.__name__}.Linear in {module.__file__}'
    start = 'built LocalVisBackend, from the registry of vis backends, for every scope: interactive_runner.visualizer.LocalVisBackend in '
    assert of('LocalVisBackend').startswith(start) and of('LocalVisBackend').endswith('visualizer.py') and of('SGD').endswith('sgd.py')
    assert all(of(o) for o in ('RuntimeInfoHook', 'IterTimerHook', 'LoggerHook', 'LogProcessor', 'Visualizer', 'CheckpointHook'))
    assert said.index(of('Linear')) < said.index(of('LogProcessor')) < said.index(of('LocalVisBackend')) < said.index(of('RuntimeInfoHook'))
    assert all(f'interactive_runner - DEBUG - {o}\n' in file for o in said)

def test_at_the_usual_level_nothing_is_said_of_parts(tmp_path):
    run = Runner(**describe(work_dir=tmp_path))
    assert not texts(run) and run.logger.log_file and not tree(tmp_path)

@pytest.mark.parametrize('level, config, said', [('INFO', True, True), ('INFO', False, False), ('DEBUG', False, True)])
def test_surroundings_and_the_order_of_hooks_are_said_at_the_start_of_a_run_from_a_config_and_for_others_at_debug_level(tmp_path, level, config, said):
    given = describe(work_dir=str(tmp_path), log_level=level)
    run = Runner.from_cfg(given) if config else Runner(**given)
    run.step('line')
    for start in ('Environment:\n    platform: ', 'Hooks run in this order:\n'): assert any(o.startswith(start) for o in texts(run)) is said


# ---- nothing is left behind

def open_files(folder):
    if not Path('/proc/self/fd').exists(): pytest.skip('this system does not list the files that a process has open')
    links = []
    for o in Path('/proc/self/fd').iterdir():
        try: links.append(os.readlink(o))
        except OSError: pass # the one by which the folder is listed
    return sorted(Path(o).name for o in links if o.startswith(str(folder)))

def test_the_files_of_a_run_that_stands_are_open_and_closed_when_it_is_over_or_gone(tmp_path):
    first,second = (runner(work_dir=tmp_path/o, **ON, default_hooks=dict(logger=dict(interval=1), checkpoint=None)) for o in 'ab')
    for o in (first, second): o.step('iter', 2)
    log,other = (o.logger.log_file.name for o in (first, second))
    assert open_files(tmp_path/'a') == sorted([log, 'scalars.json'])
    first.train()
    assert open_files(tmp_path/'a') == [] and open_files(tmp_path/'b') == sorted([other, 'scalars.json'])
    del first, second, o
    gc.collect()
    assert open_files(tmp_path) == []

def test_a_second_runner_writes_no_line_twice_and_leaves_the_file_of_the_first_alone(tmp_path, capsys):
    runs = [runner(work_dir=tmp_path, max_iters=2, **ON, default_hooks=dict(logger=dict(interval=1), checkpoint=None)) for _ in range(2)]
    for o in runs: o.train()
    assert capsys.readouterr().out.count('Iter(train) [2/2]') == 2
    assert [o.logger.log_file.read_text().count('Iter(train) [2/2]') for o in runs] == [1, 1] and runs[0].log_dir != runs[1].log_dir
    assert logging.getLogger().handlers == [] or all(type(o).__module__ != 'interactive_runner.logger' for o in logging.getLogger().handlers)

PLAYED = dict(status='running', blocking=False, live=True, alive=True)

@pytest.mark.parametrize('change, printed', [({}, 0), (dict(blocking=True), 1), (dict(status='paused'), 1), (dict(live=False), 1), (dict(alive=False), 1)])
def test_a_line_is_not_printed_into_the_cell_while_a_panel_that_is_seen_shows_it(change, printed, capsys):
    now = SimpleNamespace(**PLAYED | change)
    panel = SimpleNamespace(player=now, echo=now, _end=now)
    log = get_logger('seen')
    next(o for o in log.handlers if isinstance(o, ConsoleHandler)).quiet = covered(lambda: panel)
    log.info('a line')
    assert capsys.readouterr().out.count('a line') == printed and [o.text for o in log.recent] == ['a line']

def test_a_rotating_file_is_late_too_and_keeps_as_many_files_as_asked_for(tmp_path):
    log = get_logger('rotating', file=tmp_path/'runs'/'run.log', file_handler_cfg=dict(type='RotatingFileHandler', maxBytes=200, backupCount=2))
    assert tree(tmp_path) == []
    for i in range(20): log.info('line %d', i)
    log.close()
    assert tree(tmp_path) == ['runs/run.log', 'runs/run.log.1', 'runs/run.log.2'] and 'line 19' in log.log_file.read_text()

@pytest.mark.parametrize('cfg, error', [
    (dict(type='SocketHandler'), ValueError), (dict(type='BaseRotatingHandler'), ValueError), (dict(maxBytes=3), TypeError)])
def test_a_file_handler_that_cannot_be_meant_is_refused(tmp_path, cfg, error):
    with pytest.raises(error): file_handler(tmp_path/'run.log', cfg)


# ---- print_log

class Talks(nn.Linear):
    def forward(self, x):
        print_log(f'{self.out_features} outputs', 'current')
        return super().forward(x)

def test_a_line_for_the_current_logger_is_in_the_log_of_the_run_that_advances():
    few,many = (runner(lambda n=n: Talks(4, n), experiment_name=f'run {n}', **ON) for n in (2, 3))
    for _ in range(2):
        for o in (few, many): o.step('iter')
    for o,n in ((few, 2), (many, 3)): assert [t for t in texts(o) if 'outputs' in t] == [f'{n} outputs']*2

def test_a_logger_is_found_by_the_name_of_the_experiment_and_its_lines_have_the_name_of_the_package(capsys):
    run = runner(experiment_name='digits', **ON)
    print_log('hello', 'digits')
    assert texts(run) == ['hello'] and re.search(r'^\d\d/\d\d \d\d:\d\d:\d\d - interactive_runner - INFO - hello$', capsys.readouterr().out, re.M)
    with pytest.raises(ValueError, match="no logger 'digit'.*Did you mean 'digits'"): print_log('hello', 'digit')

def test_without_a_logger_a_line_is_printed_and_silence_is_silent(capsys):
    print_log('one')
    print_log('two', 'silent')
    print_log('three', logging.getLogger('test_print_log'), 'ERROR')
    assert capsys.readouterr().out == 'one\n'
    for wrong in (3, ['silent']):
        with pytest.raises(TypeError, match='logger is a logger, None'): print_log('hello', wrong)


# ---- when a line is written

class Stream(IterableDataset):
    def __init__(self, n): self.n = n
    def __iter__(self): return (o for o in data(self.n))

def logged(**given):
    hook = {nm: given.pop(nm) for nm in ('interval', 'ignore_last', 'interval_exp_name') if nm in given}
    run = runner(**ON, **given, default_hooks=dict(logger=hook))
    run.train()
    return run

LOADERS = {'a loader': lambda n: DataLoader(data(n), 4), 'a stream': lambda n: DataLoader(Stream(n), 4)}

@pytest.mark.parametrize('kind', LOADERS)
@pytest.mark.parametrize('batches, given, lines', [(5, {}, [5, 5]), (10, {}, [10, 10]), (13, {}, [10, 10]), (13, dict(ignore_last=False), [10, 13, 10, 13]),
                                                   (1, {}, [1, 1]), (5, dict(interval=2), [2, 4, 2, 4])])
def test_an_epoch_shorter_than_the_interval_logs_its_last_iteration(kind, batches, given, lines):
    assert train_lines(logged(train_dataloader=LOADERS[kind](batches*4), max_epochs=2, **given)) == lines

@pytest.mark.parametrize('n, given, lines', [(3, {}, [3]), (23, {}, [10, 20]), (23, dict(ignore_last=False), [10, 20, 23])])
def test_a_run_of_fewer_iterations_than_the_interval_logs_its_last_one(n, given, lines):
    assert train_lines(logged(max_iters=n, val_interval=100, **given)) == lines

class Foreign(DataLoop):
    "A loop of MMEngine's kind, which calls its hooks itself"
    max_epochs,by_epoch = 1,True
    def run(self):
        self.runner.call_hook('before_train_epoch')
        for i,(x,y) in enumerate(self.dataloader):
            self.runner.call_hook('before_train_iter', batch_idx=i)
            self.runner.call_hook('after_train_iter', batch_idx=i, outputs=dict(loss=F.cross_entropy(self.runner.model(x), y).detach()))
            self.iter += 1
        self.epoch += 1

@pytest.mark.parametrize('batches, lines', [(5, [5]), (13, [10])])
def test_so_does_one_of_a_loop_that_calls_its_hooks_itself(batches, lines):
    run = runner(train_loop=Foreign(None, DataLoader(data(batches*4), 4)), train_dataloader=None, val_dataloader=None, metrics=None, **ON)
    run.train()
    assert train_lines(run) == lines and run.iter == batches

def test_a_hook_switched_on_in_the_middle_of_a_short_epoch_logs_its_end():
    run = runner(train_dataloader=DataLoader(data(20), 4), **ON)
    run.hooks['LoggerHook'].off()
    run.step('iter', 2)
    run.hooks['LoggerHook'].on()
    run.step('epoch')
    assert train_lines(run) == [5]

def test_the_name_of_the_experiment_is_said_now_and_then():
    run = logged(max_iters=10, val_interval=100, interval_exp_name=4, experiment_name='digits')
    assert texts(run).count('Exp name: digits') == 2

def test_the_name_of_the_experiment_is_said_at_the_end_of_each_epoch_before_its_line():
    run = logged(max_epochs=2, interval=2, experiment_name='digits') # 4 batches
    said = [o for o in texts(run) if o == 'Exp name: digits' or o.startswith('Epoch(train)')]
    assert [o.split('  ')[0].partition(' ')[2] for o in said] == ['[1][2/4]', 'name: digits', '[1][4/4]', '[2][2/4]', 'name: digits', '[2][4/4]']

@pytest.mark.parametrize('given, steps', [(dict(max_iters=10, val_interval=4), [4, 8, 10]), (dict(max_epochs=3), [1, 2, 3]),
                                          (dict(max_epochs=3, default_hooks=dict(logger=dict(log_metric_by_epoch=False))), [4, 8, 12])])
def test_the_points_of_validations_have_the_step_at_which_they_were_made(tmp_path, given, steps):
    run = runner(work_dir=tmp_path, **given)
    run.train()
    assert [o['step'] for o in scalars(run) if 'accuracy' in o] == steps

def test_whatever_was_logged_is_in_the_files_while_the_run_stands_and_after_it_was_stopped(tmp_path):
    run = runner(work_dir=tmp_path, **ON, default_hooks=dict(logger=dict(interval=1), checkpoint=None))
    for what in (lambda: run.step('iter', 3), run.stop):
        what()
        assert [o['step'] for o in scalars(run)] == [1, 2, 3] and run.logger.log_file.read_text().count('Epoch(train) [1][') == 3

def test_a_process_that_is_killed_loses_no_line(group):
    (log,),(numbers,) = (list((group/'killed').rglob(o)) for o in ('*.log', 'scalars.json'))
    assert log.read_text().count('Epoch(train) [1][') == 3 and [json.loads(o)['step'] for o in numbers.read_text().splitlines()] == [1, 2, 3]


# ---- at the end

class Confusion(BaseMetric):
    def process(self, data_batch, data_samples): self.results.append(1)
    def compute_metrics(self, results): return dict(acc=.5, n=len(results), matrix=torch.eye(2), worst=['cat'])

def copied(tmp_path, **given):
    hook = LoggerHook(interval=1, out_dir=tmp_path/'out', **given)
    return runner(work_dir=tmp_path/'work', max_iters=2, **ON, default_hooks=dict(logger=hook, checkpoint=None))

def test_files_are_copied_at_the_end_into_the_tree_that_they_have_below_the_work_dir(tmp_path):
    run = copied(tmp_path)
    run.train()
    t = run.timestamp
    assert tree(tmp_path/'out'/'work') == tree(run.work_dir) == [f'{t}/{t}.log', f'{t}/vis_data/scalars.json']
    assert (tmp_path/'out'/'work'/t/f'{t}.log').read_text() == run.logger.log_file.read_text()
    second = copied(tmp_path)
    second.train()
    assert len(tree(tmp_path/'out'/'work')) == 4, 'a second run overwrites nothing of the first'

def test_files_that_are_moved_lose_nothing_when_the_run_is_carried_on(tmp_path):
    run = copied(tmp_path, keep_local=False)
    for more in (None, 2):
        run.train(iters=more)
        assert tree(run.work_dir) == []
    out = tmp_path/'out'/'work'/run.timestamp
    assert [json.loads(o)['step'] for o in (out/'vis_data'/'scalars.json').read_text().splitlines()] == [1, 2, 2, 3, 4, 4], 'each end is validated'
    log = (out/f'{run.timestamp}.log').read_text()
    assert [log.count(f'Iter(train) [{o}/') for o in (1, 2, 3, 4)] == [1, 1, 1, 1]

@pytest.mark.parametrize('keep', [True, False])
def test_files_go_to_a_place_behind_a_url_too(tmp_path, keep):
    hook = LoggerHook(1, out_dir=f'memory://{keep}/logs', keep_local=keep)
    run = runner(work_dir=tmp_path/'work', max_iters=2, **ON, default_hooks=dict(logger=hook, checkpoint=None))
    for more in (None, 2): run.train(iters=more)
    there = f'/{keep}/logs/work/{run.timestamp}'
    files = fsspec.filesystem('memory')
    assert sorted(o.removeprefix(there) for o in files.find(there)) == [f'/{run.timestamp}.log', '/vis_data/scalars.json']
    assert [json.loads(o)['step'] for o in files.cat(f'{there}/vis_data/scalars.json').splitlines()] == [1, 2, 2, 3, 4, 4]
    assert bool(tree(run.work_dir)) is keep

def test_a_place_that_cannot_be_reached_is_found_before_the_run_begins(tmp_path):
    run = runner(work_dir=tmp_path/'work', default_hooks=dict(logger=dict(out_dir='nowhere://bucket/logs')))
    with pytest.raises(ValueError, match='nowhere'): run.train()
    assert run.iter == 0

@pytest.mark.parametrize('suffix, found', [('.log', ['.log']), (['.json'], ['.json']), ((), [])])
def test_only_files_with_an_ending_that_was_asked_for_are_copied(tmp_path, suffix, found):
    copied(tmp_path, out_suffix=suffix).train()
    assert [Path(o).suffix for o in tree(tmp_path/'out')] == found

@pytest.mark.parametrize('given, error, text', [
    (dict(out_dir=3), TypeError, 'out_dir must be a path or a URL, got 3'),
    (dict(file_client_args=dict(backend='disk')), ValueError, 'there is none'),
    (dict(out_dir='x', file_client_args=dict(backend='disk'), backend_args=dict(backend='local')), ValueError, 'give one of them'),
    (dict(out_dir='x', backend_args=dict(backend='petrol')), ValueError, "there is no backend 'petrol'"),
    (dict(interval_exp_name=0), ValueError, 'interval_exp_name must be 1 or more'),
    (dict(interval=0), ValueError, 'interval must be 1 or more'),
    (dict(interval='10'), TypeError, 'interval must be a whole number')])
def test_arguments_that_cannot_be_meant_are_refused_when_the_hook_is_made(given, error, text):
    with pytest.raises(error, match=re.escape(text)): LoggerHook(**given)

def test_mmengines_words_for_the_disk_are_understood(tmp_path):
    LoggerHook(10, True, 1000, str(tmp_path), ('.log',), True, dict(backend='disk'))
    LoggerHook(out_dir=tmp_path, backend_args=dict(backend='local'))

def test_a_run_without_a_folder_has_nothing_to_copy_and_says_so_before_it_begins(tmp_path):
    run = runner(default_hooks=dict(logger=dict(out_dir=str(tmp_path))))
    with pytest.raises(ValueError, match='Give the runner a work_dir='): run.train()
    assert run.iter == 0

def test_what_a_test_came_to_is_in_a_file_and_only_its_numbers_go_to_trackers(tmp_path):
    test = dict(test_dataloader=DataLoader(data(8), 4), test_evaluator=[Confusion()], test_cfg=dict())
    run = runner(work_dir=tmp_path, max_epochs=1, metrics=None, val_dataloader=None, **test)
    run.train()
    run.test()
    dumped = json.loads((run.log_dir/f'{run.timestamp}.json').read_text())
    assert (dumped['acc'], dumped['matrix'], dumped['worst']) == (.5, [[1., 0.], [0., 1.]], ['cat'])
    assert scalars(run)[-1].keys() >= {'acc', 'step'} and not {'matrix', 'worst'} & scalars(run)[-1].keys()


# ---- what is in the hub

def test_the_hub_knows_what_mmengines_knows(tmp_path):
    loader = DataLoader(data(), 12)
    loader.dataset.metainfo = dict(classes=['no', 'yes'])
    seen = []
    run = Runner.from_cfg(describe(work_dir=str(tmp_path), train_dataloader=loader, randomness=dict(seed=3), experiment_name='digits', log_level='ERROR',
                                   val_dataloader=DataLoader(data(20), 8), val_cfg=dict(), val_evaluator=Confusion()))
    stages = 'before_train_iter','after_val_iter','after_train_epoch','after_run'
    for s in stages: run.on(s, name=s)(lambda runner, s=s: seen.append((s, runner.message_hub.get_info('loop_stage'))))
    run.train()
    infos,hub = run.message_hub.runtime_info,run.message_hub
    given = dict(seed=3, experiment_name='digits', max_epochs=1, max_iters=5, epoch=0, iter=4, dataset_meta=dict(classes=['no', 'yes']))
    assert {k: infos[k] for k in given} == given and infos['cfg'] == run.cfg.pretty_text
    assert dict(seen) == dict(before_train_iter='train', after_val_iter='val', after_train_epoch='train', after_run=None)
    assert torch.equal(infos['val/matrix'], torch.eye(2)) and infos['val/worst'] == ['cat']
    assert {'train/lr', 'train/loss', 'train/time', 'train/data_time', 'val/time', 'val/data_time', 'val/loss', 'val/acc', 'val/n'} == set(hub.log_scalars)
    again = MessageHub('again')
    again.load_state_dict(hub.state_dict())
    assert again.get_info('seed') == 3

def test_a_test_alone_and_a_validation_alone_leave_no_stage_and_no_time_behind():
    seen = []
    run = runner(test_dataloader=DataLoader(data(8), 4))
    info = run.message_hub.get_info
    for mode in ('val', 'test'):
        run.on(f'after_{mode}_iter', name=mode)(lambda runner: seen.append((info('loop_stage'), info('eta') >= 0)))
        getattr(run, mode)()
    assert set(seen) == {('val', True), ('test', True)}
    assert run.message_hub.get_info('loop_stage') is None and run.message_hub.get_info('eta') is None

def test_the_time_left_in_a_validation_is_its_own_and_that_of_the_training_comes_back():
    run,seen = runner(max_epochs=2, val_dataloader=DataLoader(data(12), 4)),[]
    run.clock = iter(range(10_000)).__next__ # each look at the clock takes a second
    for s in ('after_train_iter', 'after_val_iter', 'after_val'):
        run.on(s, name=s, priority='LOWEST')(lambda runner, s=s: seen.append((s, runner.message_hub.get_info('eta'))))
    run.step('epoch')
    run.run_until(stage='before_train_epoch', epoch=1)
    etas = {s: [t for o,t in seen if o == s] for s in dict(seen)}
    assert etas == dict(after_train_iter=[2*o for o in (7, 6, 5, 4)], after_val_iter=[2*o for o in (2, 1, 0)], after_val=[8])

class Several(BaseModel):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 2)
    def forward(self, x, y, mode='tensor'):
        logits = self.net(x)
        if mode != 'loss': return logits
        each = F.cross_entropy(logits, y, reduction='none')
        return dict(loss_cls=each.mean(), aux_loss=[each.max(), each.min()], acc=(logits.argmax(1) == y).float().mean(), weight=self.net.weight.norm())

def test_every_tensor_that_a_model_returns_is_logged_and_whatever_is_called_a_loss_is_summed():
    run = runner(Several, loss_fn=None, max_iters=1, metrics=None, val_dataloader=None, **ON)
    run.train()
    last = {k: b.current() for k,b in run.message_hub.log_scalars.items()}
    assert {'train/loss_cls', 'train/aux_loss', 'train/acc', 'train/weight', 'train/loss'} <= last.keys()
    assert last['train/loss'] == pytest.approx(last['train/loss_cls'] + last['train/aux_loss'])
    assert next(o for o in texts(run) if o.startswith('Iter(train)')).endswith(f"loss: {last['train/loss']:.4f}")
