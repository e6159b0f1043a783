"Run the quickstart notebook in a kernel, print what its cells print, and say where its results lie."
import os, re, sys
from pathlib import Path
import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

root = Path(__file__).resolve().parents[1]
src,out = root/'nbs'/'tutorials'/'quickstart.ipynb',root/'artifacts'

class Client(NotebookClient):
    "Runs this Python, whatever kernel the user has registered as `python3`, and passes on what cells print when they print it"
    def create_kernel_manager(self):
        specs = KernelSpecManager(kernel_dirs=[f'{sys.prefix}/share/jupyter/kernels'], ensure_native_kernel=True)
        self.km = AsyncKernelManager(kernel_name='python3', kernel_spec_manager=specs, transport_encryption='auto')
        return self.km

    def process_message(self, msg, *args, **kwargs):
        if msg['header']['msg_type'] == 'stream':
            content = msg['content']
            print(content['text'], end='', flush=True, file=sys.stderr if content['name'] == 'stderr' else sys.stdout)
        return super().process_message(msg, *args, **kwargs)

def execute(nb):
    "Run `nb` where it lies; the message of what went wrong, or `None`"
    try: Client(nb, timeout=600, resources=dict(metadata=dict(path=str(src.parent)))).execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as e: return re.sub(r'\x1b\[[0-9;]*m', '', str(e))

def main():
    "Run the demo; a text is the reason why it failed"
    if not src.exists(): return f'{src.relative_to(root)} is missing.'
    nb,dest,pic = nbformat.read(src, as_version=4),out/src.name,out/f'{src.stem}.png'
    out.mkdir(exist_ok=True)
    for f in (dest, pic): f.unlink(missing_ok=True)
    os.environ['IR_ARTIFACTS'] = str(out)
    err = execute(nb)
    nbformat.write(nb, dest)
    print(f'\nexecuted notebook: {dest.relative_to(root)}')
    if err: return f'A cell of {src.relative_to(root)} failed:\n{err}'
    if not pic.exists(): return f'The notebook ran, but left no picture at {pic.relative_to(root)}.'
    print(f'picture: {pic.relative_to(root)}')

if __name__ == '__main__': sys.exit(main())
