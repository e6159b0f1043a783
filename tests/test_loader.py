"Loaders from dicts: what they are built from, in which order samples come, the way back into the middle of a pass, and bad input."
import random
from collections import namedtuple
from copy import deepcopy
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, get_worker_info

from interactive_runner import loader as loaders
from interactive_runner.data import Batches, rest_of
from interactive_runner.loader import DefaultSampler, InfiniteSampler, build_dataloader, default_collate, pseudo_collate
from interactive_runner.registry import DATASETS, FUNCTIONS


@DATASETS.register_module()
class Numbers(Dataset):
    def __init__(self, n=23): self.n,self.ready = n,False
    metainfo = dict(classes=('odd', 'even'))
    def full_init(self): self.ready = True
    def __len__(self): return self.n
    def __getitem__(self, i): return torch.tensor([i, i*i]),i % 2


@DATASETS.register_module()
class Shards(IterableDataset):
    "A stream: each worker gives its share of the numbers, changed by what it draws"
    def __iter__(self):
        info = get_worker_info()
        return iter(range(17)) if info is None else (n + torch.rand(()) for n in range(info.id, 17, info.num_workers))


class Draws(Dataset):
    "What the generators of a worker give first"
    def __len__(self): return 2
    def __getitem__(self, i): return torch.rand(()).item(),random.random(),np.random.random()


CFG = dict(dataset=dict(type='Numbers'), sampler=dict(type='DefaultSampler'), batch_size=4, collate_fn=dict(type='default_collate'))

def cfg(**changes): return CFG | changes

def all_equal(a, b):
    if isinstance(a, torch.Tensor): return torch.equal(a, b)
    if not isinstance(a, (list, tuple)): return a == b
    return len(a) == len(b) and all(all_equal(x, y) for x,y in zip(a, b))


STREAM = dict(dataset=dict(type='Shards'), batch_size=3)
KINDS = {
    'default sampler': cfg(), 'default sampler, workers': cfg(num_workers=2), 'workers that stay': cfg(num_workers=2, persistent_workers=True),
    'batch sampler': cfg(batch_sampler=dict(type='BatchSampler', drop_last=True)), 'first batches': cfg(num_batch_per_epoch=4),
    "torch's sampler": cfg(sampler=dict(type='RandomSampler')), 'shuffled by the loader': cfg(sampler=None, shuffle=True),
    'endless': cfg(sampler=dict(type='InfiniteSampler')), 'endless, workers': cfg(sampler=dict(type='InfiniteSampler'), num_workers=2),
    'stream': STREAM, 'stream, workers': STREAM | dict(num_workers=2)}

@pytest.mark.parametrize('k', [0, 1, 3])
@pytest.mark.parametrize('kind', KINDS)
def test_a_pass_that_is_entered_again_goes_on_with_the_same_batches(kind, k):
    def some(batches, n):
        got = []
        for _ in range(n):
            got.append(batches.take())
            if batches.release(): break
        return got
    torch.manual_seed(5)
    whole = some(Batches(build_dataloader(KINDS[kind], seed=3)), 9)
    torch.manual_seed(5)
    again = Batches(build_dataloader(KINDS[kind], seed=3))
    got = some(again, k)
    if k: again.failed,_ = True,torch.rand(4) # and something else is drawn meanwhile
    assert all_equal(got + some(again, 9-k), whole) and len(whole) > 3


@pytest.mark.parametrize('kind', ['default sampler, workers', 'batch sampler', 'endless'])
def test_a_loader_built_anew_can_be_entered_in_the_middle_of_an_epoch(kind):
    one,other = build_dataloader(KINDS[kind], seed=3),build_dataloader(KINDS[kind], seed=3)
    for o in (one, other):
        if hasattr(o.sampler, 'set_epoch'): o.sampler.set_epoch(2)
    assert all_equal(list(islice(rest_of(other, 2), 3)), list(islice(one, 2, 5)))


