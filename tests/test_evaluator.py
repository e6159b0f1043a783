"Metrics: the same number however the samples are batched, batches that are taken back, files that are safe to load, and bad input."
import math
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchmetrics.classification as tm
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.wrappers import ClasswiseWrapper

from interactive_runner.evaluator import METRICS, BaseMetric, DumpResults, Evaluator, build_evaluator, target_of
from interactive_runner.kept import Kept, keep
from interactive_runner.metric import accuracy
from interactive_runner.runner import Runner


class Right(BaseMetric):
    "Accuracy, kept in results as it should be"
    def process(self, data_batch, data_samples): self.results += [int(s.argmax() == y) for s,y in zip(data_samples, data_batch[1])]
    def compute_metrics(self, results): return dict(right=sum(results)/len(results), n=len(results))

class Sums(BaseMetric):
    "Accuracy, kept in every way that a metric had better not"
    def __init__(self):
        super().__init__(prefix='sums')
        self.tensor,self.array,self.number,self.list,self.dict,self.set = torch.zeros(2),np.zeros(2),0,[0, 0],dict(n=0),set()
        self.inner = tm.BinaryAccuracy()
    def process(self, data_batch, data_samples):
        for s,y in zip(data_samples, data_batch[1]):
            hit = int(s.argmax() == y)
            step = torch.tensor([hit, 1.])
            self.tensor += step
            self.array += step.numpy()
            self.number += hit
            self.list[0] += hit
            self.dict['n'] += 1
            self.set.add((float(s[0]), hit))
            self.inner.update(s[1:] > s[:1], y[None])
            self.results.append(hit)
            self.late = True
    def compute_metrics(self, results):
        return dict(tensor=self.tensor[0]/self.tensor[1], array=self.array[0]/self.array[1], number=self.number/len(results), list=self.list[0]/len(results),
                    dict=self.dict['n'], set=len(self.set), inner=self.inner.compute())

class Fails(BaseMetric):
    "Fails when told, in the middle of a batch"
    def __init__(self, when):
        super().__init__(prefix='fails')
        def fail():
            if when: raise OSError(when.pop())
        self.fail = fail # not the list itself, which would be put back too
    def process(self, data_batch, data_samples):
        for i,s in enumerate(data_samples):
            if i == len(data_samples)//2: self.fail()
            self.results.append(s)
    def compute_metrics(self, results):
        self.fail()
        return dict(n=len(results))


def metrics(when=()):
    every = [tm.MulticlassF1Score(num_classes=2), tm.BinaryAccuracy(), tm.MulticlassAUROC(num_classes=2)]
    return {'acc': accuracy, 'f1': every[0], 'auc': every[2], 'wrapped': ClasswiseWrapper(tm.MulticlassRecall(num_classes=2, average=None)),
            'group': MetricCollection([tm.MulticlassPrecision(num_classes=2), tm.MulticlassRecall(num_classes=2)])},[Right(), Fails(when), Sums()]

def evaluator(when=()):
    named,others = metrics(when)
    made = Evaluator(named)
    made.metrics[2:2] = others # some before and some after the one that fails
    return made

def samples(sizes):
    torch.manual_seed(1)
    return [(torch.randn(n, 3), torch.randint(2, (n,))) for n in sizes]

def scores(batch): return batch[0][:, :2].softmax(1)

def follow(made, batches):
    for batch in batches:
        made.process(scores(batch), batch)
        made.commit()
    return made.evaluate(sum(len(y) for _,y in batches))

def close(a, b): return a.keys() == b.keys() and all(math.isclose(a[k], b[k], abs_tol=1e-5) for k in a)


@pytest.mark.filterwarnings('ignore:No (positive|negative) samples')
@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_the_batches_do_not_matter(sizes):
    batches = samples(sizes)
    assert close(follow(evaluator(), batches), follow(evaluator(), [tuple(map(torch.cat, zip(*batches)))]))


BATCHES = samples([4, 5, 1, 3])
STRAIGHT = follow(evaluator(), BATCHES)

@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from(['fail', 'fail twice', 'undo', 'aside', 'fine']), min_size=4, max_size=4),
       st.integers(0, 2), st.sampled_from([2, 1000])) # with 2 the results are long lists
