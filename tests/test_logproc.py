"The lines of the log, letter by letter, and the settings that are refused."
import json, warnings
from types import SimpleNamespace
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from interactive_runner.history import HistoryBuffer
from interactive_runner.hub import MessageHub
from interactive_runner.logger import get_logger
from interactive_runner.logproc import LogProcessor, statistic
from interactive_runner.visualizer import LocalVisBackend

@pytest.fixture(autouse=True)
def no_gpu(monkeypatch): monkeypatch.setattr('interactive_runner.logproc.peak_memory', lambda: None)

def run(train=25, val=5, test=7, **kw):
    "What a log processor reads of a runner"
    lens = dict(train=train, val=val, test=test)
    given = dict(message_hub=MessageHub('t'), epoch=0, iter=9, max_epochs=1, max_iters=75, by_epoch=True, loop_length=lens.get)
    return SimpleNamespace(**given | kw)

def trained(n=10, **kw):
    r = run(**kw)
    for i in range(n): r.message_hub.update_scalars(
        {'train/lr': 0.01, 'train/data_time': 0.1, 'train/time': 0.2, 'train/loss': 1.0*i, 'train/loss1': 0.25*i, 'train/loss2': 0.75*i})
    return r

def line(r, i=9, mode='train', proc=None, **kw): return (proc or LogProcessor(**kw)).get_log_after_iter(r, i, mode)[1]

tail = 'lr: 1.0000e-02  time: 0.2000  data_time: 0.1000  loss1: 1.1250  loss2: 3.3750  loss: 4.5000'

def test_a_train_line_by_epoch(): assert line(trained()) == f'Epoch(train) [1][10/25]  {tail}'

def test_numbers_are_padded_to_the_longest_they_can_become():
    assert line(trained(epoch=2, max_epochs=100, train=270), 8) == f'Epoch(train)   [3][  9/270]  {tail}'
    assert line(trained(iter=8, max_iters=9000, by_epoch=False), by_epoch=False) == f'Iter(train) [   9/9000]  {tail}'

def test_a_length_that_nobody_knows_is_a_question_mark():
    assert line(trained(train=None, max_epochs=None)).startswith('Epoch(train) [1][10/?]  lr')
    assert line(trained(max_iters=None, by_epoch=False), by_epoch=False).startswith('Iter(train) [10/?]  lr')

def test_the_time_left_stands_before_the_times():
    r = trained()
    r.message_hub.update_info('eta', 93784.9)
    assert line(r) == f'Epoch(train) [1][10/25]  {tail}'.replace('time: 0.2', 'eta: 1 day, 2:03:04  time: 0.2')

def test_memory_stands_after_the_times(monkeypatch):
    monkeypatch.setattr('interactive_runner.logproc.peak_memory', lambda: 512)
    tag,text = LogProcessor().get_log_after_iter(trained(), 9, 'train')
    assert 'data_time: 0.1000  memory: 512  loss1' in text and tag['memory'] == 512

def test_several_learning_rates_share_an_item_and_no_other_name_joins_them():
    r = run()
    r.message_hub.update_scalars({'train/base_lr': 0.1, 'train/lr': 0.01, 'train/gen.lr': 0.5, 'train/loss_clr': 2., 'training/x': 1.})
    assert line(r) == 'Epoch(train) [1][10/25]  base_lr: 1.0000e-01 lr: 1.0000e-02 gen.lr: 5.0000e-01  loss_clr: 2.0000'

def test_a_line_without_numbers_has_no_trailing_blanks():
    assert line(run()) == 'Epoch(train) [1][10/25]'
    assert line(run(), 4, 'val') == 'Epoch(val) [0][5/5]'
    assert line(run(), 4, 'test') == 'Epoch(test) [5/7]'

def test_a_running_validation_shows_times_and_losses_and_a_test_times():
    r = run(epoch=1)
    for m in ('val', 'test'): r.message_hub.update_scalars({f'{m}/time': 0.5, f'{m}/loss_a': 1., f'{m}/acc': 0.25})
    assert line(r, 0, 'val') == 'Epoch(val) [1][1/5]  time: 0.5000  loss_a: 1.0000'
    assert line(r, 0, 'test') == 'Epoch(test) [1/7]  time: 0.5000'
    assert line(r, 0, 'val', by_epoch=False) == 'Iter(val) [1/5]  time: 0.5000  loss_a: 1.0000'

