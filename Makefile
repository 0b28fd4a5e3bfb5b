# make run | test | fuzz | bench | bench-models | train; each first makes .venv.
# make installer | release-check; these make build/venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# CUDA=1 also installs NVIDIA's libraries for onnxruntime, some gigabytes.
EXTRAS := $(if $(CUDA),[cuda])
DATA ?= data
TEXTURES := $(if $(TEXTURES),--textures $(TEXTURES))
FACES := $(if $(FACES),--faces $(FACES))
MINUTES ?= 60

.PHONY: run venv test fuzz bench bench-models train installer release-check clean

run: venv
	@$(BIN)/python packaging/run.py

venv: $(VENV)/.runtime

$(VENV)/.runtime: pyproject.toml constraints.txt
	@echo "Making $(VENV) (the first time takes a minute or two)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --editable ".$(EXTRAS)"
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "Adding what development needs"
	@$(PIP) --editable ".[dev]"
	@touch $@

test: $(VENV)/.dev
	@$(BIN)/python tests/check.py

fuzz: $(VENV)/.dev
	@$(BIN)/python -m tests.fuzz $(READERS)

bench: $(VENV)/.dev
	@$(BIN)/python -m tests.bench

bench-models: $(VENV)/.dev
	@$(BIN)/python -m engine.train bench --data $(DATA) $(TEXTURES) $(FACES)

train: $(VENV)/.dev
	@$(BIN)/python -m engine.train fit heal --data $(DATA) --minutes $(MINUTES) --resume

# RELEASES=URL: the page on which new versions appear.
installer:
	@$(PYTHON) packaging/build.py $(if $(RELEASES),--releases $(RELEASES))

# Takes a quarter of an hour; on Linux it needs root and mmdebstrap.
release-check: installer
	@$(PYTHON) packaging/try_wheel.py
	@test "$$(uname)" != Linux || $(PYTHON) packaging/linux/trial.py dist/*.deb

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