def test_no_batch_counts_twice_and_none_is_lost(events, bad_ends, at_most):
    when = []
    made = evaluator(when)
    made.at_most = at_most
    other = samples([7])[0]
    for event,batch in zip(events, BATCHES):
        when += dict(fail=['once'], **{'fail twice': ['once', 'twice']}).get(event, [])
        while when:
            with pytest.raises(OSError): made.process(scores(batch), batch)
        if event == 'undo': made.process(scores(other), other); made.undo()
        if event == 'aside':
            with made.aside(): follow(made, [other])
        made.process(scores(batch), batch)
        if event == 'aside':
            with made.aside(): made.process(scores(other), other)
            made.undo()
            made.process(scores(batch), batch)
        made.commit()
        made.undo() # has nothing to take back
    when += ['no end']*bad_ends
    while when:
        with pytest.raises(OSError): made.evaluate(13)
    assert made.evaluate(13) == STRAIGHT


def test_without_commit_batches_count_too():
    made = evaluator()
    for batch in BATCHES: made.process(scores(batch), batch)
    assert made.evaluate(13) == STRAIGHT


def test_an_evaluation_begins_with_nothing_of_the_one_before():
    named,_ = metrics()
    made = Evaluator([Right(), accuracy, *list(named.values())[1:]])
    first = follow(made, BATCHES)
    assert follow(made, BATCHES) == first
    made.process(scores(BATCHES[1]), BATCHES[1])
    made.clear()
    made.undo()
    assert follow(made, BATCHES) == first


def test_of_long_lists_the_length_is_kept():
    made = Evaluator(Right())
    made.at_most = 3
    assert follow(made, BATCHES)['n'] == 13
    for batch in BATCHES: made.process(scores(batch), batch)
    made.undo()
    assert len(made.metrics[0].results) == 10
    values = [1, 2, 3, 4]
    back = keep(values, at_most=3)
    values += [5, 6]
    back()
    assert values == [1, 2, 3, 4]


def test_what_a_metric_gathers_by_name_is_taken_back_too():
    class ByClass:
        def __init__(self): self.clear()
        def process(self, data_batch, data_samples):
            for o in data_samples.tolist():
                self.scores[o > 0].append(o)
                self.sums['all'] += 1
            if not self.good: raise ValueError
        def evaluate(self, size): return dict(low=len(self.scores[False]), high=len(self.scores[True]), n=self.sums['all'].item())
        def clear(self): self.scores,self.sums,self.good = defaultdict(list),dict(all=torch.zeros(())),True
    made = Evaluator(ByClass())
    made.process(torch.tensor([1., -1.]))
    made.commit()
    made.metrics[0].good = False
    with pytest.raises(ValueError): made.process(torch.tensor([2., 3., -2.]))
    made.metrics[0].good = True
    made.process(torch.tensor([2., 3., -2.]))
    assert made.evaluate() == dict(low=2, high=3, n=5)

def test_of_long_dicts_the_length_is_kept():
    values = {i: [i] for i in range(200)}
    back = keep(values, at_most=3)
    values[200] = [200]
    back()
    assert list(values) == list(range(200))


def test_states_that_metrics_share_are_still_shared_when_put_back():
    group = MetricCollection([tm.BinaryPrecision(), tm.BinaryRecall()])
    group.update(torch.tensor([1, 0]), torch.tensor([1, 1]))
    kept = Kept(SimpleNamespace(group=group))
    group.update(torch.tensor([1, 1]), torch.tensor([0, 1]))
    kept.back()
    group.update(torch.tensor([1]), torch.tensor([1]))
    assert {k: v.item() for k,v in group.compute().items()} == dict(BinaryPrecision=1, BinaryRecall=pytest.approx(2/3))


