# make demo      draw a clip, edit it by text on the embedded model, compare with the truth
# make test      run the tests
# make browser   run the tests of the editor's page, in Chromium
# make tour      draw a clip and run the GIF commands on it; needs no model library
# make docs      write man pages, completions and the tables of docs/reference.md again
# make lint      ruff and mypy
# make bench     time the GIF commands against gifsicle, ffmpeg, ImageMagick and Pillow
# make clean     remove what was made, but not .venv
#
# Each makes .venv if it is absent, and installs into it what it needs, at the versions in
# constraints.txt. Another interpreter: make test PYTHON=python3.12

.POSIX:

PYTHON = python3
VENV = .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
REQUIREMENTS = pyproject.toml constraints.txt

demo: $(VENV)/installed-diffusion
	$(BIN)/vedit demo -O vedit-demo

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile

browser: $(VENV)/installed-browser
	$(BIN)/python -m pytest -m 'browser and not slow' tests/browser

tour: $(VENV)/installed-base
	$(BIN)/python scripts/demo.py tour

docs: $(VENV)/installed-base
	$(BIN)/python scripts/generate_docs.py

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed-base
	$(BIN)/python benchmarks/gif_peers.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# The rest of the program, without model libraries.
$(VENV)/installed-base: $(VENV)/bin/python $(REQUIREMENTS)
	$(PIP) --editable .
	touch $@

# torch is the long part of the first run.
$(VENV)/installed-diffusion: $(VENV)/bin/python $(REQUIREMENTS)
	$(PIP) --editable '.[diffusion]'
	touch $@ $(VENV)/installed-base

$(VENV)/installed-test: $(VENV)/bin/python $(REQUIREMENTS)
	$(PIP) --editable '.[diffusion,test]'
	touch $@ $(VENV)/installed-base $(VENV)/installed-diffusion

$(VENV)/installed-browser: $(VENV)/installed-test
	$(PIP) --editable '.[diffusion,test,browser,notebook]'
	touch $@

# The versions of an environment in which the suite has just passed. What torch brings for one
# kind of GPU is its own to choose.
constraints: $(VENV)/installed-test
	$(BIN)/python -m pip freeze --exclude-editable | grep -Ev '^(nvidia-|cuda-|triton)' > constraints.txt

clean:
	rm -rf tour vedit-demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find vedit tests scripts benchmarks -name __pycache__ -prune -exec rm -rf {} +

.PHONY: demo test browser tour docs lint bench constraints clean
