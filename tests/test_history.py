"Histories: windows against plain numpy, values that stay on a device, and what is saved."
import copy, io, math, pickle
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from interactive_runner.history import HistoryBuffer
from interactive_runner.hub import MessageHub
from interactive_runner.logproc import LogProcessor

floats = st.floats(-1e6, 1e6)
counts = st.one_of(st.just(1), st.integers(1, 100))
kinds = [float, np.float64, lambda v: torch.tensor(v, dtype=torch.float64), lambda v: far(torch.tensor([v], dtype=torch.float64))]
updates = st.lists(st.tuples(floats, counts, st.sampled_from(kinds)), min_size=1, max_size=60)
lengths = st.integers(1, 20)

class Far(torch.Tensor):
    "A tensor that claims to live on a device, and notes what is done to it"
    is_cpu,seen = False,[]
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.seen.append(func.__name__)
        return super().__torch_function__(func, types, args, kwargs)

def far(t): return t.as_subclass(Far)

def fill(ups, max_length=1_000_000):
    buf = HistoryBuffer(max_length=max_length)
    for v,c,kind in ups: buf.update(kind(v), c)
    return buf

def near(a, b): return a == pytest.approx(b, rel=1e-9, abs=1e-6)

@given(updates, lengths)
def test_the_data_are_the_last_values_and_counts_in_their_order(ups, n):
    buf = fill(ups, n)
    v,c = buf.data
    assert v.tolist() == [o[0] for o in ups[-n:]] and c.tolist() == [o[1] for o in ups[-n:]]
    assert (len(buf), buf.total) == (min(n, len(ups)), len(ups))
    assert buf.tail(3).tolist() == [o[0] for o in ups[-n:]][-3:]

@given(updates, lengths, st.one_of(st.none(), st.integers(1, 70)))
def test_each_statistic_over_a_window_is_that_of_numpy(ups, n, w):
    buf = fill(ups, n)
    everything = w is None or w >= len(ups)
    vs,cs = (np.array(o, dtype=float) for o in list(zip(*ups))[:2])
    v,c = (vs,cs) if everything else (vs[-n:][-w:], cs[-n:][-w:])
    assert near(buf.mean(w), v.sum()/c.sum())
    assert (buf.max(w), buf.min(w), buf.current()) == (v.max(), v.min(), vs[-1])
    kept = vs[-n:][-(w or len(vs)):]
    assert near(buf.median(w), np.median(kept)) and near(buf.std(w), kept.std()) and near(buf.quantile(0.3, w), np.quantile(kept, 0.3))

@given(updates, st.lists(st.integers(1, 10), max_size=8))
def test_reading_in_between_changes_nothing(ups, reads):
    a,b = HistoryBuffer(max_length=7),fill(ups, 7)
    for i,(v,c,kind) in enumerate(ups):
        a.update(kind(v), c)
        if i in reads: a.mean(), a.mean(2), a.tail(3)
    assert near(a.mean(), b.mean()) and a.max() == b.max()
    assert np.array_equal(a.data, b.data)

@given(updates, updates, lengths)
def test_a_history_goes_on_after_loading_as_if_never_saved(before, after, n):
    a = fill(before, n)
    b = HistoryBuffer()
    b.load_state_dict(a.state_dict())
    for o in (a, b):
        for v,c,kind in after: o.update(kind(v), c)
    assert np.array_equal(a.data, b.data) and (a.total, a.max_length) == (b.total, b.max_length)
    assert near(a.mean(), b.mean()) and (a.max(), a.min()) == (b.max(), b.min())

@given(updates, st.floats(0, 0.99))
def test_the_moving_average_is_the_recursive_one(ups, beta):
    avg = 0.
    for v,*_ in ups: avg = beta*avg + (1-beta)*v
    assert near(fill(ups).ema(beta), avg/(1 - beta**len(ups)))

@settings(max_examples=5, deadline=None)
@given(st.integers(300, 3000), st.integers(200, 700))
def test_a_ring_longer_than_a_device_block_overflows_cleanly(total, n):
    buf = HistoryBuffer(max_length=n)
    for i in range(total): buf.update(far(torch.tensor(float(i))))
    assert buf.data[0].tolist() == list(range(total))[-n:]
    assert (buf.mean(), buf.min(), buf.max()) == ((total-1)/2, 0, total-1)

def ema(v, beta=.9):
    w = beta**np.arange(len(v)-1., -1, -1)
    return (v*w).sum()/w.sum()

