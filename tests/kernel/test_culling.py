"A server that ends idle kernels leaves those alone in which a run plays, and only those."
import json, sys, time
from pathlib import Path
from urllib.error import HTTPError

import pytest
from jupyter_client import BlockingKernelClient

sys.path.append(str(Path(__file__).parents[1]/'browser'))
from kernel import Kernel
from lab import Lab, wait_for

IDLE = 6 # seconds after which the server ends a kernel; it takes less to start one
SETUP = '''
import logging, time, torch
from torch import nn
from interactive_runner import Runner, live
live.PULSE = {pulse}
class Slow:
    def after_train_iter(self, runner): time.sleep(.005)
model = nn.Linear(4, 2)
runner = Runner(model, train_dataloader=[(torch.randn(8, 4), torch.zeros(8).long())]*100, loss_fn=nn.functional.cross_entropy, log_level='ERROR',
                optimizer=torch.optim.SGD(model.parameters(), lr=.1), max_epochs=10**6, custom_hooks=[Slow()])
_ = runner.play()
'''

@pytest.fixture(scope='module')
def server(tmp_path_factory):
    "A server that ends kernels soon, connected or not"
    lab = Lab(tmp_path_factory.mktemp('culling'))
    options = dict(cull_idle_timeout=IDLE, cull_interval=1, cull_connected=True)
    try: yield lab.start(*(f'--MappingKernelManager.{k}={v}' for k,v in options.items()))
    finally: lab.stop()

class Remote:
    "A kernel of `server`, which its tests speak to past the server"
    def __init__(self, server):
        self.server,self.id = server,server.api('kernels', 'POST')['id']
        file = next(server.dirs['JUPYTER_RUNTIME_DIR'].glob(f'kernel-{self.id}.json'))
        self.client = BlockingKernelClient()
        self.client.load_connection_info(json.loads(file.read_text()))
        self.client.start_channels(hb=False) # the heart of a kernel that starts on a busy machine may miss a beat
        self.client.wait_for_ready(timeout=60)
    def __enter__(self): return self
    def __exit__(self, *exc): self.client.stop_channels()
    def is_alive(self):
        try: return bool(self.server.api(f'kernels/{self.id}'))
        except HTTPError: return False
    def run(self, code):
        "Execute a cell; what it printed"
        printed = []
        reply = self.client.execute_interactive(code, timeout=60, output_hook=lambda m: printed.append(m['content'].get('text', '')))
        assert reply['content']['status'] == 'ok', reply['content']
        return ''.join(printed).strip()

def test_a_silent_run_outlives_the_culler_while_it_plays_and_not_when_it_is_paused(server):
    with Remote(server) as silent:
        silent.run(SETUP.format(pulse=.5))
        before = int(silent.run('print(runner.iter)'))
        with Remote(server) as other: # spoken to later, so that it would be ended later
            other.run(SETUP.format(pulse=10**6))
            wait_for(lambda: not other.is_alive(), 'end of the kernel that gives no sign of life', 60)
        assert silent.is_alive()
        status,n = silent.run('print(runner.status, runner.iter)').split()
        assert status == 'running' and int(n) > before+20*IDLE
        silent.run('_ = runner.pause()')
        assert silent.is_alive()
        wait_for(lambda: not silent.is_alive(), 'end of the kernel whose run is paused', 60)


@pytest.mark.parametrize('ipykernel', [6, 7])
def test_a_kernel_gives_signs_of_life_only_while_a_run_plays(ipykernel):
    kernel = Kernel(ipykernel)
    signs = lambda: sum(m['content'].get('comm_id') == 'interactive_runner' for m in kernel.heard)
    try:
        kernel.run(SETUP.format(pulse=.05))
        kernel.listen(lambda: signs() > 5, 'signs of life')
        kernel.run('_ = runner.pause()')
        before = signs()
        time.sleep(.5)
        kernel.run('pass')
        assert signs() == before
    finally: kernel.close()