def test_no_number_is_asked_for_before_the_end():
    class Asked(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            assert 'local_scalar_dense' not in func.__name__, 'a number was brought over from the device'
            return func(*args, **kwargs or {})
    made = Evaluator([accuracy, tm.MulticlassF1Score(num_classes=2, validate_args=False)])
    with Asked():
        for batch in BATCHES:
            made.process(scores(batch), batch)
            made.commit()
        with pytest.raises(AssertionError, match='brought over'): made.evaluate()
    assert made.evaluate()['accuracy'] == STRAIGHT['acc']


class Element:
    def __init__(self, **kwargs): self.kwargs = kwargs
    def to_dict(self): return self.kwargs

class Foreign:
    "A metric of another library, of MMEngine's form"
    def __init__(self): self.results,self.dataset_meta = [],None
    def process(self, data_batch, data_samples): self.results.extend(o['pred'] for o in data_samples)
    def evaluate(self, size):
        res,self.results[:] = dict(total=sum(self.results[:size])),[]
        return res

def test_metrics_of_mmengines_form_get_dicts_and_can_be_taken_back():
    made = Evaluator(Foreign())
    made.dataset_meta = dict(classes=['a'])
    assert made.metrics[0].dataset_meta == made.dataset_meta == dict(classes=['a'])
    made.process([Element(pred=3), Element(pred=4)])
    made.undo()
    made.process([Element(pred=5), dict(pred=6)])
    with made.aside(): made.process([dict(pred=1)])
    assert made.evaluate(1) == dict(total=5)
    made.process([dict(pred=9)])
    made.clear()
    assert made.evaluate(1) == dict(total=0)


@pytest.mark.parametrize('batch, target', [
    (('x', 'y'), 'y'), (['x', 'x2', 'y'], 'y'), (dict(x=1, label=2, y=3), 2), (dict(x=1, targets=0), 0), (dict(y=3), 3)])
def test_the_target_is_where_batches_have_it(batch, target): assert target_of(batch) == target


@pytest.mark.parametrize('batch, got', [
    (('x',), 'a tuple of 1'), (torch.zeros(3), 'a Tensor'), (None, 'a NoneType'),
    (dict(image=0, gt=1), 'a mapping with image, gt'), ({}, 'a mapping with nothing')])
def test_a_batch_without_target_says_what_it_is(batch, got):
    with pytest.raises(TypeError) as e: target_of(batch)
    assert f'got {got}.' in str(e.value) and 'target, targets, label, labels, y' in str(e.value)


@pytest.mark.parametrize('target, n', [(torch.zeros(3), 3), ([1, 2], 2), (torch.tensor(1), 1), (dict(boxes=torch.zeros(4, 2)), 4)])
def test_a_batch_weighs_as_much_as_its_target_is_long(target, n):
    made = Evaluator(dict(a=lambda pred, target: 1.))
    made.process(0, ('x', target))
    assert made.metrics[0].weights == dict(a=n)


def test_offline_evaluation_is_that_of_the_batches_and_disturbs_nothing():
    x,y = map(torch.cat, zip(*BATCHES))
    named,_ = metrics()
    made = Evaluator(named)
    made.metrics.append(Right())
    straight = follow(made, BATCHES)
    for batch in BATCHES[:2]: made.process(scores(batch), batch)
    for n in (1, 5, 99): assert close(made.offline_evaluate(list(scores((x, y))), zip(x, y), chunk_size=n), straight)
    for batch in BATCHES[2:]: made.process(scores(batch), batch)
    assert made.evaluate(13) == straight
    assert Evaluator(Foreign()).offline_evaluate(iter([Element(pred=1), Element(pred=2)])) == dict(total=3)


@pytest.mark.parametrize('given, text', [
    (dict(data=[1]), 'as many data as predictions, got 1 and 2'), (dict(chunk_size=0), 'chunk_size must be 1, 2, ..., got 0'),
    (dict(data=iter([1])), 'shorter')])
def test_what_does_not_fit_offline_is_refused(given, text):
    with pytest.raises(ValueError, match=text): Evaluator(Foreign()).offline_evaluate([dict(pred=1), dict(pred=2)], **given)


@METRICS.register_module()
class Named(Right): default_prefix = 'named'

@pytest.mark.parametrize('given, names', [
    (accuracy, ['accuracy']), ([accuracy], ['accuracy']), (dict(acc=accuracy), ['acc']), (Named(), ['named/right', 'named/n']),
    (dict(type='Named'), ['named/right', 'named/n']), ([dict(type='Named', prefix='')], ['right', 'n']),
    (dict(metrics=dict(type='Named')), ['named/right', 'named/n']), (dict(type='Evaluator', metrics=[accuracy, Right()]), ['accuracy', 'right', 'n']),
    (tm.MulticlassF1Score(num_classes=2), ['MulticlassF1Score']), (dict(f=tm.MulticlassF1Score(num_classes=2)), ['f']),
    (dict(f=dict(type='torchmetrics.classification.MulticlassF1Score', num_classes=2)), ['f']), (torch.nn.CrossEntropyLoss(), ['CrossEntropyLoss']),
    (MetricCollection([tm.MulticlassRecall(num_classes=2)]), ['MulticlassRecall']),
    (dict(m=metrics()[0]['group']), ['m/MulticlassPrecision', 'm/MulticlassRecall']),
    ([metrics()[0]['group'], MetricCollection([tm.MulticlassF1Score(num_classes=2)])], ['MulticlassPrecision', 'MulticlassRecall', 'MulticlassF1Score'])])
def test_an_evaluator_is_made_of_many_things(given, names):
    made = build_evaluator(given)
    assert isinstance(made, Evaluator) and build_evaluator(made) is made and list(follow(made, BATCHES)) == names


@pytest.mark.parametrize('given, error, text', [
    (None, TypeError, 'an evaluator must be an Evaluator'), (3, TypeError, 'got 3 (int)'), ('acc', TypeError, "got 'acc' (str)"),
    ([3], TypeError, 'a metric must be a BaseMetric, a metric of torchmetrics, a function of (predictions, target), or a dict'),
    (dict(auc=.9), TypeError, "got under 'auc' 0.9 (float)"), (Named, TypeError, 'Named is a class; pass an object of it, such as Named(...)'),
    (dict(m=Right()), TypeError, "Right names its results itself: pass it without the name 'm', perhaps with a prefix='m'"),
    (dict(type='Namd'), KeyError, "Did you mean 'Named'?"), (dict(metrics=[dict(prefix='x')]), KeyError, "built from a dict with 'type', got one with prefix"),
    ([accuracy, accuracy], ValueError, "two metrics give a result 'accuracy': accuracy, averaged and accuracy, averaged. Give one a prefix, or name them"),
    ([tm.MulticlassF1Score(num_classes=2)]*2, ValueError, "two metrics give a result 'MulticlassF1Score'")])
def test_what_makes_no_evaluator_is_named(given, error, text):
    with pytest.raises(error) as e: build_evaluator(given)
    assert text in e.value.args[0]


def test_results_of_one_name_are_not_hidden_by_each_other():
    made = Evaluator([Right(), Right(prefix='a'), Right()])
    with pytest.raises(ValueError, match=r"two metrics give a result 'right': Right\(\) and Right\(\)"): follow(made, BATCHES)
    made.metrics[2].prefix = 'b' # mended, and evaluated again
    assert list(made.evaluate(13)) == ['right', 'n', 'a/right', 'a/n', 'b/right', 'b/n']


@pytest.mark.parametrize('make, error, text', [
    (lambda: Right(collect_device='cuda'), ValueError, "collect_device must be 'cpu' or 'gpu', got 'cuda'"),
    (lambda: Right(collect_device='gpu', collect_dir='x'), ValueError, "collect_dir goes with collect_device='cpu' only"),
    (lambda: BaseMetric().process(None, None), NotImplementedError, r'BaseMetric needs a method process\(data_batch, data_samples\)'),
    (lambda: BaseMetric().compute_metrics([]), NotImplementedError, r'needs a method compute_metrics\(results\)'),
    (lambda: DumpResults('predictions.json'), ValueError, "must end in .pt, .pth, .pkl, .pickle, got 'predictions.json'"),
    (lambda: DumpResults('a.pt').process(None, dict(a=1)), TypeError, 'an entry for each sample, got a dict')])
def test_a_metric_that_is_made_wrongly_says_so(make, error, text):
    with pytest.raises(error, match=text): make()


def test_numbers_that_are_no_mapping_are_refused():
    metric = Right()
    metric.results,metric.compute_metrics = [1],lambda results: .5
    with pytest.raises(TypeError, match=r'compute_metrics of Right\(\) must return a mapping, got 0.5 \(float\)'): metric.evaluate()
    assert metric.results == [1]


def test_metrics_that_got_nothing_say_so():
    metric = Right()
    metric.compute_metrics = lambda results: {}
    with pytest.warns(UserWarning, match=r'Right\(\) has no results. Does its `process`'): assert metric.evaluate(3) == {}
    with pytest.warns(UserWarning, match='accuracy has no value: no batch came'): assert Evaluator(accuracy).evaluate() == {}


def test_one_number_comes_as_a_number_and_more_as_a_tensor():
    made = Evaluator([tm.MulticlassRecall(num_classes=2, average=None), MeanMetric()])
    made.metrics[1].process = lambda batch, samples: made.metrics[1].metric.update(samples)
    found = follow(made, BATCHES)
    assert found['MulticlassRecall'].shape == (2,) and type(found['MeanMetric']) is float


leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.complex_numbers(allow_nan=False),
                   st.sampled_from([torch.ones(2), torch.zeros((), dtype=torch.bfloat16), torch.nn.Parameter(torch.ones(1)), torch.eye(3)[0]]),
                   st.sampled_from([np.ones((2, 2)), np.float32(3), np.arange(3, dtype=np.uint8), np.bool_(True)]))
