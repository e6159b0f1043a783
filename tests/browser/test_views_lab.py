"The panel as a whole in a real JupyterLab: lines to run to, folding, several panels, single views, and what stays without a kernel."
import re, subprocess, sys

import pytest

from lab import fronts, wait_for
from test_panel_lab import press, setup

@pytest.fixture
def open_nb(notebook): return lambda *cells: notebook(setup, *cells, height=1600)

def button(nb, text): return nb.cell(1).locator('.ir-panel button:visible').filter(has_text=re.compile(rf'^\s*{text}\s*$')).first
def marked(nb, cell=1): return nb.cell(cell).locator('.ir-here .ir-text').inner_text().strip()
def number_of(nb, text): return nb.cell(1).locator('.ir-def:not(.ir-idle) .ir-gutter').and_(nb.page.locator(f'[title$=", {text}"]')).first

@pytest.mark.parametrize('front', fronts)
def test_a_line_number_runs_to_that_line_by_mouse_and_by_keyboard(open_nb):
    nb = open_nb('runner')
    nb.add_and_run("_ = runner.run_until(stage='before_train_iter')")
    nb.wait_output(1, 'next before_train_iter')
    number_of(nb, 'backward').hover()
    nb.screenshot('run_to_here', 1)
    number_of(nb, 'backward').click()
    nb.wait_output(1, 'next backward')
    assert marked(nb) == 'yield self.backward' and nb.ask('runner.position.line, runner.iter') == "backward 0"
    number_of(nb, 'forward').focus()
    nb.page.keyboard.press('Enter')
    nb.wait_output(1, 'next forward')
    assert marked(nb) == 'yield self.forward' and nb.ask('runner.iter') == '1'

@pytest.mark.parametrize('front', fronts)
def test_every_button_can_be_pressed_by_keyboard(open_nb):
    nb = open_nb('runner')
    def hit(name, key='Enter'):
        button(nb, name).focus()
        nb.page.keyboard.press(key)
    for name,key,text in (('Hook', 'Enter', 'hook IterTimerHook'), ('Line', 'Space', 'next before_train'), ('Iteration', 'Enter', 'iteration 1'),
                          ('Epoch', 'Space', 'epoch 1'), ('Play', 'Enter', 'running'), ('Pause', 'Space', 'paused'), ('Stop', 'Enter', 'stopped')):
        if name == 'Hook': nb.add_and_run("_ = runner.run_until(stage='before_train_epoch')")
        hit(name, key)
        nb.wait_output(1, 'hook' if name == 'Hook' else 'next' if name == 'Line' else text)

@pytest.mark.parametrize('front', fronts)
def test_the_loop_makes_room_while_the_run_plays_and_a_person_can_have_it_back(open_nb):
    nb = open_nb('runner')
    loop = nb.cell(1).locator('.ir-loop')
    assert loop.is_visible()
    press(nb, 'Play')
    loop.wait_for(state='hidden')
    place = button(nb, 'Pause').bounding_box()
    button(nb, 'Loop').focus()
    nb.page.keyboard.press('Enter')
    loop.wait_for(state='visible')
    assert button(nb, 'Pause').bounding_box() == place, 'what is pressed stays in its place'
    button(nb, 'Loop').click()
    loop.wait_for(state='hidden')
    press(nb, 'Pause')
    loop.wait_for(state='visible')

def test_panels_and_single_views_of_one_run_are_in_step(open_nb):
    nb = open_nb('runner', 'runner.panel.hooks', 'from interactive_runner.ui.panel import Panel\nother = Panel(runner)\nother')
    for i in (1, 2, 3): nb.cell(i).locator('.ir-row', has_text='Talk').first.wait_for()
    nb.cell(2).get_by_label('Talk', exact=True).click()
    for i in (1, 2, 3): nb.cell(i).locator('.ir-row.ir-off', has_text='Talk').first.wait_for()
    nb.screenshot('hooks_alone', 2)
    press(nb, 'Iteration')
    for i in (1, 3): nb.wait_output(i, 'iteration 1')
    assert nb.cell(2).locator('.ir-loop').count() == 0

