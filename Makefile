# make demo      the three notebooks on the clips that ship, into results/
# make test      all tests, lint included
# make lab       JupyterLab on the notebooks
# make results   the two tables and their pictures, from the models that ship, into results/
# make checkpoints AUDIO=folder   the instruments that ship, trained anew from recordings
# make notebooks the committed notebooks executed anew, with the full training
# make docs      what of docs/ is made from the code: the picture of the rooms, sounds to listen to

PYTHON ?= python3
BIN := .venv/bin
SYSTEM := libportaudio2 chromium fluidsynth fluid-soundfont-gm

.PHONY: demo test test-fast lint lab results notebooks checkpoints docs

demo: .venv/installed
	TIMBRE_QUICK=1 $(BIN)/python notebooks/run.py

test: .venv/installed .venv/system lint
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

test-fast: .venv/installed lint
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow"

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lab: .venv/installed
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks

results: .venv/installed
	$(BIN)/python -m helpers.evaluation

notebooks: .venv/installed
	$(BIN)/python notebooks/run.py --in-place

docs: .venv/installed
	$(BIN)/python docs/make_architecture.py
	$(BIN)/python docs/make_sounds.py

checkpoints: .venv/installed .venv/system
	$(BIN)/python data/render_corpus.py
	$(BIN)/python checkpoints/train.py --audio $(AUDIO)

# TensorFlow and ddsp run on these versions of Python.
CHECK_PYTHON = import sys; v = sys.version_info; sys.exit(0 if (3, 10) <= v < (3, 14) else \
  "This is Python %d.%d, and Python 3.10 to 3.13 is needed: install one of these and name it, " \
  "such as make PYTHON=python3.12 $(MAKECMDGOALS)" % v[:2])

.venv/installed: requirements.txt requirements-no-deps.txt tests/requirements.txt
	@$(PYTHON) -c '$(CHECK_PYTHON)'
	$(PYTHON) -m venv .venv || { apt-get install -y python3-venv && $(PYTHON) -m venv .venv; }
	$(BIN)/pip install -q -r tests/requirements.txt
	$(BIN)/pip install -q --no-deps -r requirements-no-deps.txt
	touch $@

# Local recording, the browser tests and the rendering of the clips need packages of the system.
.venv/system: .venv/installed
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -q && apt-get install -y -q --no-install-recommends $(SYSTEM) && touch $@; \
	else \
	  echo "Tests that need $(SYSTEM) are skipped where these are not installed."; \
	fi
