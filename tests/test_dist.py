"Two processes: what they say to each other, how they share the data, and that the numbers are those of one."
import os
from types import SimpleNamespace

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.utils.data import DataLoader, DistributedSampler
from torchmetrics.classification import MulticlassF1Score

from interactive_runner import dist
from interactive_runner.evaluator import BaseMetric, DumpResults, Evaluator
from interactive_runner.hooks.evaluation import DistEvalHook
from interactive_runner.hub import MessageHub
from interactive_runner.loader import build_dataloader
from interactive_runner.metric import accuracy


class Order(BaseMetric):
    "Says which samples came, in which order"
    def process(self, data_batch, data_samples): self.results += list(data_batch[0][:, 0])
    def compute_metrics(self, results):
        assert dist.get_world_size() == 1 or results[0].untyped_storage().nbytes() == 4, 'a view was sent with all of its memory'
        return dict(order=[int(o) for o in results])

class Fails(BaseMetric):
    def process(self, data_batch, data_samples): self.results.append(0)
    def compute_metrics(self, results): raise OSError('the disk is away')


def data(n): return [(torch.tensor([float(i), (i*7 % 5)-2.]), int(i*7 % 5 > 1)) for i in range(n)]

def loader(n, **sampler):
    cfg = dict(dataset=data(n), batch_size=3, sampler=dict(type='DefaultSampler', **sampler), collate_fn=dict(type='default_collate'))
    return build_dataloader(cfg, seed=5)

def evaluated(made, n):
    for x,y in loader(n): made.process(torch.stack([-x[:, 1], x[:, 1]], 1).softmax(1), (x, y))
    return made.evaluate(n)

def metrics(): return Evaluator([accuracy, MulticlassF1Score(num_classes=2), Order()])

class Judged(torch.utils.data.Dataset):
    "Says whether the results are those of its samples, in order"
    def __len__(self): return 7
    def __getitem__(self, i): return dict(x=torch.tensor(float(i)))
    def evaluate(self, results, logger=None): return dict(right=float(results == [float(i) for i in range(7)]))

class Shifted(nn.Module):
    "Adds the mean of its normalization, which is another one in each process"
    def __init__(self, rank):
        super().__init__()
        self.norm = nn.BatchNorm1d(1)
        self.norm.running_mean.fill_(rank)
    def forward(self, x, return_loss=True): return (x+self.norm.running_mean).tolist()

def judged(rank):
    "What `DistEvalHook` finds, None where it finds nothing"
    share = DataLoader(Judged(), batch_size=2, sampler=DistributedSampler(Judged(), shuffle=False))
    runner = SimpleNamespace(model=Shifted(rank), message_hub=MessageHub(f'judged {rank}'), logger=None, epoch=0, iter=4)
    DistEvalHook(share).after_train_epoch(runner)
    found = runner.message_hub.log_scalars.get('val/right')
    return found and found.current()

def failure(fn):
    try: fn()
    except Exception as e: return type(e).__name__,str(e)

def talk(rank):
    "All that is tried in each process; what came of it"
    box = ['from', rank]
    dist.broadcast_object_list(box, src=1)
    torch.manual_seed(rank)
    seeds = dist.sync_random_seed(),dist.sync_random_seed(10+rank)
    return dict(
        info=dist.get_dist_info(), main=dist.is_main_process(), only=dist.master_only(lambda: 'done')(), box=box, all=dist.all_gather_object({rank}),
        gathered=dist.gather_object(rank*10), gathered_by_one=dist.gather_object(rank*10, dst=1), from_main=dist.from_main(lambda: f'rank {dist.get_rank()}'),
        failed=failure(lambda: dist.from_main(lambda: 1/0)), seeds=seeds, barrier=dist.barrier(),
        sampler_seed=build_dataloader(dict(dataset=data(4), sampler=dict(type='DefaultSampler')), seed=rank, diff_rank_seed=True).sampler.seed,
        shares={k: [x[:, 0].tolist() for x,_ in loader(7, round_up=k, shuffle=False)] for k in (True, False)},
        judged=judged(rank), even=evaluated(metrics(), 12), odd=evaluated(Evaluator(Order()), 13),
        metric_failed=failure(lambda: evaluated(Evaluator(Fails()), 4)))

