"Write constraints.txt: the exact versions of all that .venv holds."
import re, subprocess, sys
from pathlib import Path

head = '# made by `make pins` from `pip freeze --all`, our own package and local suffixes like +cpu left out'

def pins(frozen):
    "The lines of `frozen` that pin a package, sorted"
    own = re.compile(r'interactive[_-]runner\b|-e |#')
    lines = [re.sub(r'\+.*', '', o) for o in frozen.splitlines() if '==' in o and not own.match(o)]
    return sorted(lines, key=str.lower)

if __name__ == '__main__':
    frozen = subprocess.run([sys.executable, '-m', 'pip', 'freeze', '--all'], capture_output=True, text=True, check=True).stdout
    f = Path(__file__).resolve().parents[1]/'constraints.txt'
    f.write_text('\n'.join([head, *pins(frozen)]) + '\n')
