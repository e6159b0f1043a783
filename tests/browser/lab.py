"A real JupyterLab, Notebook 7 beside it, and a notebook page in either, driven as a person would: by mouse, keyboard and eyes."
import json, os, secrets, shutil, socket, subprocess, sys, tempfile, time, urllib.request
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import nbformat
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import sync_playwright

repo = Path(__file__).parents[2]
artifacts = Path(os.environ.get('IR_ARTIFACTS') or repo/'artifacts')
kernelspec = dict(name='python3', display_name='Python 3', language='python')
pythons = {'python', 'python3', f'python3.{sys.version_info.minor}', sys.executable}  # plain names become the server's own
fronts = dict(lab='doc/tree', notebook='notebooks') # the address of a notebook in JupyterLab and in Notebook 7, both of one server
not_ours = "reading 'schema'","'filebrowser:open-path' not registered" # Notebook 7.6 raises these in every page, asking for what it has not loaded yet
lab_settings = {
    'apputils-extension/notification': dict(fetchNews='false', checkForUpdates=False, doNotDisturbMode=True),
    'docmanager-extension/plugin': dict(autosave=False, confirmClosingDocument=False),
    'notebook-extension/tracker': dict(windowingMode='none', scrollPastEnd=False)}

chromium_args = '''--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync'''.split()

@contextmanager
def chromium():
    "Debian's Chromium, or the one named by CHROMIUM"
    exe = os.environ.get('CHROMIUM') or shutil.which('chromium')
    if not exe: raise FileNotFoundError("no Chromium: install it (`apt-get install chromium`) or name its executable in CHROMIUM")
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=exe, args=chromium_args)
        try: yield browser
        finally: browser.close()

task = '''
import time, torch
from torch import nn
from interactive_runner.all import Runner, accuracy
torch.manual_seed(0)
X = torch.randn(640, 8)
data = torch.utils.data.TensorDataset(X, (X[:, 0] > 0).long())
dl,vl = torch.utils.data.DataLoader(data, batch_size=32), torch.utils.data.DataLoader(data, batch_size=64)
model = nn.Linear(8, 2)
sgd,loss = torch.optim.SGD(model.parameters(), .1), nn.CrossEntropyLoss()
def make(*hooks):
    return Runner(model, train_dataloader=dl, val_dataloader=vl, loss_fn=loss, optimizer=sgd, metrics=dict(accuracy=accuracy), max_epochs=30_000,
                  custom_hooks=hooks, log_level='ERROR')
''' # for the first cell of a notebook; no run is done while it is looked at

def free_port():
    "A loopback port that nobody listens on"
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

def wait_for(f, what, timeout=60, every=0.1):
    "Call `f` until it gives something true, and return that"
    end = time.monotonic() + timeout
    while not (res := f()):
        if time.monotonic() > end: raise TimeoutError(f"no {what} within {timeout} s")
        time.sleep(every)
    return res

def check(**given):
    "Refuse what a notebook cannot be opened with"
    for k,allowed in dict(theme=('light', 'dark'), front=tuple(fronts)).items():
        if given.get(k, allowed[0]) not in allowed: raise ValueError(f"unknown {k} {given[k]!r}: choose from {', '.join(allowed)}")

