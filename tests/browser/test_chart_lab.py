"The chart in a real JupyterLab: each control by mouse and by keyboard, values read off, a part looked at closely, a person's acts marked."
import re

import pytest
from lab import fronts, task, wait_for

evil = '<img src=x onerror=window.hacked=1>'
setup = task + f'''
class Extra:
    def after_train_iter(self, runner): pass
runner = make(Extra())
runner.hooks.register(Extra(), name='{evil}')
c = runner.panel.chart'''

@pytest.fixture
def nb(notebook):
    nb = notebook(setup, 'c', width=1000)
    nb.chart,nb.plot = nb.cell(1).locator('.ir-view'),nb.cell(1).locator('.ir-chart-plot')
    nb.plot.locator('.svg-figure').first.wait_for(state='attached')
    return nb

def go(nb, n): nb.add_and_run(f"_ = runner.run_until(iter={n})")
def told(nb, code, expected): wait_for(lambda: nb.ask(code) == expected, f'{expected} as {code}', 10)
def chips(nb): return nb.chart.locator('.ir-chart-chip').all_inner_texts()
def ticks(nb, side=0): return [o for o in nb.plot.locator('.axis').nth(side).locator('.tick text').all_text_contents() if o]
def pale(nb): return len([o for o in nb.plot.locator('.curve .area').evaluate_all("a => a.map(o => o.getAttribute('d'))") if o])
def keys(nb, where, *keys):
    where.focus()
    for o in keys: nb.page.keyboard.press(o)
def tool(nb, label): return nb.chart.get_by_label(label, exact=True)
def select(nb, cls): return nb.chart.locator(f'{cls} select')

@pytest.mark.parametrize('front', fronts)
def test_metrics_and_axes_by_mouse_and_keyboard(nb):
    nb.wait_output(1, 'No numbers yet')
    assert not nb.plot.locator('.bqplot').first.is_visible()
    go(nb, 1)
    nb.plot.locator('.dot').first.wait_for()
    wait_for(lambda: nb.plot.locator('.dot').count() == 1 and 'No numbers yet' not in nb.output(1), 'one point')
    nb.add_and_run(f"runner.message_hub.update_scalar('train/{evil}', 1.)")
    go(nb, 160)
    wait_for(lambda: chips(nb) == ['train/loss', 'val/loss'], 'the losses')
    box = nb.chart.get_by_placeholder('add a metric')
    box.focus()
    nb.page.keyboard.type('acc\n')
    nb.wait_output(1, 'val/accuracy')
    nb.page.keyboard.type('img\n') # the box has kept the focus
    nb.wait_output(1, f'train/{evil}')
    nb.page.keyboard.type('nothing\n')
    nb.wait_output(1, "no metric 'nothing'")
    nb.chart.locator('.ir-chart-chip', has_text='img').click()
    wait_for(lambda: len(chips(nb)) == 3, 'three metrics')
    keys(nb, nb.chart.locator('.ir-chart-chip', has_text='accuracy'), 'Space')
    wait_for(lambda: chips(nb) == ['train/loss', 'val/loss'], 'two metrics')
    select(nb, '.ir-chart-by').select_option('by epoch')
    wait_for(lambda: '8' in ticks(nb)[-1:], 'epochs')
    keys(nb, select(nb, '.ir-chart-by'), 'Space', 'ArrowDown', 'Enter')
    wait_for(lambda: 'seconds of training' in nb.plot.locator('.axislabel').all_text_contents(), 'time')
    keys(nb, select(nb, '.ir-chart-by'), 'Home')
    wait_for(lambda: '160' in ticks(nb)[-1:], 'iterations')
    linear = ticks(nb, 1)
    tool(nb, 'log').click()
    wait_for(lambda: ticks(nb, 1) != linear, 'a logarithmic axis')
    keys(nb, tool(nb, 'log'), 'Space')
    wait_for(lambda: ticks(nb, 1) == linear, 'a linear axis')
    assert pale(nb) > 0
    tool(nb, 'values').click()
    wait_for(lambda: pale(nb) == 0, 'no pale band')
    keys(nb, tool(nb, 'values'), 'Space')
    wait_for(lambda: pale(nb) > 0, 'a pale band')

def sent(nb):
    "What the page sends to the kernel from now on"
    nb.page.evaluate("""() => { window.sent = 0; if (!window.real) { window.real = WebSocket.prototype.send;
        WebSocket.prototype.send = function(...a) { window.sent++; return window.real.apply(this, a) } } }""")
    return lambda: nb.page.evaluate('window.sent')

def over(nb, share, y=.5):
    r = nb.plot.locator('.plotarea_events').bounding_box()
    nb.page.mouse.move(r['x']+share*r['width'], r['y']+y*r['height'])

