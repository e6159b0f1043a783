"Fixtures: one browser and one JupyterLab for all tests, fresh windows and kernels for each."
import pytest

from lab import Lab, chromium

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
def lab(lab_server):
    "JupyterLab, whose windows and kernels end with the test"
    yield lab_server
    lab_server.close_pages()
