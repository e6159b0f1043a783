"Run notebooks in place, each in a fresh process, and store their outputs, cleaned: a second run changes nothing."
import os, subprocess, sys
from pathlib import Path
from execnb.nbio import read_nb, write_nb
from execnb.shell import CaptureShell
from fastcore.xtras import globtastic, working_directory
from nbdev.clean import nbdev_clean
from nbdev.config import get_config
from nbdev.frontmatter import FrontmatterProc
from nbdev.process import NBProcessor

def all_nbs():
    "Every notebook of the project, as `nbdev_test` finds them"
    return sorted(globtastic(get_config().nbs_path, file_glob='*.ipynb', skip_file_re='^[_.]', skip_folder_re='^[_.]'))

def fill(f):
    "Run notebook `f` and store its outputs; an exception of a cell is raised with the notebook left as it was"
    cfg,proc = get_config(),NBProcessor(f, rm_directives=False)
    flags,dirs = set(cfg.tst_flags.split()),{c.id: getattr(c, 'directives_', None) or {} for c in proc.nb.cells}
    fm = getattr(NBProcessor(f, procs=FrontmatterProc, process=True).nb, 'frontmatter_', {})
    if str(fm.get('skip_exec', '')).lower() == 'true': return
    sys.path.insert(0, str(cfg.config_path))
    os.environ['IN_TEST'] = '1'
    nb,shell = read_nb(f),CaptureShell(f)
    def skip(c):
        d = dirs.get(c.id, {})
        if c.cell_type != 'code' or flags & d.keys() or d.get('eval:', [''])[0].lower() == 'false': return True
        c.outputs = []
    try:
        with working_directory(f.parent): shell.run_all(nb, exc_stop=True, preproc=skip)
    except BaseException:
        if shell.exc: sys.exit(shell.prettytb(f))
        raise
    for o in (o for c in nb.cells for o in c.get('outputs', [])):
        o.get('data', {}).pop('application/vnd.jupyter.widget-view+json', None) # a model that is gone
    write_nb(nb, f)
    nbdev_clean.__wrapped__(str(f))

def main(names):
    "Fill the notebooks `names`, all without any; the exit status is the number of those that failed"
    fs = [Path(o).resolve() for o in names or all_nbs()]
    if len(fs) == 1: return fill(fs[0])
    failed = [f for f in fs if subprocess.run([sys.executable, __file__, str(f)]).returncode]
    for f in failed: print(f'failed: {f.name}', file=sys.stderr)
    return len(failed)

if __name__ == '__main__': sys.exit(main(sys.argv[1:]))
