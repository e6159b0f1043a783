"The harness itself: widgets, mouse and a task on the kernel's own loop, in a real JupyterLab."
import sys

import pytest

setup = '''
import asyncio, sys, interactive_runner
from ipywidgets import Button, HTML, VBox
button,label,count,clicks = Button(description='Add 100'),HTML('idle'),0,0
def clicked(_):
    global count,clicks
    count,clicks = count+100,clicks+1
button.on_click(clicked)
print(sys.executable)'''

play = '''
async def play():
    global count
    while clicks < 2:
        count += 1
        label.value = f'count {count}, clicks {clicks}'
        await asyncio.sleep(0.02)
    label.value = 'stopped by the second click'
task = asyncio.get_running_loop().create_task(play())
VBox([button, label])'''

@pytest.mark.parametrize('front, theme', [('lab', 'light'), ('notebook', 'dark')])
def test_a_click_and_another_cell_reach_a_playing_task(notebook, front, theme):
    nb = notebook(setup, play)
    assert nb.page.evaluate('window.jupyterapp.name') == dict(lab='JupyterLab', notebook='Jupyter Notebook')[front]
    assert nb.output(0) == sys.executable
    nb.wait_output(1, 'clicks 0')
    button = nb.cell(1).get_by_role('button', name='Add 100')
    button.click()
    nb.wait_output(1, 'clicks 1')
    seen = nb.add_and_run('print(count >= 100, task.done())')
    assert nb.output(seen) == 'True False'
    nb.screenshot(f'smoke_{theme}')
    button.click()
    nb.wait_output(1, 'stopped by the second click')
    assert nb.page.locator('body').get_attribute('data-jp-theme-light') == str(theme == 'light').lower()

def test_a_notebook_finds_nothing_of_the_one_before_it_but_the_modules(notebook):
    first = notebook('import fractions\nkept = 1', 'Runner = 2\nRunner')
    second = notebook("print([o for o in ('kept', 'Runner', 'fractions', '_') if globals().get(o)], 'fractions' in __import__('sys').modules)")
    assert second.page is first.page and second.output(0) == '[] True' and second.page.locator('.jp-Notebook .jp-Cell').count() == 1

def test_an_error_in_a_cell_is_raised_unless_expected(notebook):
    nb = notebook()
    with pytest.raises(AssertionError, match='ZeroDivisionError'): nb.add_and_run('1/0')
    assert 'ZeroDivisionError' in nb.output(nb.add_and_run('1/0', fails=True))

def test_a_reload_keeps_the_kernel_and_the_saved_notebook(lab):
    nb = lab.open(lab.write_notebook('reload.ipynb', ['x = 41', 'print(x + 1)']))
    nb.run(0)
    nb.run(1)
    nb.save()
    nb.reload()
    assert nb.output(1) == '42'
    nb.add_and_run('x += 1; print(x)')
    nb.wait_output(2, '42')
