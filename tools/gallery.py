"Drive JupyterLab and Notebook 7 through the runs of the tutorials, and write the pictures of nbs/gallery.ipynb."
import io, sys
from pathlib import Path

import nbformat
from PIL import Image

root = Path(__file__).resolve().parents[1]
out = root/'nbs'/'images'/'gallery'
sys.path.append(str(root/'tests'/'browser'))
from lab import lab_in_browser

MISTAKE = '''
@runner.on('after_val_epoch')
def remember_best(runner):
    runner.message_hub.update_info('best', runner.message_hub.get_scalar('val/acuracy').max())
'''

def taken(tutorial, *pieces):
    "The code of a tutorial as far as the cell with the first of `pieces` in it, and its cells with the others"
    cells = [c.source for c in nbformat.read(root/'nbs'/'tutorials'/f'{tutorial}.ipynb', as_version=4).cells if c.cell_type == 'code']
    first = next(i for i,o in enumerate(cells) if pieces[0] in o)
    return '\n'.join([*cells[:first], *(o for o in cells[first:] if any(p in o for p in pieces))])

FILLED = """() => [...document.querySelectorAll('.ir-chart .bqplot')].filter(o => o.offsetWidth)
  .every(o => o.getBoundingClientRect().right - o.querySelector('.plotarea_background').getBoundingClientRect().right < 40)"""

class Sitting:
    "A run in a page, whose panel has its picture taken"
    digits = ('quickstart', 'runner = Runner(', 'class GradNorm')
    def __init__(self, lab, code=digits, width=1200, height=2800, **kwargs):
        setup = taken(*code)
        self.nb = lab.open(lab.write_notebook('my_run.ipynb', [setup, 'runner']), width=width, height=height, **kwargs)
        for i in range(2): self.nb.run(i, timeout=120)

    def tell(self, code): self.nb.add_and_run(code, timeout=120)
    def press(self, name):
        self.nb.cell(1).get_by_role('button', name=name).first.click()
        self.nb.page.mouse.move(0, 0)
    def wait(self, text): self.nb.wait_output(1, text)

    def picture(self, whole=False):
        "The panel, or the `whole` page, as a PNG of few colours"
        self.nb.cell(1).evaluate('o => o.scrollIntoView()')
        self.nb.page.wait_for_timeout(1000)
        self.nb.page.wait_for_function(FILLED) # a chart that was given more room fills it a while later
        shown = self.nb.page if whole else self.nb.cell(1).locator('.ir-panel:not(.ir-still)').first
        return Image.open(io.BytesIO(shown.screenshot())).convert('RGB').quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)

def ready(lab): return Sitting(lab).picture()

def stepping(lab, **kwargs):
    run = Sitting(lab, **kwargs)
    run.tell("_ = runner.run_until(iter=130, stage='after_train_iter')")
    for hook in ('IterTimerHook', 'LoggerHook'):
        run.press('Hook')
        run.wait(f'next after_train_iter, hook {hook}')
    return run.picture()

def playing(lab, whole=False, **kwargs):
    run = Sitting(lab, **kwargs)
    run.tell('_ = runner.run_until(epoch=4)\nrunner.train_loop.max_epochs = 400')
    run.press('Play')
    run.wait('running')
    return run.picture(whole)

def error(lab):
    run = Sitting(lab)
    run.tell('_ = runner.run_until(epoch=4)' + MISTAKE)
    run.press('Play')
    run.wait('KeyError')
    return run.picture()

def own_loop(lab):
    run = Sitting(lab, ('gan', 'runner = Runner(', 'def roundness'))
    run.tell("_ = runner.run_until(iter=600, stage='after_generator_step')")
    return run.picture()

PICTURES = dict(ready=ready, stepping=stepping, playing=playing, error=error, own_loop=own_loop,
                dark=lambda lab: stepping(lab, theme='dark'), narrow=lambda lab: playing(lab, width=800), wide=lambda lab: playing(lab, width=1800),
                notebook7=lambda lab: playing(lab, whole=True, front='notebook', height=1350))

def main(names):
    "Take the pictures called `names`, all without any"
    if strange := set(names)-set(PICTURES): sys.exit(f"no picture is called {', '.join(strange)}; there are {', '.join(PICTURES)}")
    out.mkdir(exist_ok=True)
    with lab_in_browser() as lab:
        for name in names or PICTURES:
            PICTURES[name](lab).save(file := out/f'{name}.png', optimize=True)
            lab.close_pages()
            print(f'{file.relative_to(root)}: {file.stat().st_size//1000} kB', flush=True)

if __name__ == '__main__': main(sys.argv[1:])
