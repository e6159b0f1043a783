"""What the panel costs a run that plays iterations of 5 ms, in a real kernel with JupyterLab in a real browser attached.

While the run plays, windows in which the panel is drawn and windows in which it stands still take turns; shown are the median and, in brackets, the quartiles.
What the kernel spends is CPU time for each iteration, so that other programs disturb less. How soon the panel appears is told by the clock on the wall."""
import json, sys
from pathlib import Path

import psutil

from _measure import arguments, report, row

sys.path.append(str(Path(__file__).parents[1]/'tests'/'browser'))
from lab import lab_in_browser, wait_for

SETUP = '''
import asyncio, gc, json, time, psutil, torch
from pathlib import Path
from torch import nn
from interactive_runner import Runner
torch.set_num_threads(1)

def spin(seconds, start):
    while time.thread_time() < start+seconds: pass

class Busy:
    "Five milliseconds of work, in which numbers are reported"
    def __init__(self, scalars): self.names = [f'train/part_{i}/loss' for i in range(scalars)]
    def after_train_iter(self, runner):
        start = time.thread_time()
        for nm in self.names: runner.message_hub.update_scalar(nm, .5)
        spin(.005, start)

class Idle:
    def after_train_iter(self, runner): pass

def make(scalars, hooks):
    model = nn.Linear(4, 2)
    runner = Runner(model, train_dataloader=[(torch.randn(8, 4), torch.zeros(8).long())]*100, loss_fn=nn.functional.cross_entropy, log_level='ERROR',
                    optimizer=torch.optim.SGD(model.parameters(), lr=.1), max_epochs=10**6, custom_hooks=[Busy(scalars)])
    while len(runner.hooks) < hooks: runner.hooks.register(Idle(), name=f'Idle{len(runner.hooks)}')
    runner.step()
    return runner

def slow_view(panel, seconds=.05):
    "Let a view of `panel` take its time"
    refresh = panel.logs.refresh
    def slow():
        start = time.thread_time()
        refresh()
        spin(seconds, start)
    panel.logs.refresh = slow

def browser_cpu(pid):
    cpu = 0.
    for p in [(top := psutil.Process(pid)), *top.children(recursive=True)]:
        try: cpu += sum(p.cpu_times()[:2])
        except psutil.NoSuchProcess: pass
    return cpu

async def compare(runner, rounds, seconds, pid, file):
    "What windows cost in which the panel is drawn, and in which it is not"
    board,watchers,refreshed = runner.panel.board,runner.player.watchers,0.
    def watch():
        nonlocal refreshed
        start = time.thread_time()
        board.watch()
        refreshed += time.thread_time()-start
    def marks():
        return dict(wall=time.perf_counter(), iters=runner.iter, thread=time.thread_time(), process=time.process_time(), refreshed=refreshed,
                    spent=board.rate.spent, drawn=board.rate.drawn, browser=browser_cpu(pid))
    async def window(on):
        watchers[:] = [o for o in watchers if o not in (watch, board.watch)] + [watch]*on
        await asyncio.sleep(.2)
        before = marks()
        await asyncio.sleep(seconds)
        return {k: v-before[k] for k,v in marks().items()}
    pairs = []
    for r in range(rounds): pairs.append([await window(False), await window(True)])
    watchers.append(board.watch)
    watchers.remove(watch)
    Path(file+'.part').write_text(json.dumps(pairs))
    Path(file+'.part').rename(file)
'''
SHOW = '''
runner.panel.close()
start = time.perf_counter()
display(runner)
took = time.perf_counter()-start
'''
CASES = {'a small run': (0, 0), '200 scalars, 60 hooks': (200, 60)} # scalars, hooks
LIMIT = 3000 # messages, and kilobytes, that a server with its usual settings lets through in three seconds

WATCH = '''() => {
    window.moved = window.began = performance.now()
    const seen = new MutationObserver(() => window.moved = performance.now())
    seen.observe(document.querySelector('.jp-Notebook'), {childList: true, subtree: true, attributes: true, characterData: true}) }'''
STILL = "() => window.runs[1] === 'done' && performance.now() > window.moved+1000 && window.moved-window.began"