def process(rank, folder):
    os.environ['GLOO_SOCKET_IFNAME'] = 'lo'
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    made = Evaluator(DumpResults(f'{folder}/dumped.pt'))
    said = talk(rank)
    evaluated(made, 5)
    torch.save(said, f'{folder}/{rank}.pt')
    distributed.destroy_process_group()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('two')
    multiprocessing.start_processes(process, (str(folder),), nprocs=2, start_method='fork') # as the workers of a loader are
    return folder

@pytest.fixture(scope='module')
def both(folder): return [torch.load(folder/f'{o}.pt', weights_only=True) for o in (0, 1)]

def of(both, key): return [o[key] for o in both]


def test_each_process_knows_its_place(both):
    assert of(both, 'info') == [(0, 2), (1, 2)] and of(both, 'main') == [True, False] and of(both, 'only') == ['done', None]


def test_objects_go_from_one_to_all_from_all_to_all_and_from_all_to_one(both):
    assert of(both, 'box') == [['from', 1]]*2 and of(both, 'all') == [[{0}, {1}]]*2
    assert of(both, 'gathered') == [[0, 10], None] and of(both, 'gathered_by_one') == [None, [0, 10]]


def test_what_the_main_process_computes_or_fails_at_all_hear_of(both):
    assert of(both, 'from_main') == ['rank 0']*2
    main,other = of(both, 'failed')
    assert main == ('ZeroDivisionError', 'division by zero') and other == ('RuntimeError', 'the main process failed with ZeroDivisionError: division by zero')
    assert [o[0] for o in of(both, 'metric_failed')] == ['OSError', 'RuntimeError'] and 'the disk is away' in both[1]['metric_failed'][1]


def test_seeds_are_those_of_the_main_process(both):
    assert both[0]['seeds'] == both[1]['seeds'] and both[0]['seeds'][1] == 10 and both[0]['sampler_seed'] == both[1]['sampler_seed']


def test_the_data_is_dealt_out_in_turns(both):
    assert of(both, 'shares') == [{True: [[0, 2, 4], [6]], False: [[0, 2, 4], [6]]}, {True: [[1, 3, 5], [0]], False: [[1, 3, 5]]}]


def test_the_numbers_of_two_processes_are_those_of_one(both):
    alone = evaluated(metrics(), 12)
    for found in of(both, 'even'):
        assert found['order'] == alone['order']
        assert [found[k] for k in ('accuracy', 'MulticlassF1Score')] == pytest.approx([alone[k] for k in ('accuracy', 'MulticlassF1Score')])
    assert of(both, 'odd') == [evaluated(Evaluator(Order()), 13)]*2


def test_the_main_process_judges_the_results_of_all_under_its_own_normalization(both): assert of(both, 'judged') == [1., None]


def test_predictions_of_two_processes_are_in_one_file_in_the_order_of_the_data(folder, both, tmp_path):
    evaluated(Evaluator(DumpResults(tmp_path/'alone.pt')), 5)
    dumped,alone = (torch.load(f, weights_only=True) for f in (folder/'dumped.pt', tmp_path/'alone.pt'))
    assert len(dumped) == 5 and torch.equal(torch.stack(dumped), torch.stack(alone))


def test_a_process_on_its_own_is_a_world_of_one():
    assert dist.get_dist_info() == (0, 1) and dist.is_main_process() and dist.get_local_rank() == 0 and dist.barrier() is None
    assert dist.all_gather_object('a') == dist.gather_object('a') == ['a'] and dist.sync_random_seed(3) == 3


@pytest.mark.parametrize('variables, launcher, local', [
    ({}, 'none', 0), (dict(WORLD_SIZE='2', LOCAL_RANK='1'), 'pytorch', 1), (dict(SLURM_NTASKS='8', SLURM_LOCALID='3'), 'slurm', 3),
    (dict(OMPI_COMM_WORLD_LOCAL_RANK='2'), 'mpi', 2), (dict(SLURM_NTASKS='8', SLURM_LOCALID='0', WORLD_SIZE='2', LOCAL_RANK='1'), 'pytorch', 1)])
def test_the_launcher_is_known_by_its_environment(monkeypatch, variables, launcher, local):
    for nm in (*dist.LAUNCHERS.values(), *dist.LOCAL_RANKS): monkeypatch.delenv(nm, raising=False)
    for nm,v in variables.items(): monkeypatch.setenv(nm, v)
    assert (dist.infer_launcher(), dist.get_local_rank()) == (launcher, local)