@pytest.mark.parametrize('front', fronts)
def test_values_are_read_off_and_a_part_is_looked_at_closely(nb):
    go(nb, 400)
    nb.chart.scroll_into_view_if_needed()
    count = sent(nb)
    for i in range(40): over(nb, .2+i/100)
    pop = nb.plot.locator('.ir-spots .ir-readout:visible')
    assert pop.count() == 1
    text = pop.inner_text()
    assert count() == 0 # no message to the kernel
    i = int(re.search(r'iteration (\d+)', text)[1])
    assert 220 < i < 260 and text.count('loss') == 2
    mean = nb.ask(f"'%.4g' % runner.message_hub.get_scalar('train/loss').tail(10**6)[{i}-10:{i}].mean()")
    assert abs(float(re.search(r'train/loss\s+mean ([\d.]+)', text)[1])-float(mean)) < 1e-3
    nb.screenshot('chart_hover', 1)
    tool(nb, 'zoom').check()
    nb.chart.scroll_into_view_if_needed()
    assert count() > 0
    told(nb, 'c.figure.interaction is None', 'False')
    nb.chart.scroll_into_view_if_needed()
    over(nb, .5)
    for _ in range(5): nb.page.mouse.wheel(0, -250)
    wait_for(lambda: select(nb, '.ir-chart-part').input_value() == 'fixed part', 'a fixed part')
    nb.page.mouse.down()
    over(nb, .7)
    nb.page.mouse.up()
    told(nb, '50 < c.xs.min < c.xs.max < 300', 'True')
    before = nb.ask('(c.xs.min, c.xs.max)')
    go(nb, 500)
    assert nb.ask('(c.xs.min, c.xs.max)') == before and '400' not in ticks(nb)
    keys(nb, tool(nb, 'zoom'), 'Space')
    told(nb, 'c.figure.interaction is None', 'True')
    nb.chart.scroll_into_view_if_needed()
    over(nb, .5)
    assert 50 < int(re.search(r'iteration (\d+)', pop.inner_text())[1]) < 300
    nb.screenshot('chart_zoomed', 1)
    reset = nb.chart.get_by_role('button', name='reset')
    keys(nb, reset, 'Space')
    wait_for(lambda: '500' in ticks(nb), 'the whole run')
    assert not reset.is_visible() and nb.ask('c.xs.min') == 'None'
    keys(nb, select(nb, '.ir-chart-part'), 'Space', 'ArrowDown', 'ArrowDown', 'Enter')
    wait_for(lambda: '460' in ticks(nb), 'the last tenth')
    select(nb, '.ir-chart-part').select_option('last half')
    wait_for(lambda: '300' in ticks(nb), 'the last half')

@pytest.mark.parametrize('theme', ['dark'])
def test_what_a_person_did_is_marked_and_nothing_collides(nb):
    go(nb, 200)
    hooks = nb.cell(nb.add_and_run('runner.panel.hooks'))
    for name in ('Extra', evil): hooks.get_by_label(name, exact=True).click()
    go(nb, 400)
    flag = nb.plot.locator('.ir-flag')
    wait_for(lambda: flag.count() == 1, 'a flag')
    flag.hover()
    words = flag.locator('.ir-readout')
    assert words.inner_text().split('\n') == ['iteration 200', 'off Extra', f'off {evil}']
    nb.screenshot('chart_flag_dark', 1)
    nb.page.mouse.move(0, 0)
    assert not words.is_visible()
    flag.focus()
    assert words.is_visible() and flag.get_attribute('aria-label') == f'iteration 200: off Extra, off {evil}'
    js = """() => {
        const box = o => o.getBoundingClientRect(), first = o => box(document.querySelector(`.ir-chart-plot ${o}`)), bad = []
        const seen = [...document.querySelectorAll('.ir-chart-plot .axis')].map(a => [...a.querySelectorAll('.tick text')].map(box).filter(r => r.width))
        const [across, up] = [seen[0].sort((a, b) => a.left-b.left), seen[1].sort((a, b) => a.top-b.top)]
        across.forEach((r, i) => { if (i && r.left < across[i-1].right+3) bad.push('across') })
        up.forEach((r, i) => { if (i && r.top < up[i-1].bottom-3) bad.push('up') })
        if (across.length < 2 || up.length < 2) bad.push('too few')
        const p = box(document.querySelector('.ir-panel')), a = first('.plotarea_events'), b = first('.ir-spots')
        for (const o of document.querySelectorAll('.ir-panel .ir-chart *, .ir-panel .ir-head *')) {
            const r = box(o); if (r.width && (r.right > p.right+2 || r.left < p.left-2)) bad.push(o.outerHTML.slice(0, 99)) }
        for (const o of ['left', 'right', 'top', 'bottom']) if (Math.abs(a[o]-b[o]) > 1.5) bad.push('layer '+o)
        return bad }"""
    for log in ('False', 'True'):
        nb.add_and_run(f'c.log.value = {log}')
        for width in (620, 900, 1000, 1200, 1800):
            nb.page.set_viewport_size(dict(width=width, height=1000))
            wait_for(lambda: nb.page.evaluate(js) == [], f'order at {width}, log {log}', 5)
            nb.screenshot(f'chart_{width}_{log}', 1)