class Bench:
    "A notebook with a run in it and the panel below a cell"
    def __init__(self, lab, scalars, hooks):
        self.lab,self.heard = lab,[]
        self.nb = lab.open(lab.write_notebook(f'run_{scalars}_{hooks}.ipynb', [SETUP, SHOW]), width=1600, height=1400)
        self.nb.page.on('websocket', lambda ws: '/api/kernels/' in ws.url and ws.on('framereceived', lambda o: self.heard.append(len(o))))
        self.nb.reload()
        self.nb.run(0, timeout=120)
        self.nb.add_and_run(f'runner = make({scalars}, {hooks})')

    def ask(self, code): return float(self.nb.output(self.nb.add_and_run(f'print({code})')))

    def appears(self):
        "Show the panel anew: seconds in the kernel, seconds until nothing in the page moves any more, messages and their bytes"
        self.nb.add_and_run('runner.panel.close()')
        self.heard.clear()
        self.nb.page.evaluate(WATCH)
        self.nb.run(1, wait=False)
        still = self.nb.page.wait_for_function(STILL, timeout=120_000).json_value()/1e3
        seen = len(self.heard),sum(self.heard)
        return self.ask('took'),still,*seen

    def plays(self, rounds, seconds, prepare=''):
        "Pairs of windows of the playing run: the panel stands still, the panel is drawn"
        out = self.lab.root/'windows.json'
        out.unlink(missing_ok=True)
        pid = max(psutil.Process().children(recursive=True), key=lambda p: 'chrom' in p.name() and len(p.children())).pid
        self.nb.add_and_run(f'runner.play()\n{prepare}\ntask = asyncio.create_task(compare(runner, {rounds}, {seconds}, {pid}, {str(out)!r}))')
        wait_for(out.exists, 'end of the windows', 60+rounds*seconds*6)
        self.nb.add_and_run('_ = runner.pause()')
        return json.loads(out.read_text())

def rows(pairs, panel='the panel'):
    "What the windows tell"
    per = lambda k, o: o[k]/o['iters']
    share = lambda k: [100*(1-per(k, off)/per(k, on)) for off,on in pairs]
    drawn = [on for _,on in pairs]
    return [row(f'{panel}, share of the thread of the run', '%', share('thread'), 3),
            row('the same, of all threads of the kernel', '%', share('process')),
            row('its drawing alone, share of the thread', '%', [100*o['refreshed']/o['thread'] for o in drawn], 3),
            row('by its own account, of the clock', '%', [100*o['spent']/o['wall'] for o in drawn], 3),
            row('a drawing', 'ms', [1e3*o['refreshed']/o['drawn'] for o in drawn if o['drawn']]),
            row('drawings per second', '', [o['drawn']/o['wall'] for o in drawn]),
            row('the browser, while the panel is drawn', '% of a core', [100*o['browser']/o['wall'] for o in drawn]),
            row('the browser, while it stands still', '% of a core', [100*o['browser']/o['wall'] for o,_ in pairs])]

def sections(args, lab):
    "Titles and rows, as they are measured"
    rounds,seconds,shows = (2, 3, 2) if args.quick else (8, 5, 7)
    for title,(scalars,hooks) in CASES.items():
        bench = Bench(lab, scalars, hooks)
        kernel,still,messages,size = zip(*(bench.appears() for _ in range(shows)))
        yield f'{title}: the panel appears',[
            row('made and sent by the kernel', 's', kernel), row('until nothing moves in the page', 's', still),
            row('messages', '', messages, LIMIT), row('their size', 'kB', [o/1e3 for o in size], LIMIT)]
        yield f'{title}: the run plays',rows(bench.plays(rounds, seconds))
        if not scalars: yield 'a view that takes 50 ms to draw',rows(bench.plays(max(rounds//2, 2), 2*seconds, 'slow_view(runner.panel)'))
        lab.close_pages()

if __name__ == '__main__':
    args = arguments(__doc__, 'about a minute and a half').parse_args()
    with lab_in_browser() as lab: report(args, sections(args, lab))
