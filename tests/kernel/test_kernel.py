"Runs in a real kernel, of both generations: cells, clicks, signals, errors, re-runs."
import random
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[1]/'browser'))
from kernel import Kernel
from lab import forget

SETUP = '''
import asyncio, gc, time, torch
from collections import Counter
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from interactive_runner import Runner
x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
def make(model=None, **given):
    torch.manual_seed(0)
    model = model or nn.Linear(4, 2)
    class Slow:
        def after_train_iter(self, runner): time.sleep(.005)
    class Tells:
        def before_train_iter(self, runner): print('iteration', runner.iter, flush=True)
    parts = dict(train_dataloader=DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), 8, shuffle=True), loss_fn=nn.functional.cross_entropy,
                 optimizer=torch.optim.Adam(model.parameters()), max_epochs=1000, seed=0, log_level='ERROR', custom_hooks=[Slow(), Tells()])
    return Runner(model, **parts | given)
def tasks(): return [t for t in asyncio.all_tasks() if '_play' in repr(t.get_coro())]
def held():
    gc.collect()
    kinds = Counter(map(type, gc.get_objects()))
    return sum(n for k,n in kinds.items() if issubclass(k, torch.Tensor)),kinds.total()
def runs(): gc.collect(); return [o for o in gc.get_objects() if type(o) is Runner]
'''


@pytest.fixture(scope='module')
def kernels():
    "Kernels by their generation, which tests use in turn"
    kernels = {}
    yield kernels
    for k in kernels.values(): k.close()


@pytest.fixture(params=[6, 7])
def kernel(kernels, request):
    "A kernel that has forgotten what the test before did; a new one after a test that failed, or ended it"
    if request.param not in kernels: kernels[request.param] = Kernel(request.param)
    k,failed = kernels[request.param],request.session.testsfailed
    k.run(forget)
    k.run(SETUP)
    yield k
    if request.session.testsfailed > failed or not k.manager.is_alive(): kernels.pop(request.param).close()


def held(kernel):
    "How many tensors and objects there are, once the widgets of earlier panels are closed and it was said to the front end"
    for _ in range(3): kernel.run('_ = gc.collect(); await asyncio.sleep(.05)')
    return eval(kernel.value('held()'))


def test_a_runner_cell_that_is_run_twenty_times_leaves_one_task_and_one_runner_and_memory_stays_flat(kernel):
    for last in ('runner.play()', 'runner'):
        for i in range(10):
            kernel.run(f'runner = make()\nrunner.play()\n{last}', cell='the-runner')
            kernel.run('await asyncio.sleep(.02)')
            if i == 2: tensors,objects = held(kernel)
        now = held(kernel)
        assert now[0] <= tensors+5 and now[1] < objects*1.01, f'seven more runs: {tensors} tensors, {objects} objects became {now}'
    assert kernel.value('len(tasks())') == '1'
    assert kernel.value('len(runs())') == '1'
    assert kernel.value('runner.status') == 'running'


def test_two_runners_made_in_one_cell_play_side_by_side_and_another_of_the_same_model_pauses_its_like(kernel):
    kernel.run('a,b = make(),make()\na.play(); b.play()', cell='two')
    kernel.wait('a.iter > 3 and b.iter > 3', True)
    kernel.run('c = make(a.model)', cell='third')
    assert kernel.value('a.status, b.status, c.status') == 'paused running ready'
    kernel.run('a.play(); c.step()')
    assert kernel.value('a.status, c.status') == 'paused paused'


@pytest.mark.parametrize('kernel, where', [(6, 'main'), (7, 'main'), (7, 'subshell')], indirect=['kernel']) # subshells came with ipykernel 7
def test_clicks_play_step_and_pause_and_what_a_hook_prints_appears_below_the_panel(kernel, where):
    shell = kernel.subshell() if where == 'subshell' else None
    kernel.run('runner = make()')
    panel = kernel.send('runner.panel')
    kernel.listen(lambda: kernel.is_idle(panel), 'the panel')
    kernel.click("runner.panel.transport.steps['iter']", shell)
    kernel.listen(lambda: 'iteration 0' in kernel.printed(panel), 'print of the clicked step')
    kernel.wait('runner.status, runner.iter', 'paused 1')
    kernel.click('runner.panel.transport.play', shell)
    kernel.listen(lambda: 'iteration 9' in kernel.printed(panel), 'prints of the run')
    kernel.wait('runner.status, runner.panel.transport.play.description', 'running Pause')
    kernel.click('runner.panel.transport.play', shell)
    kernel.wait('runner.status', 'paused')
    before = kernel.value('runner.iter')
    kernel.run('await asyncio.sleep(.2)')
    assert kernel.value('runner.iter') == before


def test_an_interrupt_pauses_a_playing_run_and_the_kernel_lives_on(kernel):
    kernel.run('runner = make(custom_hooks=[]); runner.play(); first = runner.model.weight.clone()')
    for _ in range(5):
        kernel.wait('runner.status', 'running')
        kernel.run('await asyncio.sleep(.05)')
        kernel.manager.interrupt_kernel()
        kernel.wait('runner.status', 'paused')
        kernel.run('_ = runner.play()')
    kernel.run('runner.pause(); n = runner.iter; straight = make(custom_hooks=[])')
    kernel.run("straight.run_until(iter=n); _ = runner.run_until(iter=n+1, stage='fetch'); _ = straight.run_until(iter=n+1, stage='fetch')")
    assert kernel.value('torch.equal(runner.model.weight, straight.model.weight), torch.equal(first, runner.model.weight)') == 'True False'


