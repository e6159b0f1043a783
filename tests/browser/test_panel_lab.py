"The panel in a real JupyterLab: pressed by mouse and keyboard, read by eye, reloaded."
import re

import pytest

from lab import fronts, task, wait_for

setup = task + '''
class Slow:
    def after_train_iter(self, runner): time.sleep(.005)
class Talk:
    def before_train_epoch(self, runner): print('epoch', runner.epoch, 'begins')
runner = make(Slow(), Talk())
runner.hooks.register(Slow(), name='<img src=x onerror=window.hacked=1>').off()
runner.message_hub.update_scalar('train/<img src=x onerror=window.hacked=1>', 1.)'''

@pytest.fixture
def nb(notebook):
    nb = notebook(setup, 'runner')
    nb.wait_output(1, 'ready')
    return nb

def press(nb, name): nb.cell(1).get_by_role('button', name=name).first.click()
def wait_epoch(nb, n):
    "Wait until the panel has drawn the n-th epoch, or one after it"
    wait_for(lambda: (m := re.search(r'([\d,]+) / 30,000', nb.output(1))) and int(m[1].replace(',', '')) >= n, f'epoch {n}')

@pytest.mark.parametrize('theme', ['light', 'dark'])
@pytest.mark.parametrize('front', fronts)
def test_play_pause_and_steps_by_mouse(nb, front, theme):
    assert nb.output(1).count('<img src=x onerror') >= 2, 'names are text'
    press(nb, 'Play')
    nb.wait_output(1, 'running')
    wait_epoch(nb, 2)
    nb.wait_output(1, 'epoch 2 begins') # what hooks print appears below the panel
    assert nb.ask('runner.status') == nb.output(nb.add_and_run('print(runner.status)')) == 'running'
    assert nb.page.locator('body').get_attribute('data-jp-theme-light') == str(theme == 'light').lower()
    nb.cell(1).scroll_into_view_if_needed()
    nb.screenshot(f'panel_running_{front}_{theme}', 1)
    press(nb, 'Pause')
    nb.wait_output(1, 'paused')
    nb.add_and_run("_ = runner.run_until(stage='before_train_iter')")
    n = int(nb.ask('runner.iter'))
    press(nb, 'Iteration')
    nb.wait_output(1, f'iteration {n+1:,}')
    assert nb.ask('runner.iter') == str(n+1)
    nb.add_and_run("_ = runner.run_until(stage='after_train_iter')")
    nb.wait_output(1, 'next after_train_iter')
    press(nb, 'Hook')
    nb.wait_output(1, 'hook IterTimerHook')
    nb.screenshot(f'panel_paused_{front}_{theme}', 1)
    for step,text in (('Line', 'next commit'), ('Epoch', f'epoch {int(nb.ask("runner.epoch"))+1}'), ('Stop', 'stopped')):
        press(nb, step)
        nb.wait_output(1, text)

@pytest.mark.parametrize('front', fronts)
def test_switch_priority_and_window_by_keyboard(nb):
    nb.cell(1).get_by_label('Slow', exact=True).focus()
    nb.page.keyboard.press('Space')
    nb.wait_output(1, 'off Slow')
    assert nb.ask("runner.hooks['Slow'].enabled") == 'False'
    box = nb.cell(1).locator('.ir-window input')
    box.fill('epoch')
    box.press('Enter')
    nb.wait_output(1, 'window epoch')
    assert nb.ask('runner.log_processor.window_size') == 'epoch'
    box = nb.cell(1).locator('.ir-row', has_text='Talk').locator('.ir-priority input')
    box.fill('high')
    box.press('Enter')
    nb.wait_output(1, 'priority high for Talk')
    assert nb.ask("runner.hooks['Talk'].priority") == '30'

def test_an_error_is_shown_and_answered(nb):
    nb.add_and_run("@runner.on('after_backward')\ndef broken(runner): return undefined_name")
    press(nb, 'Play')
    nb.wait_output(1, "name 'undefined_name' is not defined")
    nb.cell(1).get_by_text('traceback', exact=True).first.click()
    nb.wait_output(1, 'Traceback (most recent call last)')
    nb.screenshot('panel_error', 1)
    press(nb, 'Disable broken')
    nb.wait_output(1, 'running')
    press(nb, 'Stop')
    nb.wait_output(1, 'stopped')
    assert not nb.cell(1).get_by_text('undefined_name').first.is_visible()

def test_a_blocking_call_makes_the_buttons_grey_and_other_cells_redraw(nb):
    i = nb.add_and_run('runner.train(epochs=20)', wait=False)
    nb.wait_output(1, 'train() keeps the kernel busy')
    assert nb.cell(1).get_by_role('button', name='Play').first.is_disabled()
    nb.page.evaluate("() => window.jupyterapp.commands.execute('notebook:interrupt-kernel')")
    nb.wait_done(i, fails=True)
    nb.wait_output(1, 'paused')
    nb.add_and_run("_ = runner.hooks['Slow'].off()")
    nb.wait_output(1, 'paused')
    assert 'ir-off' in nb.cell(1).locator('.ir-row', has_text='Slow').first.get_attribute('class')

@pytest.mark.parametrize('front', fronts)
def test_a_page_loaded_again_while_the_run_plays_finds_the_panel_live(nb):
    press(nb, 'Play')
    wait_epoch(nb, 1)
    nb.save()
    nb.reload()
    nb.wait_output(1, 'running')
    before = int(nb.ask('runner.iter'))
    wait_epoch(nb, before//20+2) # drawn again, a pass of 20 batches later
    press(nb, 'Pause')
    nb.wait_output(1, 'paused')
    assert nb.ask('runner.status') == 'paused'

def test_nothing_sticks_out(nb):
    press(nb, 'Play')
    wait_epoch(nb, 1)
    press(nb, 'Pause')
    nb.wait_output(1, 'paused')
    js = """() => { const p = document.querySelector('.ir-panel:not(.ir-still)'), r = p.getBoundingClientRect();
        const out = s => s.width && (s.right > r.right+2 || s.left < r.left-2);
        return [...p.querySelectorAll('.ir-grid > *, button, .ir-row, .ir-line, table, svg.svg-figure')]
            .filter(o => out(o.getBoundingClientRect())).map(o => o.outerHTML.slice(0, 90)) }"""
    for width in (800, 1200, 1800):
        nb.page.set_viewport_size(dict(width=width, height=1000))
        wait_for(lambda: nb.page.evaluate(js) == [], f'order at {width}', 5)
        nb.screenshot(f'panel_{width}', 1)
