"Fail if package, notebooks or README are not what `nbdev_export`, `nbdev_clean` and tools/readme.py make of the notebooks."
import subprocess, sys
from hashlib import sha256
from pathlib import Path

root = Path(__file__).resolve().parents[1]
skip = {'__pycache__', '.ipynb_checkpoints'}

def hashes(root):
    "The hash of each file that is a notebook or made from one: unlike `git status`, of use in a dirty work tree too"
    fs = [root/'README.md', root/'pyproject.toml', *(root/'nbs').rglob('*'), *(root/'interactive_runner').rglob('*')]
    return {p.relative_to(root).as_posix(): sha256(p.read_bytes()).hexdigest() for p in fs if p.is_file() and not skip & set(p.parts)}

def remake(root):
    "Export, clean and write the README again"
    bins = Path(sys.executable).parent
    for cmd in ([bins/'nbdev_export'], [bins/'nbdev_clean'], [sys.executable, 'tools/readme.py']): subprocess.run(cmd, cwd=root, check=True)

def differing(a, b):
    "The names of files that are not the same in both"
    return sorted(f for f in a.keys() | b.keys() if a.get(f) != b.get(f))

if __name__ == '__main__':
    before = hashes(root)
    remake(root)
    diff = differing(before, hashes(root))
    if diff: sys.exit('out of date, now made again, look them over and commit:\n  ' + '\n  '.join(diff))
    print(f'{len(before)} files in sync')
