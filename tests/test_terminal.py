"Scripts: the bar in a terminal, none in a pipe, and Ctrl-C as a request"
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

SCRIPT = '''
import sys, time, torch
from torch.nn.functional import mse_loss
from interactive_runner import Runner
data = [(torch.ones(4, 2), torch.ones(4, 1))]*30
model = torch.nn.Linear(2, 1)
runner = Runner(model, train_dataloader=data, loss_fn=mse_loss, optimizer=torch.optim.SGD(model.parameters(), lr=.01), max_epochs=2)
runner.on('after_forward')(lambda runner: time.sleep(float(sys.argv[1])))
'''


def start(tmp_path, code, pause='.01', **kwargs):
    file = tmp_path/'script.py'
    file.write_text(SCRIPT + code)
    env = os.environ | {'PYTHONPATH': str(Path(__file__).parents[1]), 'PYTHONUNBUFFERED': '1', 'COLUMNS': '120'}
    return subprocess.Popen([sys.executable, str(file), pause], env=env, **kwargs)


def read_terminal(fd):
    text = b''
    while True:
        try: new = os.read(fd, 4096)
        except OSError: return text.decode()
        if not new: return text.decode()
        text += new


def test_a_terminal_shows_a_bar_for_each_epoch_and_log_lines_on_lines_of_their_own(tmp_path):
    mine,theirs = pty.openpty()
    process = start(tmp_path, 'runner.train()', stdout=theirs, stdin=theirs, stderr=theirs, close_fds=True)
    os.close(theirs)
    text = read_terminal(mine)
    assert process.wait() == 0, text
    assert re.search(r'\|█+-+\| .*\[\d+/30 .*epoch 1/2', text) and 'epoch 2/2' in text
    lines = re.findall(r'[^\n]*Epoch\(train\)[^\n]*', text)
    assert len(lines) == 6 and all('\r\x1b[K' in o for o in lines)


def test_a_pipe_gets_log_lines_only(tmp_path):
    process = start(tmp_path, 'runner.train()', pause='0', stdout=subprocess.PIPE, text=True)
    text,_ = process.communicate()
    assert text.count('Epoch(train)') == 6 and '█' not in text and '\r' not in text


INTERRUPTED = '''
print('ready', flush=True)
try: runner.train()
except KeyboardInterrupt as e:
    print('interrupted:', e)
    print(runner.status, runner.iter, len(runner.player.cursor.trail))
    runner.hooks.remove('<lambda>')
    runner.train()
print(runner.status, runner.iter)
'''


def test_an_interrupt_stops_after_the_line_and_training_can_go_on(tmp_path):
    process = start(tmp_path, INTERRUPTED, pause='.05', stdout=subprocess.PIPE, text=True)
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if '[1][10/30]' in line: process.send_signal(signal.SIGINT)
    assert process.wait() == 0, lines
    text = '\n'.join(lines)
    assert 'interrupted: paused: train, epoch 0, iter ' in text and lines[-1] == 'done 60', text