class Faulty(IterableDataset):
    "A stream that draws, and fails where it is told"
    def __init__(self, *bad): self.bad = list(bad)
    def __iter__(self): return map(self.get, range(6))
    def get(self, i):
        drawn = torch.rand(())
        if i in self.bad: raise OSError(f'{i} is away')
        return i + drawn

@pytest.mark.parametrize('bad', range(6))
def test_a_stream_that_fails_goes_on_with_what_it_would_have_given(bad):
    def give(dataset):
        torch.manual_seed(4)
        batches,got = Batches(build_dataloader(dict(dataset=dataset, batch_size=None))),[]
        while True:
            try: got.append(batches.take())
            except OSError: dataset.bad.clear()
            else:
                if batches.release(): return torch.stack([*got, torch.rand(())])
    assert torch.equal(give(Faulty(bad)), give(Faulty()))


@pytest.mark.parametrize('bad', [[0], [1], [3], [2, 3], [0, 1], [5], [1, 4]])
def test_of_a_stream_only_what_fails_is_left_out(bad):
    batches,got,ended = Batches(build_dataloader(dict(dataset=Faulty(*bad), batch_size=None))),[],False
    while not ended:
        try: got.append(int(batches.take()))
        except OSError: batches.give_up()
        ended = batches.release()
    assert got == [i for i in range(6) if i not in bad]


def test_what_seeded_workers_draw_is_known_and_differs():
    drawn = list(build_dataloader(dict(dataset=Draws(), batch_size=None, num_workers=2), seed=11))
    for id,numbers in enumerate(drawn):
        loaders.worker_init_fn(id, num_workers=2, rank=0, seed=11)
        assert Draws()[0] == tuple(numbers)
    assert len(set(sum(map(tuple, drawn), ()))) == 6


def test_only_the_first_worker_warns_where_the_others_shall_not(recwarn):
    import warnings
    for id in (0, 1):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            loaders.worker_init_fn(id, num_workers=2, rank=0, seed=0, disable_subprocess_warning=True)
            warnings.warn('careful')
        assert len(caught) == 1-id


@given(st.integers(1, 30), st.integers(1, 5), st.booleans(), st.booleans(), st.integers(0, 3))
def test_ranks_take_turns_over_the_order_of_one_process(n, world, shuffle, round_up, epoch):
    def samplers(world, kind, **kwargs):
        for rank in range(world):
            with pytest.MonkeyPatch.context() as m:
                m.setattr(loaders, 'get_rank', lambda rank=rank: rank)
                m.setattr(loaders, 'get_world_size', lambda: world)
                yield kind(range(n), shuffle, seed=4, **kwargs)
    alone = next(samplers(1, DefaultSampler))
    shares = list(samplers(world, DefaultSampler, round_up=round_up))
    for o in (alone, *shares): o.set_epoch(epoch)
    order,parts = list(alone),[list(o) for o in shares]
    assert [len(o) for o in shares] == [len(o) for o in parts]
    assert all(part == order[rank::world] for rank,part in enumerate(parts)) if not round_up else len({len(o) for o in parts}) == 1
    mixed = [part[i] for i in range(len(parts[0])) for part in parts if i < len(part)]
    assert mixed[:n] == order and sorted(order) == list(range(n)) and (shuffle or order == list(range(n)))
    endless = list(islice(next(samplers(1, InfiniteSampler)), 3*n*world))
    assert all(list(islice(o, 3*n)) == endless[rank::world] for rank,o in enumerate(samplers(world, InfiniteSampler)))


@pytest.mark.parametrize('kind', [DefaultSampler, InfiniteSampler])
def test_torchs_seed_governs_a_sampler_without_one(kind):
    def order():
        torch.manual_seed(8)
        return list(islice(kind(range(50)), 50))
    first = order()
    torch.manual_seed(9)
    assert order() == first != list(islice(kind(range(50), seed=1), 50))