class Lab:
    "A `jupyter lab` of this python, with settings, folder and token of its own"
    def __init__(self,
        root:Path,    # an empty folder: notebooks, settings and the log go here
        browser=None, # Playwright browser in which `open` makes its pages
    ):
        self.root,self.browser,self.token,self.pages = Path(root)/'notebooks',browser,secrets.token_hex(16),[]
        self.settings,self.kept,self.context = {},{},None # kept: front -> the page that `notebook` uses again and again
        self.dirs = {f'{k}_DIR': Path(root)/k.lower() for k in ('JUPYTER_CONFIG', 'JUPYTER_DATA', 'JUPYTER_RUNTIME')}
        self.dirs |= dict(IPYTHONDIR=Path(root)/'ipython', JUPYTERLAB_SETTINGS_DIR=Path(root)/'settings',
                          JUPYTERLAB_WORKSPACES_DIR=Path(root)/'workspaces')
        for d in (self.root, *self.dirs.values()): d.mkdir(parents=True)
        for plugin,kw in lab_settings.items(): self.set(plugin, **kw)
        self.log,self.url,self.proc = Path(root)/'lab.log',None,None

    def set(self,
        plugin:str, # extension and plugin as in 'notebook-extension/tracker'
        **kw,       # its settings, written over the earlier ones
    ):
        "Change user settings of JupyterLab: pages opened from now on have them"
        f = self.dirs['JUPYTERLAB_SETTINGS_DIR']/'@jupyterlab'/f'{plugin}.jupyterlab-settings'
        f.parent.mkdir(parents=True, exist_ok=True)
        self.settings[plugin] = self.settings.get(plugin, {}) | kw
        f.write_text(json.dumps(self.settings[plugin]))

    def start(self,
        *options:str, # more of the command line
    ):
        "Start the server and return when it answers"
        port = free_port()
        self.url = f'http://127.0.0.1:{port}'
        env = {k:v for k,v in os.environ.items() if not k.startswith('JUPYTER')} | {k:str(v) for k,v in self.dirs.items()}
        env['PYTHONPATH'] = os.pathsep.join(filter(None, [str(repo), env.get('PYTHONPATH')]))
        args = dict(ip='127.0.0.1', port=port, port_retries=0, open_browser=False, root_dir=self.root, allow_root=True)
        cmd = [sys.executable, '-m', 'jupyterlab', *(f'--ServerApp.{k}={v}' for k,v in args.items()),
               f'--IdentityProvider.token={self.token}', '--LabApp.news_url=None',
               '--LabApp.extension_manager=readonly', '--expose-app-in-browser', '--JupyterNotebookApp.expose_app_in_browser=True', *options]
        with self.log.open('w') as out: self.proc = subprocess.Popen(cmd, env=env, cwd=self.root, stdout=out, stderr=subprocess.STDOUT)
        wait_for(self._alive, 'answer from jupyter lab')
        argv = self.api('kernelspecs')['kernelspecs']['python3']['spec']['argv']
        if argv[0] not in pythons: raise RuntimeError(f"kernelspec python3 starts {argv[0]}: it must start {sys.executable}")
        return self

    def _alive(self):
        code = self.proc.poll()
        if code is not None: raise RuntimeError(f"jupyter lab ended with code {code}:\n{self.log.read_text()[-4000:]}")
        try: return self.api('status')
        except OSError: return None

    def api(self,
        path:str,     # below /api/
        method='GET',
    ):
        "Call the server's REST API"
        req = urllib.request.Request(f'{self.url}/api/{path}', method=method, headers=dict(Authorization=f'token {self.token}'))
        with urllib.request.urlopen(req, timeout=30) as r: return json.loads(r.read() or 'null')

    def write_notebook(self,
        name:str,   # file name with `.ipynb`, in the server's folder
        cells:list, # sources of its code cells
    ):
        "Write a notebook of code cells"
        nb = new_notebook(cells=[new_code_cell(c.strip()) for c in cells], metadata=dict(kernelspec=kernelspec))
        nbformat.write(nb, self.root/name)
        return name

    def open(self,
        name:str,        # notebook in the server's folder
        theme='light',   # or 'dark'
        width=1400,      # of the window, in pixels
        height=1000,
        front='lab',     # or 'notebook', Notebook 7
    ):
        "Open a notebook in a window of its own, and return it when its kernel is idle"
        check(theme=theme, front=front)
        self.set('apputils-extension/themes', theme=f'JupyterLab {theme.title()}')
        self.context = self.context or self.browser.new_context() # one for all: what JupyterLab is made of is loaded once
        page = NotebookPage(self, self.context.new_page(), name)
        self.pages.append(page)
        page.page.set_viewport_size(dict(width=width, height=height))
        page.page.goto(f'{self.url}/{fronts[front]}/{quote(name)}?token={self.token}')
        return page.wait_idle()

    def notebook(self,
        *cells:str, # sources of its code cells
        front='lab',
        **look,     # theme, width and height
    ):
        "A new notebook in a window that stays open, and in a kernel that has forgotten the one before it but has its modules loaded"
        if front not in self.kept:
            self.kept[front] = self.open(self.write_notebook(f'kept_{front}.ipynb', ['']), front=front)
            self.pages.remove(self.kept[front])
        return self.kept[front].renew(cells, **look)

    def close_pages(self,
        kept=True, # also those that `notebook` uses again
    ):
        "Close windows, and end their kernels"
        if kept:
            self.pages += self.kept.values()
            self.kept.clear()
        names = {p.name for p in self.pages}
        for p in self.pages: p.page.close()
        self.pages.clear()
        for s in self.api('sessions'):
            if s['path'] in names: self.api(f"sessions/{s['id']}", 'DELETE')

    def stop(self):
        "End the server and its kernels"
        if self.proc is None or self.proc.poll() is not None: return
        try: self.api('shutdown', 'POST')
        except OSError: self.proc.terminate()
        try: self.proc.wait(20)
        except subprocess.TimeoutExpired: self.proc.kill()