@pytest.mark.parametrize('marked', [True, False])
def test_what_is_averaged_after_a_validation_is_of_this_validation_alone(marked):
    r,p = run(epoch=2),LogProcessor()
    for t in (99., 1.):
        if marked: r.message_hub.begin_epoch('val')
        for i in range(5):
            r.message_hub.update_scalars({'val/data_time': t/10, 'val/time': t, 'val/loss': t+i})
            running = line(r, i, 'val', p)
        r.message_hub.update_scalar('val/acc', t)
    assert running == 'Epoch(val) [2][5/5]  time: 1.0000  data_time: 0.1000  loss: 3.0000'
    tag,text = p.get_log_after_epoch(r, 5, 'val')
    assert text == 'Epoch(val) [2][5/5]  loss: 3.0000  acc: 1.0000  data_time: 0.1000  time: 1.0000'
    assert tag == pytest.approx(dict(data_time=0.1, time=1., loss=3., acc=1.))

def test_a_metric_named_loss_is_not_averaged_over_validations():
    r = run()
    for v in (8., 2.):
        r.message_hub.begin_epoch('val')
        r.message_hub.update_scalar('val/loss', v)
    assert LogProcessor().get_log_after_epoch(r, 5, 'val')[0] == dict(loss=2.)

def test_a_metric_that_this_validation_lacks_is_not_shown_again():
    r = run()
    r.message_hub.update_scalar('val/acc', 0.5)
    r.message_hub.begin_epoch('val')
    assert LogProcessor().get_log_after_epoch(r, 5, 'val') == ({}, 'Epoch(val) [0][5/5]')

def test_a_validation_that_was_cut_short_says_so():
    assert LogProcessor().get_log_after_epoch(run(val=25), 3, 'val')[1] == 'Epoch(val) [0][ 3/25]'
    assert LogProcessor(by_epoch=False).get_log_after_epoch(run(test=None), 3, 'test')[1] == 'Iter(test) [3/3]'

def test_infos_follow_the_metrics_and_matrices_have_their_own_lines():
    r = run(test=25)
    r.message_hub.update_scalars({'test/time': 1., 'test/acc': 0.5})
    r.message_hub.update_info_dict({'test/note': [1, 2], 'test/cm': torch.tensor([[1, 0], [0, 1]]), 'test/n': np.int64(3)})
    tag,text = LogProcessor().get_log_after_epoch(r, 25, 'test', with_non_scalar=True)
    assert text == 'Epoch(test) [25/25]  acc: 0.5000  note: [1, 2]  cm:\ntensor([[1, 0],\n        [0, 1]])\nn: 3  time: 1.0000'
    assert list(tag) == ['time', 'acc', 'note', 'cm', 'n'] and list(LogProcessor().get_log_after_epoch(r, 25, 'test')[0]) == ['time', 'acc']

def test_hierarchy_keeps_the_mode_in_numbers_and_in_the_line_after_an_epoch():
    r,p = trained(),LogProcessor(log_with_hierarchy=True)
    r.message_hub.update_scalar('val/acc', 0.5)
    tag,text = p.get_log_after_iter(r, 9, 'train')
    assert text == line(r) and tag['train/loss'] == 4.5 and (tag['epoch'], tag['iter']) == (1, 10)
    assert p.get_log_after_epoch(r, 5, 'val') == ({'val/acc': 0.5}, 'Epoch(val) [0][5/5]  val/acc: 0.5000')

def test_entries_replace_a_statistic_or_add_one():
    cfg = [dict(data_src='loss1', method_name='max', window_size='global'),
           dict(data_src='loss2', method_name='quantile', q=0.5, log_name='mid'),
           dict(data_src='train/loss', method_name='min', window_size='epoch', log_name='best')]
    assert line(trained(), 3, custom_cfg=cfg, num_digits=1).endswith('loss1: 2.2  loss2: 3.4  mid: 3.4  best: 6.0  loss: 4.5')

