"The laws of the house: who may import whom, and that each module has its notebook."
import ast, json, re, subprocess, sys
from dataclasses import dataclass
from pathlib import Path
import pytest

root = Path(__file__).resolve().parents[1]
pkg = 'interactive_runner'
by_hand = {'__init__', 'all', '_modidx'}
jupyter = {'IPython', 'ipykernel', 'ipywidgets', 'bqplot', 'jupyter_client', 'jupyter_core', 'nbclient', 'nbformat', 'traitlets', 'comm'}
drawing = {'ipywidgets', 'bqplot', 'IPython', 'matplotlib'}

@dataclass(order=True)
class Page:
    "A notebook and the module it exports; pages are ordered as they are read"
    name: str
    path: Path
    mod: str
    cells: list
    @property
    def floor(self): return int(self.name[0])

def pages(root):
    "The numbered notebooks under `root` which export a module"
    for p in sorted((root/'nbs').rglob('[0-9]*.ipynb')):
        if '.ipynb_checkpoints' in p.parts: continue
        cells = [''.join(c['source']) for c in json.loads(p.read_text())['cells'] if c['cell_type'] == 'code']
        mod = re.search(r'^#\|\s*default_exp\s+(\S+)', '\n'.join(cells), re.M)
        if mod: yield Page(p.stem, p, mod[1], cells)

def source(root, mod): return root/pkg/f"{mod.replace('.', '/')}.py"

def modules(root):
    "The dotted names of the modules in the package that are not written by hand"
    names = (p.relative_to(root/pkg).with_suffix('').as_posix().replace('/', '.') for p in (root/pkg).rglob('*.py'))
    return {o for o in names if o.split('.')[-1] not in by_hand}

def imported(tree, mod='', everywhere=True):
    "The absolute names that `tree`, the module `mod` of the package, imports, those in functions too where `everywhere`"
    todo = list(tree.body)
    while todo:
        n = todo.pop(0)
        if isinstance(n, ast.Import): yield from (o.name for o in n.names)
        elif isinstance(n, ast.ImportFrom):
            base = '.'.join([pkg, *mod.split('.')][:-n.level]) if n.level else ''
            base = '.'.join(filter(None, [base, n.module]))
            yield from (f'{base}.{o.name}' for o in n.names)
        elif everywhere or not isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)): todo += ast.iter_child_nodes(n)

def own(names, known):
    "Of absolute `names` those of our package: the module each lies in, or the package itself"
    for nm in names:
        parts = nm.split('.')
        if parts[0] != pkg or parts[1:] == ['__version__']: continue
        hits = ['.'.join(parts[1:i]) for i in range(len(parts), 1, -1)]
        yield next((h for h in hits if h in known), pkg)

def top(names): return {o.partition('.')[0] for o in names}

def cell_trees(page):
    "The cells of a notebook that are plain Python once magics are left out"
    for src in page.cells:
        try: yield ast.parse(re.sub(r'^\s*[%!].*$', '', src, flags=re.M))
        except SyntaxError: pass

def breaches(root):
    "Each breach of the law of floors under `root`, as a sentence"
    house = {p.mod: p for p in pages(root)}
    for p in house.values():
        if not source(root, p.mod).exists(): continue
        tree = ast.parse(source(root, p.mod).read_text())
        names = set(imported(tree, p.mod))
        shown = {o for t in cell_trees(p) for o in imported(t) if o.split('.')[0] == pkg}
        for o in sorted({*own(names | shown, house)} - {p.mod}):
            if o == pkg: yield f'{p.name} imports the package itself'
            elif house[o].name >= p.name: yield f'{p.name} imports {house[o].name}, which comes later'
        if p.floor == 1:
            pure = {pkg, 'fastcore', *sys.stdlib_module_names}
            for o in sorted(top(names) - pure): yield f'{p.name} is of the pure engine and imports {o}'
        if p.floor == 0:
            for o in sorted(top(names) & {'torch', 'numpy', *jupyter}): yield f'{p.name} is below the pure engine and imports {o}'
        if p.floor < 8:
            for o in sorted(top(imported(tree, p.mod, everywhere=False)) & drawing): yield f'{p.name} is below the panel and imports {o}'