def test_parts_from_a_dict_are_what_the_dict_says():
    given = cfg(batch_size=3, num_workers=0, drop_last=True, timeout=0)
    before = deepcopy(given)
    made = build_dataloader(given, seed=6)
    assert (type(made), type(made.dataset), made.dataset.ready, made.batch_size, made.drop_last) == (DataLoader, Numbers, True, 3, True)
    assert isinstance(made.sampler, DefaultSampler) and made.sampler.seed == 6 and made.worker_init_fn.keywords['seed'] == 6
    assert given == before and build_dataloader(given).worker_init_fn is None


def test_a_loader_or_another_iterable_comes_back_as_it_is():
    for o in (DataLoader(range(3)), [1, 2]): assert build_dataloader(o) is o


def test_objects_are_taken_as_they_are():
    data = Numbers()
    sampler,collate,init = RandomSampler(data),list,print
    made = build_dataloader(dict(dataset=data, sampler=sampler, collate_fn=collate, worker_init_fn=init), seed=1)
    assert (made.dataset, made.sampler, made.collate_fn, made.worker_init_fn) == (data, sampler, collate, init) and not data.ready
    batches = BatchSampler(sampler, 5, False)
    assert build_dataloader(dict(dataset=data, batch_sampler=batches)).batch_sampler is batches


def test_functions_are_found_by_name_and_get_their_arguments():
    @FUNCTIONS.register_module()
    def scaled(samples, by): return [o*by for o in samples]
    @FUNCTIONS.register_module()
    def prepare(worker_id, rank, seed, mark): return worker_id,rank,seed,mark
    made = build_dataloader(dict(dataset=range(4), batch_size=2, collate_fn=dict(type='scaled', by=10), worker_init_fn=dict(type='prepare', mark='x')), seed=5)
    assert list(made) == [[0, 10], [20, 30]] and made.worker_init_fn(1) == (1, 0, 5, 'x')
    assert list(build_dataloader(dict(dataset=range(2), batch_size=2, collate_fn=dict(type=tuple)))) == [(0, 1)]


def test_a_batch_sampler_gets_the_sampler_and_the_size():
    made = build_dataloader(cfg(batch_sampler=dict(type='BatchSampler')), seed=1)
    assert (len(made), len(list(made)[-1][1])) == (6, 3) and isinstance(made.batch_sampler.sampler, DefaultSampler)
    assert len(build_dataloader(cfg(batch_sampler=dict(type='BatchSampler'), drop_last=True), seed=1)) == 5


def test_ranks_with_seeds_of_their_own_agree_on_the_order():
    torch.manual_seed(2)
    seeds = [build_dataloader(cfg(), seed=s, diff_rank_seed=True).sampler.seed for s in (1, 1)]
    assert seeds[0] != seeds[1] and 1 not in seeds


def test_the_first_batches_of_a_dataset_are_a_dataset_like_it():
    made = build_dataloader(cfg(num_batch_per_epoch=2))
    assert len(made) == 2 and sorted(sum((y[0][:, 0].tolist() for y in made), [])) == list(range(8))
    assert made.dataset.metainfo is Numbers.metainfo and made.dataset.ready
    assert len(build_dataloader(cfg(num_batch_per_epoch=99))) == 6
    assert next(iter(build_dataloader(cfg(num_batch_per_epoch=1, num_workers=1, multiprocessing_context='spawn'))))[1].shape == (4,)


def test_without_batches_samples_come_as_they_are():
    assert [o.tolist() for o,_ in islice(build_dataloader(dict(dataset=Numbers(), batch_size=None)), 2)] == [[0, 0], [1, 1]]


Pair = namedtuple('Pair', 'a b')

def test_collating_transposes_what_samples_are_made_of():
    sample = dict(x=torch.zeros(2), more=(1, 'one', [2.5, np.float32(3)]), pair=Pair(np.ones(2), None))
    lists,stacked = pseudo_collate([sample]*3),default_collate([sample]*3)
    assert lists['more'] == [[1]*3, ['one']*3, [[2.5]*3, [3]*3]] and type(lists['pair']) is type(stacked['pair']) is Pair
    assert all_equal(lists['x'], [torch.zeros(2)]*3) and stacked['x'].shape == (3, 2) and stacked['pair'].a.shape == (3, 2)
    assert all_equal(stacked['more'][0], torch.tensor([1]*3)) and stacked['more'][1] == ['one']*3 and stacked['pair'].b == [None]*3