trees = st.recursive(leaves, lambda o: st.lists(o, max_size=3) | st.tuples(o, o) | st.dictionaries(st.text() | st.integers(), o, max_size=3), max_leaves=6)

def same(a, b):
    if isinstance(a, np.ndarray | np.generic | torch.Tensor): return torch.equal(torch.as_tensor(a), torch.as_tensor(b)) and not isinstance(b, np.generic)
    if isinstance(a, dict): return type(b) is dict and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return type(a) is type(b) and (len(a) == len(b) and all(map(same, a, b)) if isinstance(a, list | tuple) else a == b)

@settings(deadline=None, max_examples=60)
@given(st.lists(trees, min_size=1, max_size=3))
def test_dumped_predictions_load_as_they_were_and_run_no_code(tmp_path_factory, predictions):
    f = tmp_path_factory.mktemp('dump')/'new'/'out.pkl'
    made = Evaluator(DumpResults(f))
    made.process(predictions)
    assert made.evaluate(len(predictions)) == {} and same(predictions, torch.load(f, weights_only=True)) and len(list(f.parent.iterdir())) == 1


@pytest.mark.parametrize('what, text', [
    (SimpleNamespace(a=1), 'a prediction is a types.SimpleNamespace'), (dict(boxes=[0, {1}]), r"a prediction\['boxes'\]\[1\] is a builtins.set"),
    ([print], r'a prediction\[0\] is a builtins.builtin_function_or_method'), (np.array(['a']), 'a prediction is a numpy.ndarray'),
    ([b''], r'a prediction\[0\] is a builtins.bytes'),
    ({(1, frozenset()): 0}, r'the keys of a prediction\[1\] is a builtins.frozenset')])
