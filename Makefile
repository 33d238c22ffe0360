# `make demo` and `make test` need only Python >= 3.11 and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-slow test-notebooks notebooks docs analyses figures benchmark report lint format train-demo clean

demo: $(READY)
	$(BIN)/coldlens compare --model demo --examples demo/refusal --out out/demo

test: $(READY)
	$(BIN)/python -m pytest -q -n auto --dist loadfile -m "not slow"

test-slow: $(READY)
	$(BIN)/python -m pytest -q -m slow

test-notebooks: $(READY)
	$(BIN)/python -m pytest -q --nbmake -n auto notebooks

notebooks: $(READY)
	$(BIN)/python notebooks/make.py

docs: $(READY)
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

# Tables that are there with the wanted settings are not made again.
DEMO_ANALYSES := kernel_vs_entk direction_cosines unified_perspective epsilon layers_and_steps \
	pluralistic behaviours sample_efficiency effect_and_side_effect layer_eta specificity

analyses: $(READY)
	for name in $(DEMO_ANALYSES); do $(BIN)/python -m analyses.$$name || exit 1; done

figures: $(READY)
	$(BIN)/coldlens figures

# Makes an environment for the libraries that it compares with.
benchmark: $(READY)
	$(BIN)/python -m analyses.benchmark

report: $(READY)
	$(BIN)/coldlens report --model demo --examples demo/sycophancy --out out/report.html

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train-demo: $(READY)
	$(BIN)/python -m coldlens.demo.train

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) out docs/_build docs/tutorials .pytest_cache .ruff_cache