class Course(RuleBasedStateMachine):
    "Whatever happens to a history, each statistic over each window is that of the plain lists beside it"
    @initialize(n=lengths)
    def begin(self, n):
        self.hub,self.n,self.values,self.counts,self.begun = MessageHub('course'),n,[],[],0
        self.hub.update_scalar('train/x', 0.)
        self.hub.log_scalars['train/x'] = HistoryBuffer(max_length=n)
        self.hub.begin_epoch('train')

    @rule(v=st.one_of(floats, st.just(math.nan)), c=counts, kind=st.sampled_from(kinds), times=st.integers(1, 9))
    def update(self, v, c, kind, times):
        for i in range(times): self.hub.update_scalar('train/x', kind(v+i), c)
        self.values += [v+i for i in range(times)]
        self.counts += [c]*times

    @rule()
    def begin_epoch(self):
        self.hub.begin_epoch('train')
        self.begun = len(self.values)

    @rule()
    def save_and_load(self):
        f,old,self.hub = io.BytesIO(),self.hub,MessageHub('loaded')
        torch.save(old.state_dict(), f)
        f.seek(0)
        self.hub.load_state_dict(torch.load(f, weights_only=True))

    def expected(self, name, window):
        "By numpy; a mean, maximum or minimum over everything also knows what a full ring has let go"
        v,c = np.array(self.values),np.array(self.counts, dtype=float)
        w = {'epoch': len(v)-self.begun, 'global': len(v), None: len(v)}.get(window, window)
        if name not in ('mean', 'max', 'min') or w < len(v): v,c = v[-self.n:],c[-self.n:]
        if name not in ('current', 'ema'): v,c = v[-w:],c[-w:]
        return {'mean': lambda: v.sum()/c.sum(), 'current': lambda: v[-1], 'ema': lambda: ema(v), 'quantile': lambda: np.quantile(v, .3)}.get(
            name, lambda: getattr(np, name)(v))()

    @precondition(lambda self: self.values)
    @rule(name=st.sampled_from([*HistoryBuffer.methods]), window=st.one_of(st.sampled_from([None, 'global', 'epoch']), st.integers(1, 40)))
    def read(self, name, window):
        kw = dict(ema=dict(beta=.9), quantile=dict(q=.3)).get(name, {})
        shown = LogProcessor().value(self.hub, 'train/x', (name, window, kw))
        if window == 'epoch' and self.begun == len(self.values): assert shown is None
        else: assert shown == pytest.approx(self.expected(name, window), rel=1e-9, abs=1e-6, nan_ok=True)

TestCourse = Course.TestCase
TestCourse.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)

def test_a_device_value_is_copied_and_never_read_when_it_is_added():
    buf,t = HistoryBuffer(),far(torch.tensor(1.))
    Far.seen.clear()
    for _ in range(600): buf.update(t)
    assert not {'item', 'cpu', 'to', 'tolist', '__float__', '__bool__', 'numpy'} & set(Far.seen)
    t.zero_()
    assert buf.mean() == 1.

def test_values_from_any_autograd_mode_are_taken():
    buf,w = HistoryBuffer(),torch.ones((), requires_grad=True)
    with torch.inference_mode(): buf.update(far(torch.tensor(1.)))
    buf.update(far(w*2))
    with torch.no_grad(): buf.update(far(torch.tensor([[3]])))
    assert buf.data[0].tolist() == [1, 2, 3] and w.grad is None

@pytest.mark.parametrize('value', ['1', None, [1.], 1j, torch.tensor(1j), far(torch.tensor(1j)), np.complex64(1), object()])
def test_what_is_no_number_is_refused_and_leaves_no_trace(value):
    buf = HistoryBuffer()
    with pytest.raises(TypeError, match='takes real numbers'): buf.update(value)
    buf.update(2)
    assert buf.data[0].tolist() == [2] and not buf._late

@pytest.mark.parametrize('value', [torch.ones(3), far(torch.ones(3)), np.ones(3)])
def test_more_than_one_number_is_refused_with_its_shape(value):
    with pytest.raises(ValueError, match=r'\(3,\)'): HistoryBuffer().update(value)

@pytest.mark.parametrize('count, error', [(-1, ValueError), (math.nan, ValueError), ('1', TypeError), (torch.tensor(1), TypeError)])
def test_a_count_is_a_number_that_is_not_negative(count, error):
    with pytest.raises(error): HistoryBuffer().update(1., count)

@pytest.mark.parametrize('window, error', [(0, ValueError), (-3, ValueError), (2.5, TypeError), (True, TypeError), ('epoch', TypeError)])
def test_a_window_is_a_positive_whole_number_or_none(window, error):
    for nm in ('mean', 'max', 'min', 'median', 'std', 'quantile'):
        with pytest.raises(error): fill([(1., 1, float)]).statistics(nm, window_size=window)

def test_a_statistic_of_nothing_is_an_error():
    for nm in HistoryBuffer.methods:
        with pytest.raises(ValueError, match='empty'): HistoryBuffer().statistics(nm)

def test_counts_of_zero_give_nan_and_not_an_error():
    buf = HistoryBuffer()
    buf.update(0., 0)
    assert math.isnan(buf.mean())

def test_built_in_statistics_cannot_be_replaced():
    def mean(buf): return 0
    with pytest.raises(ValueError, match='another name'): HistoryBuffer.register_statistics(mean)

def test_a_state_loads_with_weights_only():
    f,buf = io.BytesIO(),fill([(1., 2, float), (3., 1, far_float)])
    torch.save(buf.state_dict(), f)
    f.seek(0)
    new = HistoryBuffer()
    new.load_state_dict(torch.load(f, weights_only=True))
    assert np.array_equal(new.data, buf.data)

def far_float(v): return far(torch.tensor(v))

@pytest.mark.parametrize('dup', [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_copy_shares_nothing(dup):
    a = fill([(1., 1, float), (2., 1, far_float)])
    b = dup(a)
    b.update(9.)
    assert (a.data[0].tolist(), b.data[0].tolist()) == ([1, 2], [1, 2, 9])