def test_predictions_that_no_safe_file_can_hold_are_refused_with_the_batch(tmp_path, what, text):
    metric = DumpResults(tmp_path/'out.pt')
    with pytest.raises(TypeError, match=text): metric.process(None, [0, what])
    assert metric.results == []


def test_a_view_is_dumped_without_what_it_is_a_view_of(tmp_path):
    made = Evaluator(DumpResults(tmp_path/'out.pth'))
    made.process(torch.zeros(4, 100_000)[:, :2])
    made.evaluate(3)
    assert (tmp_path/'out.pth').stat().st_size < 10_000 and len(torch.load(tmp_path/'out.pth', weights_only=True)) == 3


def test_a_file_that_cannot_be_written_leaves_none_behind(tmp_path, monkeypatch):
    made = Evaluator(DumpResults(tmp_path/'out.pt'))
    made.process([1, 2])
    def full(data, f):
        f.write_bytes(b'half')
        raise OSError('no space left')
    with monkeypatch.context() as m:
        m.setattr(torch, 'save', full)
        with pytest.raises(OSError, match='no space left'): made.evaluate(2)
    assert list(tmp_path.iterdir()) == []
    made.evaluate(2)
    assert torch.load(tmp_path/'out.pt', weights_only=True) == [1, 2]


@pytest.mark.parametrize('bad', [0, 1, 2, 3])
def test_a_run_whose_metric_fails_ends_with_the_numbers_of_one_whose_does_not(bad):
    def run(when):
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)
        made = Runner(model, train_dataloader=BATCHES, val_dataloader=BATCHES, metrics=evaluator(when), max_epochs=1, log_level='ERROR',
                      loss_fn=torch.nn.functional.cross_entropy, optimizer=torch.optim.SGD(model.parameters(), lr=.1))
        return made
    straight = run([])
    straight.train()
    when = []
    made = run(when)
    made.run_until(stage='before_val')
    for _ in range(bad): made.step('iter')
    when += ['once', 'twice']
    for _ in range(2):
        with pytest.raises(OSError): made.train()
    made.train()
    assert made.val_loop.metrics == straight.val_loop.metrics