def test_the_window_may_change_in_the_middle_of_a_run():
    r,p = trained(),LogProcessor()
    p.window_size = 2
    assert line(r, proc=p).endswith('loss: 8.5000')
    p.custom_cfg = [dict(data_src='loss', method_name='current')]
    assert line(r, proc=p).endswith('loss: 9.0000')
    with pytest.raises(KeyError): p.custom_cfg = [dict(data_src='loss', method_name='no')]
    assert line(r, proc=p).endswith('loss: 9.0000')

def said(r, proc, ended=False, mode='train'):
    "The warnings of a line"
    with warnings.catch_warnings(record=True) as res:
        warnings.simplefilter('always')
        if ended: proc.get_log_after_epoch(r, 5, mode)
        else: line(r, 4, mode, proc)
    return [str(o.message) for o in res]

def sources(*names): return LogProcessor(custom_cfg=[dict(data_src=o, method_name='max') for o in names])

def test_a_source_that_looks_misspelt_is_named_once_as_soon_as_the_names_are_known():
    p,r = sources('los1', 'xyz', 'train/losses', 'tarin/loss', 'loss1', 'val/loss', 'val/mae'),run(val_loop=object())
    assert said(r, sources('loss')) == []
    r = trained(val_loop=object())
    assert said(r, p) == ["custom_cfg: there is no scalar 'los1' so far. Did you mean 'loss1'?",
                          "custom_cfg: there is no scalar 'train/losses' so far. Did you mean 'loss'?",
                          "custom_cfg: there is no scalar 'tarin/loss' so far. Did you mean 'train/loss'?"]
    assert said(r, p) == []

def test_a_source_that_may_still_come_is_waited_for_until_the_first_validation_is_over():
    p,r = sources('accuracy', 'xyz'),trained(val_loop=object())
    assert said(r, p) == said(r, p, mode='val') == []
    r.message_hub.update_scalar('val/accuracy', 1.)
    assert said(r, p, True, 'val') == ["custom_cfg: there is no scalar 'xyz' so far. There are: accuracy, data_time, loss, loss1, loss2, lr, time"]
    assert said(r, p, True, 'val') == said(r, p) == []

def test_without_a_validation_all_names_are_known_at_the_first_line():
    assert 'There are: data_time' in said(trained(), sources('xyz'))[0]
    assert said(trained(val_loop=object()), sources('train/xyz'))[0].endswith('There are: data_time, loss, loss1, loss2, lr, time')

def test_a_name_in_the_log_that_hides_a_scalar_is_said():
    p = LogProcessor(custom_cfg=[dict(data_src='loss1', method_name='max', log_name='loss2'), dict(data_src='loss', method_name='max', log_name='loss')])
    r = trained()
    r.message_hub.update_scalar('val/loss', 1.)
    assert said(r, LogProcessor(custom_cfg=[dict(data_src='train/loss', method_name='max', log_name='loss')])) == []
    assert said(r, p) == ["custom_cfg: log_name 'loss2' of 'loss1' is also the name of a scalar, which is hidden by it: choose another"]

def test_a_scalar_whose_name_has_no_mode_is_said():
    r = trained()
    r.message_hub.update_scalar('loss_tmp', 1.)
    assert said(r, LogProcessor()) == ["the scalar 'loss_tmp' is in no log, since its name has no mode: write 'train/loss_tmp' for one of training"]

@pytest.mark.parametrize('given, loop, begins', [(True, False, 'Iter(train) [10/75]'), (False, True, 'Epoch(train) [1][10/25]')])
def test_a_log_that_counts_otherwise_than_the_loop_says_so_once_and_counts_as_the_loop(given, loop, begins):
    p,r = LogProcessor(by_epoch=given),trained(by_epoch=loop)
    assert [o.partition(':')[0] for o in said(r, p)] == [f'log_processor has by_epoch={given}, but the training loop counts in '
                                                        f"{'epochs' if loop else 'iterations'}, and so does the log now"]
    assert said(r, p) == [] and line(r, proc=p).startswith(begins)
    assert ('epoch' in p.get_log_after_iter(r, 9, 'train')[0]) == loop

