#!/usr/bin/env bash
# All checks, cheapest first; the first that fails ends the run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PWD/.venv/bin:$PATH"
export OMP_NUM_THREADS=1 # small tensors: threads that wait for each other cost more than they bring
step() { printf '\n== %s\n' "$*"; }

step 'in sync: notebooks, package, README'
python tools/sync.py

step 'ruff'
ruff check

step 'notebooks'
timeout 900 python tools/pages.py --n_workers 2 --timing --do_print

step 'chromium'
CHROMIUM=$(python tools/chromium.py)
export CHROMIUM
echo "$CHROMIUM"

step 'pytest'
exec python -m pytest -q tests