def interrupt_cell(kernel, code):
    "Run `code` in a cell and interrupt it there"
    cell = kernel.send(code)
    kernel.listen(lambda: any(c['execution_state'] == 'busy' for c in kernel.of(cell, 'status')), 'the cell to begin')
    time.sleep(.5)
    kernel.manager.interrupt_kernel()
    kernel.listen(lambda: kernel.is_idle(cell), 'the end of the cell')
    assert kernel.of(cell, 'error')[0]['ename'] == 'KeyboardInterrupt'


def test_an_interrupt_of_a_blocking_train_ends_its_cell_and_the_run_goes_on_later(kernel):
    kernel.run('runner = make(custom_hooks=[])')
    interrupt_cell(kernel, 'runner.train()')
    assert kernel.value('runner.status') == 'paused'
    kernel.run('n = runner.iter; runner.step()')
    assert kernel.value('runner.iter - n') == '1'


def test_a_busy_cell_is_interrupted_as_usual_while_a_run_plays(kernel):
    kernel.run('runner = make(custom_hooks=[]); runner.play()')
    kernel.wait('runner.iter > 3', True)
    interrupt_cell(kernel, 'while True: pass')
    n = int(kernel.value('runner.iter'))
    kernel.wait(f'runner.status, runner.iter > {n}', 'running True')


def test_two_hundred_interrupts_of_a_playing_run_tear_nothing_and_the_kernel_lives_on(kernel):
    kernel.run("""runner,pauses = make(max_epochs=10**6, custom_hooks=[]),0
async def again():
    global pauses
    while True:
        if runner.status in ('ready', 'paused'): runner.play(); pauses += 1
        await asyncio.sleep(0)
task = asyncio.create_task(again())""")
    rnd = random.Random(0)
    for _ in range(200):
        time.sleep(rnd.random()*.012)
        kernel.manager.interrupt_kernel()
    assert int(kernel.value('pauses')) > 50, 'the interrupts came too late to be noticed'
    kernel.run("task.cancel(); runner.pause(); n = runner.iter; straight = make(max_epochs=10**6, custom_hooks=[])")
    kernel.run("_ = runner.run_until(iter=n+1, stage='fetch'); _ = straight.run_until(iter=n+1, stage='fetch')")
    assert kernel.value('torch.equal(runner.model.weight, straight.model.weight), n > 100') == 'True True'


def test_interrupts_in_pairs_end_neither_a_playing_run_nor_its_kernel(kernel):
    kernel.run('runner = make(custom_hooks=[]); first = runner.model.weight.clone()')
    for _ in range(5):
        kernel.run('_ = runner.play()')
        kernel.run('await asyncio.sleep(.05)')
        for _ in range(2): kernel.manager.interrupt_kernel()
        kernel.wait('runner.status', 'paused')
    kernel.run("n = runner.iter; _ = runner.run_until(iter=n+1, stage='fetch'); straight = make(custom_hooks=[])")
    kernel.run("_ = straight.run_until(iter=n+1, stage='fetch')")
    assert kernel.value('torch.equal(runner.model.weight, straight.model.weight), torch.equal(first, runner.model.weight)') == 'True False'


@pytest.mark.parametrize('error', ['SystemExit', 'KeyboardInterrupt', 'StopIteration', 'asyncio.CancelledError'])
def test_a_hook_that_raises_what_ends_programs_ends_neither_the_kernel_nor_the_run(kernel, error):
    kernel.run(f"""runner = make(custom_hooks=[]); left = [1]
@runner.on('after_forward')
def leave(runner):
    if runner.iter == 3 and left: raise {error}(left.pop())
_ = runner.play()""")
    kernel.wait('runner.status', 'error')
    assert error.split('.')[-1] in kernel.value('repr(runner.error)')
    kernel.run('_ = runner.play()')
    kernel.wait('runner.iter > 5 and runner.status', 'running')


def test_a_run_whose_variable_is_overwritten_plays_on_obeys_its_panel_and_is_freed_at_its_end(kernel):
    kernel.run('import weakref; runner = make(custom_hooks=[], max_epochs=50)')
    kernel.send('runner.panel')
    kernel.run('ref,panel = weakref.ref(runner),runner.panel; _ = runner.play()')
    kernel.run('runner = None; _ = None')
    kernel.wait('len(tasks()), ref().status', '1 running')
    kernel.click('panel.transport.play')
    kernel.wait('ref().status', 'paused')
    kernel.click('panel.transport.play')
    kernel.wait('ref() is None or ref().status == "done"', True)
    kernel.run('del panel')
    kernel.wait('len(tasks()), len(runs())', '0 0')


def test_a_kernel_told_to_end_while_a_run_plays_lets_hooks_save_first(kernel, tmp_path):
    kernel.run(f"""runner = make(custom_hooks=[])
@runner.on('on_exception')
def save(runner): torch.save(dict(iter=runner.iter, line=runner.position.line, weight=runner.model.weight), {str(tmp_path/'last.pth')!r})
_ = runner.play()""")
    kernel.wait('runner.iter > 3', True)
    kernel.manager.signal_kernel(signal.SIGTERM)
    for _ in range(100):
        if not kernel.manager.is_alive(): break
        time.sleep(.1)
    assert kernel.manager.provisioner.process.returncode == -signal.SIGTERM
    saved = torch.load(tmp_path/'last.pth')
    assert saved['iter'] > 3 and saved['weight'].shape == (2, 4)