@pytest.mark.parametrize('kw', [dict(window_size='epoch'), dict(custom_cfg=[dict(data_src='loss', method_name='max', window_size='epoch')])])
def test_a_window_of_an_epoch_is_refused_where_the_loop_has_none(kw):
    p = LogProcessor(**kw)
    with pytest.raises(AssertionError, match='no epochs'): p.follow(False)
    assert p.by_epoch

def test_once_it_follows_the_loop_a_new_setting_is_judged_by_the_kind_of_the_loop():
    p = LogProcessor(by_epoch=False)
    with pytest.warns(UserWarning, match='counts in epochs'): p.follow(True)
    p.window_size = 'epoch'
    p.window_size = 10
    with pytest.warns(UserWarning, match='counts in iterations'): p.follow(False)
    with pytest.raises(AssertionError, match='no epochs'): p.window_size = 'epoch'

def test_what_a_line_shows_is_found_again_only_when_keys_or_settings_change(monkeypatch):
    found,fields = [],LogProcessor.fields
    monkeypatch.setattr(LogProcessor, 'fields', lambda self, keys, *args: found.append(len(keys)) or fields(self, keys, *args))
    r,p = trained(),LogProcessor()
    for _ in range(3): line(r, proc=p)
    assert found == [6]
    r.message_hub.update_scalar('train/new', 1.)
    assert line(r, proc=p).endswith('new: 1.0000  loss: 4.5000')
    p.set_rule('loss', 'max')
    assert line(r, proc=p).endswith('new: 1.0000  loss: 9.0000')
    p.window_size = 5
    p.mean_pattern = LogProcessor(mean_pattern='^new').mean_pattern
    p.drop_rule('loss')
    assert line(r, proc=p).endswith('loss1: 2.2500  loss2: 6.7500  new: 1.0000  loss: 9.0000')
    assert line(trained(1), proc=p).endswith('loss: 0.0000')
    assert found == [6, 7, 7, 7, 6]

def test_no_window_in_an_entry_is_all_there_is():
    assert line(trained(30), custom_cfg=[dict(data_src='loss', method_name='mean')]).endswith('loss: 14.5000')

def test_a_loop_that_counts_no_batches_has_lines_too():
    assert line(trained(train=None), None).startswith('Epoch(train) [1][10/?]  lr')

@pytest.mark.parametrize('kw, error, words', [
    (dict(window_size=0), ValueError, 'at least 1'),
    (dict(window_size=2.5), TypeError, 'float'),
    (dict(window_size='epoc'), ValueError, "Did you mean 'epoch'"),
    (dict(window_size='epoch', by_epoch=False), AssertionError, 'by_epoch'),
    (dict(num_digits='4'), TypeError, 'num_digits'),
    (dict(num_digits=-1), ValueError, 'num_digits'),
    (dict(mean_pattern='('), ValueError, 'regular expression'),
    (dict(custom_cfg=dict(data_src='loss')), TypeError, 'list of dicts'),
    (dict(custom_cfg=[dict(method_name='mean')]), AssertionError, 'needs data_src'),
    (dict(custom_cfg=[dict(data_src='loss')]), ValueError, 'needs method_name'),
    (dict(custom_cfg=[dict(data_src='loss', method_name='meen')]), KeyError, "Did you mean 'mean'"),
    (dict(custom_cfg=[dict(data_src='loss', method_name='mean', window_size=-1)]), ValueError, "at least 1"),
    (dict(custom_cfg=[dict(data_src='loss', method_name='mean', window_size='epoch')], by_epoch=False), AssertionError, 'by_epoch'),
    (dict(custom_cfg=[dict(data_src='loss', method_name='current', window_size=3)]), TypeError, 'no window'),
    (dict(custom_cfg=[dict(data_src='loss', method_name='max', beta=3)]), TypeError, "unexpected keyword argument 'beta'"),
    (dict(custom_cfg=[dict(data_src='loss', method_name=max)]), KeyError, 'unknown statistic <built-in function max>'),
    (dict(custom_cfg=[dict(data_src='loss', method_name='max', log_name=3)]), TypeError, 'log_name is text, got 3'),
    (dict(custom_cfg=['loss']), TypeError, r"custom_cfg\[0\] must be a dict with data_src and method_name, got 'loss'"),
    (dict(custom_cfg=[dict(data_src='loss', method_name='mean', window_size=2.5)]), TypeError, 'not float'),
    (dict(custom_cfg=[dict(data_src='loss', method_name='mean'), dict(data_src='a', method_name='max', log_name='loss')]), AssertionError, 'duplicate'),
    (dict(custom_cfg=[dict(data_src=o, method_name='max', log_name='b') for o in 'ab']), AssertionError, 'duplicate'),
])
def test_a_bad_setting_is_refused_at_once(kw, error, words):
    with pytest.raises(error, match=words): LogProcessor(**kw)