@pytest.mark.parametrize('front', fronts)
def test_the_picture_is_there_when_the_kernel_is_gone(lab, front):
    nb = lab.open(lab.write_notebook(f'picture_{front}.ipynb', [setup, 'runner']), height=1600, front=front)
    for i in range(2): nb.run(i, timeout=120)
    press(nb, 'Epoch')
    nb.wait_output(1, 'epoch 1')
    assert nb.cell(1).locator('.ir-still').count() == 1 and not nb.cell(1).locator('.ir-still').is_visible(), 'not beside a live panel'
    nb.cell(1).locator('.ir-still .ir-word', has_text='paused').wait_for(state='attached')
    nb.save()
    nb.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    iteration = nb.ask('runner.iter')
    lab.close_pages(kept=False)
    again = lab.open(nb.name, height=1600, front=front)
    still = again.cell(1).locator('.ir-still')
    still.locator('img').wait_for()
    assert f'iteration {int(iteration):,}' in still.inner_text() and 'train/loss' in still.inner_text()
    assert 'Error displaying widget' not in again.output(1)
    again.screenshot(f'without_kernel_{front}', 1)
    assert not nb.errors+again.errors
    if front != 'lab': return
    subprocess.run([sys.executable, '-m', 'nbconvert', '--to', 'html', nb.name], cwd=lab.root, check=True, capture_output=True)
    page = again.page.context.new_page()
    page.goto((lab.root/nb.name).with_suffix('.html').as_uri())
    assert page.locator('.ir-still img').first.is_visible() and page.locator('img[src=x]').count() == 0
    page.close()

def test_the_lines_of_a_playing_run_are_in_the_panel_and_not_below_it(open_nb):
    nb = open_nb('runner.logger.setLevel(20)\nrunner')
    def streams(): return nb.page.evaluate("""() => { const outs = window.jupyterapp.shell.currentWidget.content.widgets[1].model.outputs;
        return [...Array(outs.length).keys()].map(k => outs.get(k).toJSON()).filter(o => o.output_type === 'stream').map(o => o.text).join('') }""")
    def epoch(): return int(nb.ask('runner.epoch'))
    press(nb, 'Play')
    wait_for(lambda: nb.ask('runner.panel.echo.live') == 'True', 'answer of the browser, until which the lines are printed')
    before,n = streams(),epoch()
    wait_for(lambda: epoch() >= n+3, 'three more epochs')
    after = streams()
    assert after.count('begins') >= before.count('begins')+3, 'what a hook prints is still printed'
    assert after.count('Epoch(') == before.count('Epoch(')

@pytest.mark.parametrize('front', fronts)
def test_keys_pressed_in_a_list_of_choices_choose_and_are_no_commands_of_the_notebook(open_nb):
    nb = open_nb('runner')
    cells = nb.page.locator('.jp-Notebook .jp-Cell').count()
    stage = nb.cell(1).locator('.ir-stagechoice select')
    stage.focus()
    nb.page.keyboard.press('ArrowDown')
    assert stage.input_value() == 'before_run'
    nb.page.keyboard.press('a')
    assert stage.input_value().startswith('a') and nb.page.locator('.jp-Notebook .jp-Cell').count() == cells
    button(nb, 'Hook').focus()
    nb.page.keyboard.press('a')
    assert nb.page.locator('.jp-Notebook .jp-Cell').count() == cells+1, 'elsewhere the keys are those of JupyterLab'

@pytest.mark.parametrize('front', fronts)
def test_the_answers_to_an_error_by_mouse_and_by_keyboard(open_nb):
    nb = open_nb('''
@runner.on('after_backward')
def fails(runner):
    if runner.iter >= 3: raise ValueError(f'told {runner.iter}')
runner''')
    def answer(name, key=None):
        if key is None: return button(nb, name).click()
        button(nb, name).focus()
        nb.page.keyboard.press(key)
    def told(n, times): # the n-th iteration, the hook having been called so often
        nb.wait_output(1, f'ValueError: told {n}')
        wait_for(lambda: nb.ask("runner.status, runner.hooks['fails'].calls, len(runner.player.acks)") == f'error 3 {times}', 'the answer')
    press(nb, 'Play')
    told(3, 1)
    assert button(nb, 'Retry').evaluate("o => o.classList.contains('ir-main')") and not button(nb, 'Play').evaluate("o => o.classList.contains('ir-main')")
    for times,(name,key,n) in enumerate((('Retry', None, 3), ('Retry', 'Enter', 3), ('Skip', None, 4), ('Skip', 'Enter', 5)), 2):
        answer(name, key)
        told(n, times)
    answer('Stop')
    nb.wait_output(1, 'stopped')
    press(nb, 'Play')
    nb.wait_output(1, 'ValueError: told 5')
    nb.add_and_run("_ = runner.register_hook(type('Fine', (), dict(after_backward=lambda self, runner: None))(), name='fails')")
    nb.wait_output(1, 'fails has been replaced since: Retry runs the new one')
    nb.screenshot('banner_replaced', 1)
    answer('Disable fails', 'Enter')
    nb.wait_output(1, 'running')
    assert nb.ask("runner.hooks['fails'].enabled") == 'False'
