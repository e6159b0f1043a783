"Fixtures: one browser and one JupyterLab for all tests, fresh windows and kernels for each."
import os, shutil

import pytest
from playwright.sync_api import sync_playwright

from lab import Lab

chromium_args = '''--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync'''.split()

@pytest.fixture(scope='session')
def browser():
    "Debian's Chromium, or the one named by CHROMIUM"
    exe = os.environ.get('CHROMIUM') or shutil.which('chromium')
    if not exe: pytest.fail("no Chromium: install it (`apt-get install chromium`) or name its executable in CHROMIUM", pytrace=False)
    with sync_playwright() as p:
        b = p.chromium.launch(executable_path=exe, args=chromium_args)
        yield b
        b.close()

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