@contextmanager
def lab_in_browser():
    "A JupyterLab and a browser for it, of which nothing is left at the end"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as root, chromium() as browser:
        lab = Lab(root, browser)
        try: yield lab.start()
        finally: lab.stop()

js_panel = "const panel = window.jupyterapp.shell.currentWidget, nb = panel.content;"
js_idle = """() => {
    const panel = window.jupyterapp?.shell.currentWidget, ctx = panel?.sessionContext;
    return ctx?.isReady && panel.content.widgets.length && ctx.session?.kernel?.status === 'idle'
}"""
js_run = js_panel + """
    window.runs ??= {};
    window.runs[i] = 'running';
    nb.activeCellIndex = i;
    nb.deselectAll();
    window.jupyterapp.commands.execute('notebook:run-cell').finally(() => window.runs[i] = 'done')"""
js_add = js_panel + """
    nb.activeCellIndex = nb.widgets.length - 1;
    await window.jupyterapp.commands.execute('notebook:insert-cell-below');
    nb.activeCell.model.sharedModel.setSource(code);
    return nb.activeCellIndex"""
js_renew = js_panel + """
    const model = nb.model.sharedModel, old = model.cells.length;
    model.insertCells(0, cells.map(source => ({cell_type: 'code', source, metadata: {trusted: true}})));
    model.deleteCellRange(cells.length, cells.length+old);
    window.runs = {};
    await window.jupyterapp.commands.execute('apputils:change-theme', {theme})"""
rest = '''
import sys
for run in list(getattr(sys.modules.get('interactive_runner.live'), 'RUNS', ())): run.stop()
''' # no run plays on
forget = rest + '''
get_ipython().reset()
__import__('gc').collect()
''' # a kernel that is as new, but for the modules that it has loaded
js_ask = js_panel + """
    const future = panel.sessionContext.session.kernel.requestExecute({code, silent: true});
    let said = '';
    future.onIOPub = m => { if (m.header.msg_type === 'stream') said += m.content.text };
    const reply = (await future.done).content;
    if (reply.status !== 'ok') throw new Error(reply.traceback?.join('\\n') ?? reply.status);
    return said.trim()"""
js_error = js_panel + """
    const outs = nb.widgets[i].model.outputs;
    for (let k = 0; k < outs.length; k++) if (outs.get(k).type === 'error') return outs.get(k).toJSON().traceback.join('\\n')"""