def test_an_error_in_a_window_names_the_entry():
    with pytest.raises(ValueError) as e: LogProcessor(custom_cfg=[dict(data_src='loss', method_name='mean', window_size=0)])
    assert e.value.__notes__ == ["This is about window_size in custom_cfg[0] for 'loss'."]

def test_a_statistic_of_ones_own_may_ask_for_a_window():
    def last(buf, window_size): return float(buf.tail(window_size)[0])
    HistoryBuffer.register_statistics(last)
    try: assert line(trained(), custom_cfg=[dict(data_src='loss', method_name='last', window_size=3)]).endswith('loss: 7.0000')
    finally: del HistoryBuffer.methods['last']

def test_an_entry_without_a_window_is_fine_in_a_run_of_iterations():
    assert LogProcessor(by_epoch=False, custom_cfg=[dict(data_src='loss', method_name='current')]).custom_cfg[0]['data_src'] == 'loss'

def test_settings_of_the_user_are_not_changed():
    cfg = [dict(data_src='loss', method_name='mean')]
    LogProcessor(custom_cfg=cfg)
    assert cfg == [dict(data_src='loss', method_name='mean')]

@pytest.mark.parametrize('call, mode', [('get_log_after_iter', 'trian'), ('get_log_after_epoch', 'train')])
def test_a_wrong_mode_is_refused(call, mode):
    with pytest.raises(ValueError, match='choose from'): getattr(LogProcessor(), call)(run(), 0, mode)

@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30), st.sampled_from([1, 3, 10, 'global', 'epoch']))
def test_the_line_shows_the_common_statistic(values, window):
    r = run()
    for v in values: r.message_hub.update_scalar('train/loss', v)
    n = len(values)
    shown = LogProcessor(window).get_log_after_iter(r, n-1, 'train')[0]['loss']
    assert shown == statistic(r.message_hub.get_scalar('train/loss'), 'mean', window, n)
    assert shown == pytest.approx(np.mean(values if isinstance(window, str) else values[-window:]), abs=1e-9)

def test_two_loggers_of_a_name_write_a_line_once_each(capsys, tmp_path):
    a,b = (get_logger('same', file=tmp_path/o/'run.log') for o in 'ab')
    a.info('one')
    a.setLevel('ERROR')
    a.info('two')
    a.close()
    assert capsys.readouterr().out.count('same - INFO - one') == 1
    assert (tmp_path/'a'/'run.log').read_text().count('one') == 1 and not (tmp_path/'b').exists()

def test_each_line_of_numbers_is_strict_json_and_there_at_once(tmp_path):
    b = LocalVisBackend(tmp_path)
    assert not b.file.exists()
    b.add_scalars(dict(loss=float('nan'), t=torch.tensor(0.5), n=np.int64(3), inf=np.float32('inf')), step=4)
    read = lambda: [json.loads(o, parse_constant=lambda c: pytest.fail(c)) for o in b.file.read_text().splitlines()]
    assert read() == [dict(loss=None, t=0.5, n=3, inf=None, step=4)]
    b.close()
    b.add_scalars({}, step=5)
    assert [o['step'] for o in read()] == [4, 5]
