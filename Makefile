SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install demo test lab export fill readme gallery bench pins clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

install: $(VENV)/.installed ## make .venv with everything in it

demo: install ## run the quickstart notebook and show what it prints
	@$(PY) tools/demo.py

test: install ## all checks and tests
	@tools/check.sh

lab: install ## open the quickstart notebook in JupyterLab
	@$(VENV)/bin/jupyter lab $$([ "$$(id -u)" != 0 ] || echo --allow-root) nbs/tutorials/quickstart.ipynb

export: install ## notebooks -> interactive_runner/*.py
	@$(VENV)/bin/nbdev_clean
	@$(VENV)/bin/nbdev_export

fill: install ## run all notebooks in place and store their outputs
	@$(PY) tools/fill.py

readme: install ## nbs/index.ipynb -> README.md
	@$(PY) tools/readme.py

gallery: install ## take the pictures of nbs/gallery.ipynb
	@CHROMIUM=$$($(PY) tools/chromium.py) $(PY) tools/gallery.py

bench: install ## measure against the budgets
	@CHROMIUM=$$($(PY) tools/chromium.py); export CHROMIUM; for f in benchmarks/[a-z]*.py; do echo "== $$f"; $(PY) "$$f"; done

pins: install ## write constraints.txt from what .venv holds
	@$(PY) tools/pins.py

clean: ## remove what can be made again, but not .venv
	@rm -rf _proc _docs build dist *.egg-info .pytest_cache .ruff_cache .hypothesis artifacts
	@find interactive_runner nbs tests tools -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf

# The stamp says that the set-up went through; .building says that one began. A set-up that was
# cut off leaves .building behind, and the next one then starts from an empty .venv.
$(VENV)/.installed: constraints.txt settings.ini setup.py
	@command -v $(PYTHON) >/dev/null || { echo 'Python 3.11 or newer is needed, and $(PYTHON) was not found. Name one with: make PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"Python 3.11 or newer is needed, $(PYTHON) is {v[0]}.{v[1]}. Name another with: make PYTHON=/path/to/python3")'
	@if [ -e $(VENV)/.building ] || ! $(PY) -m pip --version >/dev/null 2>&1; then \
	  $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo 'Python cannot make virtual environments: install them with: apt-get install python3-venv' >&2; exit 1; }; \
	  echo 'making $(VENV)'; $(PYTHON) -m venv --clear $(VENV); \
	fi
	@rm -f $@; touch $(VENV)/.building
	@$(PY) -m pip install -qq $$(grep -E '^pip==' constraints.txt)
	@$(PY) -m pip install -qq $$(grep -E '^(setuptools|wheel)==' constraints.txt)
	@echo 'installing the pinned packages (some minutes the first time)'
	@PYTHONWARNINGS=ignore $(PY) -m pip install -qq --no-build-isolation -c constraints.txt -e '.[demo,dev]'
	@$(PY) -m pip install -qq --no-deps --upgrade --target $(VENV)/ipykernel6 ipykernel==6.31.0 # tests run on both
	@rm $(VENV)/.building; touch $@
