"Find Chromium for the browser tests, or install it, and print its path."
import os, shutil, subprocess, sys

names = 'chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome'

def starts(path):
    "Does this browser start at all? A stub of a package that is not there does not"
    try: return subprocess.run([path, '--version'], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired): return False

def own():
    "Where playwright keeps its own browser, whether or not it is there"
    try: from playwright.sync_api import sync_playwright
    except ModuleNotFoundError: return None
    with sync_playwright() as p: return p.chromium.executable_path

def find():
    "The first browser that starts: `CHROMIUM`, one in the path, playwright's own"
    given = os.environ.get('CHROMIUM')
    if given and not starts(given): sys.exit(f'CHROMIUM is {given!r}, which does not start: correct or unset it.')
    if given: return given
    found = (p for p in [*map(shutil.which, names), own()] if p)
    return next(filter(starts, found), None)

def tell(cmd):
    "Run `cmd` with its output on stderr; true if it succeeded"
    print('+', *cmd, file=sys.stderr, flush=True)
    try: return subprocess.run(cmd, stdout=sys.stderr, stdin=subprocess.DEVNULL, timeout=1200).returncode == 0
    except (OSError, subprocess.TimeoutExpired): return False

def by_apt():
    "Install Debian's package; without fonts the browser would draw empty boxes"
    sudo = [] if os.geteuid() == 0 else ['sudo', '-n']
    if not shutil.which('apt-get') or (sudo and not (shutil.which('sudo') and tell([*sudo, 'true']))): return
    tell([*sudo, 'apt-get', 'update'])
    tell([*sudo, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', 'install', '-y', 'chromium', 'fonts-dejavu-core'])

def by_playwright(): tell([sys.executable, '-m', 'playwright', 'install', 'chromium'])

def main():
    "Find a browser, installing one where there is none"
    for install in (None, by_apt, by_playwright):
        if install: install()
        if path := find(): return print(path)
    sys.exit('No Chromium was found and none could be installed. Install one with `apt-get install chromium fonts-dejavu-core` '
             '(Debian) or `.venv/bin/playwright install chromium`, or name one in the environment variable CHROMIUM.')

if __name__ == '__main__': main()
