"A real kernel, driven by messages as a front end does."
import os, queue, subprocess, sys, time
from collections import defaultdict
from pathlib import Path

from jupyter_client import BlockingKernelClient, KernelManager
from jupyter_client.kernelspec import KernelSpec

repo = Path(__file__).parents[2]
older = repo/'.venv'/'ipykernel6' # another ipykernel, which shadows the installed one

class Kernel:
    "An ipykernel of this Python; `ipykernel` is 7, the installed one, or 6"
    def __init__(self, ipykernel=7):
        paths = [str(repo), os.environ.get('PYTHONPATH')]
        if ipykernel == 6: paths.insert(0, str(older))
        env = os.environ | dict(PYTHONPATH=os.pathsep.join(filter(None, paths)), PYDEVD_DISABLE_FILE_VALIDATION='1')
        self.manager = KernelManager(transport_encryption='auto')
        argv = [sys.executable, '-m', 'ipykernel_launcher', '-f', '{connection_file}']
        self.manager._kernel_spec = KernelSpec(argv=argv, display_name='test', language='python')
        self.manager.start_kernel(env=env, stderr=subprocess.DEVNULL)
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.heard,self.about = [],defaultdict(list) # all that came over iopub; the same by the id of the message that it is about
        got = int(self.value("__import__('ipykernel').version_info[0]"))
        if got != ipykernel: raise RuntimeError(f"the kernel has ipykernel {got}, not {ipykernel}: run `make install`")

    def close(self):
        "End the kernel"
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def send(self, code:str, cell:str=None):
        "Send a cell for execution; the id of the message"
        content = dict(code=code, silent=False, store_history=True, user_expressions={}, allow_stdin=False, stop_on_error=False)
        msg = self.client.session.msg('execute_request', content, metadata=dict(cellId=cell) if cell else {})
        self.client.shell_channel.send(msg)
        return msg['header']['msg_id']

    def listen(self, until, what, timeout=60):
        "Take in what the kernel publishes until `until()` is true"
        end = time.monotonic()+timeout
        while not until():
            if time.monotonic() > end: raise TimeoutError(f"no {what} within {timeout} s; heard {self.heard[-5:]}")
            try: msg = self.client.iopub_channel.get_msg(timeout=.2)
            except queue.Empty: continue
            self.heard.append(msg)
            self.about[msg['parent_header'].get('msg_id')].append(msg)

    def of(self, msg_id, kind): return [m['content'] for m in self.about[msg_id] if m['msg_type'] == kind]
    def is_idle(self, msg_id): return any(c['execution_state'] == 'idle' for c in self.of(msg_id, 'status'))
    def printed(self, msg_id): return ''.join(c['text'] for c in self.of(msg_id, 'stream'))

    def run(self, code:str, cell:str=None, fails=False):
        "Execute a cell; what it printed"
        msg_id = self.send(code, cell)
        self.listen(lambda: self.is_idle(msg_id), f'end of {code!r:.80}')
        errors = self.of(msg_id, 'error')
        if errors and not fails: raise AssertionError('\n'.join(errors[0]['traceback']))
        return self.printed(msg_id)

    def value(self, expr:str): return self.run(f'print({expr})').strip()

    def click(self, button:str, subshell:str=None):
        "Press a button widget, named by an expression, as a browser does; the id of the message"
        comm = self.value(f'{button}.model_id')
        msg = self.client.session.msg('comm_msg', dict(comm_id=comm, data=dict(method='custom', content=dict(event='click'))))
        msg['header']['subshell_id'] = subshell
        self.client.shell_channel.send(msg)
        return msg['header']['msg_id']

    def subshell(self):
        "Open another shell of the kernel, a thread of its own"
        msg = self.client.session.msg('create_subshell_request', {})
        self.client.control_channel.send(msg)
        while (reply := self.client.control_channel.get_msg(timeout=20))['parent_header'].get('msg_id') != msg['header']['msg_id']: pass
        return reply['content']['subshell_id']

    def wait(self, expr:str, value, timeout=60):
        "Ask again and again until `expr` is `value`"
        end = time.monotonic()+timeout
        while (got := self.value(expr)) != str(value):
            if time.monotonic() > end: raise TimeoutError(f"{expr} is {got}, not {value}")
            time.sleep(.05)
