"Fixtures: one browser and one JupyterLab for all tests; a window and a kernel that most of them use one after the other."
import pytest

from lab import Lab, chromium, rest

@pytest.fixture(scope='session')
def browser():
    with chromium() as b: yield b

@pytest.fixture(scope='session')
def lab_server(browser, tmp_path_factory):
    "The one JupyterLab of a test session"
    lab = Lab(tmp_path_factory.mktemp('lab'), browser)
    try: yield lab.start()
    finally: lab.stop()

@pytest.fixture
def lab(lab_server, request):
    "JupyterLab, whose windows and kernels end with the test; those that are used again, if it fails"
    failed = request.session.testsfailed
    yield lab_server
    lab_server.close_pages(kept=request.session.testsfailed > failed)

@pytest.fixture
def front(): return 'lab' # or 'notebook', for tests that are parametrized by it
@pytest.fixture
def theme(): return 'light' # or 'dark'

@pytest.fixture
def notebook(lab, front, theme):
    "A function that opens a notebook and runs its cells: see `Lab.notebook`"
    used = []
    def notebook(*cells, **size):
        nb = lab.notebook(*cells, front=front, theme=theme, **size)
        used.append(nb)
        for i in range(len(cells)): nb.run(i, timeout=120)
        return nb
    yield notebook
    for nb in used:
        assert not nb.errors and nb.page.evaluate('window.hacked') is None
        nb.say(rest)