def test_annotations_are_left_alone_and_images_of_several_sizes_are_not_stacked():
    note = SimpleNamespace(label=3)
    assert default_collate([(torch.zeros(1), note)]*2)[1] == pseudo_collate([(0, note)]*2)[1] == [note, note]
    assert [o.shape for o in pseudo_collate([torch.zeros(1), torch.zeros(2)])] == [(1,), (2,)]
    assert pseudo_collate(['ab', 'c']) == ['ab', 'c']


@pytest.mark.parametrize('changes, error, text', [
    (dict(num_worker=2), TypeError, "takes no 'num_worker'. Did you mean 'num_workers'?"),
    (dict(num_batch_per_epochs=2), TypeError, "Did you mean 'num_batch_per_epoch'?"),
    (dict(sampler=3), TypeError, "sampler must be a dict with 'type' or an object, got 3 (int)"),
    (dict(sampler='DefaultSampler'), TypeError, "sampler must be a dict with 'type' or an object, got 'DefaultSampler' (str)"),
    (dict(sampler=DefaultSampler), TypeError, "sampler must be a dict"),
    (dict(sampler=dict(type='DefaultSample')), KeyError, "Did you mean 'DefaultSampler'?"),
    (dict(sampler=dict(shuffle=True)), KeyError, "built from a dict with 'type', got one with shuffle"),
    (dict(batch_sampler=3), TypeError, "batch_sampler must be a dict with 'type' or an object, got 3"),
    (dict(batch_sampler=dict(type='BatchSampler'), sampler=None), TypeError, "a batch_sampler that is a dict needs a sampler beside it"),
    (dict(collate_fn='stack'), TypeError, "collate_fn must be a function or a dict with 'type', got 'stack' (str)"),
    (dict(collate_fn=dict(by=3)), TypeError, "collate_fn must be a function or a dict with 'type'"),
    (dict(collate_fn=dict(type='defualt_collate')), KeyError, "Did you mean 'default_collate'?"),
    (dict(worker_init_fn=3), TypeError, "worker_init_fn must be a function or a dict with 'type', got 3"),
    (dict(disable_subprocess_warning='no'), TypeError, "disable_subprocess_warning must be True or False, got 'no' (str)"),
    (dict(num_batch_per_epoch=0), TypeError, "num_batch_per_epoch must be 1, 2, ..., got 0"),
    (dict(dataset=Shards(), num_batch_per_epoch=3), TypeError, "num_batch_per_epoch needs a dataset with a length; Shards has none"),
    (dict(dataset=Shards()), TypeError, "Shards is an IterableDataset, which gives its samples in an order of its own: leave sampler out"),
    (dict(dataset=[], sampler=dict(type='InfiniteSampler')), ValueError, "at least one sample; this one is empty"),
])
def test_a_slip_in_the_dict_is_named(changes, error, text):
    with pytest.raises(error) as e: build_dataloader(cfg(**changes), seed=1)
    assert text in e.value.args[0]


@pytest.mark.parametrize('given, text', [
    (3, "a dataloader must be a dict or an iterable such as a DataLoader, got 3 (int)"), ('train', "got 'train' (str)"), (None, "got None"),
    (dict(batch_size=3), "a loader is made from a dict with 'dataset', got one with batch_size")])
def test_what_is_no_loader_is_named(given, text):
    with pytest.raises(TypeError) as e: build_dataloader(given)
    assert text in e.value.args[0]


def test_samples_of_unequal_length_are_not_put_together():
    with pytest.raises(RuntimeError, match='equally many elements to be put together, got 1, 2'): pseudo_collate([(1, 2), (1,)])