def strangers(root):
    "Each module without a notebook and each notebook without its module, as a sentence"
    made,found = {p.mod for p in pages(root)},modules(root)
    yield from (f'{o} has no notebook' for o in sorted(found - made))
    yield from (f'{o} was not exported' for o in sorted(made - found))

def test_every_page_imports_only_from_pages_before_it_and_what_its_floor_may(): assert not list(breaches(root))

def test_every_module_has_a_notebook_and_every_notebook_its_module(): assert not list(strangers(root))

def test_no_two_notebooks_export_to_the_same_module():
    mods = [p.mod for p in pages(root)]
    assert len(mods) == len(set(mods))

def test_importing_the_package_loads_nothing_that_draws():
    code = f'import sys; sys.path.insert(0, {str(root)!r}); import {pkg}; print(*sorted({drawing!r} & sys.modules.keys()))'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.strip() == ''

def build(root, **texts):
    "A made-up project: `_10_bad='import torch'` is the notebook 10_bad and its module"
    for k,txt in texts.items():
        nm,mod = k[1:].replace('__', '.'),k[4:].replace('__', '.')
        cells = [dict(cell_type='code', source=s) for s in (f'#| default_exp {mod}', '#| export\n' + txt)]
        for p,s in ((root/'nbs'/f'{nm}.ipynb', json.dumps(dict(cells=cells))), (source(root, mod), txt)):
            p.parent.mkdir(parents=True, exist_ok=True)
            p.write_text(s)
    return root

good = dict(_00_core='import difflib', _10_stage='from .core import choices', _60_hooks__base='def f():\n    import matplotlib',
            _80_ui__panel='import ipywidgets\nfrom ..hooks.base import f\nfrom .. import core, __version__')

def test_the_checker_finds_nothing_in_a_project_that_keeps_the_law(tmp_path):
    build(tmp_path, **good)
    assert not [*breaches(tmp_path), *strangers(tmp_path)]

@pytest.mark.parametrize('page, txt, breach', [
    ('_01_bad', 'from .stage import x',                    '01_bad imports 10_stage, which comes later'),
    ('_01_bad', 'def f():\n    from . import stage',       '01_bad imports 10_stage, which comes later'),
    ('_01_bad', 'import interactive_runner.stage as s',    '01_bad imports 10_stage, which comes later'),
    ('_01_bad', 'from interactive_runner.all import *',    '01_bad imports the package itself'),
    ('_50_bad', 'from .ui.panel import x',                 '50_bad imports 80_ui.panel, which comes later'),
    ('_60_hooks__a', 'from .base import f',                '60_hooks.a imports 60_hooks.base, which comes later'),
    ('_11_bad', 'import torch',                            '11_bad is of the pure engine and imports torch'),
    ('_11_bad', 'def f():\n    from numpy import array',   '11_bad is of the pure engine and imports numpy'),
    ('_00_bad', 'import torch.nn as nn',                   '00_bad is below the pure engine and imports torch'),
    ('_41_bad', 'try: import IPython\nexcept Exception: ...', '41_bad is below the panel and imports IPython'),
])
def test_the_checker_finds_the_breach_in_a_bad_module(tmp_path, page, txt, breach):
    build(tmp_path, **good, **{page: txt})
    assert breach in list(breaches(tmp_path))

def test_the_checker_finds_a_lesson_cell_that_uses_a_later_page(tmp_path):
    build(tmp_path, **good)
    p = tmp_path/'nbs'/'00_core.ipynb'
    nb = json.loads(p.read_text())
    nb['cells'].append(dict(cell_type='code', source=['%time 1\n', 'from interactive_runner.stage import x']))
    p.write_text(json.dumps(nb))
    assert list(breaches(tmp_path)) == ['00_core imports 10_stage, which comes later']

def test_the_checker_finds_modules_without_notebooks_and_notebooks_without_modules(tmp_path):
    build(tmp_path, **good)
    (tmp_path/pkg/'left.py').write_text('')
    source(tmp_path, 'core').unlink()
    assert list(strangers(tmp_path)) == ['left has no notebook', 'core was not exported']