class NotebookPage:
    "A notebook open in a browser window; cells are counted from 0"
    def __init__(self, lab, page, name):
        self.lab,self.page,self.name,self.errors = lab,page,name,[]
        page.on('pageerror', lambda e: any(o in str(e) for o in not_ours) or self.errors.append(str(e)))
        self.said = deque(maxlen=5) # the last errors on the page's console, for whoever looks into a failure
        page.on('console', lambda m: self.said.append(m.text) if m.type == 'error' else None)

    def renew(self,
        cells,         # sources of code cells
        theme='light', # or 'dark'
        width=1400,    # of the window, in pixels
        height=1000,
    ):
        "Put these cells in place of all there are, in a kernel that forgets all it had"
        check(theme=theme)
        self.say(forget)
        self.page.bring_to_front() # what is behind another window is drawn rarely
        self.page.mouse.move(0, 0)
        self.page.set_viewport_size(dict(width=width, height=height))
        given = dict(cells=[c.strip() for c in cells], theme=f'JupyterLab {theme.title()}')
        self.page.evaluate(f'async ({{cells, theme}}) => {{ {js_renew} }}', given)
        self.errors.clear()
        return self.wait_idle()

    def say(self, code:str):
        "Run `code` in the kernel, beside all cells, after which the panel would be drawn; what it prints"
        return self.page.evaluate(f'async code => {{ {js_ask} }}', code)

    def ask(self, code:str): return self.say(f'print({code})')

    def wait_idle(self, timeout=60):
        "Wait until the page is drawn and its kernel has nothing to do"
        self.page.wait_for_function(js_idle, timeout=timeout*1000)
        self.page.locator('#jupyterlab-splash').wait_for(state='detached')
        return self

    def reload(self):
        "Load the page again, as a person who presses F5: the kernel lives on"
        self.page.reload()
        return self.wait_idle()

    def save(self):
        "Save the notebook with its outputs"
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")

    def cell(self, i:int):
        "Playwright locator of cell `i`"
        return self.page.locator('.jp-Notebook .jp-Cell').nth(i)

    def run(self,
        i:int,        # number of the cell
        wait=True,    # until it has finished, else it is only started
        timeout=60,   # seconds
        fails=False,  # an error in the cell is expected
    ):
        "Run cell `i`; an error in it is raised here"
        self.page.evaluate(f'i => {{ {js_run} }}', i)
        if wait: self.wait_done(i, timeout, fails)
        return i

    def wait_done(self, i, timeout=60, fails=False):
        "Wait until the cell started by `run` has finished"
        self.page.wait_for_function("i => window.runs[i] === 'done'", arg=i, timeout=timeout*1000)
        err = self.page.evaluate(f'i => {{ {js_error} }}', i)
        if err and not fails: raise AssertionError(f"cell {i} raised\n{err}")

    def add_and_run(self, code:str, wait=True, timeout=60, fails=False):
        "Put a new cell at the end and run it; returns its number"
        return self.run(self.page.evaluate(f'async code => {{ {js_add} }}', code), wait, timeout, fails)

    def output(self, i:int):
        "What a person reads below cell `i`"
        return '\n'.join(self.cell(i).locator('.jp-OutputArea-output:visible').all_inner_texts()).strip()

    def html(self, i:int, most=4000):
        "The beginning of what lies below cell `i`, for whoever looks into a failure"
        return self.cell(i).locator('.jp-Cell-outputArea').inner_html()[:most]

    def wait_output(self,
        i:int,       # number of the cell
        text:str,    # piece to wait for
        timeout=30,  # seconds
    ):
        "Wait until the output of cell `i` has `text` in it; returns the output"
        try: wait_for(lambda: text in self.output(i), f"{text!r} in cell {i}", timeout)
        except TimeoutError as e:
            seen = dict(shows=self.output(i), errors=self.errors, console=list(self.said), html=self.html(i))
            raise TimeoutError(f"{e}; {seen}") from None
        return self.output(i)

    def screenshot(self,
        name:str,  # of the picture, without `.png`
        i=None,    # number of a cell: only its output
    ):
        "Save a picture below `artifacts/screenshots/` and return its path"
        path = artifacts/'screenshots'/f'{name}.png'
        shown = self.page if i is None else self.cell(i).locator('.jp-Cell-outputArea')
        shown.screenshot(path=path)
        return path
