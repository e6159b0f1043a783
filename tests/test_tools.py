"The scripts in tools/: what does not need a whole project to be seen."
import importlib.util, shutil, subprocess, sys
from pathlib import Path
import nbformat
import pytest

root = Path(__file__).resolve().parents[1]

def tool(name):
    "The script `name` as a module"
    spec = importlib.util.spec_from_file_location(f'tool_{name}', root/'tools'/f'{name}.py')
    mod = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mod)
    return mod

@pytest.mark.parametrize('md, want', [
    ('![a](images/panel.png)',           '![a](nbs/images/panel.png)'),
    ('[q](tutorials/quickstart.ipynb#x)', '[q](nbs/tutorials/quickstart.ipynb#x)'),
    ('[l](../LICENSE)',                  '[l](LICENSE)'),
    ('<img src="images/p.png" width=3>', '<img src="nbs/images/p.png" width=3>'),
    ('[![a](images/a.svg)](../x)',       '[![a](nbs/images/a.svg)](x)'),
    ('[x](https://a.b/c) [h](#top)',     '[x](https://a.b/c) [h](#top)'),
    ('`[a](b)`\n```\n[a](b)\n```\n',     '`[a](b)`\n```\n[a](b)\n```\n'),
])
def test_links_of_the_index_point_to_the_same_place_from_the_readme(md, want): assert tool('readme').moved(md, 'nbs') == want

def test_pins_leave_out_ourselves_and_local_suffixes():
    frozen = 'torch==2.13.0+cpu\n-e git+x#egg=y\nPyYAML==6.0.3\n# Editable install\ninteractive_runner==0.1.0\nattrs==26.1.0'
    assert tool('pins').pins(frozen) == ['attrs==26.1.0', 'PyYAML==6.0.3', 'torch==2.13.0']

def project(path, *cells):
    "A project in `path` with one notebook of these code cells"
    (path/'nbs').mkdir()
    (path/'pkg').mkdir()
    (path/'settings.ini').write_text((root/'settings.ini').read_text().replace('lib_path = interactive_runner', 'lib_path = pkg'))
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nbformat.write(nb, path/'nbs'/'a.ipynb')
    return path/'nbs'/'a.ipynb'

def fill(nb): return subprocess.run([sys.executable, root/'tools'/'fill.py', nb.name], cwd=nb.parent, capture_output=True, text=True)

def test_filling_stores_outputs_drops_stale_ones_and_the_second_time_changes_nothing(tmp_path):
    nb = project(tmp_path, 'a = 6*7', 'a', '#| gpu\n1/0', '#| eval: false\n1/0')
    old = nbformat.read(nb, as_version=4)
    old.cells[0].outputs = [nbformat.v4.new_output('stream', text='stale')]
    nbformat.write(old, nb)
    assert fill(nb).returncode == 0
    first = nb.read_text()
    assert 'stale' not in first
    assert nbformat.reads(first, as_version=4).cells[1].outputs[0].data['text/plain'] == '42'
    assert fill(nb).returncode == 0 and nb.read_text() == first

def test_filling_a_notebook_that_fails_names_the_error_and_leaves_the_file_alone(tmp_path):
    nb = project(tmp_path, '1', '1/0')
    before = nb.read_text()
    res = fill(nb)
    assert res.returncode == 1 and 'ZeroDivisionError' in res.stderr
    assert nb.read_text() == before

def test_the_sync_check_names_an_exported_module_that_was_edited_by_hand(tmp_path):
    for o in ('settings.ini', 'pyproject.toml', 'README.md'): shutil.copy(root/o, tmp_path)
    for o in ('tools/sync.py', 'tools/readme.py', 'nbs/index.ipynb', 'nbs/00_core.ipynb', 'interactive_runner/__init__.py'):
        (tmp_path/o).parent.mkdir(exist_ok=True)
        shutil.copy(root/o, tmp_path/o)
    sync = lambda: subprocess.run([sys.executable, 'tools/sync.py'], cwd=tmp_path, capture_output=True, text=True)
    sync()
    assert sync().returncode == 0
    core = tmp_path/'interactive_runner'/'core.py'
    core.write_text(core.read_text() + 'x = 1\n')
    res = sync()
    assert res.returncode == 1 and res.stderr.split()[-1] == 'interactive_runner/core.py'
    assert sync().returncode == 0
